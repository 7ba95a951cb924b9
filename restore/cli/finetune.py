"""`restore finetune`: a model made better for the pictures of one person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore.cli import checks
from restore.cli.console import (
    Debug,
    OneDevice,
    Precision,
    check_one_device,
    examples,
    option,
    out,
    parse_seconds,
)
from restore.cli.data import Overwrite
from restore.cli.watching import show, stopping, torch_quiet
from restore.errors import InputError

if TYPE_CHECKING:
    from restore.training.finetune import Gain

TIME_LIMIT = "10m"
EPILOG = examples(
    "restore finetune denoise-photo --data my-pairs",
    "restore denoise photo.jpg --model denoise-photo-own.safetensors",
)


def command(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A name from `restore models`, or a weights file."),
    ],
    data: Annotated[
        Path,
        option(
            "Data",
            "A folder of clean pictures, or of pairs: files of the same names in its subfolders "
            "noisy and clean.",
        ),
    ],
    time_limit: Annotated[
        str | None,
        option(
            "Training",
            "How long to train, such as 90s or 1h; decides the number of steps.",
            show_default=TIME_LIMIT,
        ),
    ] = None,
    steps: Annotated[
        int | None, option("Training", "Number of steps, instead of a time limit.", min=1)
    ] = None,
    seed: Annotated[int, option("Training", "Random seed.")] = 0,
    output: Annotated[
        Path | None,
        option("Output", "The weights file; default: MODEL-own.safetensors.", "-o", "--output"),
    ] = None,
    overwrite: Overwrite = False,
    device: OneDevice = "auto",
    precision: Precision = "auto",
    debug: Debug = False,
) -> None:
    """Train a model further for your own pictures, and say what that gained.

    A fifth of the pictures is held out for scoring. A sheet of results before and after, and the
    record of the training, are written beside the weights.
    """
    checks.check_compute(precision)
    check_one_device(device, "finetune", "name one, such as cuda:1")
    if steps is not None and time_limit is not None:
        raise InputError("--steps takes the place of --time-limit; give one of them")
    model = checks.check_model(model)
    from restore.training.finetune import FineTuning, finetune, sheet_of
    from restore.training.loop import Limits

    given = TIME_LIMIT if time_limit is None else time_limit
    limit = None if steps is not None else parse_seconds(given)
    asked = FineTuning(model, data, output, steps, seed, overwrite, device, precision)

    def described(events: Any) -> Any:
        for event in events:
            yield describe_gain(*event) if isinstance(event, tuple) else event

    with torch_quiet(debug), stopping() as stop:
        written = show(described(finetune(asked, Limits(limit, stop))), limit)
    out().print(f"wrote {written} and {sheet_of(written)}", soft_wrap=True)


def describe_gain(name: str, gain: Gain) -> str:
    """A line such as "held out: 28.10 dB as given, 33.20 dB before, 35.02 dB after (+1.82)"."""
    given = "" if gain.given != gain.given else f"{gain.given:.2f} dB as given, "
    change = gain.after - gain.before
    return f"{name}: {given}{gain.before:.2f} dB before, {gain.after:.2f} dB after ({change:+.2f})"
