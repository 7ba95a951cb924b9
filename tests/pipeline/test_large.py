"""A picture restored in parts is the one restored whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restore.errors import InputError
from restore.models.denoiser import Denoiser
from restore.models.network import BaseNetwork
from restore.pipeline.large import denoise_windows
from restore.pipeline.picture import denoise

SHAPES = [(150, 61), (150, 61, 3), (150, 60, 4), (90, 33, 1), (7, 5, 3)]


def noisy(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    values = np.random.default_rng(0).random(shape)
    if dtype == "float32":
        return (1.2 * values - 0.1).astype(np.float32)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("detail", [0.0, 1.0])
def test_bands_are_the_whole(
    small_network: Denoiser,
    detail: float,
    shape: tuple[int, ...],
    dtype: str,
    assert_same_picture: Callable[..., None],
) -> None:
    picture = noisy(shape, dtype)
    if dtype == "float32" and shape[-1] == 4:
        picture[:, :, 3] = picture[:, :, 3].clip(0, 1)
    target = np.zeros_like(picture)
    settings: dict[str, Any] = {"precision": "fp32", "strength": 0.8, "device": "cpu"}
    settings["detail"] = detail
    done = denoise_windows(picture, target, small_network, **settings)
    whole = denoise(picture, small_network, **settings).image
    assert_same_picture(target, whole)
    assert (done.height, done.width) == shape[:2] and done.memory > 0


def test_strips_with_halos_are_the_whole(
    small_network: Denoiser, assert_same_picture: Callable[..., None]
) -> None:
    heights: list[int] = []

    class Unknown(BaseNetwork):  # no layers that could be streamed, as on a GPU
        channels, scale = 3, 1
        halo, multiple_of = small_network.halo, small_network.multiple_of
        border = small_network.border

        def __call__(self, x: Any) -> Any:
            heights.append(x.shape[2])
            return small_network(x)

    picture, rows = noisy((300, 40, 3), "uint8"), []
    done = denoise_windows(
        picture,
        lambda first, band: rows.append((first, band)),
        Unknown(),
        precision="fp32",
        detail=1.0,
        memory=900_000,
        device="cpu",
    )
    assert max(heights) < 300 and done.memory <= 900_000
    assert [first for first, _ in rows] == np.cumsum([0, *(len(b) for _, b in rows[:-1])]).tolist()
    whole = denoise(picture, small_network, precision="fp32", detail=1.0, device="cpu").image
    assert_same_picture(np.concatenate([band for _, band in rows]), whole)


@pytest.mark.parametrize("start", [96, 98, 40, 2])
def test_it_continues_where_an_earlier_run_ended(
    small_network: Denoiser, start: int, assert_same_picture: Callable[..., None]
) -> None:
    picture = noisy((200, 30, 3), "uint8")
    target = np.zeros_like(picture)
    settings: dict[str, Any] = {"precision": "fp32", "detail": 1.0, "device": "cpu"}
    denoise_windows(picture, target, small_network, start=start, **settings)
    whole = denoise(picture, small_network, **settings).image
    assert_same_picture(target[start:], whole[start:])
    assert not target[:start].any()


def test_a_memory_map_goes_through(
    small_network: Denoiser, tmp_path: Path, assert_same_picture: Callable[..., None]
) -> None:
    picture = noisy((64, 40, 3), "uint8")
    picture.tofile(tmp_path / "in")
    source = np.memmap(tmp_path / "in", np.uint8, "r", shape=picture.shape)
    target = np.memmap(tmp_path / "out", np.uint8, "w+", shape=picture.shape)
    denoise_windows(source, target, small_network, precision="fp32", device="cpu")
    whole = denoise(picture, small_network, precision="fp32", device="cpu").image
    assert_same_picture(target, whole)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"memory": 1000}, "needs at least"),
        ({"start": 3}, "a multiple of 2"),
        ({"start": 500}, "a row of the picture"),
        ({"target": np.zeros((1, 2, 3))}, r"the source\'s shape \(.*\), not \(1, 2, 3\)"),
        ({"target": [[0.0]]}, "or a function, not a list"),
        ({"target": np.broadcast_to(np.uint8(0), (40, 20, 3))}, "the target is read-only"),
        ({"source": [[0.0]]}, "the source must be an array, .* not a list"),
        ({"source": np.zeros((3, 4, 5))}, "a picture must have the shape"),
        ({"source": np.full((40, 20, 3), np.nan, np.float32)}, "not finite"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_cannot_be_is_refused(
    small_network: Denoiser, change: dict[str, Any], words: str
) -> None:
    picture = noisy((40, 20, 3), "uint8")
    asked = {"source": picture, "target": np.zeros((40, 20, 3)), "device": "cpu"} | change
    with pytest.raises(InputError, match=words):
        denoise_windows(model=small_network, **asked)


@pytest.mark.parametrize("shift", [-10, 0, 10])
def test_a_target_in_the_memory_of_the_source_is_refused(
    small_network: Denoiser, shift: int
) -> None:
    """Rows above a strip were read again after their result had been written over them."""
    rows = noisy((120, 20, 3), "uint8")
    with pytest.raises(InputError, match="shares memory with the source"):
        denoise_windows(rows[20:100], rows[20 + shift : 100 + shift], small_network, device="cpu")


def test_a_target_between_the_columns_of_the_source_is_not(
    small_network: Denoiser, assert_same_picture: Callable[..., None]
) -> None:
    both = noisy((40, 60, 3), "uint8")
    source, target = both[:, :30], both[:, 30:]
    whole = denoise(source.copy(), small_network, precision="fp32", device="cpu").image
    denoise_windows(source, target, small_network, precision="fp32", device="cpu")
    assert_same_picture(target, whole)


def test_noise_is_not_added_to_parts(small_network: Denoiser) -> None:
    picture, target = noisy((200, 48, 3), "uint8"), np.zeros((200, 48, 3), np.uint8)
    with pytest.raises(InputError, match="leave sigma out"):
        denoise_windows(picture, target, small_network, device="cpu", sigma=200)
    assert not target.any()


@pytest.mark.parametrize("sigma", [30, "auto"])
def test_a_noise_level_is_told_to_parts_too(
    telling_network: Denoiser, sigma: Any, assert_same_picture: Callable[..., None]
) -> None:
    picture = noisy((200, 48, 3), "uint8")
    target = np.zeros_like(picture)
    settings: dict[str, Any] = {"precision": "fp32", "device": "cpu", "sigma": sigma}
    denoise_windows(picture, target, telling_network, **settings)
    assert_same_picture(target, denoise(picture, telling_network, **settings).image)
