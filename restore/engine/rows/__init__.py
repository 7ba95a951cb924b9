"""The CPU backend that streams rows, so that each row of each layer is computed once."""
