"""A shipped model made better for the pictures of one person, in minutes, and whether it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from restore.engine.compute import Compute
from restore.errors import TrainingError
from restore.evaluation.testsets import has_pairs
from restore.image.find import list_pictures
from restore.image.metrics import psnr
from restore.image.picture import Pixels
from restore.image.read import load_image
from restore.models.card import ModelCard
from restore.models.unet import UNet
from restore.models.weights import load_own, save_weights
from restore.pipeline.picture import restore_picture
from restore.tasks.denoise import denoising
from restore.tasks.noise_level import estimate_noise
from restore.tasks.target_size import make_size
from restore.tasks.task import Task
from restore.tasks.upscale import upscaling
from restore.training.crops import PictureStore, build_store, fitting_side, store_of
from restore.training.degradations.pairs import Pair, ValidationSet
from restore.training.job import (
    LIMITS,
    check_outputs,
    describe,
    describe_sources,
    origin,
    training_facts,
)
from restore.training.loop import MOST_PSNR, Limits, Progress, Training, score, seconds_a_step
from restore.training.recipe import Recipe, make_recipe
from restore.training.record import save_sheet
from restore.training.sources import Degraded, Given, GivenValidation, Source, pairs_of
from restore.training.supervise import supervise

HELD_OUT = 5  # of so many pictures one is held out
FEWEST = 3  # pictures
SHARE = 0.85  # of the time that the steps may take; the rest is for validation
FEWEST_STEPS, TIMED_STEPS = 20, 1000
VALIDATIONS, PATIENCE = 12, 5
LARGEST = 768  # pixels of a held-out picture's side that is scored at the end
JITTER = 0.15  # of the noise inputs
HARM = 0.3  # dB that are lost on other pictures, from which on it is warned of
KEPT = ("network", "scale", "channels", "widths", "blocks", "noise_inputs", "degradation",
        "conditioned", "jitter", "overstated", "sigma", "sigma_power", "patterned", "clean",
        "flat", "grey", "weight_decay", "validate_sigma")  # fmt: skip
# colour photographs that scikit-image carries; none of the shipped models was trained on them
OTHERS = ("astronaut", "chelsea", "coffee", "rocket")
OTHERS_SIDE = 192  # pixels


@dataclass(frozen=True)
class FineTuning:
    """What the person asked for.

    model:  to begin with
    data:   a folder of clean pictures, or of pairs in `noisy/` and `clean/`
    output: the weights file; None: `MODEL-own.safetensors`
    steps:  None: as many as fit into the time limit
    """

    model: str
    data: Path
    output: Path | None = None
    steps: int | None = None
    seed: int = 0
    overwrite: bool = False
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True)
class Gain:
    """Mean PSNR in decibels, of the pictures as they are, of the model before and after."""

    given: float
    before: float
    after: float


@dataclass(frozen=True)
class Parts:
    """The pictures of a fine-tuning: those to learn from and those held out."""

    source: Source
    validation: Iterable[Pair]  # the middle of each held-out picture
    scored: Iterable[Pair]  # more of each, for the comparison at the end
    held_out: list[str]
    count: int


def finetune(
    asked: FineTuning, limits: Limits
) -> Iterator[Progress | str | tuple[str, Gain] | Path]:
    """Fine-tune; yields words, progress, gains with their names, and at last the weights file.

    Raises TrainingError where nothing came of it; then no weights are written.
    """
    before = load_own(asked.model)
    name = f"{Path(asked.model).stem}-own"
    weights = asked.output or Path(f"{name}.safetensors")
    check_outputs(weights, asked.overwrite, resumable=False)
    recipe = tuning_recipe(before, weights.stem, asked)
    parts = split(recipe, asked.data, before)
    yield (
        f"{parts.count} pictures to learn from; held out to judge by: {', '.join(parts.held_out)}"
    )
    each = None
    if asked.steps is None and limits.seconds is not None:
        recipe, each = fitted(recipe, parts.source, asked, limits.seconds)
    training = Training(recipe, asked.device, asked.precision)
    training.start_from(before)
    training.best = score(training, parts.validation)  # no worse is ever kept
    yield f"{recipe.name}: {describe(training)}, {training.best:.3f} dB on the held-out pictures"
    limits = dataclasses.replace(limits, patience=PATIENCE)
    # compiling takes a minute or two, and these are ten
    yield from supervise(
        training, parts.source, parts.validation, weights, limits, compiled=False, each=each
    )
    after = training.best_network()
    assert before.card is not None
    after.card = dataclasses.replace(before.card, training=training_facts(training))
    after.noise = after.card.noise
    gain = compare(parts.scored, before, after, weights, Compute(asked.device, asked.precision))
    if gain.after <= gain.before:
        raise TrainingError(
            f"nothing came of it: {gain.before:.2f} dB on the held-out pictures before, "
            f"{gain.after:.2f} dB after; give more pictures or more time; no weights are written"
        )
    yield "held out", gain
    others = on_others(training, before)
    yield "other pictures", others
    if others.after < others.before - HARM:
        yield (
            "warning: on other pictures it is worse than before; use it for pictures like "
            "yours alone"
        )
    save_weights(after, make_card(training, before, asked, gain, others), weights)
    yield weights


def tuning_recipe(network: UNet, name: str, asked: FineTuning) -> Recipe:
    """The recipe: the network and the degradation of the model's own, and small steps."""
    card = network.card
    known = card.training.get("recipe") if card else None
    if not isinstance(known, dict):
        raise TrainingError(
            f"the card of {asked.model} has no recipe to go on from; give a model of this package"
        )
    values = make_recipe(known, asked.model).to_dict()
    values = {key: values[key] for key in KEPT}
    paired = has_pairs(asked.data)
    if paired and network.scale > 1:
        raise TrainingError(
            f"{asked.model} enlarges pictures, which are made small here; give a folder of sharp "
            "pictures, without noisy/ and clean/"
        )
    # trained with the noise inputs that it gets when it restores pictures
    inputs = int(network.arguments.get("noise_inputs", 0))
    conditioned = inputs > 1 or (inputs == 1 and not paired)
    values |= {
        "conditioned": 1.0 if conditioned else 0.0,
        "noise_inputs": max(1, inputs) if conditioned else 1,
    }
    if paired:
        values |= {"degradation": "pairs"}
    steps = asked.steps or TIMED_STEPS
    small = network.scale > 1
    return make_recipe(
        {
            **values,
            "name": name,
            "loss": "log_mse",
            "steps": steps,
            "batch": [8],
            "patch": [48 if small else 96],
            "stages": [0.0],
            "kernel_rate": 0.005,
            "other_rate": 0.0003,
            "warmup": max(1, min(30, steps // 10)),
            "decay": 0.9,
            "ema": 0.99,
            "validate_every": max(1, steps // VALIDATIONS),
            "validate_side": 252 if network.scale == 3 else 256,
            "seed": asked.seed,
        },
        name,
    )


def fitted(
    recipe: Recipe, source: Source, asked: FineTuning, seconds: float
) -> tuple[Recipe, list[float]]:
    """The recipe with as many steps as fit into the time on this machine, and what one takes."""
    trial = Training(recipe, asked.device, asked.precision)
    each = seconds_a_step(trial, source.to(trial.device))
    steps = max(FEWEST_STEPS, int(SHARE * seconds / each[0]))
    changes = {
        "steps": steps,
        "warmup": max(1, min(30, steps // 10)),
        "validate_every": max(1, steps // VALIDATIONS),
    }
    return make_recipe({**recipe.to_dict(), **changes}, recipe.name), each


def split(recipe: Recipe, folder: Path, network: UNet) -> Parts:
    """The pictures of a folder, every fifth held out; the same ones in every run."""
    paired = recipe.degradation == "pairs"
    files = pairs_of(folder) if paired else [[file] for file in list_pictures(folder)]
    if len(files) < FEWEST:
        raise TrainingError(
            f"{folder} holds {len(files)} pictures, and {FEWEST} are needed at least: some to "
            "learn from and one to judge by; twenty are better"
        )
    held_out = files[HELD_OUT // 2 :: HELD_OUT]
    learned = [group for group in files if group not in held_out]
    side = recipe.patch[0] * recipe.scale
    store = store_of(learned, recipe.channels, side, folder, or_else="")
    if paired:
        check_none_left_out(store, learned, side)
    names = [group[-1].name for group in held_out]
    judged = store_of(held_out, recipe.channels, side, folder, or_else="")
    check_none_left_out(judged, held_out, side)
    multiple = network.multiple_of
    if not paired:
        fitting = fitting_side(judged, recipe.validate_side, multiple * recipe.scale)
        validation = ValidationSet(judged, dataclasses.replace(recipe, validate_side=fitting))
        return Parts(Degraded(store, recipe), validation, validation, names, len(store))
    ours = Given(store, inputs=measured_inputs(learned, network), jitter=JITTER)
    theirs = Given(judged, inputs=measured_inputs(held_out, network))
    return Parts(
        ours,
        GivenValidation(theirs, recipe.validate_side, multiple),
        GivenValidation(theirs, LARGEST, multiple),
        names,
        len(store),
    )


def check_none_left_out(store: PictureStore, groups: list[list[Path]], side: int) -> None:
    """Raises TrainingError where a picture was too small to be taken."""
    if len(store) < len(groups):
        raise TrainingError(
            f"of {', '.join(group[-1].name for group in groups)} at least one is not {side} pixels "
            "high and wide; leave it out, or give larger ones"
        )


def measured_inputs(pairs: Iterable[list[Path]], network: UNet) -> Tensor | None:
    """The noise inputs that the network gets for each noisy picture; None: it takes none."""
    if network.noise_inputs < 2:
        return None
    return torch.tensor([estimate_noise(load_image(noisy).pixels).conditions for noisy, _ in pairs])


def compare(
    pairs: Iterable[Pair], before: UNet, after: UNet, weights: Path, compute: Compute
) -> Gain:
    """What the whole way through the pipeline gives, before and after, and a sheet of both."""
    given, scores, shown = [], [], []
    for pair in pairs:
        for clean, degraded in zip(_arrays(pair.clean), _arrays(pair.degraded), strict=True):
            restored = [
                restore_picture(degraded, task_of(network), compute, output="picture").picture
                for network in (before, after)
            ]
            scores.append([decibels(each.pixels, clean) for each in restored])
            fits = degraded.shape == clean.shape
            given.append(decibels(degraded, clean) if fits else float("nan"))
            shown.append([degraded, restored[0].pixels, restored[1].pixels, clean])
    means = [fmean(each) for each in zip(*scores, strict=True)]
    save_sheet(sheet_of(weights), shown, ("given", "before", "after", "clean"))
    return Gain(fmean(given), means[0], means[1])


def decibels(picture: Pixels, clean: Pixels) -> float:
    """PSNR, counted as in validation: one picture without an error makes no mean infinite."""
    return min(psnr(picture, clean, data_range=1), MOST_PSNR)


def sheet_of(weights: Path) -> Path:
    """Where the comparison before and after is drawn."""
    return weights.with_suffix(".before-after.png")


def task_of(network: UNet) -> Task:
    """What `restore denoise` or `restore upscale` would do with it."""
    if network.scale == 1:
        return denoising(network)
    return upscaling(make_size(network.scale, None, None, None), network)


def on_others(training: Training, before: UNet) -> Gain:
    """The networks before and after on photographs that have nothing to do with the person's.

    They are degraded as the model's own training did it, the same in every run.
    """
    import skimage.data

    card = before.card
    assert card is not None
    own = make_recipe(card.training["recipe"], "the card").to_dict()
    recipe = make_recipe({**own, "validate_side": OTHERS_SIDE}, "the card")
    pairs = ValidationSet(build_store([getattr(skimage.data, name)() for name in OTHERS]), recipe)
    trial = Training(recipe, str(training.device))
    scores = []
    for network in (before, training.best_network()):
        trial.start_from(network)
        scores.append(score(trial, pairs))
    return Gain(float("nan"), scores[0], scores[1])


def make_card(
    training: Training, before: UNet, asked: FineTuning, gain: Gain, others: Gain
) -> ModelCard:
    """The card of the model before, with what was done since and what it gave."""
    assert before.card is not None
    measured: list[tuple[str, Gain, str]] = [
        (
            asked.data.name,
            gain,
            "mean RGB PSNR of the held-out pictures, through the pipeline, none counted above "
            f"{MOST_PSNR:g} dB",
        ),
        (
            ", ".join(OTHERS),
            others,
            "mean RGB PSNR, degraded as the first training did it, of the network alone",
        ),
    ]
    scores: list[dict[str, Any]] = [
        {
            "data": data,
            "noise": training.recipe.degradation,
            "psnr": round(each.after, 3),
            "psnr_before": round(each.before, 3),
            "protocol": protocol,
        }
        for data, each, protocol in measured
    ]
    limits = LIMITS[training.recipe.degradation]
    return dataclasses.replace(
        before.card,
        name=training.recipe.name,
        arguments=training.network.arguments,
        trained_on=describe_sources(asked.data),
        training={**training_facts(training), "started_from": origin(before.card)},
        scores=scores,
        limits=limits,
    )


def _arrays(pictures: Tensor) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    for picture in pictures.cpu():
        yield picture.permute(1, 2, 0).float().clamp(0, 1).numpy()
