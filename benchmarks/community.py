"""Other projects' models: how far each sees, and how much tiled differs from untiled.

    python benchmarks/community.py FILE ... [--side PIXELS] [--json benchmarks/community.json]

Prints a table. The picture is a crop of a sample, repeated and with noise; the tile is the smallest
that has a core of 64 pixels. Differences are those of the largest value and the mean, in levels
of 255.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from restore.engine.compute import Resources
from restore.engine.run import run_array
from restore.engine.tiling import round_up
from restore.image.read import load_image
from restore.models.network import Network
from restore.models.weights import load_model
from restore.tasks.task import fit_channels

SAMPLE = Path(__file__).parent.parent / "samples" / "fur.png"
CORE = 64


def main() -> None:
    """Print a row for each file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--side", type=int, help="of the picture; default: two tiles and a half")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = []
    print("| file | architecture | scale | grid | halo | blend | tiles | most | mean |")
    print("| --- | --- | --: | --: | --: | --: | --: | --: | --: |")
    for path in given.files:
        rows.append(row(path, load_model(path), given.side))
        cells = (f"{v:.2g}" if isinstance(v, float) else str(v) for v in rows[-1].values())
        print(f"| {' | '.join(cells)} |", flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


def row(path: Path, network: Network, side: int | None) -> dict[str, Any]:
    """What was measured of one network."""
    core = round_up(max(CORE, 2 * network.blend), network.multiple_of)
    tile = max(2 * network.halo + core, network.minimum)
    pixels = fit_channels(picture(side or tile * 5 // 2), network.channels)
    cpu = torch.device("cpu")
    whole = run_array(network, pixels, Resources(cpu, torch.float32, tile=2 * len(pixels)))
    tiled = run_array(network, pixels, Resources(cpu, torch.float32, tile=tile))
    apart = 255 * np.abs(whole.pixels - tiled.pixels)
    architecture = network.card.architecture if network.card else type(network).__name__
    return {
        "file": path.stem,
        "architecture": architecture,
        "scale": network.scale,
        "grid": network.multiple_of,
        "halo": network.halo,
        "blend": network.blend,
        "tiles": tiled.plan.tiles,
        "most": float(apart.max()),
        "mean": float(apart.mean()),
    }


def picture(side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A square of the sample, repeated."""
    sample = load_image(SAMPLE).pixels
    times = -(-side // min(sample.shape[:2]))
    return np.ascontiguousarray(np.tile(sample, (times, times, 1))[:side, :side])


if __name__ == "__main__":
    main()
