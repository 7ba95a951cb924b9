"""The training loop, readable from top to bottom: crops, noise, loss, step, average, validate."""

from __future__ import annotations

import copy
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from restore.engine.device import choose_device, precision_name
from restore.errors import TrainingError
from restore.models.denoiser import Denoiser
from restore.models.unet import UNet
from restore.models.upscaler import Upscaler
from restore.training.checkpoint import load_checkpoint, save_checkpoint
from restore.training.degradations.pairs import Pair, every, joined_pairs
from restore.training.distributed import Processes
from restore.training.graph import Differentiate, GradientGraph
from restore.training.losses import LOSSES, Loss, psnr_of_batch
from restore.training.optimiser import build_optimisers
from restore.training.precision import autocast, training_precision
from restore.training.recipe import Recipe, Stage, make_recipe
from restore.training.self_supervised import MOST_WEIGHT, neighbours
from restore.training.sources import Source
from restore.training.teacher import Teacher

# Steps whose crops are drawn at once on a GPU. Patterns and the noise of cameras take hundreds of
# small operations, which cost it as much for one step as for eight: three trainings with
# patterns at once made 59 steps a second of an H100 when each step drew its own, then 132.
AHEAD = 8
TARGETS = 1  # the purpose of the random numbers that targets take, apart from the crops'
MOST_PSNR = 50.0  # dB that a picture counts in validation: beyond it no difference is visible


@dataclass(frozen=True)
class Progress:
    """One step of a training, as the command line shows it."""

    step: int
    steps: int
    loss: float  # running mean
    pictures_per_second: float
    psnr: float | None = None  # where this step was validated: mean over the validation levels
    best: float | None = None  # the best of those so far


@dataclass(frozen=True)
class Limits:
    """When a training ends before its last step.

    seconds:  from the first step; the learning rates and stages follow the clock then, so that the
              training is complete, and not cut off, when the time is over
    stop:     asked after each step
    patience: validations without a better score
    """

    seconds: float | None = None
    stop: Callable[[], bool] = lambda: False
    patience: int | None = None

    @property
    def most_seconds(self) -> float:
        """The seconds, or infinity."""
        return math.inf if self.seconds is None else self.seconds

    def spent(self, elapsed: float) -> float:
        """The share of the time that is over, after so many seconds; at most 1."""
        return 1.0 if elapsed >= self.most_seconds else elapsed / self.most_seconds


class Training:
    """A network in training, with all the state that a checkpoint must hold."""

    def __init__(
        self,
        recipe: Recipe,
        device: str = "auto",
        precision: str = "auto",
        *,
        processes: Processes | None = None,
        accumulate: int = 1,
        parts: int | None = None,
    ) -> None:
        """A fresh start of a recipe on a device; `precision` is that of the convolutions.

        processes:  those that share each batch, which is the recipe's however many they are
        accumulate: in so many passes each computes its part of a batch, which takes less memory
        parts:      into so many parts a batch is cut, each with random numbers of its own; with the
                    same number of parts any number of processes sees the same crops
        """
        self.recipe = recipe
        self.processes, self.accumulate = processes or Processes(), accumulate
        self.parts = parts or self.processes.count * accumulate
        if self.parts % (self.processes.count * accumulate):
            raise TrainingError(
                f"{self.parts} parts of a batch cannot be shared evenly by {self.processes.count} "
                f"processes in {accumulate} passes each"
            )
        if min(recipe.batch) < self.parts:
            raise TrainingError(
                f"the recipe's smallest batch, {min(recipe.batch)} crops, is too small for "
                f"{self.parts} parts; take fewer processes or passes, or a larger batch"
            )
        self.device = choose_device(self.processes.device(device))
        self.dtype = training_precision(precision, self.device)
        network = build_network(recipe)
        # torch's type stubs lack this overload of `to`
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.best_weights = _on_cpu(self.average.state_dict())
        self.best: float | None = None
        self.optimisers = build_optimisers(
            self.network, recipe.kernel_rate, recipe.other_rate, recipe.weight_decay
        )
        self.base_rates = [[g["lr"] for g in o.param_groups] for o in self.optimisers]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.teacher: Teacher | None = None
        self.step = 0
        self.clock = 0.0  # the share of the training that has passed by a time limit
        self.time_limit: float | None = None  # in seconds, of its last run
        self.rate = 0.0  # the factor on the learning rates in the last step
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
        }

    @property
    def passed(self) -> float:
        """The share of the training that has passed: of its steps, or of the time if that is more.

        The learning rates, stages and what else changes in a training go by it.
        """
        return max(self.step / self.recipe.steps, self.clock)

    @property
    def stage(self) -> Stage:
        """Batch, patch and loss of the next step."""
        return self.recipe.stage(self.passed)

    @property
    def ahead(self) -> int:
        """For how many steps crops are drawn at once."""
        return AHEAD if self.device.type == "cuda" else 1

    def generator(self, *key: int) -> torch.Generator:
        """The random numbers of a step and a part of its batch; a resumed training has the same."""
        drawn = np.random.SeedSequence((self.recipe.seed, *key)).generate_state(2)
        return torch.Generator(self.device).manual_seed(int(drawn[0]) << 31 ^ int(drawn[1]))

    def passes(self) -> list[list[tuple[int, int]]]:
        """What this process computes of a step, pass by pass: (part, number of its crops) each."""
        batch = self.stage.batch
        sizes = [batch // self.parts + (part < batch % self.parts) for part in range(self.parts)]
        own = self.parts // self.processes.count
        mine = list(enumerate(sizes))[self.processes.rank * own : (self.processes.rank + 1) * own]
        each = own // self.accumulate
        return [mine[first : first + each] for first in range(0, own, each)]

    def targets(self, pair: Pair, generator: torch.Generator) -> Pair:
        """The pair with the target that this training has: its own, a teacher's, or a neighbour."""
        if self.recipe.degradation == "neighbours":
            weight = MOST_WEIGHT * self.passed
            with autocast(self.device, self.dtype):
                return neighbours(self.network, pair.degraded, weight, generator)
        if self.teacher is None or self.passed >= self.recipe.taught:
            return pair
        return self.teacher.taught(pair, generator)

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
    source: Source,
    validation: Iterable[Pair] | None = None,
    checkpoint: Path | None = None,
    limits: Limits | None = None,
    *,
    save_every: float = 300.0,
    compiled: bool = False,
) -> Iterator[Progress]:
    """Train until the recipe's last step or a limit; yields after every step.

    limits:     where one ends it, what was reached is validated and saved
    save_every: seconds between two checkpoints
    compiled:   whether to compile the step
    A training that goes on after a time limit begins at the share that its steps are of all.
    Without validation pairs the latest average counts as the best. With a teacher the scores are
    against its answers, unless it teaches only a part of the training. Raises TrainingError where
    the loss is no number any more and where another process of the training has ended; the last
    whole step is saved then.
    """
    limits = limits or Limits()
    steps = _steps(training, source, validation, compiled, recordable(training))
    started, before = time.monotonic(), training.seconds
    saved, shown, without_gain = started, 0, 0
    recipe, processes = training.recipe, training.processes
    training.clock, training.time_limit = 0.0, limits.seconds
    begun = training.passed
    try:
        while training.step < recipe.steps:
            shown += training.stage.batch
            steps.take()
            elapsed = time.monotonic() - started
            training.seconds = before + elapsed
            spent = 0.0 if limits.seconds is None else processes.most(limits.spent(elapsed))
            training.clock = begun + (1 - begun) * spent
            over = processes.any(limits.stop()) or spent >= 1
            last = over or training.step == recipe.steps
            found = None
            if last or training.step % recipe.validate_every == 0:
                best = training.best
                found = steps.validate()
                without_gain = 0 if training.best != best else without_gain + 1
                over = over or without_gain == limits.patience
            if checkpoint and (last or over or time.monotonic() - saved >= save_every):
                _save(training, checkpoint)
                saved = time.monotonic()
            yield Progress(
                training.step, recipe.steps, training.loss, shown / elapsed, found, training.best
            )
            if over:
                return
    except RuntimeError as error:
        if not processes.lost_one(error):
            raise
        raise _lost_one(training, checkpoint) from error


def _save(training: Training, checkpoint: Path) -> None:
    """One process writes for all, for all have the same state."""
    if training.processes.main:
        save_checkpoint(training.state(), checkpoint)


def _lost_one(training: Training, checkpoint: Path | None) -> TrainingError:
    """What to say where another process has ended; each of those left saves the last whole step."""
    me = f"process {training.processes.rank + 1} of {training.processes.count}"
    if checkpoint is None:
        return TrainingError(f"another process of this training has ended, seen by {me}")
    save_checkpoint(training.state(), checkpoint)
    return TrainingError(
        f"another process of this training has ended, seen by {me}; step {training.step} is saved "
        f"in {checkpoint}, and --resume goes on from there, with any number of processes"
    )


@dataclass
class _Steps:
    """One step after the other, and the validation between them."""

    training: Training
    source: Source
    validation: Iterable[Pair] | None
    network: nn.Module  # that of the training, or the same with its gradients shared
    differentiate: Differentiate
    # by part: what was drawn last, and for which first step, how many pairs a step, and which side
    drawn: dict[int, tuple[tuple[int, int, int], Pair]] = field(default_factory=dict)

    def take(self) -> None:
        """Draw, restore, compare, and move the weights; in several passes where that is asked."""
        training, passes = self.training, self.training.passes()
        loss_of = LOSSES[training.stage.loss]
        loss = torch.zeros((), device=training.device)
        for index, parts in enumerate(passes):
            pair = self._draw(parts)
            kept = training.processes.gradients_kept(self.network)
            with nullcontext() if index == len(passes) - 1 else kept:
                loss += self.differentiate(pair, loss_of)
        _update(training)
        training.step += 1
        _follow_loss(training, loss)

    def _draw(self, parts: Sequence[tuple[int, int]]) -> Pair:
        """The pairs of some parts of a batch: (number of the part, its pairs)."""
        training, pairs = self.training, []
        for number, count in parts:
            generator = training.generator(training.step, number, TARGETS)
            pairs.append(training.targets(self._drawn(number, count), generator))
        return joined_pairs(pairs)

    def _drawn(self, number: int, count: int) -> Pair:
        """One part's pairs for this step, out of those that were drawn for several steps at once.

        They follow from the first of these steps, in a resumed training too.
        """
        training, ahead = self.training, self.training.ahead
        place = training.step % ahead
        wanted = (training.step - place, count, training.stage.patch)
        known = self.drawn.get(number)
        if known is None or known[0] != wanted:
            first, _, side = wanted
            generator = training.generator(first, number)
            known = wanted, self.source.pairs(count * ahead, side, generator)
            self.drawn[number] = known
        return every(known[1], place, ahead)

    def validate(self) -> float | None:
        """Score the averaged network, and keep its weights where they are the best so far."""
        training = self.training
        found = None if self.validation is None else score(training, self.validation)
        if found is None or training.best is None or found >= training.best:
            training.best, training.best_weights = found, _on_cpu(training.average.state_dict())
        return found


def _steps(
    training: Training,
    source: Source,
    validation: Iterable[Pair] | None,
    compiled: bool,
    recorded: bool,
) -> _Steps:
    """All that the steps need, on the device of the training."""
    network = training.processes.wrapped(training.network)

    def compute(pair: Pair, loss: Loss) -> Tensor:
        with autocast(training.device, training.dtype):
            given = (pair.degraded,) if pair.sigma is None else (pair.degraded, pair.sigma)
            restored = network(*given)
        return loss(restored.float(), pair.clean)

    compute_loss = compile_step(compute, training.network) if compiled else compute

    def differentiate(pair: Pair, loss: Loss) -> Tensor:
        part = compute_loss(pair, loss) * (len(pair.clean) / training.stage.batch)
        # the processes' gradients are averaged, and shall be summed
        training.scaler.scale(part * training.processes.count).backward()
        return part.detach()

    if recorded:
        differentiate = GradientGraph(differentiate, training.network.parameters())
    return _Steps(training, source.to(training.device), validation, network, differentiate)


def recordable(training: Training) -> bool:
    """Whether its steps can be recorded: on one GPU, in one pass, without a scale that changes."""
    alone = training.processes.count == training.accumulate == 1
    return training.device.type == "cuda" and alone and not training.scaler.is_enabled()


def compile_step(
    compute: Callable[[Pair, Loss], Tensor], network: UNet
) -> Callable[[Pair, Loss], Tensor]:
    """The step, compiled, but for what the network does to the picture before its first layer.

    There an upscaler pools, and torch's compiler starts the threads of a CPU anew for each pixel of
    that (torch 2.14: 3 s a step of 0.1 s).
    """
    untouched = torch.compiler.disable(network.preprocess)
    network.preprocess = untouched  # type: ignore[method-assign]  # of this one network alone
    compiled: Callable[[Pair, Loss], Tensor] = torch.compile(compute, dynamic=False)
    return compiled


@torch.no_grad()
def score(training: Training, validation: Iterable[Pair]) -> float:
    """Mean PSNR of the averaged network over the validation pairs, none counted above 50 dB.

    A network with one noise input is run blind, one with three is given all of them. The processes
    share the pairs.
    """
    generator = torch.Generator(training.device).manual_seed(0)
    found = torch.zeros(2)
    for number, pair in enumerate(validation):
        if number % training.processes.count == training.processes.rank:
            scores = _scores(training, pair, generator)
            found += torch.tensor([float(scores.sum()), float(len(scores))])
    total, count = training.processes.total(found).tolist()
    return float(total / count)


def _scores(training: Training, pair: Pair, generator: torch.Generator) -> Tensor:
    """PSNR of what the averaged network makes of each picture of a batch, at most 50 dB."""
    noise = None if pair.sigma is None or pair.sigma.ndim == 1 else pair.sigma.to(training.device)
    if training.teacher is not None and noise is None and training.recipe.taught == 1:
        pair = training.teacher.taught(pair, generator)
    restored = restore_batch(training, training.average, pair.degraded, noise)
    return psnr_of_batch(restored, pair.clean.cpu()).clamp(max=MOST_PSNR)


@torch.no_grad()
def restore_batch(
    training: Training, network: nn.Module, degraded: Tensor, noise: Tensor | None
) -> Tensor:
    """What a network makes of a batch, in [0, 1] and on the CPU."""
    given = degraded.to(training.device)
    with autocast(training.device, training.dtype):
        conditions = () if noise is None else (noise.to(training.device),)
        restored: Tensor = network(given, *conditions)
    return restored.float().clamp(0, 1).cpu()


def compiler_exists(device: torch.device) -> bool:
    """Whether torch can compile for this device here."""
    if device.type == "cpu":
        return bool(shutil.which("g++") or shutil.which("clang++"))
    return device.type == "cuda"  # torch's CUDA builds bring Triton


def seconds_a_step(training: Training, source: Source) -> list[float]:
    """What a step takes on this machine, for each stage of the recipe.

    Two steps of each are made by a training of their own, of which nothing is kept.
    """
    recipe = training.recipe
    trial = Training(recipe, str(training.device), precision_name(training.dtype))
    trial.teacher = training.teacher
    # this one's share of the work, without asking the others
    steps = _steps(trial, source, None, compiled=False, recorded=recordable(training))
    trial.processes, trial.parts, trial.accumulate = (
        training.processes,
        training.parts,
        training.accumulate,
    )
    found = []
    for share in recipe.stages:
        for _ in range(2):
            trial.step = min(math.ceil(share * recipe.steps), recipe.steps - 1)
            started = time.perf_counter()
            steps.take()
            if trial.device.type == "cuda":  # which has only been told what to do so far
                torch.cuda.synchronize(trial.device)
        found.append(time.perf_counter() - started)
    return found


def _update(training: Training) -> None:
    """Move the weights along their gradients, and their running mean after them."""
    training.rate = training.recipe.rate(training.step, training.passed)
    for optimiser, rates in zip(training.optimisers, training.base_rates, strict=True):
        for group, base in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = base * training.rate
        training.scaler.step(optimiser)
        optimiser.zero_grad(set_to_none=True)
    training.scaler.update()
    # a young average must forget its beginning sooner
    decay = min(training.recipe.ema, (1 + training.step) / (10 + training.step))
    averages, weights = list(training.average.parameters()), list(training.network.parameters())
    torch._foreach_lerp_(averages, [w.detach() for w in weights], 1 - decay)


def _follow_loss(training: Training, loss: Tensor) -> None:
    """Keep a running mean; reading the loss waits for the device, so only every tenth step.

    loss: the part of this process
    """
    if training.step % 10 and training.loss == training.loss:
        return
    value = float(training.processes.total(loss))
    if value != value:
        raise TrainingError("the loss is not a number any more; lower the learning rates")
    fresh = training.loss != training.loss
    training.loss = value if fresh else 0.9 * training.loss + 0.1 * value


def _on_cpu(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().to("cpu", copy=True) for key, value in weights.items()}
