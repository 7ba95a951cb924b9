"""Synthetic degradations: what training does to a clean picture."""
