"""How long `restore denoise` takes for a small picture, beside what it cannot do without.

    python benchmarks/startup.py --json benchmarks/startup.json
    options: [--megapixels 1] [--repeats 5] [--models denoise-photo,denoise-photo-fast]

In turns, each in a process of its own: `import torch`; the command on a picture; and the command
with something wrong: a file that is missing or damaged, a model or an amount that is none. The
least is what the import takes and the time that the command itself reports (from the decoded
picture to the restored one). Seconds of the clock, the fastest of the turns; and of the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from speed import picture

from restore.engine.speeds import processor

ROOT = Path(__file__).resolve().parent.parent


def run(words: list[str]) -> tuple[float, float, str]:
    """Seconds of the clock and of the processor that a process of Python takes; what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, check=False
    )
    after, seconds = os.times(), time.perf_counter() - began
    spent = after.children_user + after.children_system
    spent -= before.children_user + before.children_system
    return seconds, spent, done.stdout


def measured(folder: Path, model: str, repeats: int) -> dict[str, Any]:
    """The fastest of each, and their ratio."""
    command = ["-m", "restore", "denoise", str(folder / "in.png"), "--model", model]
    command += ["--overwrite", "-o", str(folder / "out.png")]
    given = ["-m", "restore", "denoise", str(folder / "in.png")]
    ways = {
        "import torch": ["-c", "import torch"],
        "restore denoise": command,
        "missing file": [*given[:-1], str(folder / "missing.png")],
        "damaged file": [*given[:-1], str(folder / "damaged.png")],
        "unknown model": [*given, "--model", "unknown"],
        "wrong --memory": [*given, "--memory", "much"],
    }
    clock: dict[str, float] = dict.fromkeys(ways, float("inf"))
    spent, network = dict(clock), float("inf")
    for _ in range(repeats):
        for way, words in ways.items():
            seconds, processor, printed = run(words)
            clock[way], spent[way] = min(clock[way], seconds), min(spent[way], processor)
            if way == "restore denoise":
                found = re.search(r"time +([\d.]+) s", printed)
                assert found is not None, printed
                network = min(network, float(found[1]))
    least = clock["import torch"] + network
    return {
        "model": model,
        "network": network,
        "over_least": clock["restore denoise"] / least,
        "seconds": clock,
        "processor_seconds": spent,
    }


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", default="denoise-photo,denoise-photo-fast")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows, load = [], os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.fromarray(np.ascontiguousarray(picture(asked.megapixels)[1])).save(folder / "in.png")
        data = (folder / "in.png").read_bytes()
        (folder / "damaged.png").write_bytes(data[: len(data) // 2])
        for model in asked.models.split(","):
            rows.append(measured(folder, model, asked.repeats))
            print(json.dumps(rows[-1], indent=1), flush=True)
    if asked.json:
        about = {"processor": processor(), "threads": torch.get_num_threads(), "load": load}
        found = {**about, "megapixels": asked.megapixels, "rows": rows}
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
