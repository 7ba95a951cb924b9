"""Tasks: what is done with a picture before and after the network. No engine, no files."""
