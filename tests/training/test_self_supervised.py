"""Neighbours as targets: what is parted fits together, and dependent noise is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from restore.errors import TrainingError
from restore.image.picture import Picture
from restore.image.write import save_image
from restore.models.weights import load_model
from restore.training.crops import PictureStore, build_store
from restore.training.degradations.pairs import ValidationSet
from restore.training.job import UNSUPERVISED, Job, job_recipe, run_job
from restore.training.loop import Progress, Training, train
from restore.training.recipe import Recipe, make_recipe
from restore.training.self_supervised import (
    CORRELATED,
    NEIGHBOURS,
    autocorrelation,
    doubts,
    neighbours,
    part,
)
from restore.training.sources import Given, Noisy, Source, shots_of


def test_each_half_has_one_pixel_of_every_square_and_they_touch(
    generator: torch.Generator,
) -> None:
    numbered = torch.arange(64.0).view(1, 1, 8, 8)
    first, second = (half.squeeze() for half in parted(numbered, generator))
    assert first.shape == second.shape == (4, 4)
    for half in (first, second):  # each from its own square
        assert torch.equal(half // 16, torch.arange(4.0).view(4, 1).expand(4, 4))
        assert torch.equal(half % 8 // 2, torch.arange(4.0).view(1, 4).expand(4, 4))
    assert set((first - second).abs().flatten().tolist()) <= {1.0, 8.0}
    assert len(set(NEIGHBOURS)) == 8


def parted(noisy: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    pair = neighbours(torch.nn.Identity(), noisy, 0.0, generator)
    return pair.degraded, pair.clean


def test_the_correction_is_what_the_restored_halves_differ_by(generator: torch.Generator) -> None:
    noisy = torch.rand(2, 3, 8, 8, generator=generator)
    plain = neighbours(torch.nn.Identity(), noisy, 0.0, torch.Generator().manual_seed(1))
    corrected = neighbours(torch.nn.Identity(), noisy, 3.0, torch.Generator().manual_seed(1))
    # a network that changes nothing says that the halves differ by all they differ by
    expected = plain.clean + (plain.degraded - plain.clean) * 3 / 4
    torch.testing.assert_close(corrected.clean, expected)
    places = torch.zeros(2, 2, 4, 4, dtype=torch.int64)
    torch.testing.assert_close(part(noisy, places)[0], noisy[:, :, ::2, ::2])


@pytest.mark.parametrize("kind", ["neighbours", "shots"])
def test_it_learns_without_a_clean_picture(
    kind: str, tiny: Recipe, store: PictureStore, rng: np.random.Generator
) -> None:
    changes = {"steps": 120, "batch": [6, 6], "validate_every": 120, "ema": 0.9}
    changes |= {"other_rate": 0.01, "degradation": kind, **UNSUPERVISED}
    recipe = make_recipe({**tiny.to_dict(), **changes}, "t")
    source = noisy_source(kind, store, rng)
    validation = ValidationSet(store, make_recipe({**tiny.to_dict()}, "t"))
    training = Training(recipe, "cpu", "fp32")
    events: list[Progress] = list(train(training, source, validation))
    assert events[-1].psnr is not None and events[-1].psnr > 20.2 + 2  # as noisy: 20.2 dB


def noisy_source(kind: str, store: PictureStore, rng: np.random.Generator) -> Source:
    shots = []
    for start, height, width in zip(
        store.starts.tolist(), store.heights.tolist(), store.widths.tolist(), strict=True
    ):
        clean = store.samples[start : start + height * width].view(height, width, 3).numpy()
        noisy = [clean + rng.normal(0, 25, clean.shape) for _ in range(2)]
        shots.append([each.round().clip(0, 255).astype(np.uint8) for each in noisy])
    if kind == "neighbours":
        return Noisy(build_store([first for first, _ in shots]))
    return Given(build_store([np.concatenate(two, 2) for two in shots]), swap=True)


def test_dependent_noise_is_found(rng: np.random.Generator) -> None:
    ground = np.linspace(0.3, 0.6, 128, dtype=np.float32)[:, None, None] * np.ones((128, 128, 3))
    white = rng.normal(0, 0.05, (128, 128, 3))
    spread = (white + np.roll(white, 1, 0) + np.roll(white, 1, 1)) / 1.7
    assert abs(autocorrelation([ground + white])) < CORRELATED / 2
    assert autocorrelation([ground + spread]) > 2 * CORRELATED
    assert autocorrelation([ground]) == 0.0  # no noise at all


def test_doubts_are_said(tmp_path: Path, rng: np.random.Generator) -> None:
    white = rng.normal(0.5, 0.05, (64, 64, 3)).clip(0, 1).astype(np.float32)
    save_image(Picture(white), tmp_path / "a.png")
    assert doubts(tmp_path) == []
    save_image(Picture(white), tmp_path / "b.jpg", quality=90)
    assert any("JPEG" in doubt for doubt in doubts(tmp_path))
    blurred = (white + np.roll(white, 1, 0) + np.roll(white, 1, 1)) / 3
    for name in "bcd":
        save_image(Picture(blurred), tmp_path / f"{name}.png")
    assert "autocorrelation of the residual 0." in doubts(tmp_path)[0]


def test_the_folder_tells_shots_from_single_pictures(
    tiny_toml: Path, samples: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    for scene in "ab":
        (tmp_path / "scenes" / scene).mkdir(parents=True)
        for shot in range(3):
            noisy = rng.normal(0.5, 0.1, (48, 48, 3)).clip(0, 1).astype(np.float32)
            save_image(Picture(noisy), tmp_path / "scenes" / scene / f"{shot}.png")
    names = [[file.name for file in two] for two in shots_of(tmp_path / "scenes")]
    assert names == [["0.png", "1.png"], ["1.png", "2.png"], ["2.png", "0.png"]] * 2
    job = Job(str(tiny_toml), {}, tmp_path / "scenes", self_supervised=True)
    assert (job_recipe(job).degradation, job_recipe(job).loss) == ("shots", "mse")
    alone = Job(str(tiny_toml), {}, samples, self_supervised=True, device="cpu")
    assert job_recipe(alone).degradation == "neighbours"
    out = tmp_path / "out.safetensors"
    events = list(run_job(Job(**{**vars(job), "output": out, "device": "cpu"})))
    assert any("nothing may move between them" in str(event) for event in events)
    assert load_model(out).card.limits[0].startswith("Learned from shots")  # type: ignore[union-attr]
    with pytest.raises(TrainingError, match="enlarges pictures"):
        job_recipe(Job("upscale-x2", {}, samples, self_supervised=True))
    (tmp_path / "scenes" / "a" / "0.png").unlink()
    (tmp_path / "scenes" / "a" / "1.png").unlink()
    with pytest.raises(TrainingError, match="holds one picture"):
        shots_of(tmp_path / "scenes")
