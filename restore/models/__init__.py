"""Networks, tensors in and tensors out, and the self-describing file their weights live in."""
