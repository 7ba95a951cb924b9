"""Networks (tensors in, tensors out) and the self-describing files that hold their weights."""
