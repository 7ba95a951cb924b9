"""How exactly results agree: tiled and untiled, on one kind of CPU and on another.

    python benchmarks/exactness.py [--json benchmarks/exactness.json]

A floating-point sum depends on its order, and a convolution library chooses the order by the CPU,
the tensor's shape and the number of threads. So each shipped model restores a sample in float32
(in one window, in tiles, in bands of rows) in several processes: limited to older instructions,
with another number of threads, and with torch's own convolutions in place of oneDNN's. oneDNN
orders its sums alike for AVX2 and AVX-512 on some CPUs and not on others; the other ways show what
to expect where it does not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import restore
from restore.image.picture import quantise
from restore.image.read import load_image

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = (("fur", 280, 290),)
THREADS = (1, 2)
WAYS = ("one window", "tiles", "rows")

# Environment variables that limit oneDNN's convolutions and torch's own kernels.
WITHOUT_ONEDNN = "torch's own convolutions"
LIMITS: dict[str, dict[str, str]] = {
    "all that the CPU has": {},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    WITHOUT_ONEDNN: {},
}


def pictures(name: str) -> list[np.ndarray]:
    """Crops of the samples; small ones for the upscalers, whose results are larger."""
    shrink = 2 if name.startswith("upscale") else 1
    folder = ROOT / "samples"
    found = [load_image(folder / f"{sample}.png").pixels for sample, _, _ in SAMPLES]
    sides = [(height // shrink, width // shrink) for _, height, width in SAMPLES]
    return [p[-h:, -w:] for p, (h, w) in zip(found, sides, strict=True)]


def restored(name: str, pixels: np.ndarray, way: str) -> np.ndarray:
    """The model's answer in float32, computed in one window, in tiles or in bands of rows."""
    network = restore.load_model(name)
    smallest = 2 * network.halo + 3 * network.multiple_of
    several = min(smallest + 40, max(pixels.shape) - 20)
    tile = {"one window": 10_000, "tiles": several, "rows": None}[way]
    settings: dict[str, Any] = {"device": "cpu", "precision": "fp32", "tile": tile}
    if network.scale == 1:
        return restore.denoise(pixels, network, **settings).picture.pixels
    return restore.upscale(pixels, network.scale, network, **settings).picture.pixels


def compute(folder: Path, threads: int, limit: str) -> None:
    """All models, samples and ways in this process; one array a file."""
    torch.set_num_threads(threads)
    torch.backends.mkldnn.set_flags(limit != WITHOUT_ONEDNN)
    for name in restore.available_models():
        for index, pixels in enumerate(pictures(name)):
            for way in WAYS if threads == 1 else WAYS[1:]:
                np.save(folder / f"{name} {index} {way}.npy", restored(name, pixels, way))


def differences(mine: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """Of two results: of the floats, and of the files with 8 and 16 bits they would make."""
    found: dict[str, Any] = {"values": mine.size, "float32": float(np.abs(mine - theirs).max())}
    for depth in (8, 16):
        a, b = (quantise(pixels, depth).astype(int) for pixels in (mine, theirs))
        found[f"levels of {depth} bits"] = int(np.abs(a - b).max())
        found[f"differ in {depth} bits"] = int(np.count_nonzero(a != b))
    return found


def merged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The worst difference of several results, and how many values in a million differ."""
    million = sum(row["values"] for row in rows) / 1e6
    found: dict[str, Any] = {"float32": float(f"{max(row['float32'] for row in rows):.2g}")}
    for depth in (8, 16):
        found[f"levels of {depth} bits"] = max(row[f"levels of {depth} bits"] for row in rows)
        differ = sum(row[f"differ in {depth} bits"] for row in rows)
        found[f"differ in {depth} bits, per million"] = round(differ / million, 1)
    return found


def compare(reference: Path, folder: Path, of: str, way: str, reference_way: str) -> dict[str, Any]:
    """Two folders of results of one model, way by way."""
    rows = []
    for index in range(len(SAMPLES)):
        theirs = np.load(reference / f"{of} {index} {reference_way}.npy")
        rows.append(differences(np.load(folder / f"{of} {index} {way}.npy"), theirs))
    return merged(rows)


def measure(work: Path) -> dict[str, Any]:
    """Every limit and number of threads; each model's tiles against its one window, and so on."""
    folders = {}
    for limit, variables in LIMITS.items():
        for threads in THREADS if not variables else THREADS[:1]:
            folder = folders[limit, threads] = work / f"{limit}, {threads}"
            folder.mkdir()
            print(f"{limit}, {threads} threads", flush=True)
            words = [sys.executable, __file__, "--compute", str(folder), str(threads), limit]
            subprocess.run(words, env={**os.environ, **variables}, check=True)
    first = next(iter(folders.values()))
    rows = []
    for (limit, threads), folder in folders.items():
        for name in restore.available_models():
            row: dict[str, Any] = {"instructions": limit, "threads": threads, "model": name}
            if threads == 1:
                for way in WAYS[1:]:
                    row[f"{way} against one window"] = compare(folder, folder, name, way, WAYS[0])
            if folder is not first:
                row["against the first line's"] = {
                    way: compare(first, folder, name, way, way)
                    for way in (WAYS if threads == 1 else WAYS[1:])
                }
            rows.append(row)
    return {"rows": rows}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The worst of what was measured in one process, and of what was measured across them."""
    inside = [v for row in rows for k, v in row.items() if k.endswith("against one window")]
    across = [v for row in rows for v in row.get("against the first line's", {}).values()]
    named = {"tiled against untiled": inside, "one process against another": across}
    return {
        name: {key: max(f[key] for f in found) for key in found[0]} for name, found in named.items()
    }


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--compute", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.compute:
        return compute(Path(asked.compute[0]), int(asked.compute[1]), asked.compute[2])
    with tempfile.TemporaryDirectory() as work:
        measured = measure(Path(work))
    data = {
        "instructions of this CPU": torch.backends.cpu.get_cpu_capability(),
        "AMX": bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)()),
        "torch": torch.__version__,
        "samples": [f"{name} {width}x{height}" for name, height, width in SAMPLES],
        "worst": summary(measured["rows"]),
        **measured,
    }
    print(json.dumps(data["worst"], indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
