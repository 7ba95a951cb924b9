"""Networks by name, file or object, and pictures fitted to their channels."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from restore.errors import InputError, UnknownModelError
from restore.image.color import as_grey
from restore.models.denoiser import Denoiser
from restore.models.ensemble import Ensemble
from restore.models.folders import find_weights
from restore.tasks.task import check_strength, find_network, fit_channels, parse_sigma


def test_a_network_shares_its_kernels_with_the_one_that_is_found(small_network: Denoiser) -> None:
    found = find_network(small_network)
    assert isinstance(found, Denoiser) and found.tail is small_network.tail
    assert find_network(found) is found
    ensemble = find_network(found, ensemble=True)
    assert isinstance(ensemble, Ensemble) and ensemble.network is found


def test_a_file_is_loaded_again_only_if_it_changed(upscaling_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    shutil.copyfile(upscaling_weights, path)
    first = find_network(path)
    assert find_network(str(path)) is first
    os.utime(path, (1, 1))
    assert find_network(path) is not first


def test_other_objects_and_names_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be run as a network"):
        find_network(5)  # type: ignore[arg-type]
    with pytest.raises(UnknownModelError, match="nonesuch"):
        find_network("nonesuch")


def test_pixels_are_fitted_to_the_channels_of_a_network(rng: np.random.Generator) -> None:
    colour = rng.random((4, 5, 3), np.float32)
    assert fit_channels(colour, 3) is colour
    grey = fit_channels(colour, 1)
    np.testing.assert_allclose(grey, as_grey(colour))
    assert grey.shape == (4, 5, 1)
    np.testing.assert_allclose(fit_channels(grey, 3), np.repeat(grey, 3, axis=2))


def test_weights_of_ones_own_are_not_reported_as_the_shipped_model(tmp_path: Path) -> None:
    copy = tmp_path / "mine.safetensors"
    copy.write_bytes(find_weights("denoise-gaussian-fast").read_bytes())
    for name, reported in (("denoise-gaussian-fast", "denoise-gaussian-fast"), (copy, copy.name)):
        card = find_network(name).card
        assert card is not None and card.name == reported


def test_any_number_is_a_strength_and_words_are_none() -> None:
    for strength in (0, 0.5, np.float32(0.5), True):
        check_strength(strength)
    for wrong in ("1", None, float("nan"), 2, [1]):
        with pytest.raises(InputError, match="strength must be a number"):
            check_strength(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="sigma must be"):
        parse_sigma(np.array([1.0, 2.0]))  # type: ignore[arg-type]
