"""What `denoise` and `upscale` share: options about files, one file or many, what is printed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore.cli.console import err, out, rows
from restore.errors import InputError

if TYPE_CHECKING:
    from restore.engine.backend import Report
    from restore.pipeline.batch import Batch
    from restore.pipeline.result import LargeResult, Result


def flag(name: str, words: str) -> Any:
    """A switch, off unless it is given."""
    return typer.Option(name, help=words)


Pictures = Annotated[
    list[Path],
    typer.Argument(help="Pictures: files, folders, patterns such as 'photos/**/*.jpg'."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        help="A file, a folder, or a pattern such as '{stem}-new{ext}'; default: beside each.",
    ),
]
Format = Annotated[
    str | None, typer.Option("--format", help="png, jpeg, webp, tiff ...; default: as the name.")
]
Quality = Annotated[
    list[str] | None,
    typer.Option(
        help="1 to 100: of JPEG, WebP and AVIF; fast or best: which of a model's two sizes. "
        "May be given twice."
    ),
]
Overwrite = Annotated[bool, flag("--overwrite", "Replace outputs.")]
Recursive = Annotated[bool, flag("--recursive", "Folders in folders; -o mirrors them.")]
SkipExisting = Annotated[
    bool, flag("--skip-existing", "Leave out what has an output, however old.")
]
InPlace = Annotated[bool, flag("--in-place", "Replace pictures; wants --backup.")]
Backup = Annotated[bool, flag("--backup", "Keep each original as NAME.orig.")]
StripMetadata = Annotated[bool, flag("--strip-metadata", "Leave out EXIF, XMP, IPTC and comments.")]
JsonLines = Annotated[bool, flag("--json", "A line of JSON for each picture.")]
Quiet = Annotated[bool, flag("--quiet", "Say nothing but failures.")]

Verbose = Annotated[bool, flag("--verbose", "Say what was planned: tiles and memory.")]

SIZES = ("fast", "best")

One = Callable[..., "tuple[Result | LargeResult, Path]"]  # `denoise_file` or `upscale_file`
Many = Callable[..., "Batch"]  # `denoise_files` or `upscale_files`


def restore_all(
    pictures: list[Path],
    output: Path | None,
    find: Callable[[], tuple[One, Many]],
    asked: dict[str, Any],
    batch: dict[str, bool],
    *,
    reference: Path | None,
    json_lines: bool,
    quiet: bool,
    verbose: bool,
    debug: bool,
) -> None:
    """Do a command's work on one picture or on many, and print what became of them.

    find:  gives the functions for one file and for many; called late, for it imports torch
    asked: what both functions understand; batch: the switches that make even one file a batch
    """
    single = is_single(pictures, output) and not any(batch.values()) and not json_lines
    if reference is not None and not single:
        raise InputError("a reference belongs to one picture; give one picture, or no reference")
    one, many = find()
    with plans_shown(verbose):
        if single:
            restore_one(one, pictures[0], output, quiet, reference=reference, **asked)
            return
        from restore.cli.batch import restore_many

        restore_many(many(pictures, output, **batch, **asked), json_lines, quiet, debug)


def parse_quality(given: list[str] | None) -> tuple[str | None, int | None]:
    """What `--quality` says of the network, "fast" or "best", and of the file, a number.

    Raises InputError for what is neither, and for two of a kind.
    """
    words = [text for text in given or () if text in SIZES]
    numbers = [text for text in given or () if text.isdecimal()]
    if len(words) + len(numbers) != len(given or ()):
        wrong = next(text for text in given or () if text not in words and text not in numbers)
        raise InputError(f"--quality takes fast, best, or a number from 1 to 100, not '{wrong}'")
    if len(words) > 1 or len(numbers) > 1:
        twice = words if len(words) > 1 else numbers
        raise InputError(f"--quality cannot be both {' and '.join(twice[:2])}; give one of them")
    return (words[0] if words else None), (int(numbers[0]) if numbers else None)


def is_single(pictures: list[Path], output: Path | None) -> bool:
    """Whether one file is asked for by its name, which is no batch."""
    from restore.image.find import is_pattern
    from restore.pipeline.plan import is_output_pattern

    one = len(pictures) == 1 and not pictures[0].is_dir() and not is_pattern(pictures[0])
    return one and (output is None or not is_output_pattern(output))


def restore_one(one: One, picture: Path, output: Path | None, quiet: bool, **asked: Any) -> None:
    """One picture, and what is worth knowing about it."""
    with tile_progress(quiet) as report:
        result, written = one(picture, output, report=report, **asked)
    if not quiet:
        out().print(f"{picture} -> {written}", soft_wrap=True)
        rows(describe(result))


def describe(result: Result | LargeResult) -> dict[str, str]:
    """What a person wants to know about a restored picture, as names and values."""
    from restore.pipeline.result import Result

    if not isinstance(result, Result):
        return describe_parts(result)
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
    if result.sigma is not None:
        lines["noise"] = f"told sigma {result.sigma:.1f} of 255"
    if result.before and result.after:
        lines["before"] = f"PSNR {result.before.psnr:.2f} dB, SSIM {result.before.ssim:.4f}"
        lines["after"] = f"PSNR {result.after.psnr:.2f} dB, SSIM {result.after.ssim:.4f}"
        lines["scored as"] = result.after.protocol
    return lines


def describe_parts(done: LargeResult) -> dict[str, str]:
    """The same of a picture that went through in parts."""
    from restore.engine.memory import format_bytes

    begun = f", begun at row {done.start} by an earlier run" if done.start else ""
    return {
        "size": f"{done.width}x{done.height}, {done.height * done.width / 1e6:.2f} MP",
        "model": done.model,
        "device": f"{done.device}, {done.precision}",
        "in parts": f"of {done.window[1]}x{done.window[0]}{begun}",
        "memory": f"{format_bytes(done.memory)} planned at most",
        "time": f"{done.seconds:.2f} s, {done.megapixels_per_second:.2f} MP/s",
    }


@contextmanager
def plans_shown(wanted: bool) -> Iterator[None]:
    """What the engine plans, on standard error, as it plans it."""

    class Plans(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            err().print(record.getMessage(), soft_wrap=True)

    plans, handler = logging.getLogger("restore"), Plans()
    level = plans.level
    if wanted:
        plans.addHandler(handler)
        plans.setLevel(logging.INFO)
    try:
        yield
    finally:
        plans.removeHandler(handler)
        plans.setLevel(level)


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
