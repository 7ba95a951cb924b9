"""Degradations are the published protocols', and pairs find each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restore.errors import InputError, ReadError
from restore.evaluation.testsets import (
    PAIRS,
    Degradation,
    add_noise,
    cases_of,
    clean_files,
    make_case,
    parse_degradation,
)
from restore.image.read import load_image


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


@pytest.mark.parametrize("text", ["gaussian", "gaussian:", "gaussian:x", "poisson:3", "jpeg:7.5"])
def test_unknown_degradations_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="gaussian:SIGMA, jpeg:QUALITY or none"):
        parse_degradation(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [("gaussian:256", "from 0 to 255"), ("jpeg:0", "from 1 to 100"), ("jpeg:101", "1 to 100")],
)
def test_levels_out_of_range_are_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_degradation(text)


@pytest.mark.parametrize("text", ["gaussian:12.5", "jpeg:40", "none"])
def test_a_degradation_keeps_its_name(text: str) -> None:
    assert parse_degradation(text).name == text


def test_jpeg_is_pillows(samples: Path, tmp_path: Path) -> None:
    with Image.open(samples / "fur-clean.png") as picture:
        picture.convert("RGB").save(tmp_path / "f.jpg", quality=30)
    case = make_case(samples / "fur-clean.png", Degradation("jpeg", 30))
    assert np.array_equal(case.degraded.pixels, load_image(tmp_path / "f.jpg").pixels)


def test_a_pair_is_found_by_its_name(samples: Path, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="holds no pairs; put clean pictures into"):
        clean_files(tmp_path, PAIRS)
    for folder, suffix in (("clean", ".png"), ("noisy", ".webp")):
        (tmp_path / folder).mkdir()
        with Image.open(samples / "grey-clean.png") as picture:
            picture.save(tmp_path / folder / f"a{suffix}", lossless=True)
    (case,) = cases_of(tmp_path, PAIRS)
    # WebP has no grey of its own: both are compared in colour
    assert case.degraded.channels == case.clean.channels == 3
    assert np.array_equal(case.degraded.pixels, case.clean.pixels)
    (tmp_path / "noisy" / "a.webp").rename(tmp_path / "noisy" / "b.webp")
    with pytest.raises(ReadError, match=r"no picture of the name a\.png"):
        list(cases_of(tmp_path, PAIRS))
