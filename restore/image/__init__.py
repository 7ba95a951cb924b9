"""A picture and its file: pixels, alpha, depth, colour profile, metadata, orientation."""
