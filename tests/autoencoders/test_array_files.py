"""IDX files against bytes written by hand; files that lie about their size; damaged files."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from restore.autoencoders import array_files
from restore.autoencoders.array_files import read_arrays, read_idx, read_npy
from restore.errors import ReadError


def idx(array: np.ndarray) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def npy_header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    """The beginning of a .npy file of version 1.0 that claims any shape."""
    words = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    words += b" " * (-(len(words) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(words)) + words


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (10, 6, 4), np.uint8)


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
    with pytest.raises(ReadError, match="give fewer pictures"):
        read_idx(tmp_path / "x")


def refused(path: Path, words: str) -> None:
    """The file is refused in one sentence, and next to nothing is allocated for it."""
    tracemalloc.start()
    try:
        with pytest.raises(ReadError, match=words) as caught:
            read_arrays(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400 + len(str(path))
    assert peak < 20e6


@pytest.mark.parametrize(
    "shape", [(2**31, 2**31), (2**70, 28, 28), (10**15,), (2**62, 2**62, 2**62), (-1, 28)]
)
def test_absurd_shapes_are_refused_from_the_header(tmp_path: Path, shape: tuple[int, ...]) -> None:
    (tmp_path / "a.npy").write_bytes(npy_header(shape) + b"0" * 100)
    refused(tmp_path / "a.npy", "give fewer pictures|negative")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("pictures.npy", npy_header(shape) + b"0" * 100)
    refused(tmp_path / "a.npz", "give fewer pictures|negative")


def test_shapes_that_lie_are_refused_from_the_header(tmp_path: Path) -> None:
    for count, words in ((99, "longer"), (101, "truncated"), (50_000_000, "truncated")):
        (tmp_path / "a.npy").write_bytes(npy_header((count,)) + b"0" * 100)
        refused(tmp_path / "a.npy", words)
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("x.npy", npy_header((count,)) + b"0" * 100)
        refused(tmp_path / "a.npz", words)
    (tmp_path / "t-images-idx3-ubyte").write_bytes(
        bytes([0, 0, 8, 3]) + struct.pack(">3I", 50_000, 28, 28) + b"0" * 100
    )
    refused(tmp_path / "t-images-idx3-ubyte", "truncated")


@pytest.mark.parametrize("name", ["a.gz", "a.npz"])
def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path, name: str) -> None:
    count, path = 100_000_000, tmp_path / name
    zeros = b"\0" * 10**6
    if name == "a.gz":
        with gzip.open(path, "wb") as file:
            file.write(bytes([0, 0, 8, 1]) + struct.pack(">I", count))
            for _ in range(count // len(zeros)):
                file.write(zeros)
    else:
        archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        with archive, archive.open("x.npy", "w") as member:
            member.write(npy_header((count,)))
            for _ in range(count // len(zeros)):
                member.write(zeros)
    assert path.stat().st_size < 200_000
    refused(path, "more than 200 times its size|give fewer pictures")


def test_more_than_the_free_memory_is_refused(
    tmp_path: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", pictures)
    monkeypatch.setattr(array_files, "free_memory", lambda device: 6 * pictures.size)
    assert np.array_equal(read_npy(tmp_path / "a.npy"), pictures)
    monkeypatch.setattr(array_files, "free_memory", lambda device: 6 * pictures.size - 1)
    refused(tmp_path / "a.npy", "give fewer pictures")


def test_arrays_of_an_archive_are_found_by_their_names(
    tmp_path: Path, pictures: np.ndarray
) -> None:
    np.savez_compressed(tmp_path / "a.npz", other=np.zeros(2), y=np.arange(10), images=pictures)
    found, labels = read_arrays(tmp_path / "a.npz")
    assert np.array_equal(found, pictures)
    assert labels is not None and labels.tolist() == list(range(10))
    np.savez(tmp_path / "b.npz", anything=pictures)
    found, labels = read_arrays(tmp_path / "b.npz")
    assert np.array_equal(found, pictures) and labels is None
    np.savez(tmp_path / "c.npz")
    with pytest.raises(ReadError, match="holds no arrays"):
        read_arrays(tmp_path / "c.npz")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["u1", ">u2", "<f4", "?"])
def test_npy_files_are_those_of_numpy(tmp_path: Path, kind: str, order: str) -> None:
    array = np.asarray(np.arange(24).reshape(2, 3, 4) % 2, kind, order=order)
    np.save(tmp_path / "a.npy", array)
    assert np.array_equal(read_npy(tmp_path / "a.npy"), array)


def archive_with(flags: int = 0, method: int = 0) -> bytes:
    """An archive of one array whose directory claims a flag or a compression it does not have."""
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(4, np.uint8))
    data = bytearray(buffer.getvalue())
    for start, flag_at, method_at in ((0, 6, 8), (data.rindex(b"PK\x01\x02"), 8, 10)):
        data[start + flag_at] |= flags
        if method:
            data[start + method_at] = method
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("objects.npy", npy_header((3,), "|O") + b"0" * 24),
        ("records.npy", b"\x93NUMPY\x03\x00" + b"\x10\0\0\0" + b"{" * 16),
        ("braces.npy", b"\x93NUMPY\x01\x00" + b"\x10\0" + b"{" * 16),
        ("words.npy", b"this is not an array"),
        ("empty.npy", b""),
        ("header.npy", npy_header((3,))[:40]),
        ("empty.npz", b""),
        ("half.npz", b"PK\x03\x04"),
        ("encrypted.npz", archive_with(flags=1)),
        ("packed.npz", archive_with(method=99)),
    ],
)
def test_damaged_and_foreign_files_are_one_sentence(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    refused(tmp_path / name, name)


def test_a_folder_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="not a regular file"):
        read_idx(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.idx"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ReadError, match="not a regular file"):
        read_arrays(tmp_path / name)


def test_a_shape_beyond_64_bits_is_damaged_even_if_another_size_is_0(tmp_path: Path) -> None:
    words = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({2**70}, 0), }}\n".encode()
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(words)) + words)
    with pytest.raises(ReadError, match="truncated or damaged"):
        read_npy(path)
