"""Whole requests: one picture, one file, a file larger than memory, many files or devices."""
