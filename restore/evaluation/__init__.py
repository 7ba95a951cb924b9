"""How good a model is: its scores on test sets, by the protocols of the field."""
