"""A training as a person sees it: how long it will take, what it is like, and where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from restore.training.degradations.pairs import Pair
from restore.training.loop import (
    Limits,
    Progress,
    Training,
    compiler_exists,
    restore_batch,
    seconds_a_step,
    train,
)
from restore.training.recipe import ALONE
from restore.training.record import SHOWN, Record
from restore.training.sources import Source

COMPILE_PAYS = 600.0  # seconds of training: compiling takes about one minute of them
TOO_LONG = 24 * 3600.0  # seconds: such a training is no longer one that a person waits for
WORTH_TIMING = 50  # steps: fewer are done before they are estimated


def supervise(
    training: Training,
    source: Source,
    validation: Iterable[Pair] | None,
    weights: Path,
    limits: Limits,
    *,
    checkpoint: Path | None = None,
    compiled: bool | None = None,
    each: Sequence[float] | None = None,
) -> Iterator[Progress | str]:
    """Train; yields an estimate before the first step, progress after each, and keeps the record.

    weights:  beside this file lies the record
    compiled: None: where a compiler exists and the training is long enough to pay for it
    each:     what a step of each stage takes, where that is known
    """
    expected = 0.0
    source = source.to(training.device)
    if training.recipe.steps - training.step >= WORTH_TIMING:
        expected = expected_seconds(training, each or seconds_a_step(training, source))
        yield from estimate(training, expected, limits.seconds)
    if compiled is None:
        known = min(expected, limits.most_seconds)
        pays = known >= COMPILE_PAYS and compiler_exists(training.device)
        compiled = training.processes.any(pays)
    record = Record(weights, training.step) if training.processes.main else None
    for progress in train(
        training,
        source,
        validation,
        checkpoint,
        limits,
        compiled=compiled,
    ):
        if record is not None:
            record.add(progress, training.seconds, training.rate)
            if progress.step % training.recipe.validate_every == 0 and record.due:
                record.draw(training.recipe.name, samples(training, source, validation))
        yield progress
    if record is not None:
        record.draw(training.recipe.name, samples(training, source, validation))


def expected_seconds(training: Training, each: Sequence[float]) -> float:
    """What the remaining steps will take, from what one of each stage takes."""
    recipe = training.recipe
    bounds = [share * recipe.steps for share in (*recipe.stages, 1.0)]
    parts = zip(bounds, bounds[1:], each, strict=False)
    return sum(max(0.0, last - max(first, training.step)) * one for first, last, one in parts)


def estimate(training: Training, expected: float, limit: float | None) -> Iterator[str]:
    """Sentences on how long it will take, and on what to do if that is too long."""
    recipe, left = training.recipe, training.recipe.steps - training.step
    yield f"about {expected / left:.2g} s a step; {left} steps take about {duration(expected)}"
    if limit is not None and limit < 0.95 * expected:
        reached = training.step + int(left * limit / expected)
        yield (
            f"the time limit ends it near step {reached} of {recipe.steps}; the learning rates "
            "will have come down by then"
        )
    elif expected > TOO_LONG:
        fits = training.step + int(left * TOO_LONG / expected)
        yield (
            f"warning: this machine is too slow for the recipe: it will take {duration(expected)}; "
            f"take a smaller one such as denoise-gaussian-fast, a GPU, or --steps {fits}, which "
            "takes a day"
        )


def duration(seconds: float) -> str:
    """A time such as "40 s", "25 min", "3 h 20 min" or "4 days 6 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


@torch.no_grad()
def samples(
    training: Training, source: Source, validation: Iterable[Pair] | None
) -> dict[str, Tensor]:
    """A few pairs, always the same, and what the averaged network makes of them."""
    if validation is not None:
        pair = next(iter(validation))
    else:
        generator = torch.Generator(training.device).manual_seed(0)
        pair = source.pairs(SHOWN, training.recipe.patch[-1], generator)
    noise = pair.sigma if pair.sigma is None or pair.sigma.ndim == 2 else None
    given, noise = pair.degraded[:SHOWN], None if noise is None else noise[:SHOWN]
    shown = {
        "given": given,
        "restored": restore_batch(training, training.average, given, noise),
        "target": pair.clean[:SHOWN],
    }
    if training.recipe.degradation in ALONE and validation is None:
        del shown["target"]  # which is what is given, or noisier
    return shown
