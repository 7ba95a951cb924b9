"""`restore evaluate`: the scores of a model over a folder, as the README's numbers are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from restore.cli.console import Debug, Device, Precision, Tile, err, out
from restore.errors import InputError

if TYPE_CHECKING:
    from restore.evaluation.benchmark import PictureScore, SetScore


def command(
    model: Annotated[str, typer.Argument(help="A name from `restore models`, or a file.")],
    data: Annotated[Path, typer.Option(help="A folder of clean pictures.")],
    noise: Annotated[
        list[str] | None, typer.Option(help="gaussian:SIGMA; may be given several times.")
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
    """Add noise to clean pictures, restore them, and print the mean PSNR and SSIM."""
    from restore.evaluation.benchmark import evaluate, parse_noise, summarise
    from restore.image.folder import list_pictures
    from restore.inference.runtime import choose_device, choose_precision, precision_name

    sigmas = [parse_noise(text) for text in noise or ["gaussian:15", "gaussian:25", "gaussian:50"]]
    files = list_pictures(data)
    used = precision_name(choose_precision(precision, choose_device(device)))
    pictures: list[PictureScore] = []
    sets: list[SetScore] = []
    for sigma in sigmas:
        scores = []
        for score in evaluate(files, model, sigma, device=device, precision=precision, tile=tile):
            scores.append(score)
            if err().is_terminal:
                err().print(f"{len(scores)}/{len(files)} sigma {sigma:g}", end="\r")
        pictures += scores
        sets.append(summarise(scores, data.name, used))
    show(sets)
    if json_file is not None:
        write_json(sets, pictures, json_file)
    if record:
        record_scores(model, sets)


def show(sets: list[SetScore]) -> None:
    """The means as a table, the protocol under it."""
    console = out()
    console.print(f"{'data':<12} {'noise':<12} {'noisy':>7} {'PSNR':>7} {'SSIM':>7} {'MP/s':>6}")
    for s in sets:
        console.print(
            f"{s.data:<12} {s.noise:<12} {s.noisy_psnr:7.3f} {s.psnr:7.3f} {s.ssim:7.4f} "
            f"{s.megapixels_per_second:6.2f}"
        )
    console.print(f"{sets[0].pictures} pictures, {sets[0].precision}; {sets[0].protocol}")


def write_json(sets: list[SetScore], pictures: list[PictureScore], path: Path) -> None:
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
