"""Figures as PNG files: rows and grids of pictures, curves, scatter plots, heat maps."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from restore.errors import InputError
from restore.image.atomic import write_aside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]
TALLEST = 2.0  # height over width of a panel; a picture that is taller is drawn smaller


def save_figure(figure: Figure, path: Path, *, overwrite: bool = False) -> None:
    """Write a PNG file, whole or not at all.

    Raises InputError for a name that does not end in .png, WriteError where the file exists and
    `overwrite` is not set, or cannot be written.
    """
    check_figure_name(path)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, bbox_inches="tight", facecolor="white")
    write_aside(path, buffer.getvalue(), overwrite)


def check_figure_name(path: Path) -> None:
    """Raises InputError for a name that does not end in .png."""
    if path.suffix.lower() != ".png":
        raise InputError(f"figures are written as PNG; {path} must end in .png")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, size in inches; without pyplot, which may open windows."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def draw_rows(rows: Mapping[str, Tensor], title: str = "") -> Figure:
    """One row of pictures beside each name: name -> (N, C, H, W) in [0, 1], N at most 24."""
    count = max(len(x) for x in rows.values())
    figure = new_figure(1.5 + 0.75 * count, 0.4 + 0.8 * len(rows))
    grid: Any = figure.subplots(len(rows), count, squeeze=False)
    for axes_row, (name, pictures) in zip(grid, rows.items(), strict=True):
        for axes in axes_row:
            axes.axis("off")
        for axes, picture in zip(axes_row, pictures, strict=False):
            show_picture(axes, picture)
        axes_row[0].text(
            -0.15, 0.5, name, transform=axes_row[0].transAxes, ha="right", va="center", fontsize=9
        )
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def show_picture(axes: Axes, picture: Tensor) -> None:
    """Draw one picture (C, H, W) in [0, 1] without axes or interpolation."""
    pixels = picture.detach().clamp(0, 1).permute(1, 2, 0).numpy()
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.axis("off")


def picture_grid(pictures: Tensor, columns: int, gap: int = 2) -> Array:
    """Pictures (N, C, H, W) in [0, 1] in a grid: `(height, width, C)`, with white gaps."""
    count, channels, height, width = pictures.shape
    rows = -(-count // columns)
    tall, wide = rows * (height + gap) + gap, columns * (width + gap) + gap
    grid = np.ones((tall, wide, channels), np.float32)
    for index, picture in enumerate(pictures.detach().clamp(0, 1).permute(0, 2, 3, 1).numpy()):
        top, left = gap + index // columns * (height + gap), gap + index % columns * (width + gap)
        grid[top : top + height, left : left + width] = picture
    return grid


def draw_grid(pictures: Tensor, columns: int, title: str = "") -> Figure:
    """Pictures (N, C, H, W) in [0, 1] in a grid."""
    pixels = picture_grid(pictures, columns)
    height, width = pixels.shape[:2]
    figure = new_figure(7.0, 0.4 + 7.0 * height / width)
    axes = figure.subplots()
    show_picture(axes, torch.from_numpy(pixels).permute(2, 0, 1))
    axes.set_title(title, fontsize=10)
    return figure


def filter_pictures(weights: Tensor, shape: tuple[int, ...], count: int) -> Tensor:
    """The rows of a first layer with the largest norms as pictures (count, C, H, W).

    weights: (units, C*H*W); each row is scaled to its own largest value, zero is mid-grey
    """
    strongest = weights.norm(dim=1).argsort(descending=True)[:count]
    rows = weights.detach()[strongest]
    scaled = 0.5 + 0.5 * rows / rows.abs().amax(1, keepdim=True).clamp(min=1e-12)
    return scaled.view(-1, *shape)


def draw_curves(curves: Mapping[str, Sequence[tuple[int, float]]], label: str) -> Figure:
    """Lines over epochs: name -> (epoch, value); a logarithmic axis if all are positive."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(6.5, 4.0)
    axes = figure.subplots()
    for name, points in curves.items():
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, marker="." if len(points) < 40 else None, label=name)
    if all(value > 0 for points in curves.values() for _, value in points):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(fontsize=8)
    return figure


def draw_scatter(
    points: Tensor, labels: Tensor | None, title: str, names: tuple[str, str]
) -> Figure:
    """Points (N, 2), coloured by label where there are labels (N,); `names` are of the axes."""
    figure = new_figure(6.5, 5.5)
    axes = figure.subplots()
    x, y = points.detach().numpy().T
    if labels is None:
        axes.scatter(x, y, s=4)
    else:
        classes = labels.unique().tolist()
        for index, label in enumerate(classes):
            chosen = (labels == label).numpy()
            colour = f"C{index}" if len(classes) <= 10 else None
            axes.scatter(x[chosen], y[chosen], s=5, color=colour, label=str(label))
        if len(classes) <= 20:
            axes.legend(
                title="label",
                markerscale=3,
                fontsize=8,
                loc="center left",
                bbox_to_anchor=(1.0, 0.5),
            )
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.set_title(title, fontsize=10)
    return figure


def draw_compressed(pixels: Array, compressed: Mapping[str, Array]) -> Figure:
    """A picture `(height, width, channels)` and its compressed versions, each under its name."""
    panels = {"original": pixels, **compressed}
    columns = 3
    lines = -(-len(panels) // columns)
    height, width = pixels.shape[:2]
    figure = new_figure(9.0, lines * (0.3 + 3.0 * min(TALLEST, height / width)))
    grid: Any = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (name, image) in zip(grid.flat, panels.items(), strict=False):
        show_picture(axes, torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))))
        axes.set_title(name, fontsize=8)
    return figure


def draw_heat(picture: Array, heat: Array, mask: Array | None, title: str) -> Figure:
    """A picture, its heat map, and the mask of its anomalies.

    picture: `(height, width, channels)` in [0, 1]; heat and mask: `(height, width)`
    """
    panels = 2 if mask is None else 3
    height, width = picture.shape[:2]
    figure = new_figure(4.2 * panels, 0.5 + 4.0 * min(TALLEST, height / width))
    grid = figure.subplots(1, panels)
    for axes in grid:
        axes.axis("off")
    show_picture(grid[0], torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))))
    grid[0].set_title("picture", fontsize=10)
    # opaque, or the colours would not be those of the bar
    shown = grid[1].imshow(heat, cmap="inferno", vmin=0, interpolation="nearest")
    figure.colorbar(shown, ax=grid[1], fraction=0.046, pad=0.02)
    grid[1].set_title("reconstruction error", fontsize=10)
    if mask is not None:
        grid[2].imshow(mask, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        grid[2].set_title(
            f"above the threshold: {100 * mask.mean():.1f} % of the pixels", fontsize=10
        )
    figure.suptitle(title, fontsize=10)
    return figure
