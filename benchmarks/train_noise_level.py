"""Train the network that estimates noise, measure it, and write its weights with their card.

python benchmarks/train_noise_level.py --data TRAIN --val VAL [--output noise-level.safetensors]
"""

from __future__ import annotations

import argparse
import platform
import time
from functools import partial
from pathlib import Path

import torch

from restore.models.card import ModelCard
from restore.models.weights import load_estimator, save_weights
from restore.training.crops import load_store
from restore.training.degradations.pairs import photo
from restore.training.job import describe_sources
from restore.training.noise_level import LIMITS, SIDE, draw_crops, error_of, train_estimator
from restore.training.recipe import load_recipe


def show(step: int, loss: float) -> None:
    """A line for every hundredth step."""
    if step % 100 == 0:
        print(f"step {step}: loss {loss:.4f}", flush=True)


def main() -> None:
    """Train, measure on the validation pictures, write the weights with their card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--val", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("noise-level.safetensors"))
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--start-from", help="an estimator to train further")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default="denoise-photo")
    asked = parser.parse_args()
    recipe = load_recipe(asked.recipe, patterned=0.65)  # of which sharp photographs take a part
    started = time.monotonic()
    start = None if asked.start_from is None else load_estimator(asked.start_from)
    before = {} if start is None or start.card is None else start.card.training
    pictures = load_store(asked.data, 3, SIDE)
    network = train_estimator(
        pictures, recipe, asked.steps, seed=asked.seed, start=start, report=show
    )
    generator = torch.Generator().manual_seed(1)
    held_out = load_store(asked.val, 3, SIDE)
    draw = partial(draw_crops, held_out, 24, generator)
    error = error_of(network, [photo(draw, SIDE, recipe, generator) for _ in range(20)])
    card = ModelCard(
        name="noise-level",
        task="noise-level",
        architecture=type(network).__name__,
        arguments=network.arguments,
        trained_on=describe_sources(asked.data),
        training={
            "recipe": recipe.to_dict(),
            "steps": asked.steps,
            **({"started_from": before} if before else {}),
            "hours": round((time.monotonic() - started) / 3600, 2),
            "device": f"cpu ({platform.machine()})",
            "precision": "bf16",
            "torch": torch.__version__,
        },
        scores=[
            {
                "data": asked.val.name,
                "noise": "photo",
                "error": round(error, 4),
                "protocol": "mean absolute error of ln(level), cells weighted by their confidence",
            }
        ],
        limits=LIMITS,
    )
    save_weights(network, card, asked.output)
    print(f"{asked.output}: error {error:.4f}")


if __name__ == "__main__":
    main()
