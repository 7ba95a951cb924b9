"""`restore compare`: PSNR and SSIM of two pictures."""

from __future__ import annotations

from typing import Annotated

import typer

from restore.cli.checks import check_exists, local
from restore.cli.console import Debug, examples, rows

EPILOG = examples("restore compare restored.png clean.png")


def command(
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="The picture to score.")],
    reference: Annotated[
        str, typer.Argument(metavar="REFERENCE", help="The reference to score it against.")
    ],
    channel: Annotated[
        str, typer.Option(metavar="NAME", help="rgb, or y for the luma of BT.601.")
    ] = "rgb",
    border: Annotated[int, typer.Option(metavar="PIXELS", help="Border width to leave out.")] = 0,
    debug: Debug = False,
) -> None:
    """Print PSNR and SSIM of two pictures."""
    from restore.image.metrics import check_channel, compare
    from restore.image.read import load_image

    scored = check_channel(channel)
    paths = [local(given) for given in (picture, reference)]
    for path in paths:
        check_exists(path)
    scores = compare(*map(load_image, paths), channel=scored, border=border)
    rows(
        {
            "PSNR": f"{scores.psnr:.4f} dB",
            "SSIM": f"{scores.ssim:.6f}",
            "scored as": scores.protocol,
        }
    )
