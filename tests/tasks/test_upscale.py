"""Upscaling as a whole: any factor, every kind of picture, the same colours, tiled as untiled."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import restore
from restore.engine.compute import Resources
from restore.engine.run import run_array
from restore.errors import InputError, UnknownModelError, WriteError
from restore.image.picture import Picture, quantise
from restore.image.resize import imresize, resize
from restore.models.denoiser import Denoiser
from restore.models.network import BaseNetwork
from restore.models.upscaler import Upscaler
from restore.pipeline.file import upscale_file
from restore.pipeline.picture import denoise, upscale
from restore.tasks.target_size import make_size
from restore.tasks.upscale import Interpolation, upscaling, within_range

FP32: dict[str, Any] = {"device": "cpu", "precision": "fp32"}


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiled_equals_untiled_over_random_sizes(scale: int) -> None:
    network = Upscaler(scale, 3, (4, 8), (1, 1), seed=1).eval().requires_grad_(False)
    network.tail.weight.mul_(30)  # as much as the interpolation, so that all of it is seen
    draw, tiled_cases = random.Random(scale), 0
    for case in range(20):
        sides = draw.randint(1, 70), draw.randint(1, 70)
        pixels = np.random.default_rng(case).random((*sides, 3), np.float32)
        whole = run_array(network, pixels, Resources(torch.device("cpu"), torch.float32))
        tile = 2 * network.halo + 2 + draw.randint(0, 40)
        tiled = run_array(network, pixels, Resources(torch.device("cpu"), torch.float32, tile=tile))
        tiled_cases += tiled.plan.tiles > 1
        assert tiled.pixels.shape == (sides[0] * scale, sides[1] * scale, 3)
        np.testing.assert_allclose(tiled.pixels, whole.pixels, rtol=0, atol=1e-5)
    assert tiled_cases > 5


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({"scale": 3}, (90, 120)),
        ({"scale": 1.5}, (45, 60)),
        ({"scale": 3.5}, (105, 140)),
        ({"width": 100}, (75, 100)),
        ({"height": 31}, (31, 41)),
        ({"fit": "64x64"}, (48, 64)),
        ({"fit": (200, 60)}, (60, 80)),
    ],
)
@pytest.mark.parametrize("bicubic", [True, False])
def test_any_size_is_met_exactly(
    small_upscaler: Upscaler, rng: np.random.Generator, asked: Any, size: Any, bicubic: bool
) -> None:
    array = rng.integers(0, 256, (30, 40, 3), np.uint8)
    model = "bicubic" if bicubic else small_upscaler
    result = upscale(array, model=model, **asked, **FP32)
    assert result.image.shape == (*size, 3) and result.image.dtype == np.uint8
    if bicubic:
        assert result.model == "bicubic"
        wanted = quantise(resize(array.astype(np.float32) / 255, *size), 8)
        assert np.abs(result.image.astype(int) - wanted).max() <= 1


def test_bicubic_is_matlabs_and_smaller_factors_are_shrunk(small_upscaler: Upscaler) -> None:
    pixels = np.random.default_rng(0).random((20, 24, 3), np.float32)
    plain = upscale(Picture(pixels), 2, "bicubic").picture.pixels
    np.testing.assert_allclose(plain, imresize(pixels, 2).clip(0, 1), atol=1e-6)
    large = small_upscaler(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    shrunk = resize(large.numpy(), 40, 48).clip(0, 1)
    ours = upscale(Picture(pixels), 2, small_upscaler, **FP32).picture.pixels
    np.testing.assert_allclose(ours, shrunk, atol=1e-6)


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_arrays_come_back_in_their_own_kind(
    small_upscaler: Upscaler, rng: np.random.Generator, dtype: str, channels: int | None
) -> None:
    values = rng.random((12, 15) if channels is None else (12, 15, channels))
    array = (
        values.astype(dtype) if dtype[0] == "f" else (values * np.iinfo(dtype).max).astype(dtype)
    )
    copy = array.copy()
    result = upscale(array, 3, small_upscaler, **FP32)
    assert np.array_equal(array, copy)
    assert (result.image.shape, result.image.dtype) == ((36, 45, *array.shape[2:]), array.dtype)


def test_transparent_edges_have_no_halo(small_upscaler: Upscaler) -> None:
    """A white disc on invisible black stays white up to its last visible pixel."""
    y, x = np.mgrid[:24, :24] - 11.5
    disc = (y**2 + x**2 < 60).astype(np.uint8) * 255
    array = np.dstack([disc, disc, disc, disc])
    for model in ("bicubic", small_upscaler):
        result = upscale(array, 3, model, **FP32).image
        visible = result[:, :, 3] > 0
        assert 0 < visible.mean() < 0.6
        assert result[visible][:, :3].min() >= 254
        assert (
            np.ptp(result[:, :, 3]) == 255
            and ((result[:, :, 3] > 50) & (result[:, :, 3] < 200)).any()
        )


@pytest.mark.parametrize("steps", [0, 3])
def test_shrunk_back_it_is_the_picture(samples: Path, steps: int) -> None:
    network = Upscaler(3, 3, (4, 8), (1, 1), seed=1).eval().requires_grad_(False)
    network.tail.weight.mul_(3)
    picture = restore.load_image(samples / "fur-clean.png")
    errors = []
    for model in ("bicubic", network):
        result = upscale(picture, 2.5, model, back_projection=steps, **FP32).picture.pixels
        back = resize(result, picture.height, picture.width)
        assert np.abs((back - picture.pixels).mean((0, 1))).max() * 255 < 0.5
        errors.append(np.abs(back - picture.pixels).mean() * 255)
    assert max(errors) < (0.5 if steps else 6)


def test_flat_colours_stay_what_they_are(small_upscaler: Upscaler) -> None:
    for colour in ((0, 0, 0), (255, 255, 255), (13, 200, 77)):
        flat = np.full((20, 20, 3), colour, np.uint8)
        assert (upscale(flat, 3, small_upscaler, **FP32).image == colour).all()


@pytest.mark.parametrize("size", [(900, 12), (620, 31), (1, 1)], ids=str)
def test_a_pixel_stays_near_the_range_of_the_3x3_around_it(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    picture = rng.random((-(-size[0] // 3), -(-size[1] // 3), 3), np.float32)
    fine = rng.uniform(-1, 2, (*size, 3)).astype(np.float32)
    found = within_range(fine.copy(), picture)
    for row, column in np.ndindex(*size):
        y, x = (
            at * small // large
            for at, small, large in zip((row, column), picture.shape, size, strict=False)
        )
        around = picture[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        low, high = around.min((0, 1)), around.max((0, 1))
        most = np.clip(fine[row, column], 2 * low - high, 2 * high - low)
        np.testing.assert_allclose(found[row, column], most, rtol=0, atol=1e-6)


def test_a_reference_scores_the_result_beside_bicubic(small_upscaler: Upscaler) -> None:
    clean = np.random.default_rng(0).random((60, 60, 3))
    small = imresize(clean, 1 / 3).clip(0, 1)
    result = upscale(small, 3, small_upscaler, reference=clean, **FP32)
    assert result.before is not None and result.psnr is not None
    assert result.before.psnr == pytest.approx(
        restore.psnr(quantise(imresize(small, 3), 8), quantise(clean, 8), data_range=255), abs=0.01
    )
    with pytest.raises(InputError, match="must have the same size"):
        upscale(small, 2, small_upscaler, reference=clean)


def test_files_keep_what_they_said_and_name_their_new_size(
    small_upscaler: Upscaler, samples: Path, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6  # turned a quarter
    exif.get_ifd(0x8769).update({0xA002: 320, 0xA003: 300})
    source = tmp_path / "a.jpg"
    said = b'exif:PixelXDimension="320" tiff:ImageLength="300"'
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r ' + said + b"/></x:xmpmeta>"
    Image.open(samples / "fur.png").save(source, exif=exif, icc_profile=b"profile" * 30, xmp=xmp)
    _, written = upscale_file(source, scale=2, model=small_upscaler, **FP32)
    assert written == tmp_path / "a-upscaled.jpg"
    with Image.open(written) as result:
        assert result.size == (600, 640)  # upright now
        kept = result.getexif()
        assert kept[0x010F] == "Maker"
        assert (kept.get_ifd(0x8769)[0xA002], kept.get_ifd(0x8769)[0xA003]) == (600, 640)
        assert result.info["icc_profile"] == b"profile" * 30
        assert b'PixelXDimension="600"' in result.info["xmp"]
        assert b'ImageLength="640"' in result.info["xmp"]


@pytest.mark.parametrize("name", ["portrait-16bit", "grey", "cut-out"])
def test_files_stay_deep_grey_and_transparent(
    small_upscaler: Upscaler, samples: Path, tmp_path: Path, name: str
) -> None:
    source = restore.load_image(samples / f"{name}.png")
    _, written = upscale_file(
        samples / f"{name}.png", tmp_path / "r.png", scale=1.5, model=small_upscaler, **FP32
    )
    result = restore.load_image(written)
    assert (result.depth, result.channels) == (source.depth, source.channels)
    assert (result.alpha is None) == (source.alpha is None)
    assert result.width == round(source.width * 1.5)


class Never(BaseNetwork):
    channels, scale, halo, multiple_of, card = 3, 4, 0, 1, None

    def __call__(self, x: Any) -> Any:
        pytest.fail("the network ran for a result that cannot be written")


def test_results_that_cannot_be_are_refused_before_the_work(tmp_path: Path) -> None:
    wide = tmp_path / "wide.png"
    Image.new("L", (5000, 2)).save(wide)
    with pytest.raises(WriteError, match="too many for JPEG, which ends at 65500"):
        upscale_file(wide, tmp_path / "w.jpg", scale=14, model=Never())
    with pytest.raises(WriteError, match="too many for WEBP"):
        upscale_file(wide, scale=4, file_format="webp", model=Never())
    with pytest.raises(InputError, match="already that large"):
        upscale_file(wide, width=4000, model=Never())
    with pytest.raises(InputError, match="0 to 20 steps"):
        upscale_file(wide, scale=4, back_projection=21, model=Never())
    assert [p.name for p in tmp_path.iterdir()] == ["wide.png"]


def test_the_next_model_is_taken(small_upscaler: Upscaler) -> None:
    work = upscaling(make_size(2), small_upscaler)
    picture = Picture(np.zeros((100, 150, 3), np.float32))
    two, four = Upscaler(2, 3, (4,), (1,)), Upscaler(4, 3, (4,), (1,))
    for scale, network in ((1.5, two), (2, two), (2.01, small_upscaler), (3.5, four), (9, four)):
        both = type(work)(make_size(scale), {4: four, 2: two, 3: small_upscaler})
        found = both.for_picture(picture).network
        assert isinstance(found, Upscaler) and found.tail is network.tail


def test_the_small_versions_are_chosen_by_the_size_too() -> None:
    picture = Picture(np.zeros((40, 60, 3), np.float32))
    for factor, scale in ((1.5, 2), (2.5, 3), (9, 4)):
        network = upscaling(make_size(factor), "fast").for_picture(picture).network
        assert network.card is not None and network.card.name == f"upscale-x{scale}-fast"


def test_interpolation_is_in_float32_whatever_is_asked_for() -> None:
    pixels = np.random.default_rng(0).random((9, 9, 3), np.float32)
    results = [
        upscale(pixels, 2, "bicubic", device="cpu", precision=precision)
        for precision in ("fp32", "bf16")
    ]
    assert [result.precision for result in results] == ["fp32", "fp32"]
    assert np.array_equal(results[0].image, results[1].image)


def test_an_ensemble_is_the_mean_of_the_views(small_upscaler: Upscaler) -> None:
    array = np.random.default_rng(0).random((10, 12, 3), np.float32)
    one = upscale(array, 3, small_upscaler, ensemble=True, **FP32).image
    turned = upscale(array[::-1].copy(), 3, small_upscaler, ensemble=True, **FP32).image[::-1]
    np.testing.assert_allclose(one, turned, atol=1e-5)
    alone = upscale(array, 3, small_upscaler, **FP32).image
    assert np.abs(alone - upscale(array[::-1].copy(), 3, small_upscaler).image[::-1]).max() > 1e-4


def test_models_for_the_other_task_are_refused_in_words(
    small_upscaler: Upscaler, small_network: Denoiser
) -> None:
    array = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(InputError, match="does not denoise"):
        denoise(array, small_upscaler)
    with pytest.raises(InputError, match="does not enlarge"):
        upscale(array, 2, small_network)
    with pytest.raises(UnknownModelError, match="nonesuch"):
        upscale(array, 2, "nonesuch")


def test_without_shipped_weights_the_default_says_what_would_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("restore.models.folders.available_models", dict)
    with pytest.raises(UnknownModelError, match=r"--model bicubic.*restore train upscale-x4"):
        upscale(np.zeros((8, 8, 3), np.uint8), 2)


def test_the_shipped_models_are_found_by_their_names(
    monkeypatch: pytest.MonkeyPatch, upscaling_weights: Path
) -> None:
    found = {"upscale-x3": upscaling_weights, "denoise-x": Path("d"), "upscale-photo-x4": Path("p")}
    monkeypatch.setattr("restore.models.folders.available_models", lambda: found)
    result = upscale(np.zeros((8, 8, 3), np.uint8), 2.5, **FP32)
    assert (result.model, result.image.shape) == ("tiny-x3", (20, 20, 3))
    assert Interpolation().card is not None


class Blurring(BaseNetwork):
    """Takes all structure for noise: it gives the mean over some pixels, enlarged."""

    channels, scale, multiple_of, halo = 3, 2, 1, 8
    noise = "mixed"

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        smooth = torch.nn.functional.avg_pool2d(x, 9, 1, 4, count_include_pad=False)
        return torch.nn.functional.interpolate(smooth, scale_factor=2, mode="nearest")


def test_a_pattern_that_a_network_takes_for_noise_is_given_back() -> None:
    stripes = np.zeros((128, 128, 3), np.float32) + np.float32(0.3)
    stripes[:, ::4] += np.float32(0.3)
    stripes[:, 1::4] += np.float32(0.3)
    result = upscale(stripes, 2, Blurring(), strength=0, **FP32).image
    lost = upscale(stripes, 2, "bicubic", **FP32).image
    contrast = result[64:192, 64:192].std() / lost[64:192, 64:192].std()
    assert 0.8 < contrast < 1.1


def test_strong_noise_is_removed_before_a_network_for_noisy_pictures() -> None:
    noise = np.random.default_rng(0).normal(0, 30 / 255, (96, 96, 3)).astype(np.float32)
    size = make_size(2, None, None, None)
    task = upscaling(size, Blurring())
    assert task.first is not None
    noisy, quiet = (Picture((0.5 + s * noise).clip(0, 1)) for s in (1, 0.1))
    assert not task.first.for_picture(noisy).unchanged
    assert task.first.for_picture(quiet).unchanged
    assert upscaling(size, Blurring(), strength=0).first is None
    assert upscaling(size, "upscale-x2").first is None
