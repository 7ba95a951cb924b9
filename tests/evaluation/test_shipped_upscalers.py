"""The shipped networks for upscaling: above the published ones, faithful, and for real pictures."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

import restore
from restore.evaluation.benchmark import evaluate_scale, make_small
from restore.image.find import list_pictures
from restore.image.picture import Picture
from restore.image.resize import resize
from restore.models.weights import read_card
from restore.pipeline.picture import upscale

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "bench"
VDSR = {2: 37.53, 3: 33.66, 4: 31.35}  # Kim et al., CVPR 2016, PSNR on Set5 in dB
FAITHFUL = [f"upscale-x{scale}{end}" for scale in (2, 3, 4) for end in ("", "-fast")]
NAMES = [*FAITHFUL, "upscale-photo-x4"]


@pytest.mark.parametrize("name", FAITHFUL)
def test_on_set5_they_are_above_vdsr_as_their_cards_say(name: str) -> None:
    folder = SHARED / "Set5"
    if not folder.is_dir():
        pytest.skip("the pictures of Set5 are not beside this checkout")
    scale = read_card(name).scale
    scores = list(evaluate_scale(list_pictures(folder), name, scale, precision="fp32"))
    mean = fmean(score.psnr for score in scores)
    (recorded,) = [
        s["psnr"]
        for s in read_card(name).scores
        if s["data"] == "Set5" and s.get("precision") == "fp32"
    ]
    assert mean == pytest.approx(recorded, abs=0.002)
    assert mean > VDSR[scale]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["fur", "text", "cut-out"])
def test_samples_made_small_come_back_better_than_by_bicubic(
    samples: Path, name: str, scale: int
) -> None:
    (score,) = evaluate_scale([samples / f"{name}-clean.png"], f"upscale-x{scale}", scale)
    assert score.psnr > score.noisy_psnr + 0.4
    assert score.noisy_ssim is not None and score.ssim > score.noisy_ssim


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sample", ["fur", "night", "portrait-16bit", "grey"])
def test_shrunk_back_the_mean_of_each_colour_is_the_pictures(
    samples: Path, sample: str, name: str
) -> None:
    scale = read_card(name).scale
    _, small = make_small(restore.load_image(samples / f"{sample}-clean.png"), scale)
    large = upscale(small, scale, name).picture
    assert large.pixels.shape[2] == small.pixels.shape[2]
    back = resize(large.pixels, small.height, small.width)
    assert np.abs((back - small.pixels).mean((0, 1))).max() < 0.5 / 255


@pytest.mark.parametrize("name", NAMES)
def test_an_even_colour_stays_up_to_the_corners(name: str) -> None:
    flat = np.full((40, 50, 3), (255, 128, 3), np.uint8)
    large = upscale(flat, read_card(name).scale, name).image
    assert np.array_equal(large, np.broadcast_to(flat[0, 0], large.shape))


def test_the_one_for_photographs_leaves_less_noise_and_fewer_blocks(
    samples: Path, tmp_path: Path
) -> None:
    from restore.evaluation.testsets import add_noise, through_jpeg

    clean, small = make_small(restore.load_image(samples / "fur-clean.png"), 4)
    degraded = Picture(through_jpeg(add_noise(small.pixels, 15).clip(0, 1), 50))
    plain, for_clean, for_photos = (
        upscale(degraded, 4, model, reference=clean).psnr or 0
        for model in ("bicubic", "upscale-x4", "upscale-photo-x4")
    )
    assert for_photos > plain + 0.3
    assert for_photos > for_clean + 1
