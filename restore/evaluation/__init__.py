"""Evaluation: scores of a model on test sets, by the protocols of the field."""
