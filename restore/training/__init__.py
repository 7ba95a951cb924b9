"""Training of a network: a clean picture, a synthetic degradation, a loop, a recipe."""
