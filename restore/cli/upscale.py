"""`restore upscale`: small pictures in, larger ones beside them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from restore.cli import checks
from restore.cli.console import (
    MODEL,
    Debug,
    Device,
    Engine,
    Ensemble,
    Memory,
    Precision,
    Tile,
    examples,
)
from restore.cli.restoring import (
    Backup,
    Cluster,
    Fast,
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
    Reference,
    SkipExisting,
    StripMetadata,
    Verbose,
    check_request,
)
from restore.cli.showing import Compare, ReportFile

EPILOG = examples(
    "restore upscale small.png --scale 2",
    "restore upscale small.jpg --fit 3840x2160 -o large.png",
    "restore upscale old.jpg --scale 4 --model upscale-photo-x4",
    "restore upscale photos --scale 2 --recursive -o large/ --fast",
)


def _size(metavar: str, words: str) -> Any:
    """A size as text, so that mistakes in it get an error message of this package."""
    return typer.Option(metavar=metavar, help=words, show_default=False)


Scale = Annotated[str | None, _size("FACTOR", "How many times as large: 2, 3.5 ... up to 16.")]
Width = Annotated[str | None, _size("PIXELS", "The width of the result.")]
Height = Annotated[str | None, _size("PIXELS", "The height of the result.")]
Fit = Annotated[str | None, _size("WIDTHxHEIGHT", "As large as fits into a box: 3840x2160.")]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A name from `restore models`, a weights file, or bicubic.",
        rich_help_panel=MODEL,
        show_default="by the size",
    ),
]
BackProjection = Annotated[
    int,
    typer.Option(
        metavar="STEPS",
        help="0 to 20 corrections, so that the result, downscaled, equals the picture.",
        rich_help_panel=MODEL,
    ),
]


Strength = Annotated[
    float,
    typer.Option(
        metavar="0-1",
        help="How much of the measured noise is removed first.",
        rich_help_panel=MODEL,
    ),
]


def command(
    context: typer.Context,
    pictures: Pictures,
    scale: Scale = None,
    width: Width = None,
    height: Height = None,
    fit: Fit = None,
    output: Output = None,
    fast: Fast = False,
    overwrite: Overwrite = False,
    file_format: Format = None,
    quality: Quality = None,
    strip_metadata: StripMetadata = False,
    model: Model = None,
    back_projection: BackProjection = 0,
    ensemble: Ensemble = False,
    strength: Strength = 1.0,
    recursive: Recursive = False,
    skip_existing: SkipExisting = False,
    in_place: InPlace = False,
    backup: Backup = False,
    cluster: Cluster = None,
    device: Device = "auto",
    precision: Precision = "auto",
    engine: Engine = "auto",
    tile: Tile = None,
    memory: Memory = None,
    reference: Reference = None,
    compare: Compare = None,
    report: ReportFile = None,
    json_lines: JsonLines = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Make pictures larger. Each result is a new file; the originals are kept."""
    from restore.tasks.target_size import make_size
    from restore.tasks.task import check_strength

    restore_pictures = check_request(context)  # with the parameters that both commands have
    make_size(scale, width, height, fit)
    check_strength(strength)
    settings: dict[str, Any] = {
        "model": _chosen(model, fast),
        "scale": scale,
        "width": width,
        "height": height,
        "fit": fit,
        "back_projection": back_projection,
        "strength": strength,
    }
    restore_pictures(functions, settings)


def _chosen(model: str | None, fast: bool) -> str | None:
    """The model that was named, or its small version; None: by the size."""
    from restore.models.folders import fast_version
    from restore.tasks.upscale import BICUBIC, SMALL

    if model in (None, SMALL):
        return SMALL if fast else model
    model = checks.check_model(model, BICUBIC, SMALL)
    return fast_version(model) if fast else model


def functions() -> tuple[One, Many]:
    """For one file and for many."""
    from restore.pipeline.batch import upscale_files
    from restore.pipeline.file import upscale_file

    return upscale_file, upscale_files
