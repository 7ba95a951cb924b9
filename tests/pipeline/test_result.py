"""Results: scores only with a reference, and speeds of what was computed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from restore.image.metrics import Scores
from restore.image.picture import Picture
from restore.pipeline.result import LargeResult, Result


def result(seconds: float = 2.0, after: Scores | None = None) -> Result:
    picture = Picture(np.zeros((1000, 2000, 3), np.float32))
    return Result(picture, picture, "m", "cpu", "fp32", 1, (1000, 2000), seconds, after=after)


def large(seconds: float = 2.0, start: int = 0) -> LargeResult:
    return LargeResult(
        1000, 2000, 3, 8, "m", "cpu", "fp32", (64, 2000), 10**6, seconds, start=start
    )


def test_without_a_reference_there_are_no_scores() -> None:
    assert result().psnr is None and result().ssim is None


def test_scores_are_those_of_the_result() -> None:
    scores = Scores(30.0, 0.9, "RGB, 8 bit")
    assert (result(after=scores).psnr, result(after=scores).ssim) == (30.0, 0.9)


def test_the_speed_is_of_the_pixels_of_the_result() -> None:
    assert result().megapixels_per_second == pytest.approx(1.0)
    assert result(seconds=0.0).megapixels_per_second == math.inf


def test_the_speed_of_a_continued_run_leaves_out_the_rows_before_it() -> None:
    assert large().megapixels_per_second == pytest.approx(1.0)
    assert large(start=500).megapixels_per_second == pytest.approx(0.5)
    assert large(seconds=0.0).megapixels_per_second == math.inf
