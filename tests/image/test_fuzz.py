"""A few hundred mutated files through the reader, in a process with little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="limits of POSIX")


def test_mutated_files_give_a_picture_or_our_error_within_bounds(
    root: Path, tmp_path: Path
) -> None:
    """`benchmarks/fuzz_reader.py` in small; it ends with exit code 1 at the first finding."""
    found = tmp_path / "fuzz.json"
    words = ["benchmarks/fuzz_reader.py", "--files", "360", "--seed", "7", "--json", str(found)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, *words], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(found.read_text())
    assert results["files"] == 360 and len(results["kinds"]) >= 34
    outcomes = [sum(k[o] for k in results["kinds"].values()) for o in ("picture", "refused")]
    assert min(outcomes) > 30
    assert results["slowest_seconds"] < 10 and results["peak_memory_bytes"] < 2 * 2**30
