"""`restore models`: which weights there are, and what each says about itself."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from restore.cli.console import Debug, out, rows


def command(
    name: Annotated[str | None, typer.Argument(help="A model, to print its whole card.")] = None,
    debug: Debug = False,
) -> None:
    """List the models, or print the card of one."""
    from restore.models.weights import available_models, read_card

    if name is not None:
        card = dataclasses.asdict(read_card(name))
        out().print(json.dumps(card, indent=2, ensure_ascii=False), soft_wrap=True)
        return
    for model, path in available_models().items():
        card_of = read_card(path)
        out().print(model)
        rows(
            {
                "task": card_of.task,
                "file": f"{path} ({path.stat().st_size / 1e6:.1f} MB)",
                "licence": card_of.licence,
                **{s["data"]: f"{s['noise']}: {s['psnr']:.2f} dB" for s in card_of.scores},
            }
        )
