"""Enlarge a folder of small pictures until each fills a box, such as a screen.

python docs/examples/enlarge.py samples 900x700 large
"""

from __future__ import annotations

import sys

import restore


def main(source: str, box: str, target: str) -> int:
    """Returns the number of failures."""
    batch = restore.upscale_files(source, target, fit=box)
    failures = 0
    for outcome in batch:
        print(f"{outcome.source} -> {outcome.target}: {outcome.status} {outcome.reason}")
        failures += outcome.status == "failed"
    return failures


if __name__ == "__main__":
    sys.exit(min(1, main(*sys.argv[1:4])))
