"""`restore upscale`: small pictures in, larger ones beside them."""

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
from restore.errors import InputError

# Words and not numbers: what is wrong with them is said in a sentence of ours.
Scale = Annotated[str | None, typer.Option(help="Times as large: 2, 3.5 ... up to 16.")]
Width = Annotated[str | None, typer.Option(help="Of the result, in pixels.")]
Height = Annotated[str | None, typer.Option(help="Of the result, in pixels.")]
Fit = Annotated[str | None, typer.Option(help="As large as fits into a box such as 3840x2160.")]
Model = Annotated[
    str | None,
    typer.Option(help="A name from `restore models`, a file, or bicubic; default: by the size."),
]
BackProjection = Annotated[
    int, typer.Option(help="Steps, 0 to 20, that make the result shrink to the picture exactly.")
]
Reference = Annotated[
    Path | None, typer.Option(help="The picture before it was small: prints PSNR and SSIM.")
]


def command(
    pictures: Pictures,
    output: Output = None,
    scale: Scale = None,
    width: Width = None,
    height: Height = None,
    fit: Fit = None,
    model: Model = None,
    back_projection: BackProjection = 0,
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
    """Make pictures larger; each result is written beside its picture, never over it."""
    size, file_quality = parse_quality(quality)
    if size == "fast":
        raise InputError("upscaling has one size of network; --quality takes 1 to 100 here")
    asked: dict[str, Any] = {"model": model, "back_projection": back_projection, "scale": scale}
    asked |= {"width": width, "height": height, "fit": fit, "device": device}
    asked |= {"precision": precision, "tile": tile, "memory": memory}
    asked["strip_metadata"] = strip_metadata
    asked["ensemble"] = ensemble
    asked |= {"file_format": file_format, "quality": file_quality, "overwrite": overwrite}
    batch = {"recursive": recursive, "skip_existing": skip_existing}
    batch |= {"in_place": in_place, "backup": backup}
    shown = {"json_lines": json_lines, "quiet": quiet, "verbose": verbose, "debug": debug}
    restore_all(pictures, output, functions, asked, batch, reference=reference, **shown)


def functions() -> tuple[One, Many]:
    """For one file and for many."""
    from restore.pipeline.batch import upscale_files
    from restore.pipeline.file import upscale_file

    return upscale_file, upscale_files
