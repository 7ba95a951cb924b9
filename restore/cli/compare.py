"""`restore compare`: how alike two pictures are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from restore.cli.console import Debug, rows


def command(
    picture: Annotated[Path, typer.Argument(help="The picture to score.")],
    reference: Annotated[Path, typer.Argument(help="What it should look like.")],
    channel: Annotated[str, typer.Option(help="rgb, or y for the luma of BT.601.")] = "rgb",
    border: Annotated[int, typer.Option(help="Pixels left out on each side.")] = 0,
    debug: Debug = False,
) -> None:
    """Print PSNR and SSIM of two pictures."""
    from restore.image.metrics import check_channel, compare
    from restore.image.read import load_image

    scores = compare(
        load_image(picture), load_image(reference), channel=check_channel(channel), border=border
    )
    rows(
        {
            "PSNR": f"{scores.psnr:.4f} dB",
            "SSIM": f"{scores.ssim:.6f}",
            "scored as": scores.protocol,
        }
    )
