"""How a network comes to be: a clean picture, a synthetic degradation, a loop, a recipe."""
