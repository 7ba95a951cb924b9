"""The protocol is the field's: its published bicubic rows come out of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from restore.evaluation.superresolution import (
    compare_y,
    evaluate_scale,
    make_small,
    parse_scale,
    summarise_scale,
)

from restore.errors import InputError
from restore.image.find import list_pictures
from restore.image.picture import Picture
from restore.models.upscaler import Upscaler

PUBLISHED = [  # of bicubic interpolation, in every table of the field
    ("Set5", 2, 33.66, 0.9299),
    ("Set5", 3, 30.39, 0.8682),
    ("Set5", 4, 28.42, 0.8104),
    ("Set14", 2, 30.24, 0.8688),
    ("Set14", 4, 26.00, 0.7027),
]


@pytest.mark.parametrize(("name", "scale", "psnr", "ssim"), PUBLISHED)
def test_the_published_bicubic_rows(
    root: Path, name: str, scale: int, psnr: float, ssim: float
) -> None:
    folder = root.parent / "shared" / "data" / "bench" / name
    if not folder.is_dir():
        pytest.skip(f"the test set {name} is not in ../shared/data/bench")
    scores = list(evaluate_scale(list_pictures(folder), "bicubic", scale))
    mean = summarise_scale(scores, name, "fp32")
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
        assert score.psnr == pytest.approx(score.bicubic_psnr, abs=0.05)
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
        ("denoise-gaussian", "2", "leaves pictures in their size"),
    ],
)
def test_scales_that_make_no_sense_are_refused(model: str, scale: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_scale(model, scale)
    assert parse_scale("denoise-gaussian", None) is None
    with pytest.raises(InputError, match="too small"):
        make_small(Picture(np.zeros((14, 40, 1), np.float32)), 2)
