"""Two pictures side by side, for people to look at: the choice of places, a sheet, a slider."""
