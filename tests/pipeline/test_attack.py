"""Attacks in small: kills and failures at every change, plants, lying files, restless sources."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are killed by POSIX's means")
def test_nothing_is_lost_under_attack(root: Path, tmp_path: Path) -> None:
    """`benchmarks/attack.py` in small; it stops with exit code 1 at the first loss."""
    found = tmp_path / "attack.json"
    words = ["benchmarks/attack.py", "--kills", "3", "--rounds", "1", "--files", "60"]
    words += ["--every", "29", "--json", str(found)]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(found.read_text())
    assert len(results) == 11
    killed = [r for name, r in results.items() if name.startswith("killed at a random moment")]
    assert len(killed) == 2 and all(r["killed while running"] >= 1 for r in killed)
    assert all(r["lost"] == 0 and r["tried"] > 0 for r in results.values() if "lost" in r)
    unmounted = [r["skipped"] for name, r in results.items() if "tmpfs" in name and "lost" not in r]
    if unmounted:
        pytest.skip(f"small file systems were not tried: {unmounted[0]}")
