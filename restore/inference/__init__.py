"""One network over a picture of any size."""
