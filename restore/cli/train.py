"""`restore train`: from a recipe and a folder of clean pictures to a weights file."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restore.cli.console import (
    Debug,
    Device,
    Precision,
    err,
    examples,
    option,
    out,
    parse_seconds,
)
from restore.cli.data import Overwrite

if TYPE_CHECKING:
    from restore.training.loop import Progress

EPILOG = examples(
    "restore train denoise-photo-fast --data photos --val other-photos --time-limit 1h30m",
    "restore train my-recipe.toml --data photos -o mine.safetensors",
)


def command(
    recipe: Annotated[
        str, typer.Argument(help="The name of a shipped recipe, or a recipe in a TOML file.")
    ],
    data: Annotated[Path, option("Data", "A folder of clean pictures to train on.")],
    val: Annotated[
        Path | None,
        option(
            "Data",
            "A folder of other clean pictures; the weights with the best score there are kept.",
        ),
    ] = None,
    start_from: Annotated[
        str | None, option("Training", "A model to start from, instead of random weights.")
    ] = None,
    teacher: Annotated[
        str | None,
        option("Training", "A model to learn from: its results are the target (distillation)."),
    ] = None,
    steps: Annotated[
        int | None, option("Training", "Number of training steps; default: the recipe's.")
    ] = None,
    seed: Annotated[int | None, option("Training", "Random seed; default: the recipe's.")] = None,
    time_limit: Annotated[
        str | None, option("Training", "Stop after this time, such as 90s, 75m or 1h30m.")
    ] = None,
    resume: Annotated[
        bool, option("Training", "Continue from the checkpoint of a stopped training.", "--resume")
    ] = False,
    output: Annotated[
        Path | None,
        option(
            "Output",
            "The weights file; default: the recipe's name with .safetensors.",
            "-o",
            "--output",
        ),
    ] = None,
    overwrite: Overwrite = False,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Compile the training step; default: for long trainings where a compiler exists.",
        ),
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    debug: Debug = False,
) -> None:
    """Train a network; with --resume, continue a training that was stopped."""
    from restore.training.job import Job, run_job

    limit = parse_seconds(time_limit)
    changes = {key: value for key, value in (("steps", steps), ("seed", seed)) if value is not None}
    job = Job(
        recipe,
        changes,
        data,
        val,
        output=output,
        start_from=start_from,
        teacher=teacher,
        resume=resume,
        overwrite=overwrite,
        device=device,
        precision=precision,
    )
    written = show(run_job(job, time_limit=limit, compiled=compiled), limit)
    out().print(f"wrote {written}", soft_wrap=True)


class Clock:
    """How much time a training still needs for all its steps, and how much its limit leaves."""

    def __init__(self, limit: float | None) -> None:
        """`limit`: seconds from the first step, or None."""
        self.limit = limit
        self.started: float | None = None
        self.first_step = 0

    def left(self, step: int, steps: int) -> tuple[float | None, float | None]:
        """Seconds to the last step, None after the first one; seconds of the limit, if any."""
        now = time.monotonic()
        if self.started is None:
            self.started, self.first_step = now, step
        elapsed, done = now - self.started, step - self.first_step
        to_the_end = (steps - step) * elapsed / done if done else None
        return to_the_end, None if self.limit is None else max(0.0, self.limit - elapsed)


def show(events: Iterable[Progress | str | Path], limit: float | None = None) -> Path:
    """A progress bar on a terminal, a line for each validation; returns the file written."""
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    console, clock = err(), Clock(limit)
    written = Path()
    columns = (BarColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        for event in events:
            if isinstance(event, Path):
                written = event
            elif isinstance(event, str):
                console.print(event, soft_wrap=True)
            else:
                words = line(event, *clock.left(event.step, event.steps))
                bar.update(task, completed=event.step, total=event.steps, description=words)
                if event.psnr is not None:
                    console.print(words, soft_wrap=True)
    return written


def line(event: Progress, to_the_end: float | None, of_the_limit: float | None) -> str:
    """Steps, loss, scores and speed; the time to the last step, and what is left of the limit."""
    parts = [f"step {event.step}/{event.steps}", f"loss {event.loss:.5f}"]
    if event.psnr is not None:
        parts.append(f"validation {event.psnr:.3f} dB")
    if event.best is not None:
        parts.append(f"best {event.best:.3f} dB")
    parts.append(f"{event.pictures_per_second:.1f} pictures/s")
    if to_the_end is not None:
        parts.append(f"{clock_time(to_the_end)} to the last step")
    if of_the_limit is not None:
        parts.append(f"{clock_time(of_the_limit)} to the time limit")
    return "  ".join(parts)


def clock_time(seconds: float) -> str:
    """Seconds as hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
