"""`restore evaluate`: the scores of a model over a folder, as the README's numbers are made."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from restore.cli.console import Debug, Device, Ensemble, Precision, Tile, err, out
from restore.errors import InputError

if TYPE_CHECKING:
    from restore.evaluation.benchmark import SetScore
    from restore.evaluation.testsets import Degradation

DEFAULT_NOISE = ("gaussian:15", "gaussian:25", "gaussian:50")
Score = TypeVar("Score")
Scored = tuple["list[SetScore]", list[Any]]  # the means of each set, and each picture's scores


def command(
    model: Annotated[str, typer.Argument(help="A name from `restore models`, a file, or bicubic.")],
    data: Annotated[Path, typer.Option(help="A folder of clean pictures, or of pairs.")],
    noise: Annotated[
        list[str] | None,
        typer.Option(help="gaussian:SIGMA, jpeg:QUALITY or none; may be given several times."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="2, 3, 4: make the pictures small; of an upscaler its own.")
    ] = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="DATA holds the folders clean (or gt) and noisy.")
    ] = False,
    sigma: Annotated[
        str | None,
        typer.Option(help="What the model is told of the noise: known, auto or a level, 0-255."),
    ] = None,
    ensemble: Ensemble = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write every picture's score there.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write the means into the weights file's card.")
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    tile: Tile = None,
    debug: Debug = False,
) -> None:
    """Degrade clean pictures, or take pairs; restore; print the mean PSNR and SSIM."""
    from restore.engine.device import choose_device, choose_precision, precision_name
    from restore.evaluation.superresolution import parse_scale
    from restore.evaluation.testsets import PAIRS, parse_degradation

    if pairs and noise:
        raise InputError("--pairs brings its own noise; leave out --noise, or --pairs")
    factor = parse_scale(model, scale)
    if factor is not None and (noise or pairs):
        raise InputError(f"{model} is scored on pictures made small; leave --noise and --pairs out")
    if record and model == "bicubic":
        raise InputError("bicubic has no card to record scores in; leave --record out")
    chosen = precision_name(choose_precision(precision, choose_device(device)))
    used = "fp32" if model == "bicubic" else chosen
    settings: dict[str, Any] = {"device": device, "precision": precision, "tile": tile}
    settings["ensemble"] = ensemble
    if factor is not None:
        if sigma is not None:
            raise InputError("an upscaler is told no noise level; leave --sigma out")
        sets, pictures = score_scale(data, model, factor, used, settings)
    else:
        degradations = (
            [PAIRS] if pairs else [parse_degradation(text) for text in noise or DEFAULT_NOISE]
        )
        sets, pictures = score_degradations(
            data, model, degradations, used, {**settings, "sigma": sigma}
        )
    show(sets)
    if json_file is not None:
        write_json(sets, pictures, json_file)
    if record:
        record_scores(model, sets)


def score_degradations(
    data: Path, model: str, degradations: list[Degradation], used: str, settings: dict[str, Any]
) -> Scored:
    """A denoiser with each degradation."""
    from restore.evaluation.benchmark import evaluate, summarise
    from restore.evaluation.testsets import cases

    pictures: list[Any] = []
    sets = []
    for degradation in degradations:
        count = len(cases(data, degradation))
        scores = follow(evaluate(data, model, degradation, **settings), count, degradation.name)
        pictures += scores
        sets.append(summarise(scores, data.name, used, degradation, settings["sigma"]))
    return sets, pictures


def score_scale(data: Path, model: str, scale: int, used: str, settings: dict[str, Any]) -> Scored:
    """An upscaler, or bicubic interpolation, at its scale."""
    from restore.evaluation.superresolution import evaluate_scale, summarise_scale
    from restore.image.find import list_pictures

    files = list_pictures(data)
    scores = follow(evaluate_scale(files, model, scale, **settings), len(files), f"x{scale}")
    return [summarise_scale(scores, data.name, used)], list(scores)


def follow(scores: Iterable[Score], total: int, what: str) -> list[Score]:
    """All of them, counted on a terminal as they come."""
    done = []
    for score in scores:
        done.append(score)
        if err().is_terminal:
            err().print(f"{len(done)}/{total} {what}", end="\r")
    return done


def show(sets: list[SetScore]) -> None:
    """The means as a table, the protocol under it."""
    console = out()
    console.print(
        f"{'data':<12} {'degradation':<12} {'before':>7} {'PSNR':>7} {'SSIM':>7} {'MP/s':>6}"
    )
    for s in sets:
        noisy = float("inf") if s.noisy_psnr is None else s.noisy_psnr
        console.print(
            f"{s.data:<12} {s.noise:<12} {noisy:7.3f} {s.psnr:7.3f} {s.ssim:7.4f} "
            f"{s.megapixels_per_second:6.2f}"
        )
    told = "" if sets[0].told is None else f"; told the noise level ({sets[0].told})"
    console.print(f"{sets[0].pictures} pictures, {sets[0].precision}; {sets[0].protocol}{told}")


def write_json(sets: list[SetScore], pictures: list[Any], path: Path) -> None:
    """The means and each picture's scores."""
    import dataclasses

    data = {
        "means": [s.to_dict() for s in sets],
        "pictures": [dataclasses.asdict(p) for p in pictures],
    }
    try:
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def record_scores(model: str, sets: list[SetScore]) -> None:
    """Put the means into the card, in place of older ones of the same data, noise and precision."""
    from restore.models.weights import find_weights, read_card, replace_scores

    path = find_weights(model)
    new = [s.to_dict() for s in sets]
    keys = [_measured(s) for s in new]
    kept = [s for s in read_card(path).scores if _measured(s) not in keys]
    for score in new:
        score.pop("megapixels_per_second")  # a property of the machine, not of the weights
    replace_scores(path, kept + new)


def _measured(score: dict[str, Any]) -> tuple[Any, ...]:
    """What a newer score takes the place of an older one by."""
    return tuple(score.get(key) for key in ("data", "noise", "precision", "told"))
