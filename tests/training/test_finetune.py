"""Fine-tuning: better on the held-out pictures or not written, and the card says all of it."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from restore.engine.compute import Compute
from restore.errors import TrainingError
from restore.image.picture import Picture
from restore.image.read import load_image
from restore.image.write import save_image
from restore.models.card import ModelCard
from restore.models.denoiser import Denoiser
from restore.models.weights import load_model, save_weights
from restore.tasks.denoise import denoising
from restore.training import finetune as tuning
from restore.training.degradations.pairs import Pair
from restore.training.finetune import FineTuning, Gain, finetune, sheet_of, split, tuning_recipe
from restore.training.loop import Limits, Progress
from restore.training.recipe import Recipe


@pytest.fixture
def model(tiny: Recipe, tmp_path: Path) -> Path:
    """A network that gives back what it gets, with the card of a training."""
    network = Denoiser(widths=(4, 8), blocks=(1, 1))
    with torch.no_grad():
        network.tail.weight.zero_()
    card = ModelCard(
        "base", "denoise", "Denoiser", network.arguments, training={"recipe": tiny.to_dict()}
    )
    save_weights(network, card, tmp_path / "base.safetensors")
    return tmp_path / "base.safetensors"


@pytest.fixture
def pairs(tmp_path: Path, samples: Path, rng: np.random.Generator) -> Path:
    """Parts of a photograph, and the same with all rows brighter or darker."""
    clean = load_image(samples / "fur-clean.png").pixels
    for place in ("noisy", "clean"):
        (tmp_path / "pairs" / place).mkdir(parents=True)
    for number in range(6):
        part = np.ascontiguousarray(clean[10 * number : 10 * number + 112, :112])
        rows = rng.normal(0, 20 / 255, (112, 1, 1)).astype(np.float32)
        for place, pixels in (("clean", part), ("noisy", (part + rows).clip(0, 1))):
            save_image(Picture(pixels), tmp_path / "pairs" / place / f"{number}.png")
    return tmp_path / "pairs"


def test_it_gains_on_what_was_held_out_and_says_so(
    model: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "VALIDATIONS", 2)
    monkeypatch.setattr(tuning, "HARM", -99.0)  # so that any change is one
    asked = FineTuning(str(model), pairs, model.with_name("own.safetensors"), 40, device="cpu")
    events = list(finetune(asked, Limits()))
    assert "held out to judge by: 2.png" in str(events[0])
    gains = dict(event for event in events if isinstance(event, tuple))
    held_out, others = gains["held out"], gains["other pictures"]
    assert held_out.after > held_out.before + 0.3
    assert held_out.before == pytest.approx(held_out.given, abs=0.01)  # the identity
    assert any(str(event).startswith("warning: on other pictures it is worse") for event in events)
    weights = events[-1]
    assert isinstance(weights, Path)
    network = load_model(weights)
    assert network.card is not None and network.noise == "mixed"
    assert network.card.training["started_from"]["name"] == "base"
    assert network.card.scores[0]["psnr_before"] == round(held_out.before, 3)
    assert network.card.scores[1]["psnr"] == round(others.after, 3)
    assert sheet_of(weights).is_file() and weights.with_suffix(".training.png").is_file()
    with open(weights.with_suffix(".training.csv"), newline="") as file:
        steps = [int(line["step"]) for line in csv.DictReader(file)]
    assert steps == sorted(steps) and steps[-1] == 40


def test_where_nothing_came_of_it_no_weights_are_written(
    model: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "compare", lambda *_: Gain(20.0, 30.0, 29.9))
    out = model.with_name("own.safetensors")
    with pytest.raises(TrainingError, match=r"nothing came of it: 30\.00 dB"):
        list(finetune(FineTuning(str(model), pairs, out, 2, device="cpu"), Limits()))
    assert not out.exists()


def test_the_number_of_steps_follows_from_the_time(
    model: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "seconds_a_step", lambda *_: [0.05])
    monkeypatch.setattr(tuning, "SHARE", 1.0)
    asked = FineTuning(str(model), pairs, model.with_name("own.safetensors"), device="cpu")
    events = finetune(asked, Limits(2.0))
    steps = next(event.steps for event in events if isinstance(event, Progress))
    assert steps == 40


def test_clean_pictures_are_degraded_as_for_the_model(model: Path, samples: Path) -> None:
    network = load_model(model)
    recipe = tuning_recipe(network, "own", FineTuning(str(model), samples, steps=5))
    assert (recipe.degradation, recipe.sigma) == ("gaussian", (10, 40))
    parts = split(recipe, samples, network)
    assert len(parts.held_out) + parts.count == len(list(samples.glob("*.png")))


def test_small_clean_pictures_are_validated_whole(model: Path, pairs: Path) -> None:
    network = load_model(model)
    recipe = tuning_recipe(network, "own", FineTuning(str(model), pairs / "clean", steps=5))
    assert recipe.validate_side == 256
    parts = split(recipe, pairs / "clean", network)
    assert {pair.clean.shape[-2:] for pair in parts.validation} == {(112, 112)}
    with pytest.raises(TrainingError, match=r"give larger ones$"):
        split(dataclasses.replace(recipe, patch=(128,)), pairs / "clean", network)


def test_a_picture_without_an_error_leaves_the_means_finite(model: Path) -> None:
    network = load_model(model)
    clean = torch.full((2, 3, 32, 32), 0.5)
    degraded = clean + torch.tensor([0.0, 0.1]).view(2, 1, 1, 1)  # 20 dB
    gain = tuning.compare([Pair(clean, degraded)], network, network, model, Compute("cpu"))
    assert (gain.given, gain.before, gain.after) == pytest.approx((35, 35, 35), abs=0.01)


def test_what_cannot_be_is_said(model: Path, pairs: Path, tmp_path: Path) -> None:
    for name in ("noisy", "clean"):
        for file in (pairs / name).glob("[2-5].png"):
            file.unlink()
    with pytest.raises(TrainingError, match="3 are needed at least"):
        next(finetune(FineTuning(str(model), pairs, tmp_path / "own.safetensors", 2), Limits()))
    with pytest.raises(TrainingError, match="without noisy/ and clean/"):
        next(finetune(FineTuning("upscale-x2", pairs, tmp_path / "o.safetensors", 2), Limits()))
    with pytest.raises(TrainingError, match="--overwrite to replace it"):
        next(finetune(FineTuning(str(model), pairs, model, 2), Limits()))


def test_a_model_that_learned_from_pairs_gives_no_structure_back(tiny: Recipe) -> None:
    network = Denoiser(widths=(4, 8), blocks=(1, 1), noise_inputs=3)
    for degradation, detail in (("photo", 0.5), ("pairs", 0.0)):
        network.card = ModelCard(
            "own", "denoise", "Denoiser", {}, training={"recipe": {"degradation": degradation}}
        )
        assert denoising(network).detail == detail  # type: ignore[attr-defined]
        assert denoising(network, detail=0.2).detail == 0.2  # type: ignore[attr-defined]
