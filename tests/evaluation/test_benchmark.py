"""The benchmark follows the field's protocol, and reproduces the card's numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from restore.errors import InputError
from restore.evaluation.benchmark import evaluate, summarise
from restore.evaluation.testsets import PAIRS, Degradation
from restore.models.denoiser import Denoiser
from restore.models.weights import read_card

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "bench"


def test_means_are_over_pictures(samples: Path, tmp_path: Path) -> None:
    for name in ("text-clean.png", "portrait-16bit-clean.png"):
        shutil.copy(samples / name, tmp_path)
    degradation = Degradation("gaussian", 25)
    scores = list(evaluate(tmp_path, "denoise-gaussian", degradation))
    total = summarise(scores, "two", "fp32", degradation)
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
    measured = summarise(scores, "CBSD68", "fp32", degradation)
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
    total = summarise([jpeg], "one", "fp32", degradation)
    assert 20 < jpeg.noisy_psnr < 35
    assert "luma" in total.protocol


def test_without_a_degradation_there_is_no_score_before(samples: Path, tmp_path: Path) -> None:
    shutil.copy(samples / "text-clean.png", tmp_path)
    (score,) = evaluate(tmp_path, "denoise-gaussian", Degradation("none"))
    assert summarise([score], "one", "fp32", Degradation("none")).noisy_psnr is None
    assert np.isfinite(score.psnr)


def test_a_model_may_be_told_the_level_that_was_added(
    samples: Path, tmp_path: Path, telling_network: Denoiser
) -> None:
    shutil.copy(samples / "text-clean.png", tmp_path)
    degradation, fp32 = Degradation("gaussian", 30), {"precision": "fp32", "device": "cpu"}
    (known,) = evaluate(tmp_path, telling_network, degradation, sigma="known", **fp32)
    (same,) = evaluate(tmp_path, telling_network, degradation, sigma=30, **fp32)
    (blind,) = evaluate(tmp_path, telling_network, degradation, **fp32)
    assert known.psnr == same.psnr != blind.psnr
    assert summarise([known], "one", "fp32", degradation, "known").told == "known"
    with pytest.raises(InputError, match="is not known"):
        list(evaluate(tmp_path, telling_network, Degradation("jpeg", 30), sigma="known"))
