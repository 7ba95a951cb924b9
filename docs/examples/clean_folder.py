"""Denoise a folder of photographs into another, the tree kept, and list what failed.

python docs/examples/clean_folder.py samples clean
"""

from __future__ import annotations

import sys

import restore


def main(source: str, target: str) -> int:
    """Returns the number of failures."""
    batch = restore.denoise_files(source, target, recursive=True)
    failures = 0
    for number, outcome in enumerate(batch, 1):
        print(f"{number}/{len(batch)} {outcome.source}: {outcome.status}")
        if outcome.status == "failed":
            failures += 1
            print(f"    {outcome.reason}")
    print(f"{batch.seconds:.1f} seconds")
    return failures


if __name__ == "__main__":
    sys.exit(min(1, main(*sys.argv[1:3])))
