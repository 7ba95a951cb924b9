"""`restore denoise`: noisy pictures in, clean ones beside them."""

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
from restore.models.folders import fast_version

DEFAULT_MODEL = "denoise-photo"
EPILOG = examples(
    "restore denoise photo.jpg",
    "restore denoise photo.jpg -o softer.jpg --strength 0.7",
    "restore denoise photos --recursive -o clean/ --fast",
)

Model = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="A name from `restore models`, or a weights file.",
        rich_help_panel=MODEL,
    ),
]
Strength = Annotated[
    float, typer.Option(metavar="0-1", help="From 0 (unchanged) to 1 (fully restored).")
]
Detail = Annotated[
    float | None,
    typer.Option(
        metavar="0-1",
        help="How much fine texture to give back, from 0 (none) to 1 (the most).",
        show_default="0.5 for denoise-photo",
    ),
]
SigmaOption = Annotated[
    str | None,
    typer.Option(
        "--sigma",
        metavar="LEVEL",
        help="The noise level to remove, up to 255; or auto, for white noise.",
        show_default="found by the model",
    ),
]


def command(
    context: typer.Context,
    pictures: Pictures,
    output: Output = None,
    strength: Strength = 1.0,
    detail: Detail = None,
    sigma: SigmaOption = None,
    fast: Fast = False,
    overwrite: Overwrite = False,
    file_format: Format = None,
    quality: Quality = None,
    strip_metadata: StripMetadata = False,
    model: Model = DEFAULT_MODEL,
    ensemble: Ensemble = False,
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
    """Remove noise from pictures. Each result is a new file; the originals are kept."""
    from restore.tasks.task import check_detail, check_strength, parse_sigma

    restore_pictures = check_request(context)  # with the parameters that both commands have
    check_strength(strength)
    if detail is not None:
        check_detail(detail)
    if sigma is not None:
        parse_sigma(sigma)
    model = checks.check_model(model)
    settings: dict[str, Any] = {
        "model": fast_version(model) if fast else model,
        "sigma": sigma,
        "strength": strength,
        "detail": detail,
    }
    restore_pictures(functions, settings)


def functions() -> tuple[One, Many]:
    """For one file and for many."""
    from restore.pipeline.batch import denoise_files
    from restore.pipeline.file import denoise_file

    return denoise_file, denoise_files
