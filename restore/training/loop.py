"""The training loop, readable from top to bottom: crops, noise, loss, step, average, validate."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from restore.engine.device import choose_device
from restore.errors import TrainingError
from restore.models.denoiser import Denoiser
from restore.models.unet import UNet
from restore.models.upscaler import Upscaler
from restore.training.checkpoint import load_checkpoint, save_checkpoint
from restore.training.crops import PictureStore
from restore.training.degradations.pairs import DEGRADATIONS, Pair, ValidationSet
from restore.training.losses import LOSSES, psnr_of_batch
from restore.training.optimiser import build_optimisers
from restore.training.precision import autocast, training_precision
from restore.training.recipe import Recipe, make_recipe
from restore.training.teacher import Teacher

MOST_PSNR = 50.0  # dB that a picture counts in validation: beyond it no difference is visible
COMPILE_PAYS = 300  # steps: compiling costs about a minute


@dataclass(frozen=True)
class Progress:
    """One step of a training, as the command line shows it."""

    step: int
    steps: int
    loss: float  # running mean
    pictures_per_second: float
    seconds_left: float
    psnr: float | None = None  # where this step was validated: mean over the validation levels
    best: float | None = None  # the best of those so far


class Training:
    """A network in training, with all the state that a checkpoint must hold."""

    def __init__(self, recipe: Recipe, device: str = "auto", precision: str = "auto") -> None:
        """A fresh start of a recipe on a device; `precision` is that of the convolutions."""
        self.recipe = recipe
        self.device = choose_device(device)
        self.dtype = training_precision(precision, self.device)
        network = build_network(recipe)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.best_weights = _on_cpu(self.average.state_dict())
        self.best: float | None = None
        self.optimisers = build_optimisers(
            self.network, recipe.kernel_rate, recipe.other_rate, recipe.weight_decay
        )
        self.base_rates = [[g["lr"] for g in o.param_groups] for o in self.optimisers]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.generator = torch.Generator(self.device).manual_seed(recipe.seed)
        self.teacher: Teacher | None = None
        self.step = 0
        self.seconds = 0.0
        self.loss = float("nan")

    def state(self) -> dict[str, Any]:
        """All that is needed to go on, as tensors and plain values."""
        return {
            "recipe": self.recipe.to_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "loss": self.loss,
            "best": self.best,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "best_weights": self.best_weights,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "scaler": self.scaler.state_dict(),
            "generator": self.generator.get_state(),
        }

    def start_from(self, weights: UNet) -> None:
        """Begin with the kernels of another network, to train it further.

        It has the same shape, or less blocks: those that are new begin as the identity, so that the
        deeper network begins with what the other could do. It may be conditioned on more or fewer
        numbers about the noise, or be blind. An upscaler may start from one of another scale: all
        but its last layer is taken.
        """
        ours, theirs = self.network.arguments, weights.arguments
        kernels = weights.state_dict()
        free = {"scale": None, "blocks": None, "noise_inputs": None}
        deeper = all(a >= b for a, b in zip(ours["blocks"], theirs["blocks"], strict=False))
        if {**ours, **free} != {**theirs, **free} or not deeper:
            raise TrainingError(
                f"the weights to start from have the shape {theirs}, "
                f"the recipe {ours}; they must agree, but for more blocks in the recipe"
            )
        if ours.get("scale") != theirs.get("scale"):
            kernels.pop("tail.weight")
        _fit_level(kernels, self.network.state_dict())
        kernels = with_new_blocks(kernels, self.network.state_dict())
        self.network.load_state_dict(kernels)
        self.average.load_state_dict(kernels)
        self.best_weights = _on_cpu(self.average.state_dict())

    def learn_from(self, teacher: UNet) -> None:
        """Aim at another network's answers instead of the clean pictures; see `teacher`."""
        if teacher.channels != self.recipe.channels or teacher.scale != self.recipe.scale:
            raise TrainingError(
                f"the teacher is a network of {teacher.channels} channels and scale "
                f"{teacher.scale}, the recipe's of {self.recipe.channels} and {self.recipe.scale}"
            )
        self.teacher = Teacher(teacher, self.recipe.antithetic, self.device, self.dtype)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe; only its number of steps may differ."""
        state = load_checkpoint(path)
        ours = self.recipe.to_dict()
        theirs = make_recipe(state["recipe"], str(path)).to_dict()
        differing = [k for k in ours if k != "steps" and ours[k] != theirs[k]]
        if differing:
            raise TrainingError(
                f"{path} was made with another recipe ({', '.join(differing)} differ); "
                "resume it with its own, or start afresh under another name"
            )
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.scaler.load_state_dict(state["scaler"])
        self.generator.set_state(state["generator"])
        self.best_weights, self.best = state["best_weights"], state["best"]
        self.step, self.seconds, self.loss = state["step"], state["seconds"], state["loss"]

    def best_network(self) -> UNet:
        """The averaged network as it was when it validated best, on the CPU in float32."""
        network = build_network(self.recipe)
        network.load_state_dict(self.best_weights)
        return network.eval()


def _fit_level(kernels: dict[str, Tensor], fresh: dict[str, Tensor]) -> None:
    """Fit the weights of the noise inputs to a network with more or fewer: the first are kept."""
    theirs, ours = kernels.pop("level", None), fresh.get("level")
    if theirs is None or ours is None:
        return
    width = ours.shape[-1]
    level = torch.zeros_like(ours).view(-1, width)
    common = min(len(level), theirs.numel() // width)
    level[:common] = theirs.view(-1, width)[:common]
    kernels["level"] = level.view(ours.shape)


def with_new_blocks(kernels: dict[str, Tensor], fresh: dict[str, Tensor]) -> dict[str, Tensor]:
    """The kernels, and fresh ones for what they lack, whose blocks do nothing at first.

    A residual block whose second convolution is zero is the identity (Chen et al., "Net2Net", ICLR
    2016; Zhang et al., "Fixup initialization", ICLR 2019).
    """
    new = {
        name: torch.zeros_like(kernel) if name.endswith("conv2.weight") else kernel
        for name, kernel in fresh.items()
        if name not in kernels
    }
    return {**kernels, **new}


def build_network(recipe: Recipe) -> UNet:
    """The recipe's network with its first kernels."""
    if recipe.network == "upscaler":
        return Upscaler(recipe.scale, recipe.channels, recipe.widths, recipe.blocks, recipe.seed)
    return Denoiser(
        recipe.channels,
        recipe.widths,
        recipe.blocks,
        recipe.seed,
        noise_inputs=recipe.noise_inputs if recipe.conditioned else 0,
    )


def train(
    training: Training,
    pictures: PictureStore,
    validation: PictureStore | None,
    checkpoint: Path | None = None,
    *,
    time_limit: float | None = None,
    save_every: float = 300.0,
    compiled: bool | None = None,
) -> Iterator[Progress]:
    """Train until the recipe's last step or the time limit; yields after every step.

    time_limit: seconds from now; what was reached is validated and saved when it is over
    save_every: seconds between two checkpoints
    compiled:   whether to compile the step; None: where a compiler exists and enough steps remain
    Without validation pictures the latest average counts as the best. With a teacher the scores are
    against its answers.
    """
    recipe = training.recipe
    compute_loss = _loss_function(training, compiled)
    pictures = pictures.to(training.device)
    degradation = DEGRADATIONS[recipe.degradation]
    pairs = None if validation is None else ValidationSet(validation, recipe)
    started, before = time.monotonic(), training.seconds
    saved, steps_here, shown = started, 0, 0
    while training.step < recipe.steps:
        batch, patch = recipe.stage(training.step)
        draw = partial(_crops, pictures, training, batch)
        pair = degradation(draw, patch, recipe, training.generator)
        if training.teacher is not None:
            pair = training.teacher.taught(pair, training.generator)
        loss = compute_loss(pair.degraded, pair.clean, pair.sigma)
        _update(training, loss)
        training.step += 1
        steps_here, shown = steps_here + 1, shown + batch

        elapsed = time.monotonic() - started
        training.seconds = before + elapsed
        over = time_limit is not None and elapsed >= time_limit
        last = over or training.step == recipe.steps
        score = None
        if last or training.step % recipe.validate_every == 0:
            score = _validate(training, pairs)
        if checkpoint and (last or time.monotonic() - saved >= save_every):
            save_checkpoint(training.state(), checkpoint)
            saved = time.monotonic()
        _follow_loss(training, loss)
        left = (recipe.steps - training.step) * elapsed / steps_here
        if time_limit is not None:
            left = min(left, max(0.0, time_limit - elapsed))
        yield Progress(
            training.step, recipe.steps, training.loss, shown / elapsed, left, score, training.best
        )
        if over:
            return


def _crops(pictures: PictureStore, training: Training, count: int, side: int) -> Tensor:
    return pictures.crops(count, side, training.generator, training.recipe.candidates)


def _loss_function(training: Training, compiled: bool | None) -> Any:
    loss = LOSSES[training.recipe.loss]
    network: nn.Module = training.network

    def compute(noisy: Tensor, clean: Tensor, sigma: Tensor | None) -> Tensor:
        with autocast(training.device, training.dtype):
            restored = network(noisy) if sigma is None else network(noisy, sigma)
        return loss(restored.float(), clean)

    if compiled is None:
        remaining = training.recipe.steps - training.step
        compiled = remaining >= COMPILE_PAYS and _compiler_exists(training.device)
    return torch.compile(compute, dynamic=False) if compiled else compute


def _compiler_exists(device: torch.device) -> bool:
    if device.type == "cpu":
        return bool(shutil.which("g++") or shutil.which("clang++"))
    return device.type == "cuda"  # torch's CUDA builds bring Triton


def _update(training: Training, loss: Tensor) -> None:
    rate = training.recipe.rate(training.step)
    training.scaler.scale(loss).backward()
    for optimiser, rates in zip(training.optimisers, training.base_rates, strict=True):
        for group, base in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = base * rate
        training.scaler.step(optimiser)
        optimiser.zero_grad(set_to_none=True)
    training.scaler.update()
    # a young average must forget its beginning sooner
    decay = min(training.recipe.ema, (1 + training.step) / (10 + training.step))
    averages, weights = list(training.average.parameters()), list(training.network.parameters())
    torch._foreach_lerp_(averages, [w.detach() for w in weights], 1 - decay)


def _follow_loss(training: Training, loss: Tensor) -> None:
    """Keep a running mean; reading the loss waits for the device, so only every tenth step."""
    if training.step % 10 and training.loss == training.loss:
        return
    value = float(loss.detach())
    if value != value:
        raise TrainingError("the loss is not a number any more; lower the learning rates")
    fresh = training.loss != training.loss
    training.loss = value if fresh else 0.9 * training.loss + 0.1 * value


@torch.no_grad()
def _validate(training: Training, pairs: ValidationSet | None) -> float | None:
    """Mean PSNR of the averaged network over the validation pairs, none counted above 50 dB.

    A network with one noise input is run blind, one with three is given all of them.
    """
    score = None
    if pairs is not None:
        scores = []
        generator = torch.Generator(training.device).manual_seed(0)
        for clean, degraded, sigma in pairs:
            noise = None if sigma is None or sigma.ndim == 1 else sigma.to(training.device)
            pair = Pair(clean, degraded, noise)
            if training.teacher is not None and noise is None:
                pair = training.teacher.taught(pair, generator)
            with autocast(training.device, training.dtype):
                given = degraded.to(training.device)
                restored = (
                    training.average(given) if noise is None else training.average(given, noise)
                )
            scores.append(psnr_of_batch(restored.float().clamp(0, 1).cpu(), pair.clean.cpu()))
        score = float(torch.cat(scores).clamp(max=MOST_PSNR).mean())
    if score is None or training.best is None or score >= training.best:
        training.best, training.best_weights = score, _on_cpu(training.average.state_dict())
    return score


def _on_cpu(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().to("cpu", copy=True) for key, value in weights.items()}
