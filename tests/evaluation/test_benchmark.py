"""The benchmark follows the protocols of the field: the card's numbers, published bicubic rows."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from restore.errors import InputError
from restore.evaluation.benchmark import (
    PictureScore,
    compare_y,
    evaluate,
    evaluate_scale,
    make_small,
    parse_scale,
    scale_protocol,
    summarise,
    to_plain,
)
from restore.evaluation.testsets import PAIRS, Degradation
from restore.image.find import list_pictures
from restore.image.picture import Picture
from restore.models.denoiser import Denoiser
from restore.models.upscaler import Upscaler
from restore.models.weights import read_card

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "bench"
PUBLISHED = [  # of bicubic interpolation, in every table of the field
    ("Set5", 2, 33.66, 0.9299),
    ("Set5", 3, 30.39, 0.8682),
    ("Set5", 4, 28.42, 0.8104),
    ("Set14", 2, 30.24, 0.8688),
    ("Set14", 4, 26.00, 0.7027),
]


def test_means_are_over_pictures(samples: Path, tmp_path: Path) -> None:
    for name in ("text-clean.png", "portrait-16bit-clean.png"):
        shutil.copy(samples / name, tmp_path)
    degradation = Degradation("gaussian", 25)
    scores = list(evaluate(tmp_path, "denoise-gaussian", degradation))
    total = summarise(scores, "two", "fp32", degradation.protocol)
    assert total.pictures == 2
    assert total.psnr == pytest.approx((scores[0].psnr + scores[1].psnr) / 2)
    assert all(s.psnr > s.noisy_psnr + 5 for s in scores)
    assert 20 < total.noisy_psnr < 22


def test_the_cards_numbers_come_out_of_the_pipeline() -> None:
    folder = SHARED / "CBSD68"
    if not folder.is_dir():
        pytest.skip("the benchmark pictures (CBSD68) are not beside this checkout")
    recorded = {
        (s["data"], s["noise"], s["precision"]): s["psnr"]
        for s in read_card("denoise-gaussian").scores
        if "precision" in s
    }
    degradation = Degradation("gaussian", 25)
    scores = list(evaluate(folder, "denoise-gaussian", degradation, precision="fp32"))
    measured = summarise(scores, "CBSD68", "fp32", degradation.protocol)
    assert measured.pictures == 68
    assert measured.psnr == pytest.approx(recorded["CBSD68", "gaussian:25", "fp32"], abs=0.002)
    assert measured.psnr > 31.3  # FFDNet, which is told the noise level, has 31.21


def test_pairs_and_jpeg_are_scored_before_and_after(samples: Path, tmp_path: Path) -> None:
    for folder, name in (("gt", "fur-clean.png"), ("noisy", "fur.png")):
        (tmp_path / folder).mkdir()
        shutil.copy(samples / name, tmp_path / folder / "fur.png")
    (pair,) = evaluate(tmp_path, "denoise-gaussian", PAIRS)
    assert pair.noise == "pairs"
    assert pair.psnr > pair.noisy_psnr + 3
    degradation = Degradation("jpeg", 10)
    (jpeg,) = evaluate(tmp_path / "gt", "denoise-gaussian", degradation)
    total = summarise([jpeg], "one", "fp32", degradation.protocol)
    assert 20 < jpeg.noisy_psnr < 35
    assert "luma" in total.protocol


def test_without_a_degradation_there_is_no_score_before(samples: Path, tmp_path: Path) -> None:
    shutil.copy(samples / "text-clean.png", tmp_path)
    (score,) = evaluate(tmp_path, "denoise-gaussian", Degradation("none"))
    assert summarise([score], "one", "fp32", "").noisy_psnr is None
    assert score.psnr > 50  # infinite where nothing is changed


def test_a_model_may_be_told_the_level_that_was_added(
    samples: Path, tmp_path: Path, telling_network: Denoiser
) -> None:
    shutil.copy(samples / "text-clean.png", tmp_path)
    degradation, fp32 = Degradation("gaussian", 30), {"precision": "fp32", "device": "cpu"}
    (known,) = evaluate(tmp_path, telling_network, degradation, sigma="known", **fp32)
    (same,) = evaluate(tmp_path, telling_network, degradation, sigma=30, **fp32)
    (blind,) = evaluate(tmp_path, telling_network, degradation, **fp32)
    assert known.psnr == same.psnr != blind.psnr
    assert summarise([known], "one", "fp32", degradation.protocol, "known").sigma == "known"
    with pytest.raises(InputError, match="is not known"):
        list(evaluate(tmp_path, telling_network, Degradation("jpeg", 30), sigma="known"))


@pytest.mark.parametrize(("name", "scale", "psnr", "ssim"), PUBLISHED)
def test_the_published_bicubic_rows(
    root: Path, name: str, scale: int, psnr: float, ssim: float
) -> None:
    folder = root.parent / "shared" / "data" / "bench" / name
    if not folder.is_dir():
        pytest.skip(f"the test set {name} is not in ../shared/data/bench")
    scores = list(evaluate_scale(list_pictures(folder), "bicubic", scale))
    mean = summarise(scores, name, "fp32", scale_protocol(scale))
    assert mean.psnr == pytest.approx(psnr, abs=0.02)
    assert mean.ssim == pytest.approx(ssim, abs=0.001)
    assert mean.psnr == mean.noisy_psnr and mean.noise == f"bicubic:{scale}"
    assert f"border of {scale} shaved" in mean.protocol


def test_a_network_is_scored_beside_bicubic(samples: Path, tmp_path: Path) -> None:
    network = Upscaler(2, 3, (4, 8), (1, 1)).eval().requires_grad_(False)
    network.tail.weight.zero_()  # bicubic interpolation but for the border
    files = [samples / "text-clean.png", samples / "fur-clean.png"]
    grey, colour = evaluate_scale(files, network, 2, device="cpu", precision="fp32")
    for score in (grey, colour):
        assert score.psnr == pytest.approx(score.noisy_psnr, abs=0.05)
        assert 15 < score.psnr < 45 and score.seconds > 0
    assert colour.megapixels == pytest.approx(0.32 * 0.3)


def test_pictures_are_cut_and_y_is_rounded_and_shaved() -> None:
    rng = np.random.default_rng(0)
    clean, small = make_small(Picture(rng.random((34, 47, 3), np.float32)), 4)
    assert clean.pixels.shape == (32, 44, 3) and small.pixels.shape == (8, 11, 3)
    np.testing.assert_allclose(small.pixels * 255, np.rint(small.pixels * 255), atol=1e-4)
    frame = clean.pixels.copy()
    frame[:4], frame[-4:], frame[:, :4], frame[:, -4:] = 0, 1, 0, 1
    assert compare_y(clean.replace(pixels=frame), clean, 4) == (np.inf, 1)
    # 1 level in blue is 0.1 of Y, which the rounding of Y hides or makes a whole level
    blue = clean.pixels + np.array([0, 0, 1 / 255], np.float32)
    ratio, _ = compare_y(clean.replace(pixels=blue), clean, 4)
    assert ratio == pytest.approx(10 * np.log10(255**2 / (24.966 / 255)), abs=0.7)


@pytest.mark.parametrize(
    ("model", "scale", "words"),
    [
        ("bicubic", None, "give one, such as --scale 2"),
        ("bicubic", "x", "from 2 to 8"),
        ("bicubic", "1", "from 2 to 8"),
        ("denoise-gaussian", "2", "does not change the size"),
    ],
)
def test_scales_that_make_no_sense_are_refused(model: str, scale: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_scale(model, scale)
    assert parse_scale("denoise-gaussian", None) is None
    with pytest.raises(InputError, match="too small"):
        make_small(Picture(np.zeros((14, 40, 1), np.float32)), 2)


def score(picture: str, before: float, after: float) -> PictureScore:
    return PictureScore(picture, "gaussian:25", before, after, 0.9, seconds=0.5, megapixels=1.0)


def test_the_worst_pictures_of_a_set_are_named() -> None:
    scores = [score("a.png", 20, 30), score("b.png", 20, 24), score("c.png", 33, 32)]
    total = summarise(scores, "three", "fp32", "protocol")
    assert total.psnr == pytest.approx(86 / 3)
    assert (total.min_psnr, total.worst) == (24, "b.png")
    assert (total.min_gain, total.least_gained) == (-1, "c.png")  # better, but ruined
    assert total.megapixels_per_second == pytest.approx(2)
    plain = to_plain(total)
    assert plain["min_psnr"] == 24 and plain["worst"] == "b.png"
    assert plain["min_gain"] == -1 and plain["least_gained"] == "c.png"


def test_pictures_that_stay_as_they_are_have_no_gain() -> None:
    equal = score("a.png", math.inf, math.inf)
    assert equal.gain is None and to_plain(equal)["psnr"] is None
    total = summarise([equal, score("b.png", math.inf, 41)], "two", "fp32", "protocol")
    assert total.noisy_psnr is None and total.min_gain is None and total.least_gained is None
    assert (total.min_psnr, total.worst) == (41, "b.png")
    json.dumps(to_plain(total), allow_nan=False)
