"""The benchmark follows the field's protocol, and reproduces the card's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from restore.errors import InputError
from restore.evaluation.benchmark import add_noise, evaluate, parse_noise, summarise
from restore.models.weights import read_card

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "bench"


def test_noise_is_the_published_protocols() -> None:
    np.random.seed(0)
    clean = np.full((5, 7, 3), 0.5, np.float32)
    expected = clean + np.random.normal(0, 25 / 255, clean.shape)
    np.testing.assert_allclose(add_noise(clean, 25), expected, atol=1e-6)
    assert np.array_equal(add_noise(clean, 25), add_noise(clean, 25))


def test_noise_leaves_the_callers_generator_alone() -> None:
    np.random.seed(7)
    state = np.random.get_state()[1].copy()
    add_noise(np.zeros((4, 4, 3), np.float32), 25)
    assert np.array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize(
    "text", ["gaussian", "gaussian:", "gaussian:x", "poisson:3", "gaussian:256"]
)
def test_unknown_noise_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="gaussian:SIGMA"):
        parse_noise(text)
    assert parse_noise("gaussian:12.5") == 12.5


def test_means_are_over_pictures(samples: Path) -> None:
    files = [samples / "text-clean.png", samples / "portrait-16bit-clean.png"]
    scores = list(evaluate(files, "denoise-gaussian", 25))
    total = summarise(scores, "two", "fp32")
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
    files = sorted(folder.iterdir())
    measured = summarise(
        list(evaluate(files, "denoise-gaussian", 25, precision="fp32")), "CBSD68", "fp32"
    )
    assert measured.pictures == 68
    assert measured.psnr == pytest.approx(recorded["CBSD68", "gaussian:25", "fp32"], abs=0.002)
    assert measured.psnr > 31.21  # FFDNet, which is told the noise level
