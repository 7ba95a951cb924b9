"""`restore train`: from a recipe and a folder of clean pictures to a weights file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restore.cli.console import Debug, Device, Precision, err, out, parse_seconds

if TYPE_CHECKING:
    from restore.training.loop import Progress


def command(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe, or a TOML file.")],
    data: Annotated[Path, typer.Option(help="A folder of clean pictures to train on.")],
    val: Annotated[
        Path | None, typer.Option(help="A folder of others to choose the weights by.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Weights file; default: NAME.safetensors.")
    ] = None,
    start_from: Annotated[
        str | None, typer.Option(help="A model whose weights are trained further.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="A model whose answers are the aim, not clean pictures.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    time_limit: Annotated[
        str | None, typer.Option(help="Stop after, e.g. 90s, 75m, 1h30m.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output.")] = False,
    compiled: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Default: where it pays.")
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    debug: Debug = False,
) -> None:
    """Train a network; a checkpoint beside the weights file lets it go on with --resume."""
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
    written = show(run_job(job, time_limit=limit, compiled=compiled))
    out().print(f"wrote {written}", soft_wrap=True)


def show(events: Iterable[Progress | str | Path]) -> Path:
    """A live bar on a terminal, a line at each validation in a pipe; returns the file written."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = err()
    written = Path()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        for event in events:
            if isinstance(event, Path):
                written = event
            elif isinstance(event, str):
                console.print(event, soft_wrap=True)
            else:
                bar.update(task, completed=event.step, total=event.steps, description=line(event))
                if event.psnr is not None:
                    console.print(f"step {event.step}/{event.steps}  {line(event)}", soft_wrap=True)
    return written


def line(event: Progress) -> str:
    """Loss, validation PSNR, speed and time left in one line."""
    best = "" if event.best is None else f"best {event.best:.3f} dB  "
    psnr = "" if event.psnr is None else f"validation {event.psnr:.3f} dB  "
    minutes, seconds = divmod(round(event.seconds_left), 60)
    return (
        f"loss {event.loss:.5f}  {psnr}{best}{event.pictures_per_second:.1f} pictures/s  "
        f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left"
    )
