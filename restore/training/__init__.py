"""How a network comes to be: a clean picture, a synthetic fault, a loop, a recipe."""
