"""A training from the command's words to the weights file: data in, loop, card, file out."""

from __future__ import annotations

import csv
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from restore.engine.device import device_name, precision_name
from restore.errors import TrainingError
from restore.image.find import list_pictures
from restore.models.card import ModelCard
from restore.models.upscaler import Upscaler
from restore.models.weights import load_own, read_card, save_weights
from restore.training.crops import PictureStore, load_store, store_of
from restore.training.degradations.pairs import Pair, ValidationSet
from restore.training.distributed import Processes
from restore.training.loop import Limits, Progress, Training
from restore.training.noise_model import measure_noise
from restore.training.recipe import ALONE, GIVEN_NAMES, Recipe, load_recipe, make_recipe
from restore.training.record import paths_beside
from restore.training.rounding import close_precisions
from restore.training.self_supervised import doubts, scheme_for
from restore.training.sources import (
    Degraded,
    Given,
    GivenValidation,
    Noisy,
    Recorrupted,
    Source,
    pairs_of,
    shots_of,
)
from restore.training.supervise import supervise

LIMITS: dict[str, list[str]] = {
    "gaussian": [
        "Trained on additive white Gaussian noise alone: noise that a camera has demosaiced, "
        "sharpened and compressed is spatially correlated, and much of it is taken for texture.",
        "Noise levels above those of the recipe were not trained.",
    ],
    "photo": [
        "Trained on synthetic noise of cameras and files: bands, hot pixels, dust, grain of film "
        "and noise much coarser than two pixels were not among it.",
        "It goes by the noise that is estimated for each picture: too high an estimate smooths "
        "fine texture, too low a one leaves noise. Texture without order (sand, grass) is in "
        "part taken for noise, and coarse noise in part for texture.",
        "Fine texture as weak as the noise (grass, fabric, hair in the shade) is smoothed with it.",
        "Pure white Gaussian noise is left to a model trained on it alone, which is better at it; "
        "where it is strong, this one takes it for noise added to light and brightens a little.",
    ],
    "bicubic": [
        "Trained on pictures that an antialiased bicubic filter made small and that are otherwise "
        "perfect: of noise and of the blocks of JPEG it makes details.",
    ],
    "second-order": [
        "Trained on synthetic blur, resizing, noise and JPEG: it smooths what it takes for noise, "
        "and on perfect small pictures it is less faithful than the model for those.",
    ],
    "pairs": [
        "Fine-tuned on pairs of one kind: noise of other cameras and settings may be left or be "
        "taken for texture.",
    ],
    "shots": [
        "Learned from shots of the same scenes alone: what is equal in all shots, such as a fixed "
        "pattern of the sensor, is kept.",
    ],
    "neighbours": [
        "Learned from noisy pictures alone, as if the noise of neighbouring pixels were "
        "independent: noise that is spread over several pixels is kept as if it were detail.",
        "Noise levels beyond those of the pictures were not trained.",
    ],
    "recorrupted": [
        "Learned from noisy pictures alone and the noise that was measured in their even places: "
        "noise of another spectrum or strength, noise coarser than 16 pixels, stripes and hot "
        "pixels are left or taken for texture.",
    ],
}

ASSUMED = {
    "shots": (
        "learning from several shots of each scene: nothing may move between them, and what is "
        "alike in all of them, such as a fixed pattern of the sensor, is taken for the picture",
    ),
    "neighbours": (
        "learning from noisy pictures alone: the noise of neighbouring pixels must be independent "
        "and its mean zero; JPEG, demosaicing and scaling break that",
    ),
    "recorrupted": (
        "learning from noisy pictures alone, whose noise is spread over neighbouring pixels: more "
        "noise like it is added, as measured in even places; it must be about Gaussian, of one "
        "spectrum in all pictures and mean zero, and its strength may depend on the brightness",
    ),
}
UNSUPERVISED = {  # in any recipe; nobody knows the noise, so it is no input
    "loss": "mse",  # whose best answer under noise is the mean; of l1 it is the median
    "conditioned": 0.0,
    "noise_inputs": 1,
    "antithetic": 0.0,
}


@dataclass(frozen=True)
class Job:
    """What the person asked for."""

    recipe: str  # a shipped name or a TOML file
    changes: dict[str, Any]  # to the recipe's values
    data: Path
    validation: Path | None = None
    output: Path | None = None
    start_from: str | None = None  # a model whose weights are trained further
    teacher: str | None = None  # a model whose answers are the aim, instead of clean pictures
    self_supervised: bool = False  # the data are noisy pictures, or several shots of each scene
    resume: bool = False
    overwrite: bool = False
    accumulate: int = 1  # passes of each process for a batch
    device: str = "auto"
    precision: str = "auto"


def run_job(
    job: Job,
    limits: Limits | None = None,
    *,
    compiled: bool | None = None,
    processes: Processes | None = None,
) -> Iterator[Progress | str | Path]:
    """Train and write the weights; yields words, progress after each step, and at last the file.

    The checkpoint lies beside the weights file, and so does the record. Raises TrainingError before
    anything is computed where an output exists and neither `resume` nor `overwrite` says what to do
    with it. Of several processes one writes.
    """
    recipe = job_recipe(job)
    weights = job.output or Path(f"{recipe.name}.safetensors")
    checkpoint = weights.with_suffix(".checkpoint")
    check_outputs(weights, job.resume or job.overwrite)
    training = Training(
        recipe, job.device, job.precision, processes=processes, accumulate=job.accumulate
    )
    if job.resume:
        training.resume(checkpoint)
    elif job.start_from is not None:
        training.start_from(load_own(job.start_from))
    if job.teacher is not None:
        training.learn_from(load_own(job.teacher))
    elif recipe.antithetic:
        raise TrainingError(
            f"the recipe '{recipe.name}' adds noise to a teacher's input, and no teacher is "
            "given; name one with --teacher, or set antithetic to 0"
        )
    yield f"{recipe.name}: {describe(training)}"
    yield from ASSUMED.get(recipe.degradation, ())
    if recipe.degradation in ALONE:
        yield from doubts(job.data, recipe.degradation)
    source, pictures = open_source(recipe, job.data)
    if isinstance(source, Recorrupted):
        yield f"noise measured: {source.noise}"
    validation = None if job.validation is None else open_validation(recipe, job.validation)
    yield f"{len(pictures)} pictures, {len(pictures.samples) / 1e6:.0f} MP, in memory"
    if isinstance(source, Degraded) and recipe.halved:
        yield (
            f"{len(source.halvable)} of them are at least {source.halved_side} pixels high and "
            "wide, and are used at half the size, too"
        )
    yield from supervise(
        training,
        source,
        validation,
        weights,
        limits or Limits(),
        checkpoint=checkpoint,
        compiled=compiled,
    )
    if training.processes.main:
        network = training.best_network()
        close = close_precisions(network) if isinstance(network, Upscaler) else []
        card = dataclasses.replace(make_card(training, job), close=close)
        save_weights(network, card, weights)
    if training.clock >= 1:
        yield f"the time is over at step {training.step} of {recipe.steps}; --resume goes on"
    elif training.step < recipe.steps:
        yield f"stopped at step {training.step} of {recipe.steps}; --resume goes on"
    yield weights


def job_recipe(job: Job) -> Recipe:
    """The recipe with what was asked for changed."""
    recipe = load_recipe(job.recipe, **job.changes)
    if not job.self_supervised:
        return recipe
    if recipe.scale > 1:
        raise TrainingError(
            f"'{recipe.name}' enlarges pictures, and --self-supervised trains denoisers; give the "
            "recipe of a denoiser such as denoise-gaussian-fast"
        )
    if recipe.degradation in ALONE:
        kind = recipe.degradation
    elif job.data.is_dir() and shots_of(job.data):
        kind = "shots"
    else:
        kind = scheme_for(job.data)
    return make_recipe({**recipe.to_dict(), "degradation": kind, **UNSUPERVISED}, job.recipe)


def open_source(recipe: Recipe, folder: Path) -> tuple[Source, PictureStore]:
    """The pictures of a folder as the recipe takes them, and the store that holds them."""
    side, channels = max(recipe.patch) * recipe.scale, recipe.channels
    if recipe.degradation in ("pairs", "shots"):
        files = pairs_of(folder) if recipe.degradation == "pairs" else shots_of(folder)
        store = store_of(files, channels, side, folder)
        return Given(store, swap=recipe.degradation == "shots"), store
    if recipe.degradation == "neighbours":
        store = load_store(folder, channels, 2 * side)
        return Noisy(store), store
    if recipe.degradation == "recorrupted":
        store = load_store(folder, channels, side)
        noise = measure_noise(store.picture(index).numpy() for index in range(len(store)))
        if noise is None:
            raise TrainingError(
                f"no noise was found in the even places of the pictures in {folder}; give noisy "
                "pictures, or train with clean ones, without --self-supervised"
            )
        return Recorrupted(store, noise), store
    store = load_store(folder, channels, side)
    return Degraded(store, recipe), store


def open_validation(recipe: Recipe, folder: Path) -> Iterable[Pair]:
    """The validation pairs in a folder: of clean pictures, or, where nothing is made, of pairs."""
    if recipe.degradation not in GIVEN_NAMES:
        smaller = ", or a smaller validate_side in the recipe"
        store = load_store(folder, recipe.channels, recipe.validate_side, smaller)
        return ValidationSet(store, recipe)
    multiple = 2 ** (len(recipe.widths) - 1)
    store = store_of(pairs_of(folder), recipe.channels, multiple, folder, or_else="")
    return GivenValidation(Given(store), recipe.validate_side, multiple)


def describe(training: Training) -> str:
    """Network, device and precision in a few words."""
    count = sum(p.numel() for p in training.network.parameters())
    where = f"{device_name(training.device)}, {str(training.dtype).removeprefix('torch.')}"
    return f"{count / 1e6:.2f} M parameters on {where}, from step {training.step}"


def make_card(training: Training, job: Job) -> ModelCard:
    """What the weights file says about itself, all of it read off the training."""
    recipe = training.recipe
    scores = []
    if training.best is not None and job.validation is not None:
        protocol = f"mean RGB PSNR, centre {recipe.validate_side} px, float, used to choose"
        if recipe.patterned:
            protocol += f", fine patterns in {recipe.patterned:g} of the pictures"
        if recipe.noise_inputs > 1:
            protocol += ", conditioned on the noise, none counted above 50 dB"
        elif job.teacher is not None and recipe.taught == 1:
            protocol += ", against the teacher's answers"
        scores = [
            {
                "data": job.validation.name,
                "noise": describe_degradation(recipe),
                "psnr": round(training.best, 3),
                "protocol": protocol,
            }
        ]
    return ModelCard(
        name=recipe.name,
        task="denoise" if recipe.scale == 1 else "upscale",
        architecture=type(training.network).__name__,
        arguments=training.network.arguments,
        scale=recipe.scale,
        trained_on=describe_sources(job.data),
        training={**training_facts(training), **_lineage(job)},
        scores=scores,
        limits=LIMITS[recipe.degradation],
    )


def training_facts(training: Training) -> dict[str, Any]:
    """How a network came to be, for its card."""
    limited = {} if training.time_limit is None else {"time_limit": training.time_limit}
    return {
        **limited,
        "recipe": training.recipe.to_dict(),
        "seed": training.recipe.seed,
        "steps": training.step,
        "hours": round(training.seconds / 3600, 2),
        "device": device_name(training.device),
        "precision": precision_name(training.dtype),
        "torch": torch.__version__,
    }


def describe_degradation(recipe: Recipe) -> str:
    """What was done to the validation pictures, such as "gaussian:15/25/50" or "bicubic:4"."""
    if recipe.degradation == "gaussian":
        return "gaussian:" + "/".join(f"{sigma:g}" for sigma in recipe.validate_sigma)
    return recipe.degradation if recipe.scale == 1 else f"{recipe.degradation}:{recipe.scale}"


def _lineage(job: Job) -> dict[str, Any]:
    """The trainings that the weights started from and learned from, where there were such."""
    models = {"started_from": job.start_from, "taught_by": job.teacher}
    return {key: origin(read_card(model)) for key, model in models.items() if model is not None}


def origin(before: ModelCard) -> dict[str, Any]:
    """The training of a model from which another one goes on."""
    return {"name": before.name, "version": before.version, **before.training}


def describe_sources(folder: Path) -> dict[str, Any]:
    """How many pictures of which licence and source, where the folder has a SOURCES.csv."""
    found: dict[str, Any] = {"pictures": len(list_pictures(folder))}
    table = folder / "SOURCES.csv"
    if not table.is_file():
        return found
    with open(table, newline="", encoding="utf-8") as file:
        entries = list(csv.DictReader(file))
    for column, key in (("licence", "licences"), ("source_repo", "sources")):
        counts = Counter(entry[column] for entry in entries if entry.get(column))
        found[key] = dict(counts.most_common())
    return found


def check_outputs(weights: Path, replaced: bool, resumable: bool = True) -> None:
    """Raises TrainingError for a name or folder that cannot be written, and for what exists."""
    if weights.suffix != ".safetensors":
        raise TrainingError(f"weights are written as .safetensors; {weights} is named otherwise")
    if not weights.resolve().parent.is_dir():
        raise TrainingError(f"there is no folder {weights.parent} to write the weights into")
    for path in (weights, weights.with_suffix(".checkpoint"), *paths_beside(weights)):
        if path.exists() and not replaced:
            advice = "--resume to go on or --overwrite" if resumable else "--overwrite"
            raise TrainingError(f"{path} exists; pass {advice} to replace it")
