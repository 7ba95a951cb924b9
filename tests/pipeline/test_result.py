"""Results: scores only with a reference, speeds of what was computed, and how they are shown."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restore.errors import InputError, WriteError
from restore.image.metrics import Scores
from restore.image.picture import Picture, dequantise, quantise
from restore.image.read import load_image
from restore.models.denoiser import Denoiser
from restore.models.upscaler import Upscaler
from restore.pipeline.picture import denoise, upscale
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


@pytest.fixture
def seen(small_network: Denoiser) -> Result:
    noisy = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    return denoise(noisy, small_network, reference=noisy // 2, device="cpu")


def test_a_result_is_saved_and_shown(
    seen: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = seen.save(tmp_path / "a.png")
    assert (load_image(path).pixels == dequantise(quantise(seen.picture.pixels, 8))).all()
    with pytest.raises(WriteError):
        seen.save(path)
    seen.save(path, overwrite=True)
    shown: list[Image.Image] = []
    monkeypatch.setattr(Image.Image, "show", lambda image: shown.append(image))
    seen.show()
    assert (np.asarray(shown[0]) == quantise(seen.picture.pixels, 8)).all()


def test_a_result_holds_what_went_in_and_what_it_was_scored_against(seen: Result) -> None:
    assert seen.original is not None and seen.reference is not None
    pair = seen.pair()
    assert pair.before is seen.original and pair.reference is seen.reference
    assert (pair.before_scores, pair.after_scores) == (seen.before, seen.after)
    assert "original" not in repr(seen)


def test_notebooks_get_a_sheet_and_a_slider(seen: Result) -> None:
    data = seen._repr_png_()
    assert data is not None
    sheet = Image.open(io.BytesIO(data))
    assert sheet.size == seen.compare().size
    html = seen._repr_html_()
    assert html is not None and html.startswith("<iframe srcdoc=")


def test_before_an_enlargement_is_the_interpolation(small_upscaler: Upscaler) -> None:
    small = np.random.default_rng(0).random((12, 16, 3), np.float32)
    enlarged = upscale(small, 3, small_upscaler, device="cpu")
    assert enlarged.original is not None and enlarged.original.width == 16
    before = enlarged.pair().before
    assert list(enlarged.pair().pictures) == ["bicubic", "after"]
    bicubic = upscale(small, 3, "bicubic", device="cpu").picture
    np.testing.assert_allclose(before.pixels, bicubic.pixels, atol=1e-6)


def test_without_its_original_a_result_has_nothing_to_compare() -> None:
    assert result()._repr_png_() is None and result()._repr_html_() is None
    with pytest.raises(InputError, match="restored by rows"):
        result().compare()
