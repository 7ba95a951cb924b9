"""From the first autoencoder to the denoiser: `python benchmarks/family_figure.py DATA`.

Reads the networks that benchmarks/autoencoders.py stored in runs/autoencoders and the shipped
denoiser; writes benchmarks/family.png. Inputs and outputs are real; the bars between them are the
layers. The height of a bar is the square root of the side of the feature map, its width that of the
number of channels.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

import restore
from restore.autoencoders.data import load_samples
from restore.autoencoders.family import load_autoencoder
from restore.autoencoders.figures import new_figure, save_figure, show_picture
from restore.autoencoders.measure import corrupt_with_seed
from restore.models.weights import load_model

HERE = Path(__file__).resolve().parent
STORE = HERE.parent / "runs" / "autoencoders"
CROP = (slice(60, 188), slice(60, 188))  # of samples/fur.png
Layer = tuple[float, float]  # (side of the map in pixels, channels)


def bars(axes: Any, layers: list[Layer], code: int | None, skips: list[tuple[int, int]]) -> None:
    """Draw the layers from left to right, the code in another colour, skip connections as arcs."""
    place, tops = 0.0, []
    tallest = max(side for side, _ in layers) ** 0.5
    for index, (side, channels) in enumerate(layers):
        height, width = side**0.5 / tallest, 0.045 * channels**0.5
        colour = "C1" if index == code else "C0"
        axes.add_patch(
            Rectangle((place, -height / 2), width, height, color=colour, alpha=0.8, linewidth=0)
        )
        tops.append((place + width / 2, height / 2))
        place += width + 0.25
    for start, end in skips:
        (left, top), (right, _) = tops[start], tops[end]
        axes.annotate(
            "",
            (right, top),
            (left, top),
            arrowprops={
                "arrowstyle": "->",
                "connectionstyle": "arc3,rad=-0.12",
                "color": "C2",
                "linewidth": 1.2,
            },
        )
    axes.set_xlim(-0.2, place)
    axes.set_ylim(-0.62, 0.85)
    axes.axis("off")


def rows(data: str) -> list[tuple[str, Tensor, Tensor, list[Layer], int | None, list[Any]]]:
    """Each network: its title, input, output, layers, the index of its code, its skips."""
    digit = load_samples(data).test.pictures[2:3]
    noisy = corrupt_with_seed(digit, "gaussian", 0.3)
    vanilla, denoising, convolutional = (
        load_autoencoder(STORE / f"{name}.safetensors")
        for name in ("vanilla", "denoising", "convolutional")
    )
    dense: list[Layer] = [(28, 1), (11, 1), (5, 1), (11, 1), (28, 1)]
    maps: list[Layer] = [(28, 1), (14, 32), (7, 64), (4, 128)]
    sample = restore.load_image(HERE.parent / "samples" / "fur.png")
    clean = restore.denoise(sample).picture.pixels[CROP]
    widths = load_model("denoise-gaussian").arguments["widths"]
    deep: list[Layer] = [(128 / 2**i, w) for i, w in enumerate(widths)]
    last = 2 * len(deep) - 2
    with torch.no_grad():
        return [
            (
                "autoencoder\nfrom the picture to a small code and back",
                digit,
                vanilla(digit),
                dense,
                2,
                [],
            ),
            (
                "denoising autoencoder\nnoisy input, clean output",
                noisy,
                denoising(noisy),
                dense,
                2,
                [],
            ),
            (
                "convolutional autoencoder\nfeature maps instead of dense layers",
                digit,
                convolutional(digit),
                [*maps, (5, 1), *maps[::-1]],
                4,
                [],
            ),
            (
                "the denoiser\nno dense code, so any size; skip connections carry fine detail",
                tensor(sample.pixels[CROP]),
                tensor(clean),
                [*deep, *deep[-2::-1]],
                None,
                [(i, last - i) for i in range(len(deep) - 1)],
            ),
        ]


def tensor(pixels: np.ndarray) -> Tensor:
    """`(height, width, channels)` -> (1, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]


def main(data: str) -> None:
    """Draw it."""
    steps = rows(data)
    figure = new_figure(8.0, 1.55 * len(steps))
    grid: Any = figure.subplots(len(steps), 3, width_ratios=[1, 3, 1], squeeze=False)
    for axes, (words, given, made, layers, code, skips) in zip(grid, steps, strict=True):
        show_picture(axes[0], given[0])
        bars(axes[1], layers, code, skips)
        axes[1].set_title(words, fontsize=9)
        show_picture(axes[2], made[0])
    figure.legend(
        handles=[
            Patch(color="C0", alpha=0.8, label="layer"),
            Patch(color="C1", alpha=0.8, label="code"),
            Line2D([], [], color="C2", label="skip connection"),
        ],
        loc="outside lower center",
        ncols=3,
        fontsize=9,
    )
    save_figure(figure, HERE / "family.png", overwrite=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
