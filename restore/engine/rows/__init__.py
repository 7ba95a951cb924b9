"""The CPU backend that streams rows: each row of each layer is computed once."""
