"""`restore denoise`: one noisy picture in, a clean one beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restore.cli.console import Debug, Device, Precision, Tile, err, out, rows

if TYPE_CHECKING:
    from restore.inference.engine import Report
    from restore.inference.pipeline import Result

DEFAULT_MODEL = "denoise-gaussian"


def command(
    picture: Annotated[Path, typer.Argument(help="The noisy picture.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where to write; default: NAME-restored beside it."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A name from `restore models`, or a file.")
    ] = DEFAULT_MODEL,
    strength: Annotated[float, typer.Option(help="0 (as it was) to 1 (fully restored).")] = 1.0,
    reference: Annotated[
        Path | None, typer.Option(help="The clean picture: prints PSNR and SSIM against it.")
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="png, jpeg, webp, tiff ...; default: as the name."),
    ] = None,
    quality: Annotated[int | None, typer.Option(help="1 to 100, of a JPEG or WebP output.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    tile: Tile = None,
    debug: Debug = False,
) -> None:
    """Denoise a picture; the result is written beside it, never over it."""
    from restore.inference.pipeline import denoise_file

    with tile_progress() as report:
        result, written = denoise_file(
            picture,
            output,
            file_format=file_format,
            quality=quality,
            overwrite=overwrite,
            model=model,
            strength=strength,
            reference=reference,
            device=device,
            precision=precision,
            tile=tile,
            report=report,
        )
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
def tile_progress() -> Iterator[Report | None]:
    """A bar over the tiles on a terminal; nothing in a pipe."""
    console = err()
    if not console.is_terminal:
        yield None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("tiles", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
