"""The engines that can run the networks on a CPU, in turns, and what they are measured against.

    python benchmarks/engines.py [--models denoise-gaussian,denoise-gaussian-fast]
                                 [--megapixels 1,12,24] [--repeats 3] [--ways ...]
                                 [--json benchmarks/engines.json]
    ONEDNN_MAX_CPU_ISA=AVX512_CORE python benchmarks/engines.py --json engines-avx512.json

Each engine of `--engine` does the whole pipeline, array to array, in the precisions that it has. A
non-local means filter and the network's 3x3 convolutions alone are for comparison. `first` is what
the first result in a process takes longer than a later one, with an empty cache folder; `again` the
same with what that left there. After that all ways run in turns, so that a machine whose speed
changes is as unfair to each; the first run of a turn does not count, for the threads of the way
before it may still be waiting for work; the fastest of the others does.

The second line is for a CPU with AMX, and keeps torch from using it. OpenVINO brings its own copy
of oneDNN, which reads the same variable.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speed import classical, picture, row_floor

from restore.engine.compute import installed_engines
from restore.engine.convert import forget
from restore.engine.speeds import processor
from restore.models.weights import load_model
from restore.pipeline.picture import denoise

NLM, ALONE = "OpenCV NLM", "convolutions alone"
LONG = 20  # megapixels from which a run is long enough to be measured by itself
Run = Callable[[], Any]


def seconds(run: Run) -> float:
    """Of one run."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def in_turns(runs: dict[str, Run], repeats: int, warm: bool) -> dict[str, float]:
    """The fastest run of each way; warm: after one that does not count."""
    fastest = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for way, run in runs.items():
            if warm:
                run()
            fastest[way] = min(fastest[way], seconds(run))
    return fastest


def started(engine: str, run: Run, megapixels: float) -> tuple[float, float]:
    """Seconds of the first run with nothing in the cache folder, and with what that left there."""
    forget()
    first = seconds(run)
    if engine == "torch" or megapixels >= LONG:
        return first, first
    forget()
    return first, seconds(run)


def ways(model: str, noisy: np.ndarray, asked: list[str]) -> dict[str, tuple[str, Run]]:
    """Engine and run by name of the way."""
    network, found = load_model(model), {}
    for engine in installed_engines():
        for precision in ("bf16", "fp32") if engine != "onnx" else ("fp32",):
            settings = {"device": "cpu", "precision": precision, "engine": engine}
            run = functools.partial(denoise, noisy, network, **settings)
            found[f"{engine}, {precision}"] = engine, run
    found[NLM] = NLM, functools.partial(classical(NLM), noisy)
    return {way: of for way, of in found.items() if not asked or way in asked}


def measured(model: str, noisy: np.ndarray, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each way."""
    megapixels = noisy.shape[0] * noisy.shape[1] / 1e6
    made = ways(model, noisy, asked.ways.split(";") if asked.ways else [])
    starts = {way: started(engine, run, megapixels) for way, (engine, run) in made.items()}
    runs = {way: run for way, (_, run) in made.items()}
    fastest = in_turns(runs, asked.repeats, warm=megapixels < LONG)
    rows = []
    for way, took in fastest.items():
        first, again = (max(0.0, start - took) for start in starts[way])
        row = {"model": model, "megapixels": megapixels, "way": way, "seconds": took}
        rows.append({**row, "rate": megapixels / took, "first": first, "again": again})
        print(
            f"  {way:<24} {megapixels / took:6.2f} MP/s, ready after {first:.1f} s, {again:.1f} s"
        )
    return rows


def floors(model: str) -> list[dict[str, Any]]:
    """The network's convolutions alone, in both precisions."""
    rows = []
    for precision in ("bf16", "fp32"):
        rate = row_floor(f"{model} {ALONE}", 1, precision)["megapixels_per_second"]
        rows.append({"model": model, "way": f"{ALONE}, {precision}", "rate": rate})
        print(f"  {ALONE}, {precision}: {rate:.2f} MP/s", flush=True)
    return rows


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="denoise-gaussian,denoise-gaussian-fast")
    parser.add_argument("--megapixels", default="1,12,24")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ways", help="only these, such as 'torch, bf16;openvino, bf16'")
    parser.add_argument("--no-floors", action="store_true", help="leave the convolutions out")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        for model in asked.models.split(","):
            rows += [] if asked.no_floors else floors(model)
            for size in asked.megapixels.split(","):
                print(f"{model}, {size} MP", flush=True)
                rows += measured(model, picture(float(size))[1], asked)
    if asked.json:
        found = {"processor": processor(), "threads": torch.get_num_threads()}
        found["limit"] = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
        asked.json.write_text(json.dumps({**found, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
