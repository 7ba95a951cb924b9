"""`restore denoise`: noisy pictures in, clean ones beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from restore.cli.console import Debug, Device, Ensemble, Memory, Precision, Tile
from restore.cli.restoring import (
    Backup,
    Format,
    InPlace,
    JsonLines,
    Many,
    One,
    Output,
    Overwrite,
    Pictures,
    Quality,
    Quiet,
    Recursive,
    SkipExisting,
    StripMetadata,
    Verbose,
    parse_quality,
    restore_all,
)

DEFAULT_MODEL = "denoise-photo"

Model = Annotated[str, typer.Option(help="A name from `restore models`, or a file.")]
Strength = Annotated[float, typer.Option(help="0 (as it was) to 1 (fully restored).")]
SigmaOption = Annotated[
    str | None,
    typer.Option(
        "--sigma",
        help="The noise level to take away, 0-255, or auto: as estimated, for white noise. "
        "Default: the model finds it itself.",
    ),
]
Reference = Annotated[
    Path | None, typer.Option(help="The clean picture: prints PSNR and SSIM against it.")
]


def command(
    pictures: Pictures,
    output: Output = None,
    model: Model = DEFAULT_MODEL,
    sigma: SigmaOption = None,
    strength: Strength = 1.0,
    ensemble: Ensemble = False,
    reference: Reference = None,
    file_format: Format = None,
    quality: Quality = None,
    overwrite: Overwrite = False,
    recursive: Recursive = False,
    skip_existing: SkipExisting = False,
    in_place: InPlace = False,
    backup: Backup = False,
    strip_metadata: StripMetadata = False,
    json_lines: JsonLines = False,
    quiet: Quiet = False,
    device: Device = "auto",
    precision: Precision = "auto",
    tile: Tile = None,
    memory: Memory = None,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Denoise pictures; each result is written beside its picture, never over it."""
    size, file_quality = parse_quality(quality)
    model = model if size is None else of_size(model, size)
    asked: dict[str, Any] = {"model": model, "sigma": sigma, "strength": strength}
    asked["ensemble"] = ensemble
    asked |= {
        "device": device,
        "precision": precision,
        "tile": tile,
        "memory": memory,
        "strip_metadata": strip_metadata,
    }
    asked |= {"file_format": file_format, "quality": file_quality, "overwrite": overwrite}
    batch = {"recursive": recursive, "skip_existing": skip_existing}
    batch |= {"in_place": in_place, "backup": backup}
    shown = {"json_lines": json_lines, "quiet": quiet, "verbose": verbose, "debug": debug}
    restore_all(pictures, output, functions, asked, batch, reference=reference, **shown)


def of_size(model: str, size: str) -> str:
    """The name of a model's fast or best version."""
    from restore.tasks.denoise import of_size

    return of_size(model, size)


def functions() -> tuple[One, Many]:
    """For one file and for many."""
    from restore.pipeline.batch import denoise_files
    from restore.pipeline.file import denoise_file

    return denoise_file, denoise_files
