"""The error of JPEG compression: how much, on which grid, and where there is none."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import restore
from restore.engine.compute import Compute
from restore.image.picture import Picture, Pixels
from restore.image.resize import resize
from restore.models.folders import weights_folder
from restore.models.noise_level import LUMA
from restore.pipeline.picture import restore_picture
from restore.tasks.jpeg_error import jpeg_error
from restore.tasks.noise_level import LEAST_ERROR, compressed, estimate_noise, white
from restore.tasks.target_size import make_size
from restore.tasks.upscale import restoring_first, upscaling
from restore.training.degradations.patterns import FAMILIES, one_pattern

SHIPPED = all(
    (weights_folder() / f"{name}.safetensors").is_file()
    for name in ("noise-level", "denoise-photo", "upscale-x2")
)
needs_weights = pytest.mark.skipif(not SHIPPED, reason="the shipped weights are not here")


@pytest.fixture
def clean(samples: Path) -> Pixels:
    """A photograph that was never a JPEG at this size, in 8 bits."""
    pixels = resize(restore.load_image(samples / "fur-clean.png").pixels[:360, :420], 180, 210)
    return (255 * pixels.clip(0, 1)).round() / np.float32(255)


def through_jpeg(pixels: Pixels, quality: int, top: int = 0, left: int = 0) -> Pixels:
    """Compressed, and cropped afterwards by so many rows and columns."""
    samples = np.pad(pixels, ((top, 0), (left, 0), (0, 0)), "edge")
    file = io.BytesIO()
    Image.fromarray((255 * samples).round().astype(np.uint8)).save(file, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(file), np.float32)[top:, left:] / 255
    return np.ascontiguousarray(decoded)


def error_in(pixels: Pixels) -> float:
    """What is found in the brightness of a picture."""
    return jpeg_error([pixels @ np.array(LUMA, np.float32)], [(0, 0)])


@pytest.mark.parametrize("quality", [20, 50, 80, 90])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 6)])
def test_the_error_is_found_on_any_grid(clean: Pixels, quality: int, top: int, left: int) -> None:
    picture = through_jpeg(clean, quality, top, left)
    truth = 255 * np.sqrt(np.square((picture - clean) @ np.array(LUMA, np.float32)).mean())
    assert 0.6 * truth < error_in(picture) < 1.7 * truth


def test_crops_of_one_picture_share_its_grid(clean: Pixels) -> None:
    picture = through_jpeg(clean, 60)
    plane = picture @ np.array(LUMA, np.float32)
    places = [(0, 0), (0, 101), (83, 5), (81, 110)]
    crops = [plane[top : top + 96, left : left + 96] for top, left in places]
    assert jpeg_error(crops, places) == pytest.approx(error_in(picture), rel=0.4)


def test_a_picture_that_was_never_a_jpeg_has_none(clean: Pixels) -> None:
    assert error_in(clean) == 0
    assert error_in(np.full((64, 64, 3), 0.5, np.float32)) == 0
    assert error_in(clean[:5, :5]) == 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pitch", [3.0, 8.0])
def test_patterns_that_fit_the_grid_are_no_jpegs(family: str, pitch: float) -> None:
    picture = one_pattern(family, 128, pitch, 0, 0.9)[0].permute(1, 2, 0).numpy()
    assert error_in((255 * picture).round() / 255) == 0


def test_the_error_takes_the_place_of_the_estimate_unless_there_is_more_noise() -> None:
    noise = white(4.0)
    assert compressed(noise, 0.9 * LEAST_ERROR) is noise
    told = compressed(noise, 5.0)
    assert (told.luma, told.jpeg, told.chroma) == (5.0, 5.0, noise.chroma)
    np.testing.assert_array_equal(told.curve[:, 0], 5.0)
    assert "JPEG" in str(told)
    assert "JPEG" not in str(noise)
    strong = white(20.0)
    assert compressed(strong, 5.0) is strong


@needs_weights
def test_a_compressed_picture_is_restored_before_it_is_enlarged(clean: Pixels) -> None:
    size = make_size(2, None, None, None)
    blocky = through_jpeg(clean, 40)
    first = upscaling(size).first
    assert first is not None
    assert first.for_picture(Picture(clean)).unchanged
    alone = restoring_first(1.0, least=100.0, jpeg=False)  # for a network that removes it itself
    assert alone is not None
    assert alone.for_picture(Picture(blocky)).unchanged
    settings = {"scale": 2, "model": "bicubic", "device": "cpu", "precision": "fp32"}
    found = estimate_noise(blocky)
    assert found.jpeg > LEAST_ERROR
    task = dataclasses.replace(upscaling(size, "bicubic"), first=first)
    compute = Compute(device="cpu", precision="fp32")
    restored = restore_picture(blocky, task, compute, output="picture")
    assert restored.sigma == pytest.approx(found.level)
    truth = restore.upscale(clean, **settings).image
    before = np.square(restore.upscale(blocky, **settings).image - truth).mean()
    assert np.square(restored.picture.pixels - truth).mean() < 0.95 * before
