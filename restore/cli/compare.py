"""`restore compare`: PSNR and SSIM of two pictures."""

from __future__ import annotations

from typing import Annotated

import typer

from restore.cli.checks import check_exists, local
from restore.cli.console import Debug, examples, rows, ssim_words
from restore.cli.showing import Compare, OverwriteShown, ReportFile, Showing, check_shown

EPILOG = examples(
    "restore compare restored.png clean.png",
    "restore compare restored.png clean.png --compare sheet.png",
)


def command(
    context: typer.Context,
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="The picture to score.")],
    reference: Annotated[
        str, typer.Argument(metavar="REFERENCE", help="The reference to score it against.")
    ],
    channel: Annotated[
        str, typer.Option(metavar="NAME", help="rgb, or y for the luma of BT.601.")
    ] = "rgb",
    border: Annotated[int, typer.Option(metavar="PIXELS", help="Border width to leave out.")] = 0,
    compare: Compare = None,
    report: ReportFile = None,
    overwrite: OverwriteShown = False,
    debug: Debug = False,
) -> None:
    """Print PSNR and SSIM of two pictures, and show them side by side."""
    from restore.image import metrics
    from restore.image.read import load_image

    scored = metrics.check_channel(channel)
    paths = [local(given) for given in (picture, reference)]
    for path in paths:
        check_exists(path)
    shown = check_shown(context, compare, report, overwrite, *paths)
    one, other = map(load_image, paths)
    scores = metrics.compare(one, other, channel=scored, border=border)
    facts = {
        "PSNR": f"{scores.psnr:.4f} dB",
        "SSIM": ssim_words(scores.ssim, 6),
        "scored as": scores.protocol,
    }
    rows(facts)
    if shown.sheet or shown.page:
        from restore.view.pair import Pair

        name = f"{paths[0].name} and {paths[1].name}"
        pair = Pair(name, one, other, before_scores=scores, labels=("picture", "reference"))
        show = Showing(shown, name)
        show.add(pair, facts)
        show.finish()
