"""`restore denoise`: noisy pictures in, clean ones beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore.cli.console import Debug, Device, Ensemble, Precision, Tile, err, out, rows
from restore.errors import InputError

if TYPE_CHECKING:
    from restore.inference.engine import Report
    from restore.inference.pipeline import Result

DEFAULT_MODEL = "denoise-gaussian"


Pictures = Annotated[
    list[Path],
    typer.Argument(help="Noisy pictures: files, folders, patterns such as 'photos/**/*.jpg'."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        help="A file, a folder, or a pattern such as '{stem}-clean{ext}'; "
        "default: NAME-restored beside each.",
    ),
]
Model = Annotated[str, typer.Option(help="A name from `restore models`, or a file.")]
Strength = Annotated[float, typer.Option(help="0 (as it was) to 1 (fully restored).")]
Reference = Annotated[
    Path | None, typer.Option(help="The clean picture: prints PSNR and SSIM against it.")
]
Format = Annotated[
    str | None, typer.Option("--format", help="png, jpeg, webp, tiff ...; default: as the name.")
]
Quality = Annotated[int | None, typer.Option(help="1 to 100, of JPEG, WebP and AVIF.")]


def _flag(name: str, words: str) -> Any:
    return typer.Option(name, help=words)


def command(
    pictures: Pictures,
    output: Output = None,
    model: Model = DEFAULT_MODEL,
    strength: Strength = 1.0,
    ensemble: Ensemble = False,
    reference: Reference = None,
    file_format: Format = None,
    quality: Quality = None,
    overwrite: Annotated[bool, _flag("--overwrite", "Replace outputs.")] = False,
    recursive: Annotated[
        bool, _flag("--recursive", "Folders in folders; -o mirrors them.")
    ] = False,
    skip_existing: Annotated[
        bool, _flag("--skip-existing", "Leave out what has an output, however old.")
    ] = False,
    in_place: Annotated[bool, _flag("--in-place", "Replace pictures; wants --backup.")] = False,
    backup: Annotated[bool, _flag("--backup", "Keep each original as NAME.orig.")] = False,
    strip_metadata: Annotated[
        bool, _flag("--strip-metadata", "Leave out EXIF, XMP, IPTC and comments.")
    ] = False,
    json_lines: Annotated[bool, _flag("--json", "A line of JSON for each picture.")] = False,
    quiet: Annotated[bool, _flag("--quiet", "Say nothing but failures.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    tile: Tile = None,
    debug: Debug = False,
) -> None:
    """Denoise pictures; each result is written beside its picture, never over it."""
    asked: dict[str, Any] = {"model": model, "strength": strength, "ensemble": ensemble}
    asked |= {
        "device": device,
        "precision": precision,
        "tile": tile,
        "strip_metadata": strip_metadata,
    }
    asked |= {"file_format": file_format, "quality": quality, "overwrite": overwrite}
    flags = {"recursive": recursive, "skip_existing": skip_existing}
    flags |= {"in_place": in_place, "backup": backup}
    if is_single(pictures, output) and not any(flags.values()) and not json_lines:
        denoise_one(pictures[0], output, quiet, reference=reference, **asked)
        return
    if reference is not None:
        raise InputError("a reference belongs to one picture; give one picture, or no reference")
    from restore.cli.batch import denoise_many

    denoise_many(pictures, output, json_lines, quiet, debug=debug, **flags, **asked)


def is_single(pictures: list[Path], output: Path | None) -> bool:
    """Whether one file is asked for by its name, which is no batch."""
    from restore.image.folder import is_pattern
    from restore.inference.targets import is_output_pattern

    one = len(pictures) == 1 and not pictures[0].is_dir() and not is_pattern(pictures[0])
    return one and (output is None or not is_output_pattern(output))


def denoise_one(picture: Path, output: Path | None, quiet: bool, **asked: Any) -> None:
    """One picture, and what is worth knowing about it."""
    from restore.inference.pipeline import denoise_file

    with tile_progress(quiet) as report:
        result, written = denoise_file(picture, output, report=report, **asked)
    if not quiet:
        out().print(f"{picture} -> {written}", soft_wrap=True)
        rows(describe(result))


def describe(result: Result) -> dict[str, str]:
    """What a person wants to know about a restored picture, as names and values."""
    picture = result.picture
    kind = "grey" if picture.channels == 1 else "RGB"
    depth = "float" if picture.depth == "float" else f"{picture.depth} bit"
    lines = {
        "size": f"{picture.width}x{picture.height}, {picture.megapixels:.2f} MP, "
        f"{kind}{' + alpha' if picture.alpha is not None else ''}, {depth}",
        "model": result.model,
        "device": f"{result.device}, {result.precision}",
        "tiles": f"{result.tiles} of {result.window[1]}x{result.window[0]}",
        "time": f"{result.seconds:.2f} s, {result.megapixels_per_second:.2f} MP/s",
    }
    if result.before and result.after:
        lines["before"] = f"PSNR {result.before.psnr:.2f} dB, SSIM {result.before.ssim:.4f}"
        lines["after"] = f"PSNR {result.after.psnr:.2f} dB, SSIM {result.after.ssim:.4f}"
        lines["scored as"] = result.after.protocol
    return lines


@contextmanager
def tile_progress(quiet: bool = False) -> Iterator[Report | None]:
    """A bar over the tiles on a terminal; nothing in a pipe."""
    console = err()
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("tiles", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
