"""`restore models`: which weights there are, and what each says about itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restore.cli.console import Debug, out, rows

if TYPE_CHECKING:
    from restore.models.card import ModelCard


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
        out().print(model)
        rows(summary(read_card(path), path))


def summary(card: ModelCard, path: Path) -> dict[str, str]:
    """What tells one model from another: task, size, licence, and its scores by data set."""
    scores: dict[str, list[str]] = {}
    for score in card.scores:
        text = f"{score['noise']} {score['psnr']:.2f} dB"
        precision = f" ({score['precision']})" if "precision" in score else ""
        scores.setdefault(score["data"] + precision, []).append(text)
    return {
        "task": card.task,
        "file": f"{path} ({path.stat().st_size / 1e6:.1f} MB)",
        "licence": card.licence,
        **{data: ", ".join(texts) for data, texts in scores.items()},
    }
