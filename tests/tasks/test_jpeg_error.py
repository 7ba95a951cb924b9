"""JPEG compression: its error, grid and steps, where there is none, and what it allows."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import restore
from restore.engine.compute import Compute
from restore.image.picture import Picture, Pixels
from restore.image.resize import resize
from restore.models.folders import weights_folder
from restore.models.noise_level import LUMA
from restore.pipeline.large import denoise_windows
from restore.pipeline.picture import restore_picture
from restore.tasks.denoise import Denoise
from restore.tasks.jpeg_error import BLOCK, Compression, find_compression, within_rounding
from restore.tasks.noise_level import LEAST_ERROR, compressed, estimate_noise, white
from restore.tasks.target_size import make_size
from restore.tasks.upscale import restoring_first, upscaling
from restore.training.degradations.patterns import FAMILIES, one_pattern

SHIPPED = all(
    (weights_folder() / f"{name}.safetensors").is_file()
    for name in ("noise-level", "denoise-photo", "denoise-photo-fast", "upscale-x2")
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
    found = find_compression([luma(pixels)], [(0, 0)])
    return 0.0 if found is None else found.error


def luma(pixels: Pixels) -> Pixels:
    brightness: Pixels = pixels @ np.array(LUMA, np.float32)
    return brightness


@pytest.mark.parametrize("quality", [20, 50, 80, 90])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 6)])
def test_the_error_is_found_on_any_grid(clean: Pixels, quality: int, top: int, left: int) -> None:
    picture = through_jpeg(clean, quality, top, left)
    truth = 255 * np.sqrt(np.square(luma(picture - clean)).mean())
    assert 0.6 * truth < error_in(picture) < 1.7 * truth


def test_crops_of_one_picture_share_its_grid(clean: Pixels) -> None:
    picture = through_jpeg(clean, 60)
    plane = luma(picture)
    places = [(0, 0), (0, 101), (83, 5), (81, 110)]
    crops = [plane[top : top + 96, left : left + 96] for top, left in places]
    found = find_compression(crops, places)
    assert found is not None
    assert found.error == pytest.approx(error_in(picture), rel=0.4)


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
    assert compressed(noise, None) is noise
    assert compressed(noise, compression(0.9 * LEAST_ERROR)) is noise
    told = compressed(noise, compression(5.0))
    assert (told.luma, told.chroma) == (5.0, noise.chroma)
    assert told.jpeg is not None
    assert told.jpeg.slack == pytest.approx(noise.luma)  # that much was there before
    assert told.scaled_to(20.0).jpeg is None
    np.testing.assert_array_equal(told.curve[:, 0], 5.0)
    assert "JPEG" in str(told)
    assert "JPEG" not in str(noise)
    strong = white(20.0)
    assert compressed(strong, compression(5.0)) is strong


def compression(error: float = 5.0, grid: tuple[int, int] = (0, 0)) -> Compression:
    return Compression(error, grid, np.full(BLOCK**2 - 1, 20.0))


@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 6)])
def test_grid_and_steps_are_those_of_the_file(clean: Pixels, top: int, left: int) -> None:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", quality=60)
    table = np.array(Image.open(file).quantization[0][1:])
    found = find_compression([luma(through_jpeg(clean, 60, top, left))], [(0, 0)])
    assert found is not None
    assert found.grid == (-top % BLOCK, -left % BLOCK)
    known = found.steps > 0
    assert known.sum() > 10
    ratio = found.steps[known] / table[known]  # a multiple of the step fits few coefficients, too
    assert 0.95 < np.median(ratio) < 1.1
    assert ratio.min() > 0.6


@pytest.mark.parametrize("quality", [10, 40, 80])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 6)])
def test_what_leaves_the_interval_is_put_back_nearer_to_the_truth(
    clean: Pixels, quality: int, top: int, left: int
) -> None:
    given = through_jpeg(clean, quality, top, left)
    found = find_compression([luma(given)], [(0, 0)])
    assert found is not None
    even = np.full_like(clean, clean.mean())  # as if all texture had been smoothed away
    before = np.square(luma(even - clean)).mean()
    result = within_rounding(given, even.copy(), found)
    assert np.square(luma(result - clean)).mean() < 0.9 * before
    for kept in (clean, given):  # have not left it
        np.testing.assert_allclose(within_rounding(given, kept.copy(), found), kept, atol=0.004)
    colours = (result - luma(result)[..., None]) - (even - luma(even)[..., None])
    np.testing.assert_allclose(colours, 0, atol=1e-5)  # brightness alone is changed
    grey = luma(given)[..., None]
    assert within_rounding(grey, grey * 0, found).shape == grey.shape


def test_the_noise_that_was_there_may_leave_the_interval(clean: Pixels) -> None:
    given = through_jpeg(clean, 40)
    found = find_compression([luma(given)], [(0, 0)])
    assert found is not None
    smooth = np.full_like(given, given.mean())
    strict = within_rounding(given, smooth.copy(), found)
    lax = within_rounding(given, smooth.copy(), dataclasses.replace(found, slack=10.0))
    assert np.square(lax - smooth).mean() < 0.9 * np.square(strict - smooth).mean()


@pytest.mark.parametrize("grid", [(0, 0), (5, 3)])
def test_rows_alone_are_put_back_as_in_the_whole_picture(
    clean: Pixels, grid: tuple[int, int]
) -> None:
    how, smooth = compression(grid=grid), clean[::-1]
    whole = within_rounding(clean, smooth.copy(), how)
    for first, last in ((0, 40), (40, 96), (96, 180)):
        begin, end = max(0, first - BLOCK), last + BLOCK
        part = within_rounding(clean[begin:end], smooth[begin:end].copy(), how)
        rows = slice(first - begin, last - begin)
        np.testing.assert_allclose(part[rows], whole[first:last], atol=1e-6)
    assert np.abs(whole - smooth).max() > 0.1
    task = Denoise(None, bound=dataclasses.replace(white(5.0), jpeg=how))  # type: ignore[arg-type]
    assert task.context == BLOCK


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 40), (40, 3), (12, 8)])
def test_pictures_without_a_whole_block_stay(height: int, width: int) -> None:
    given = np.zeros((height, width, 3), np.float32)
    result = within_rounding(given, given + 1, compression(grid=(5, 5)))
    np.testing.assert_array_equal(result, given + 1)


@needs_weights
@pytest.mark.parametrize("detail", [0.0, 0.5])
def test_a_compressed_picture_in_bands_is_the_whole(
    clean: Pixels, detail: float, assert_same_picture: Callable[..., None]
) -> None:
    picture = (255 * through_jpeg(np.tile(clean, (2, 1, 1)), 30, 3, 5)).round().astype(np.uint8)
    assert estimate_noise(picture / np.float32(255)).jpeg is not None
    target = np.zeros_like(picture)
    settings: dict[str, Any] = {"precision": "fp32", "device": "cpu", "detail": detail}
    denoise_windows(picture, target, "denoise-photo-fast", **settings)
    assert_same_picture(target, restore.denoise(picture, "denoise-photo-fast", **settings).image)


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
    assert found.jpeg is not None
    assert found.jpeg.error > LEAST_ERROR
    task = dataclasses.replace(upscaling(size, "bicubic"), first=first)
    compute = Compute(device="cpu", precision="fp32")
    restored = restore_picture(blocky, task, compute, output="picture")
    assert restored.sigma == pytest.approx(found.level)
    truth = restore.upscale(clean, **settings).image
    before = np.square(restore.upscale(blocky, **settings).image - truth).mean()
    assert np.square(restored.picture.pixels - truth).mean() < 0.95 * before
