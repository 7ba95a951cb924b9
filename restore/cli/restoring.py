"""Shared by `denoise` and `upscale`: options for files, one file or many, printed output."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from restore.cli import checks
from restore.cli.console import (
    MANY,
    MESSAGES,
    OUTPUT,
    Messages,
    err,
    flag,
    out,
    rows,
    ssim_words,
)
from restore.cli.showing import PANEL, ShowFiles, Showing, check_shown, noise_words
from restore.errors import InputError

if TYPE_CHECKING:
    from restore.engine.backend import Report
    from restore.pipeline.batch import Batch
    from restore.pipeline.cluster import ClusterBatch
    from restore.pipeline.result import LargeResult, Result


Pictures = Annotated[
    list[str],
    typer.Argument(
        metavar="PICTURES",
        help="Files, folders, or quoted patterns such as 'photos/**/*.jpg'.",
        show_default=False,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="PLACE",
        help="A file, a folder (new/ is created), or a pattern such as '{stem}-new{ext}'.",
        show_default="beside each picture",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="png, jpeg, webp, tiff, avif, jp2 or bmp.",
        rich_help_panel=OUTPUT,
        show_default="by the output's name, else the picture's",
    ),
]
Quality = Annotated[
    str | None,
    typer.Option(
        metavar="1-100",
        help="Quality of JPEG, WebP and AVIF files.",
        rich_help_panel=OUTPUT,
        show_default="JPEG as the picture, else 90",
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="The clean picture: prints PSNR and SSIM against it.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
Overwrite = Annotated[bool, flag("--overwrite", "Replace existing results.")]
Fast = Annotated[bool, flag("--fast", "Use the small version of the model: faster, a bit worse.")]
StripMetadata = Annotated[
    bool, flag("--strip-metadata", "Leave out EXIF, GPS, XMP, IPTC and comments.", OUTPUT)
]
Recursive = Annotated[
    bool, flag("--recursive", "Include sub-folders; -o gets the same ones.", MANY)
]
SkipExisting = Annotated[
    bool, flag("--skip-existing", "Skip pictures that have a result, even an old one.", MANY)
]
InPlace = Annotated[bool, flag("--in-place", "Replace the pictures; needs --backup.", MANY)]
Backup = Annotated[bool, flag("--backup", "Keep each original as NAME.orig.", MANY)]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Restore on a Ray cluster: auto, or ray://HOST:10001. PICTURES and -o may be s3://...",
        rich_help_panel=MANY,
        show_default=False,
    ),
]
JsonLines = Annotated[bool, flag("--json", "Print a line of JSON for each picture.", MESSAGES)]
Quiet = Annotated[bool, flag("--quiet", "Print failures only.", MESSAGES)]
Verbose = Annotated[
    bool, flag("--verbose", "Print the noise found, and the plan: tiles, memory.", MESSAGES)
]

One = Callable[..., "tuple[Result | LargeResult, Path]"]  # `denoise_file` or `upscale_file`
Many = Callable[..., "Batch | ClusterBatch"]  # `denoise_files` or `upscale_files`


Find = Callable[[], tuple[One, Many]]  # called late, for it imports NumPy
# The parameters of both commands that go on as they were given, by what takes them.
SAVING = ("file_format", "quality", "overwrite", "strip_metadata")
BATCH = ("recursive", "skip_existing", "in_place", "backup")
COMPUTE = ("ensemble", "device", "precision", "engine", "tile", "memory")


def check_request(context: typer.Context) -> Callable[[Find, dict[str, Any]], None]:
    """All that the commands have in common: mistakes in it are refused now.

    Returns what does the work then, given the functions and the settings of the command's own.
    """
    given = context.params
    saving, batch, compute = (
        {name: given[name] for name in names} for names in (SAVING, BATCH, COMPUTE)
    )
    messages = Messages(*(given[field.name] for field in dataclasses.fields(Messages)))
    pictures, output, reference = list(given["pictures"]), given["output"], given["reference"]
    checks.check_compute(*(given[name] for name in ("precision", "engine", "tile", "memory")))
    address, compare, report = given["cluster"], given["compare"], given["report"]
    if address is not None:
        check_on_cluster(reference, compare, report)
        return lambda find, settings: restore_on_cluster(
            address, pictures, output, saving, batch, find, {**settings, **compute}, messages
        )
    files = check_files(pictures, output, reference, saving, batch)
    places = (*files.pictures, files.output, files.reference)
    shown = check_shown(context, compare, report, saving["overwrite"], *places, single=files.single)
    return lambda find, settings: restore_all(files, find, {**settings, **compute}, messages, shown)


@dataclass(frozen=True)
class Files:
    """The files of a command, and what is to happen to them.

    folder: whether the output is a folder by its name, which is made where it is missing
    """

    pictures: list[Path]
    output: Path | None
    folder: bool
    reference: Path | None
    saving: dict[str, Any]  # as `denoise_file` takes them
    batch: dict[str, bool]  # the switches of `denoise_files`; any of them makes one file a batch

    @property
    def single(self) -> bool:
        """Whether one file was given by its name, which is no batch."""
        from restore.image.find import is_output_pattern, is_pattern

        one = len(self.pictures) == 1
        one = one and not self.pictures[0].is_dir() and not is_pattern(self.pictures[0])
        pattern = self.output is not None and is_output_pattern(self.output)
        return one and not pattern and not any(self.batch.values())

    @property
    def target_folder(self) -> Path | None:
        """The folder of a single result, by the name of the output; None: that of the picture."""
        return self.output if self.output is None or self.folder else self.output.parent


def check_files(
    pictures: list[str],
    output: str | None,
    reference: str | None,
    saving: dict[str, Any],
    batch: dict[str, bool],
) -> Files:
    """The files of a command; mistakes in names and switches are refused.

    saving, batch: as in `Files`, the quality as it was typed
    """
    checks.check_switches(
        overwrite=saving["overwrite"],
        skip_existing=batch["skip_existing"],
        in_place=batch["in_place"],
        backup=batch["backup"],
    )
    checks.check_file_format(saving["file_format"])
    files = Files(
        pictures=[checks.local(given) for given in pictures],
        output=None if output is None else checks.local(output),
        folder=checks.is_folder_name(output),
        reference=None if reference is None else checks.local(reference),
        saving={**saving, "quality": checks.parse_quality(saving["quality"])},
        batch=batch,
    )
    if files.reference is not None:
        if not files.single:
            raise InputError("--reference is for one picture; give one picture, or leave it out")
        checks.check_exists(files.reference)
    checks.check_pictures(files.pictures, recursive=batch["recursive"])
    place = files.output
    if place is not None and files.single and not files.folder and not place.is_dir():
        kept = {name: value for name, value in files.saving.items() if name != "strip_metadata"}
        checks.check_output(place, **kept)
    return files


def restore_all(
    files: Files,
    find: Find,
    settings: dict[str, Any],
    messages: Messages,
    shown: ShowFiles,
) -> None:
    """Restore one picture or many, and print the outcome.

    settings: what both functions take besides the files
    shown:    the sheet and the report that are asked for
    """
    import_ahead("torch")
    one, many = find()
    everything = {**settings, **files.saving}
    quiet = messages.quiet or messages.json_lines
    with plan_shown(messages.verbose):
        # a batch has no reference to score by
        if files.single and (files.reference is not None or not messages.json_lines):
            show = Showing(shown, files.pictures[0].name, 1, settings, quiet)
            with folder_made(files.target_folder):
                restore_one(one, files, everything, messages, show)
            return
        from restore.cli.batch import restore_many

        # a `ClusterBatch` it is only where a cluster is named
        batch = cast("Batch", many(files.pictures, files.output, **files.batch, **everything))
        if not messages.quiet and not files.batch["recursive"]:
            warn_of_subfolders(files)
        show = Showing(shown, page_title(files, len(batch)), len(batch), settings, quiet)
        restore_many(batch, messages, show)


def page_title(files: Files, count: int) -> str:
    """What the report of a batch is called: the folder or the picture that was given."""
    given = files.pictures[0].name if len(files.pictures) == 1 else ""
    if count == 1 and given:
        return given
    return f"{given}: {count} pictures" if given else f"{count} pictures"


def check_on_cluster(*local: object) -> None:
    """Raises InputError for options that are for pictures of this machine."""
    if any(option is not None for option in local):
        raise InputError(
            "--reference, --compare and --report are for pictures on this machine; leave them out, "
            "or --cluster"
        )


def restore_on_cluster(  # what `check_files` and `restore_all` do here, for places of any kind
    address: str,
    pictures: list[str],
    output: str | None,
    saving: dict[str, Any],
    batch: dict[str, bool],
    find: Find,
    settings: dict[str, Any],
    messages: Messages,
) -> None:
    """Do a command's work on a Ray cluster, and print what became of the pictures."""
    checks.check_switches(
        overwrite=saving["overwrite"],
        skip_existing=batch["skip_existing"],
        in_place=batch["in_place"],
        backup=batch["backup"],
    )
    checks.check_file_format(saving["file_format"])
    saving = {**saving, "quality": checks.parse_quality(saving["quality"])}
    places = [checks.place(given) for given in pictures]
    from restore.cli.batch import run_batch

    target = None if output is None else checks.place(output)
    _, many = find()
    work = many(places, target, cluster=address, **batch, **settings, **saving)
    if run_batch(work, messages, lambda _: None):
        raise typer.Exit(1)


def import_ahead(module: str) -> threading.Thread:
    """Start to import a module on another thread, while this one imports others and reads files.

    Whoever imports it next waits for the thread, and gets its error if it has one. No garbage is
    collected in between: an import makes none, and looking for it takes a seventh of the time.
    """

    def work() -> None:
        gc.disable()
        with suppress(Exception):
            importlib.import_module(module)
        gc.freeze()  # what was imported stays, and need not be looked at again
        gc.enable()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def warn_of_subfolders(files: Files) -> None:
    """Print how many pictures in sub-folders are left out."""
    count = checks.left_out(files.pictures, files.output)
    if count:
        words = "1 picture" if count == 1 else f"{count} pictures"
        err().print(
            f"{words} in sub-folders left out; add --recursive to include them", soft_wrap=True
        )


@contextmanager
def folder_made(folder: Path | None) -> Iterator[None]:
    """Create a folder if it is missing, and remove it again if the work fails."""
    if folder is None:
        yield
        return
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be created: {error.strerror}") from error
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for place in missing:
                place.rmdir()
        raise


def restore_one(
    one: One, files: Files, settings: dict[str, Any], messages: Messages, show: Showing
) -> None:
    """Restore one picture and print a description of the result."""
    picture = files.pictures[0]
    with tile_progress(messages.quiet or messages.json_lines) as report:
        result, written = one(
            picture, files.output, reference=files.reference, report=report, **settings
        )
    if messages.json_lines:
        out().print_values(scored_values(cast("Result", result), picture, written))
    elif not messages.quiet:
        out().print(f"{picture} -> {written}", soft_wrap=True)
        rows(describe(result))
        for note in result.notes:
            err().print(f"note: {note}", soft_wrap=True)
    show.result(result, picture, written, describe(result))
    show.finish()


def scored_values(result: Result, picture: Path, written: Path) -> dict[str, Any]:
    """What `--json` tells of each picture of a batch, and the scores, those that are finite."""
    from restore.pipeline.flow import Outcome

    shared = ("seconds", "model", "sigma", "unchanged", "notes")
    done = Outcome(
        picture,
        written,
        "written",
        width=result.picture.width,
        height=result.picture.height,
        **{name: getattr(result, name) for name in shared},
    )
    sides = {"before": result.before, "after": result.after}
    scores = {
        f"{name}_{side}": getattr(found, name)
        for side, found in sides.items()
        if found is not None
        for name in ("psnr", "ssim")
    }
    return done.to_dict() | {name: v for name, v in scores.items() if math.isfinite(v)}


def describe(result: Result | LargeResult) -> dict[str, str]:
    """A description of a restored picture, as names and values."""
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
        "device": device_words(result),
        "tiles": f"{result.tiles} of {result.window[1]}x{result.window[0]}",
        "time": f"{result.seconds:.2f} s, {result.megapixels_per_second:.2f} MP/s",
    }
    lines |= noise_words(result.sigma, result.unchanged)
    if result.before and result.after:
        for side, scores in (("before", result.before), ("after", result.after)):
            lines[side] = f"PSNR {scores.psnr:.2f} dB, SSIM {ssim_words(scores.ssim)}"
        lines["scored as"] = result.after.protocol
    return lines


def device_words(result: Result | LargeResult) -> str:
    """Device and precision, and the engine unless it is torch."""
    words = f"{result.device}, {result.precision}"
    return words if result.engine == "torch" else f"{words}, {result.engine}"


def describe_parts(done: LargeResult) -> dict[str, str]:
    """The same of a picture that was processed in parts."""
    from restore.engine.memory import format_bytes

    begun = f", continued at row {done.start} of an earlier run" if done.start else ""
    return {
        "size": f"{done.width}x{done.height}, {done.height * done.width / 1e6:.2f} MP",
        "model": done.model,
        "device": device_words(done),
        "in parts": f"of {done.window[1]}x{done.window[0]}{begun}",
        "memory": f"{format_bytes(done.memory)} planned at most",
        "time": f"{done.seconds:.2f} s, {done.megapixels_per_second:.2f} MP/s",
        **noise_words(done.sigma, done.unchanged),
    }


@contextmanager
def plan_shown(wanted: bool) -> Iterator[None]:
    """The engine's plan on standard error, as it is made."""

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
