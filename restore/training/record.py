"""What a person watches a training by: a table of its losses and scores, and a picture of both."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from restore.image.atomic import write_aside
from restore.image.picture import Pixels

if TYPE_CHECKING:
    from restore.training.loop import Progress

COLUMNS = ("step", "seconds", "loss", "rate", "validation_psnr", "best_psnr", "pictures_per_second")
EVERY = 10  # steps between two lines of the table; as often as the loss is read
SHOWN, SIDE, GAP = 4, 128, 8  # sample crops, pixels of each, and between them
PAUSE = 10.0  # seconds at least between two drawings


class Record:
    """The table `NAME.training.csv` and the picture `NAME.training.png` beside the weights."""

    def __init__(self, weights: Path, step: int) -> None:
        """Begin at a step; of an earlier run the lines up to it are kept."""
        self.table, self.picture = paths_beside(weights)
        self.lines: list[dict[str, str]] = []
        self.drawn = time.monotonic()
        if step and self.table.is_file():
            with open(self.table, newline="", encoding="utf-8") as file:
                self.lines = [line for line in csv.DictReader(file) if int(line["step"]) <= step]
        self._write()

    @property
    def due(self) -> bool:
        """Whether the picture was not drawn for a while, for drawing takes a second."""
        return time.monotonic() - self.drawn > PAUSE

    def add(self, progress: Progress, seconds: float, rate: float) -> None:
        """Note a step, where it is one to be noted."""
        if progress.psnr is None and progress.step % EVERY:
            return
        values = (
            str(progress.step),
            f"{seconds:.1f}",
            f"{progress.loss:.6g}",
            f"{rate:.4g}",
            "" if progress.psnr is None else f"{progress.psnr:.4f}",
            "" if progress.best is None else f"{progress.best:.4f}",
            f"{progress.pictures_per_second:.2f}",
        )
        self.lines.append(dict(zip(COLUMNS, values, strict=True)))
        with open(self.table, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS).writerow(self.lines[-1])

    def draw(self, name: str, samples: dict[str, Tensor]) -> None:
        """Losses, scores and sample crops as a picture; samples: heading -> (N, C, H, W)."""
        buffer = io.BytesIO()
        draw_training(name, self.lines, samples).savefig(buffer, format="png", dpi=100)
        write_aside(self.picture, buffer.getvalue(), overwrite=True)
        self.drawn = time.monotonic()

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(self.lines)
        write_aside(self.table, text.getvalue().encode(), overwrite=True)


def paths_beside(weights: Path) -> tuple[Path, Path]:
    """The table and the picture of the training of a weights file."""
    return weights.with_suffix(".training.csv"), weights.with_suffix(".training.png")


def draw_training(name: str, lines: Sequence[dict[str, str]], samples: dict[str, Tensor]) -> Any:
    """A matplotlib figure: curves on the left, a row of crops for each picture on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7))
    figure.suptitle(name)
    grid = figure.add_gridspec(2, 2, left=0.06, right=0.99, bottom=0.08, top=0.9, wspace=0.08)
    curves = (("loss", "loss, running mean"), ("validation_psnr", "validation PSNR [dB]"))
    for row, (column, label) in enumerate(curves):
        axes = figure.add_subplot(grid[row, 0])
        known = [(int(line["step"]), float(line[column])) for line in lines if line[column]]
        if known:
            axes.plot(*zip(*known, strict=True), marker="." if len(known) < 50 else "")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    axes.set_xlabel("step")
    rows = [
        [np.asarray(picture.detach().cpu().float().permute(1, 2, 0)) for picture in row]
        for row in list(zip(*samples.values(), strict=False))[:SHOWN]
    ]
    _show(figure.add_subplot(grid[:, 1]), rows, tuple(samples))
    return figure


def save_sheet(path: Path, rows: Sequence[Sequence[Pixels]], headings: Sequence[str]) -> None:
    """Pictures side by side as a PNG: a row for each, the middle of it, every pixel twice."""
    from matplotlib.figure import Figure

    rows = rows[:SHOWN]
    inches = [2 * (SIDE + GAP) * count / 100 for count in (len(headings), len(rows))]
    figure = Figure(figsize=(inches[0], inches[1] + 0.3))
    top = inches[1] / (inches[1] + 0.3)
    _show(figure.add_axes((0, 0, 1, top)), rows, headings)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    write_aside(path, buffer.getvalue(), overwrite=True)


def _show(axes: Any, rows: Sequence[Sequence[Pixels]], headings: Sequence[str]) -> None:
    """All pictures as one, for a grid of many axes takes seconds to draw."""
    cell = SIDE + GAP
    sheet = np.ones((cell * len(rows) - GAP, cell * len(headings) - GAP, 3), np.float32)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            crop = _middle(picture)
            top, left = cell * row, cell * column
            sheet[top : top + len(crop), left : left + crop.shape[1]] = crop
    axes.imshow(sheet, interpolation="nearest")
    axes.set_xticks([cell * column + SIDE / 2 for column in range(len(headings))], headings)
    axes.set_yticks([])
    axes.tick_params(top=False, bottom=False, labeltop=True, labelbottom=False)
    axes.set_frame_on(False)


def _middle(picture: Pixels) -> Pixels:
    """The middle of a picture (height, width, 1 or 3), at most SIDE each way, three channels."""
    height, width = picture.shape[:2]
    top, left = max(0, height - SIDE) // 2, max(0, width - SIDE) // 2
    crop = picture[top : top + SIDE, left : left + SIDE].clip(0, 1)
    return np.repeat(crop, 3, 2) if crop.shape[2] == 1 else crop
