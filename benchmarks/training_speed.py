"""How much of the machine a training step uses: `benchmarks/training_speed.py [RESULT.json]`.

Measured in one run: the rate of a plain 3x3 convolution, forward and backward, at each width of
the network and in the training's precision, weighted by the operations the network spends at that
width; and the rate of the whole training step (crops, noise, forward, backward, both optimisers,
moving average). Their ratio is the fraction achieved. Operations are counted, not estimated.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from restore.engine.device import device_name, precision_name
from restore.training.crops import build_store
from restore.training.loop import Training, compiler_exists, train
from restore.training.recipe import load_recipe
from restore.training.sources import Degraded

STEPS = 40


def seconds(work: Callable[[], object], repeats: int = 10) -> float:
    """The median time of a call, after two calls to warm up."""
    times = []
    for _ in range(repeats + 2):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return float(np.median(times[2:]))


def convolution_rate(width: int, side: int, batch: int, dtype: torch.dtype) -> float:
    """TFLOP/s of one 3x3 convolution, forward and backward together."""
    convolution = torch.nn.Conv2d(width, width, 3, padding=1, bias=False)
    convolution.to(dtype=dtype, memory_format=torch.channels_last)
    x = torch.randn(batch, width, side, side, dtype=dtype, requires_grad=True)
    x = x.to(memory_format=torch.channels_last).detach().requires_grad_()
    gradient = torch.randn_like(x)
    operations = 3 * 2 * 9 * width * width * x[:, 0].numel()
    return operations / seconds(lambda: convolution(x).backward(gradient)) / 1e12


def step_operations(training: Training, batch: int, patch: int) -> float:
    """Operations of one forward and backward pass, counted by torch."""
    x = torch.rand(batch, 3, patch, patch)
    with FlopCounterMode(display=False) as counter:
        training.network(x).mean().backward()
    training.network.zero_grad(set_to_none=True)
    return float(counter.get_total_flops())


def main() -> None:
    """Measure, print, and store where a file is named."""
    recipe = load_recipe("denoise-gaussian", steps=10_000, validate_every=10_000)
    training = Training(recipe)
    batch, patch, _ = recipe.stage(0.0)
    operations = step_operations(training, batch, patch)
    rates = {
        width: convolution_rate(width, patch // 2**level, batch, training.dtype)
        for level, width in enumerate(recipe.widths)
    }
    # 3x3 convolutions of each level; all cost the same, for widths double as sides halve
    counts = [
        4 * n if level + 1 < len(recipe.blocks) else 2 * n for level, n in enumerate(recipe.blocks)
    ]
    mixed = sum(counts) / sum(c / r for c, r in zip(counts, rates.values(), strict=True))

    pictures = np.random.default_rng(0).integers(0, 255, (20, 512, 512, 3), np.uint8)
    source = Degraded(build_store(list(pictures)), recipe)
    steps = train(training, source, compiled=compiler_exists(training.device))
    list(islice(steps, 10))  # compiling
    started = time.perf_counter()
    list(islice(steps, STEPS))
    step = (time.perf_counter() - started) / STEPS
    result = {
        "device": device_name(training.device),
        "precision": precision_name(training.dtype),
        "convolution_tflops": {str(w): round(r, 3) for w, r in rates.items()},
        "convolution_tflops_of_the_mix": round(mixed, 3),
        "step_seconds": round(step, 4),
        "step_tflops": round(operations / step / 1e12, 3),
        "fraction": round(operations / step / 1e12 / mixed, 3),
        "pictures_per_second": round(batch / step, 1),
    }
    print(json.dumps(result, indent=1))
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
