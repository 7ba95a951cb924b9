"""`restore models`: which models there are, and the model card of each."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore.cli.checks import local
from restore.cli.console import Debug, err, examples, out, rows
from restore.errors import InputError, ModelError, UnknownModelError, WeightsError
from restore.models.folders import added_models, available_models, find_weights

if TYPE_CHECKING:
    from restore.models.card import ModelCard

# What the protocol of a score says of the pictures that the weights were chosen on.
CHOSEN_BY, BY_TEACHER = "used to choose", "against the teacher"
EPILOG = examples("restore models", "restore models denoise-photo")
LISTED = 3  # licences of the training pictures, the most frequent first


def command(
    name: Annotated[
        str | None,
        typer.Argument(help="A model or a weights file, to print its card.", show_default=False),
    ] = None,
    add: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Keep a weights file in your own folder of models, to be used by name.",
            show_default=False,
        ),
    ] = None,
    as_name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Of the added model.", show_default="that of the file"
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole card, or all cards, as JSON.")
    ] = False,
    debug: Debug = False,
) -> None:
    """List the models that are shipped and added, print the model card of one, or add one."""
    check_adding(name, add, as_name)
    if name is not None:
        find_weights(name)  # before torch is imported
    from restore.models.weights import add_model, read_card

    if add is not None:
        out().print(f"{add} -> {add_model(local(add), as_name)}", soft_wrap=True)
        name = as_name or local(add).stem
    if name is None:
        cards = usable_cards()
        if as_json:
            print_json({model: dataclasses.asdict(card) for model, card in cards.items()})
        elif cards:
            rows({model: card.use for model, card in cards.items()})
            out().print("`restore models NAME` prints the model card of one", soft_wrap=True)
        return
    card = read_card(name)
    if as_json:
        print_json(dataclasses.asdict(card))
        return
    path = find_weights(name)
    try:
        lines = summary(card, path)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise WeightsError(f"{path} has a model card that is not as others; see --json") from error
    out().print(card.name)
    rows(lines)


def check_adding(name: str | None, add: str | None, as_name: str | None) -> None:
    """InputError for options that contradict or need each other, before torch is imported."""
    if add is not None and name is not None:
        raise InputError("give a model to print its card, or --add FILE, but not both")
    if as_name is not None and add is None:
        raise InputError("--name goes with --add; give the file of the model to add")
    if add is not None and not local(add).is_file():
        raise UnknownModelError(f"{add} does not exist; give a weights file")


def usable_cards() -> dict[str, ModelCard]:
    """The cards of all models by name; an added one that cannot be used is said to be so."""
    from restore.models.weights import read_card

    cards = {model: read_card(path) for model, path in available_models().items()}
    for model, path in added_models().items():
        try:
            cards[model] = read_card(path)
        except ModelError as error:
            err().print(f"{model} cannot be used: {error}", soft_wrap=True)
    return cards


def print_json(values: dict[str, Any]) -> None:
    """Indented, to standard output."""
    out().print_values(values, 2)


def summary(card: ModelCard, path: Path) -> dict[str, str]:
    """The card in a few lines: use, task, size, training data, licence, scores, limits."""
    lines = {
        "use": card.use,
        "task": card.task if card.scale == 1 else f"{card.task} by {card.scale}",
        "file": f"{path} ({path.stat().st_size / 1e6:.1f} MB)",
        "licence": card.licence,
    }
    if card.trained_on or "loaded_by" not in card.training:
        lines["trained on"] = trained_on(card.trained_on)
    scores: dict[str, list[str]] = {}
    for score in card.scores:
        data = " ".join(str(score[key]) for key in ("data", "precision") if score.get(key))
        title = "validation on" if CHOSEN_BY in score.get("protocol", "") else "scores on"
        scores.setdefault(f"{title} {data}", []).append(score_words(score))
    lines |= {data: "; ".join(words) for data, words in scores.items()}
    lines |= {f"limit {number}": words for number, words in enumerate(card.limits, 1)}
    return lines


def trained_on(sources: dict[str, Any]) -> str:
    """How many pictures of which data, and under which licences."""
    words = f"{sources.get('pictures', 'unknown')} pictures"
    if "data" in sources:
        words += f" of {sources['data']}"
    licences = sources.get("licences")
    if isinstance(licences, dict) and licences:
        ordered = sorted(licences, key=lambda name: -licences[name])
        listed = [f"{licences[name]} {name}" for name in ordered[:LISTED]]
        words += f": {', '.join(listed)}"
        if rest := sum(licences[name] for name in ordered[LISTED:]):
            words += f", {rest} others"
    return words


def score_words(score: dict[str, Any]) -> str:
    """One score of a card, such as "gaussian:25 31.33 dB (lowest 24.10 dB, test012.png)"."""
    if "error" in score:  # of the estimator
        return f"{score.get('noise', '')} mean error of ln(level) {score['error']:.3f}".strip()
    if "psnr" not in score:  # of an autoencoder
        names = ("squared_error", "negative_elbo", "activation", "denoising_error")
        return ", ".join(f"{n.replace('_', ' ')} {score[n]:.4g}" for n in names if n in score)
    ratio = "unchanged" if score["psnr"] is None else f"{score['psnr']:.2f} dB"
    lowest = ""
    if score.get("min_psnr") is not None:
        lowest = f" (lowest {score['min_psnr']:.2f} dB, {score.get('worst')})"
    target = " to the teacher's results" if BY_TEACHER in score.get("protocol", "") else ""
    return f"{score.get('noise', '')} {ratio}{target}{lowest}".strip()
