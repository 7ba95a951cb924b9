"""`restore evaluate`: the scores of a model over a folder, as the README's numbers are made."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from restore.cli.console import Debug, Device, Precision, Tile, err, out
from restore.errors import InputError

if TYPE_CHECKING:
    from restore.evaluation.benchmark import SetScore

DEFAULT_NOISE = ["gaussian:15", "gaussian:25", "gaussian:50"]
Score = TypeVar("Score")
Scored = tuple["list[SetScore]", list[Any]]  # the means of each set, and each picture's scores


def command(
    model: Annotated[str, typer.Argument(help="A name from `restore models`, a file, or bicubic.")],
    data: Annotated[Path, typer.Option(help="A folder of clean pictures.")],
    noise: Annotated[
        list[str] | None, typer.Option(help="gaussian:SIGMA; may be given several times.")
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="2, 3, 4: make the pictures small; of an upscaler its own.")
    ] = None,
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
    """Degrade clean pictures, restore them, and print the mean PSNR and SSIM."""
    from restore.evaluation.superresolution import parse_scale
    from restore.image.folder import list_pictures
    from restore.inference.runtime import choose_device, choose_precision, precision_name

    factor = parse_scale(model, scale)
    if factor is not None and noise:
        raise InputError("pictures are scored with noise or made small, not both; leave one out")
    if record and model == "bicubic":
        raise InputError("bicubic has no card to record scores in; leave --record out")
    files = list_pictures(data)
    used = precision_name(choose_precision(precision, choose_device(device)))
    settings: dict[str, Any] = {"device": device, "precision": precision, "tile": tile}
    if factor is not None:
        sets, pictures = score_scale(files, model, factor, data.name, used, settings)
    else:
        sets, pictures = score_noise(
            files, model, noise or DEFAULT_NOISE, data.name, used, settings
        )
    show(sets)
    if json_file is not None:
        write_json(sets, pictures, json_file)
    if record:
        record_scores(model, sets)


def score_noise(
    files: list[Path], model: str, noise: list[str], data: str, used: str, settings: dict[str, Any]
) -> Scored:
    """A denoiser at each noise level."""
    from restore.evaluation.benchmark import evaluate, parse_noise, summarise

    pictures: list[Any] = []
    sets = []
    for sigma in [parse_noise(text) for text in noise]:
        scores = follow(evaluate(files, model, sigma, **settings), len(files), f"sigma {sigma:g}")
        pictures += scores
        sets.append(summarise(scores, data, used))
    return sets, pictures


def score_scale(
    files: list[Path], model: str, scale: int, data: str, used: str, settings: dict[str, Any]
) -> Scored:
    """An upscaler, or bicubic interpolation, at its scale."""
    from restore.evaluation.superresolution import evaluate_scale, summarise_scale

    scores = follow(evaluate_scale(files, model, scale, **settings), len(files), f"x{scale}")
    return [summarise_scale(scores, data, used)], list(scores)


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
    console.print(f"{'data':<12} {'fault':<12} {'before':>7} {'PSNR':>7} {'SSIM':>7} {'MP/s':>6}")
    for s in sets:
        console.print(
            f"{s.data:<12} {s.noise:<12} {s.noisy_psnr:7.3f} {s.psnr:7.3f} {s.ssim:7.4f} "
            f"{s.megapixels_per_second:6.2f}"
        )
    console.print(f"{sets[0].pictures} pictures, {sets[0].precision}; {sets[0].protocol}")


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
    keys = {(s["data"], s["noise"], s["precision"]) for s in new}
    kept = [
        s for s in read_card(path).scores if (s["data"], s["noise"], s.get("precision")) not in keys
    ]
    for score in new:
        score.pop("megapixels_per_second")  # a property of the machine, not of the weights
    replace_scores(path, kept + new)
