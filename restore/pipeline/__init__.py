"""Requests: one picture, one file, a file larger than memory, many files, several devices."""
