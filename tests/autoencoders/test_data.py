"""Data for autoencoders: folders of IDX files, NumPy files, patches, and what is refused."""

from __future__ import annotations

import gzip
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restore.autoencoders import data
from restore.autoencoders.data import load_samples, make_samples
from restore.errors import InputError, ReadError, TrainingError


def idx(array: np.ndarray) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (10, 6, 4), np.uint8)


@pytest.fixture
def digits(tmp_path: Path, pictures: np.ndarray) -> Path:
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pictures)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(10)))
    return tmp_path


def test_a_folder_of_one_idx_set_is_divided(digits: Path, pictures: np.ndarray) -> None:
    split = load_samples(str(digits))
    assert (len(split.train), len(split.test)) == (8, 2)
    assert split.train.shape == (1, 6, 4)
    assert torch.allclose(split.test.pictures[:, 0] * 255, torch.from_numpy(pictures[8:]).float())
    assert split.test.labels is not None and split.test.labels.tolist() == [8, 9]


def test_a_folder_with_a_training_and_a_test_set_is_not_divided(
    digits: Path, pictures: np.ndarray
) -> None:
    (digits / "train-images-idx3-ubyte").write_bytes(idx(pictures[:7]))
    split = load_samples(str(digits))
    assert (len(split.train), len(split.test)) == (7, 10)
    assert split.train.labels is None


def test_labels_that_do_not_match_are_refused(digits: Path, pictures: np.ndarray) -> None:
    (digits / "t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(9)))
    with pytest.raises(InputError, match=r"labels do not match.*10 pictures, and there are 9"):
        load_samples(str(digits))
    with pytest.raises(InputError, match="whole numbers"):
        make_samples(pictures, np.full(10, 0.5))


def test_numpy_files(tmp_path: Path, pictures: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", pictures)
    np.save(tmp_path / "l.npy", np.arange(10))
    split = load_samples(str(tmp_path / "a.npy"), labels=tmp_path / "l.npy")
    assert split.train.labels is not None and split.train.labels.tolist() == list(range(8))
    np.savez(tmp_path / "b.npz", y=np.arange(10), x=np.zeros((10, 5, 5, 3), np.float32))
    split = load_samples(str(tmp_path / "b.npz"))
    assert split.train.shape == (3, 5, 5) and split.test.labels is not None
    np.save(tmp_path / "rows.npy", np.zeros((10, 7)))
    assert load_samples(str(tmp_path / "rows.npy")).train.shape == (1, 1, 7)
    (tmp_path / "broken.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-5])
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04")
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    for name in ("broken.npy", "broken.npz", "object.npy"):
        with pytest.raises(ReadError, match=name):
            load_samples(str(tmp_path / name))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((10, 5, 5, 2)), "pictures must be"),
        (np.full((10, 5, 5), 255.0), "in \\[0, 1\\]"),
        (np.full((10, 5, 5), np.nan), "in \\[0, 1\\]"),
        (np.zeros((0, 5, 5)), "no pictures"),
        (np.zeros((10, 5, 5), np.int64), "no known range"),
    ],
)
def test_arrays_that_are_not_pictures_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_samples(array)


def test_patches_of_test_and_training_come_from_different_pictures(tmp_path: Path) -> None:
    for index in range(5):
        Image.new("L", (40, 40), 40 * index + 20).save(tmp_path / f"{index}.png")
    split = load_samples(str(tmp_path), patch=8, count=100)
    assert split.train.pictures.shape == (80, 1, 8, 8)
    levels = [(255 * part.pictures).round().unique().tolist() for part in (split.train, split.test)]
    assert levels == [[20, 60, 100, 140], [180]]
    again = load_samples(str(tmp_path), patch=8, count=100)
    torch.testing.assert_close(split.train.pictures, again.train.pictures)


def test_missing_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReadError, match="there is no 'cifar'"):
        load_samples("cifar")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "cache" / "restore" / "MNIST" / "raw"
    with pytest.raises(ReadError, match=rf"{re.escape(str(place))}; add --download"):
        load_samples("mnist")
    Image.new("L", (40, 40)).save(tmp_path / "one.png")
    with pytest.raises(TrainingError, match="only one picture"):
        load_samples(str(tmp_path), patch=8)


def test_more_patches_than_memory_are_refused_before_a_picture_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "load_store", lambda *_: pytest.fail("a picture was read"))
    with pytest.raises(InputError, match="give fewer or smaller ones"):
        load_samples(str(tmp_path), patch=100_000, count=10**9)
    with pytest.raises(InputError, match="1 or 3 channels, not 2"):
        load_samples(str(tmp_path), channels=2)
    for patch, count in ((0, 10), (8, 4)):
        with pytest.raises(InputError, match="at least"):
            load_samples(str(tmp_path), patch=patch, count=count)


def test_torchvision_is_imported_for_downloads_only(root: Path) -> None:
    code = (
        "import sys, restore.autoencoders.data, restore.autoencoders.comparison\n"
        "import restore.autoencoders.anomaly, restore.autoencoders.figures\n"
        "assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
