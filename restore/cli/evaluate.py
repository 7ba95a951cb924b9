"""`restore evaluate`: the scores of a model on a test set, as the documentation reports them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restore.cli import checks
from restore.cli.console import (
    Debug,
    Ensemble,
    OneDevice,
    Precision,
    Tile,
    check_one_device,
    err,
    examples,
    flag,
    option,
    out,
)
from restore.cli.showing import PANEL, ReportFile, Showing, check_shown
from restore.errors import InputError
from restore.models.folders import find_weights

if TYPE_CHECKING:
    from restore.evaluation.benchmark import PictureScore, SetScore
    from restore.evaluation.testsets import Degradation

DEFAULT_NOISE = ("gaussian:15", "gaussian:25", "gaussian:50")
EPILOG = examples(
    "restore evaluate denoise-gaussian --data CBSD68 --noise gaussian:25",
    "restore evaluate denoise-photo --data CC15 --pairs",
    "restore evaluate upscale-x4 --data Set5",
)


Model = Annotated[
    str, typer.Argument(help="A name from `restore models`, a weights file, or bicubic.")
]
Data = Annotated[
    Path, option("Test set", "A folder of clean pictures, or of two folders with --pairs.")
]
Noise = Annotated[
    list[str] | None,
    option(
        "Test set",
        "The degradation added to the pictures: gaussian:SIGMA, jpeg:QUALITY or none; may be "
        "given several times.",
        show_default=", ".join(DEFAULT_NOISE),
    ),
]
Pairs = Annotated[
    bool,
    option("Test set", "Score pairs: DATA has the folders clean (or gt) and noisy.", "--pairs"),
]
Scale = Annotated[
    str | None,
    option("Test set", "The scale to score bicubic at, 2 to 8; an upscaler has its own."),
]
Sigma = Annotated[
    str | None,
    option(
        "Model",
        "The noise level given to the model: known (the one added), auto, or 0 to 255.",
    ),
]
AsJson = Annotated[
    bool,
    option("Output", "Print JSON, with the scores of every picture, not a table.", "--json"),
]
Record = Annotated[
    bool,
    option("Output", "Store the scores in the model card of the weights file.", "--record"),
]
Overwrite = Annotated[bool, flag("--overwrite", "Replace a report that is there already.", PANEL)]


def command(
    context: typer.Context,
    model: Model,
    data: Data,
    noise: Noise = None,
    pairs: Pairs = False,
    scale: Scale = None,
    sigma: Sigma = None,
    ensemble: Ensemble = False,
    as_json: AsJson = False,
    record: Record = False,
    report: ReportFile = None,
    overwrite: Overwrite = False,
    device: OneDevice = "auto",
    precision: Precision = "auto",
    tile: Tile = None,
    debug: Debug = False,
) -> None:
    """Score a model on a test set: mean PSNR and SSIM, and the worst pictures."""
    checks.check_compute(precision, tile=tile)
    check_one_device(device, "evaluate", "name one, such as cuda:1")
    model = checks.check_model(model, "bicubic")
    from restore.engine.device import choose_device, choose_precision, precision_name
    from restore.evaluation.benchmark import parse_scale, to_plain
    from restore.evaluation.testsets import PAIRS, clean_files, parse_degradation
    from restore.image.find import list_pictures

    if record and model == "bicubic":
        raise InputError("bicubic has no model card to store scores in; leave --record out")
    if ensemble and model == "bicubic":
        raise InputError("bicubic is no network to average over; leave --ensemble out")
    factor = parse_scale(model, scale)
    check_degradation(model, factor is not None, noise, pairs, sigma)
    shown = check_shown(context, None, report, overwrite)
    chosen = precision_name(choose_precision(precision, choose_device(device)))
    used = "fp32" if model == "bicubic" else chosen
    settings: dict[str, Any] = {"device": device, "precision": precision, "tile": tile}
    settings["ensemble"] = ensemble
    count = len(list_pictures(data) if not pairs else clean_files(data, PAIRS))
    count *= 1 if factor is not None or pairs else len(noise or DEFAULT_NOISE)
    words = {"model": model, "data": str(data), "scale": factor, "sigma": sigma, **settings}
    page = Showing(shown, f"{model} on {data.name}: {count} pictures", count, words, as_json)
    if page.wanted:
        settings["see"] = lambda pair, facts: page.add(pair, facts, model=model)
    if factor is not None:
        results = [score_scale(data, model, factor, used, settings)]
    else:
        degradations = (
            [PAIRS] if pairs else [parse_degradation(text) for text in noise or DEFAULT_NOISE]
        )
        settings["sigma"] = sigma
        results = [score_degradation(data, model, d, used, settings) for d in degradations]
    sets = [total for total, _ in results]
    if as_json:
        pictures = [to_plain(score) for _, scores in results for score in scores]
        values = {"means": [to_plain(s) for s in sets], "pictures": pictures}
        out().print_values(values, 1)
    else:
        show(sets)
    page.finish()
    if record:
        record_scores(model, sets)


def check_degradation(
    model: str, small: bool, noise: list[str] | None, pairs: bool, sigma: str | None
) -> None:
    """Raises InputError where the options about the degradation exclude each other.

    small: whether the degradation is that the pictures are made small
    """
    if pairs and noise:
        raise InputError("--pairs needs no --noise, the pictures have it; leave one of them out")
    if small and (noise or pairs):
        raise InputError(f"{model} is scored on pictures made small; leave --noise and --pairs out")
    if small and sigma is not None:
        raise InputError("an upscaler takes no noise level; leave --sigma out")


def score_degradation(
    data: Path, model: str, degradation: Degradation, precision: str, settings: dict[str, Any]
) -> tuple[SetScore, list[PictureScore]]:
    """A denoiser on a set with one degradation: the whole set, and each picture."""
    from restore.evaluation.benchmark import evaluate, summarise
    from restore.evaluation.testsets import clean_files

    count = len(clean_files(data, degradation))
    scores = follow(evaluate(data, model, degradation, **settings), count)
    protocol, sigma = degradation.protocol, settings["sigma"]
    return summarise(scores, data.name, precision, protocol, sigma), scores


def score_scale(
    data: Path, model: str, scale: int, precision: str, settings: dict[str, Any]
) -> tuple[SetScore, list[PictureScore]]:
    """An upscaler, or bicubic interpolation, at one scale: the whole set, and each picture."""
    from restore.evaluation.benchmark import evaluate_scale, scale_protocol, summarise
    from restore.image.find import list_pictures

    files = list_pictures(data)
    scores = follow(evaluate_scale(files, model, scale, **settings), len(files))
    return summarise(scores, data.name, precision, scale_protocol(scale)), scores


def follow(scores: Iterable[PictureScore], total: int) -> list[PictureScore]:
    """All scores, counted on a terminal as they come."""
    done = []
    for score in scores:
        done.append(score)
        if err().is_terminal:
            err().print(f"{len(done)}/{total} pictures, {score.noise}", end="\r")
    return done


def show(sets: list[SetScore]) -> None:
    """The means with the worst cases beside them, and the protocol below."""
    console = out()
    console.print(
        f"{'data':<12} {'degradation':<12} {'before':>7} {'PSNR':>7} {'SSIM':>7} {'MP/s':>6}  "
        f"{'lowest PSNR':<30}  smallest gain",
        soft_wrap=True,
    )
    for s in sets:
        before = float("inf") if s.noisy_psnr is None else s.noisy_psnr
        lowest = f"{s.min_psnr:.3f} ({s.worst})"
        gain = "" if s.min_gain is None else f"{s.min_gain:+.3f} dB ({s.least_gained})"
        line = (
            f"{s.data:<12} {s.noise:<12} {before:7.3f} {s.psnr:7.3f} {s.ssim:7.4f} "
            f"{s.megapixels_per_second:6.2f}  {lowest:<30}  {gain}"
        )
        console.print(line.rstrip(), soft_wrap=True)
    for s in {s.protocol: s for s in sets}.values():  # one line for all sets of one protocol
        given = "" if s.sigma is None else f"; noise level given to the model: {s.sigma}"
        words = f"{s.pictures} pictures, {s.precision}; {s.protocol}{given}"
        console.print(words, soft_wrap=True)


def record_scores(model: str, sets: list[SetScore]) -> None:
    """Store the scores in the model card; they replace older ones of the same measurement."""
    from restore.evaluation.benchmark import to_plain
    from restore.models.weights import read_card, replace_scores

    path = find_weights(model)
    new = [to_plain(s) for s in sets]
    measured = [identity(s) for s in new]
    others = [s for s in read_card(path).scores if identity(s) not in measured]
    for score in new:
        score.pop("megapixels_per_second")  # a property of the machine, not of the weights
    replace_scores(path, others + new)


def identity(score: dict[str, Any]) -> tuple[Any, ...]:
    """What was measured: data, degradation, precision, and the noise level given to the model."""
    given = score.get("sigma", score.get("told"))  # its name in older cards
    return score.get("data"), score.get("noise"), score.get("precision"), given
