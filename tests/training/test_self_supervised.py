"""Noisy pictures as their own targets: by neighbours, by more noise, by other shots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from restore.errors import TrainingError
from restore.image.metrics import psnr
from restore.image.picture import Picture
from restore.image.read import load_image
from restore.image.write import save_image
from restore.models.weights import load_model
from restore.training.crops import PictureStore, build_store
from restore.training.degradations.pairs import ValidationSet
from restore.training.job import UNSUPERVISED, Job, job_recipe, run_job
from restore.training.loop import Progress, Training, train
from restore.training.noise_model import measure_noise
from restore.training.recipe import Recipe, make_recipe
from restore.training.self_supervised import (
    ADDED,
    CORRELATED,
    NEIGHBOURS,
    doubts,
    neighbours,
    part,
    recorrupted,
    scheme_for,
    was_jpeg,
)
from restore.training.sources import (
    Given,
    GivenValidation,
    Noisy,
    Recorrupted,
    Source,
    shots_of,
)


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
    for clean in (store.picture(index).numpy() for index in range(len(store))):
        noisy = [clean + rng.normal(0, 25, clean.shape) for _ in range(2)]
        shots.append([each.round().clip(0, 255).astype(np.uint8) for each in noisy])
    if kind == "neighbours":
        return Noisy(build_store([first for first, _ in shots]))
    return Given(build_store([np.concatenate(two, 2) for two in shots]), swap=True)


def test_the_two_noises_of_a_recorrupted_pair_are_uncorrelated(
    generator: torch.Generator,
) -> None:
    noise, more = torch.randn(2, 4, 3, 32, 32, generator=generator)
    pair = recorrupted(noise, more)
    assert abs(float((pair.degraded * pair.clean).mean())) < 0.05
    torch.testing.assert_close(pair.degraded, noise + ADDED * more)
    assert float((pair.degraded * noise).mean()) > 0.9


def test_it_learns_from_noise_that_is_spread(store: PictureStore, tiny: Recipe) -> None:
    """Neighbour for neighbour keeps such noise; with more noise like it, it is removed."""
    rng = np.random.default_rng(1)
    clean = [store.picture(index).numpy() for index in range(len(store))]
    noisy = [spread(picture, rng) for picture in clean]
    validation = GivenValidation(Given(build_store(stacked(noisy, clean))), 96, 2)
    noise = measure_noise(noisy)
    assert noise is not None and noise.correlation > CORRELATED
    scores = {}
    for kind, source in (
        ("neighbours", Noisy(build_store(noisy))),
        ("recorrupted", Recorrupted(build_store(noisy), noise)),
    ):
        changes = {"steps": 120, "batch": [6, 6], "patch": [32, 32], "validate_every": 120}
        changes |= {"ema": 0.9, "other_rate": 0.01, "degradation": kind, **UNSUPERVISED}
        training = Training(make_recipe({**tiny.to_dict(), **changes}, "t"), "cpu", "fp32")
        scores[kind] = [*train(training, source, validation)][-1].psnr or 0.0
    given = float(np.mean([psnr(a, b, data_range=255) for a, b in zip(noisy, clean, strict=True)]))
    assert scores["recorrupted"] > scores["neighbours"] + 0.5
    assert scores["recorrupted"] > given + 1.0


def spread(clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture with noise of sigma 25 that is spread over pixels."""
    noise = gaussian_filter(rng.normal(0, 1, clean.shape), (1, 1, 0))
    return (clean + 25 * noise / noise.std()).round().clip(0, 255).astype(np.uint8)


def stacked(first: list[np.ndarray], second: list[np.ndarray]) -> list[np.ndarray]:
    return [np.concatenate(two, 2) for two in zip(first, second, strict=True)]


def test_the_scheme_follows_from_the_noise(
    tiny_toml: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    ground = np.full((96, 96, 3), 128, np.uint8)
    folders = {kind: tmp_path / kind for kind in ("neighbours", "recorrupted")}
    for kind, folder in folders.items():
        folder.mkdir()
        noise = rng.normal(0, 12, ground.shape) if kind == "neighbours" else 0.0
        picture = ground + noise if kind == "neighbours" else spread(ground, rng)
        for name in "ab":
            save_image(
                Picture((picture / 255).clip(0, 1).astype(np.float32)), folder / f"{name}.png"
            )
        assert scheme_for(folder) == kind
    assert doubts(folders["neighbours"], "neighbours") == []
    assert doubts(folders["recorrupted"], "recorrupted") == []
    warned = doubts(folders["recorrupted"], "neighbours")
    assert len(warned) == 1 and "correlates with 0." in warned[0]
    out = tmp_path / "out.safetensors"
    job = Job(
        str(tiny_toml), {}, folders["recorrupted"], output=out, self_supervised=True, device="cpu"
    )
    said = [event for event in run_job(job) if isinstance(event, str)]
    assert any("more noise like it is added" in words for words in said)
    assert any("noise measured: sigma 2" in words for words in said)
    card = load_model(out).card
    assert card is not None and card.limits[0].startswith("Learned from noisy pictures alone")
    assert card.noise == "mixed"
    tiny_toml.write_text(tiny_toml.read_text() + 'degradation = "neighbours"\n')
    assert job_recipe(job).degradation == "neighbours"  # a recipe that says so has its way
    save_image(Picture(np.float32(ground) / 255), folders["neighbours"] / "c.jpg", quality=90)
    assert "JPEG" in doubts(folders["neighbours"], "neighbours")[0]


def test_a_jpeg_that_was_saved_losslessly_is_told_by_its_pixels(
    samples: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    clean = load_image(samples / "fur-clean.png").pixels
    noisy = (clean + rng.normal(0, 10 / 255, clean.shape)).clip(0, 1).astype(np.float32)
    save_image(Picture(noisy), tmp_path / "raw.png")
    save_image(Picture(noisy), tmp_path / "a.jpg", quality=75)
    save_image(load_image(tmp_path / "a.jpg"), tmp_path / "was.png")
    assert [was_jpeg(tmp_path / name) for name in ("raw.png", "a.jpg", "was.png")] == [
        False,
        True,
        True,
    ]


def test_pictures_without_noise_are_refused(tiny_toml: Path, tmp_path: Path) -> None:
    save_image(Picture(np.full((96, 96, 3), 0.5, np.float32)), tmp_path / "a.png")
    tiny_toml.write_text(tiny_toml.read_text() + 'degradation = "recorrupted"\n')
    job = Job(str(tiny_toml), {}, tmp_path, output=tmp_path / "o.safetensors", self_supervised=True)
    with pytest.raises(TrainingError, match="no noise was found"):
        list(run_job(job))
    assert not (tmp_path / "o.safetensors").exists()


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
    assert (job_recipe(job).degradation, job_recipe(job).loss) == ("shots", ("mse",))
    alone = Job(str(tiny_toml), {}, samples, self_supervised=True, device="cpu")
    assert job_recipe(alone).degradation in ("neighbours", "recorrupted")
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
