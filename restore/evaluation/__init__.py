"""How good it is: scores, benchmark sets, reports."""
