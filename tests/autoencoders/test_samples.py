"""Pictures for the family: IDX against bytes written by hand, NumPy files, folders, bad input."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restore.autoencoders.idx import read_idx
from restore.autoencoders.samples import load_samples, make_samples
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


def test_idx_is_read_plain_and_zipped(tmp_path: Path, pictures: np.ndarray) -> None:
    for name, data in (("plain", idx(pictures)), ("zip", gzip.compress(idx(pictures)))):
        (tmp_path / name).write_bytes(data)
        assert np.array_equal(read_idx(tmp_path / name), pictures)
    floats = np.array([1.5, -2.0], ">f4")
    (tmp_path / "f").write_bytes(bytes([0, 0, 13, 1]) + struct.pack(">I", 2) + floats.tobytes())
    assert read_idx(tmp_path / "f").tolist() == [1.5, -2.0]


def test_every_length_of_a_truncated_idx_is_refused(tmp_path: Path, pictures: np.ndarray) -> None:
    path, whole = tmp_path / "x", idx(pictures)
    for data in (whole, gzip.compress(whole)):
        for length in {0, 1, 3, 4, 9, 15, 16, 40, len(data) - 9, len(data) - 1}:
            path.write_bytes(data[:length])
            with pytest.raises(ReadError, match=r"truncated|not an IDX"):
                read_idx(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(ReadError, match="longer"):
        read_idx(path)


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n0000", b"0008", b"\0\0\x07\x01\0\0\0\0"])
def test_what_is_not_idx_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ReadError, match="not an IDX file"):
        read_idx(tmp_path / "x")


def test_a_lying_header_allocates_nothing(tmp_path: Path) -> None:
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 2**31, 2**31)
    (tmp_path / "x").write_bytes(header)
    with pytest.raises(ReadError, match="too many"):
        read_idx(tmp_path / "x")


def test_a_folder_of_one_idx_set_is_divided(digits: Path, pictures: np.ndarray) -> None:
    split = load_samples(str(digits))
    assert (len(split.train), len(split.test)) == (8, 2)
    assert split.train.shape == (1, 6, 4)
    assert torch.equal(split.test.pictures[:, 0] * 255, torch.from_numpy(pictures[8:]).float())
    assert split.test.labels is not None and split.test.labels.tolist() == [8, 9]


def test_a_folder_with_training_pictures_is_taken_as_it_is(
    digits: Path, pictures: np.ndarray
) -> None:
    (digits / "train-images-idx3-ubyte").write_bytes(idx(pictures[:7]))
    split = load_samples(str(digits))
    assert (len(split.train), len(split.test)) == (7, 10)
    assert split.train.labels is None


def test_labels_that_do_not_match_are_refused(digits: Path, pictures: np.ndarray) -> None:
    (digits / "t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(9)))
    with pytest.raises(InputError, match=r"labels do not match.*10 pictures, they are 9"):
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
        (np.zeros((10, 5, 5, 2)), "pictures are"),
        (np.full((10, 5, 5), 255.0), "in \\[0, 1\\]"),
        (np.full((10, 5, 5), np.nan), "in \\[0, 1\\]"),
        (np.zeros((0, 5, 5)), "no pictures"),
        (np.zeros((10, 5, 5), np.int64), "no known range"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(array: np.ndarray, message: str) -> None:
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
    assert torch.equal(split.train.pictures, again.train.pictures)


def test_data_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReadError, match="there is no 'cifar'"):
        load_samples("cifar")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ReadError, match="--download"):
        load_samples("mnist")
    Image.new("L", (40, 40)).save(tmp_path / "one.png")
    with pytest.raises(TrainingError, match="one picture"):
        load_samples(str(tmp_path), patch=8)
