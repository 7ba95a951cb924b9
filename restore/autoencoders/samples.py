"""Pictures of one size for the autoencoder family, in memory as one tensor, with labels or without.

They come from IDX files (MNIST, Fashion-MNIST), from a NumPy file, or as patches cut out of a
folder of pictures.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from restore.autoencoders.idx import read_idx
from restore.errors import InputError, ReadError, TrainingError
from restore.image.picture import dequantise
from restore.training.crops import PictureStore, load_store

DOWNLOADS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}  # our name -> torchvision's
IDX_IMAGES = re.compile(r"(.*)images[.-]idx3-ubyte(\.gz)?$")
TEST_SHARE = 0.2  # of one set that has no test part of its own: its last fifth


@dataclass(frozen=True)
class Samples:
    """Pictures float32 (N, C, H, W) in [0, 1], and int64 labels (N,) or None."""

    pictures: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.pictures)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of each."""
        channels, height, width = self.pictures.shape[1:]
        return channels, height, width

    def take(self, index: slice | Tensor) -> Samples:
        """Some of them."""
        return Samples(self.pictures[index], None if self.labels is None else self.labels[index])


@dataclass(frozen=True)
class Split:
    """What to learn from and what to be measured on."""

    train: Samples
    test: Samples


def load_samples(
    data: str,
    *,
    download: bool = False,
    labels: Path | None = None,
    patch: int = 28,
    count: int = 10_000,
    channels: int = 1,
    seed: int = 0,
) -> Split:
    """Pictures by the words of the command line.

    data:     "mnist" or "fashion-mnist"; a folder of IDX files, or one of them; a .npy or .npz
              file; or a folder of pictures
    download: fetch the first two through torchvision where they are not at hand
    labels:   an IDX or NumPy file of labels for a single file of pictures
    patch, count, channels, seed: of the patches cut from a folder of pictures
    A set without a test part of its own is divided: the first 80 % to train, the rest to test.
    Raises ReadError, InputError or TrainingError where that cannot be done.
    """
    if data in DOWNLOADS:
        return _folder_of_idx(_downloaded(data, download))
    path = Path(data)
    if path.is_dir() and _idx_files(path):
        return _folder_of_idx(path)
    if path.is_dir():
        return _patches(path, patch, count, channels, seed)
    if path.suffix in (".npy", ".npz"):
        pictures, found = _read_numpy(path)
    elif path.is_file():
        pictures, found = read_idx(path), _labels_beside(path)
    else:
        raise ReadError(
            f"there is no '{data}'; give {' or '.join(DOWNLOADS)}, a folder of pictures or of IDX "
            "files, an IDX file, or a .npy or .npz file"
        )
    if labels is not None:
        found = _read_numpy(labels)[0] if labels.suffix in (".npy", ".npz") else read_idx(labels)
    return divide(make_samples(pictures, found, str(path)))


def make_samples(
    pictures: npt.NDArray[Any], labels: npt.NDArray[Any] | None = None, where: str = "the array"
) -> Samples:
    """Arrays as samples: (N, H, W), (N, H, W, C) or (N, D), uint8, uint16 or floats in [0, 1].

    Raises InputError for other shapes, values out of range, or labels that do not match.
    """
    if pictures.ndim not in (2, 3, 4) or (pictures.ndim == 4 and pictures.shape[3] not in (1, 3)):
        raise InputError(
            f"{where} has the shape {pictures.shape}; pictures are (N, height, width), "
            "(N, height, width, 1 or 3) or rows (N, samples)"
        )
    if pictures.size == 0:
        raise InputError(f"{where} holds no pictures; its shape is {pictures.shape}")
    values = dequantise(pictures)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):
        raise InputError(f"{where} holds values from {low:g} to {high:g}; give them in [0, 1]")
    if pictures.ndim == 2:
        values = values[:, None, None, :]
    else:
        values = values.transpose(0, 3, 1, 2) if pictures.ndim == 4 else values[:, None]
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return Samples(tensor, None if labels is None else _check_labels(labels, len(tensor), where))


def _check_labels(labels: npt.NDArray[Any], count: int, where: str) -> Tensor:
    if labels.shape != (count,):
        found = len(labels) if labels.ndim == 1 else f"an array of shape {labels.shape}"
        raise InputError(f"the labels do not match: {where} has {count} pictures, they are {found}")
    if labels.dtype.kind not in "iub" or (labels.size and int(labels.min()) < 0):
        raise InputError(f"the labels of {where} are not whole numbers from 0 on")
    return torch.from_numpy(labels.astype(np.int64))


def divide(samples: Samples) -> Split:
    """The first 80 % to train on and the rest to test; InputError below five pictures."""
    if len(samples) < 5:
        raise InputError(f"{len(samples)} pictures are too few to divide; give at least five")
    border = len(samples) - round(TEST_SHARE * len(samples))
    return Split(samples.take(slice(border)), samples.take(slice(border, None)))


def _idx_files(folder: Path) -> dict[str, Path]:
    """Prefix ("train-", "t10k-") -> file of pictures."""
    found = ((IDX_IMAGES.match(p.name), p) for p in sorted(folder.iterdir()))
    return {match[1]: path for match, path in found if match}


def _folder_of_idx(folder: Path) -> Split:
    sets = {
        prefix: make_samples(read_idx(path), _labels_beside(path), str(path))
        for prefix, path in _idx_files(folder).items()
    }
    train = next((s for prefix, s in sets.items() if "train" in prefix), None)
    others = [s for s in sets.values() if s is not train]
    if train is None or not others:
        return divide(next(iter(sets.values())))
    if train.shape != others[0].shape:
        raise InputError(f"the training and test pictures in {folder} differ in size")
    return Split(train, others[0])


def _labels_beside(path: Path) -> npt.NDArray[Any] | None:
    """The labels whose file is named like that of the pictures, zipped or not; None without one."""
    match = IDX_IMAGES.match(path.name)
    if match is None:
        return None
    for separator in "-.":
        for end in ("", ".gz"):
            file = path.with_name(f"{match[1]}labels{separator}idx1-ubyte{end}")
            if file.is_file():
                return read_idx(file)
    return None


def _downloaded(name: str, download: bool) -> Path:
    """The folder of raw IDX files that torchvision keeps, below ~/.cache/restore."""
    root = Path.home() / ".cache" / "restore"
    raw = root / DOWNLOADS[name] / "raw"
    if not raw.is_dir() or len(_idx_files(raw)) < 2:
        if not download:
            raise ReadError(
                f"{name} is not in {raw}; add --download, or give a folder with its IDX files"
            )
        from torchvision import datasets

        try:
            getattr(datasets, DOWNLOADS[name])(root, download=True)
        except (OSError, RuntimeError) as error:
            raise ReadError(f"{name} cannot be downloaded: {error}") from error
    return raw


def _read_numpy(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """A .npy array, or the arrays "pictures" (or "x", or the first) and "labels" (or "y")."""
    try:
        with open(path, "rb") as file:  # of a damaged archive np.load leaves its own file open
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded, None
            names = loaded.files
            if not names:
                raise ReadError(f"{path} holds no arrays")
            x = next((n for n in ("pictures", "images", "x") if n in names), names[0])
            y = next((n for n in ("labels", "y") if n in names and n != x), None)
            return loaded[x], None if y is None else loaded[y]
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ReadError(f"{path} is not a whole .npy or .npz file of numbers") from error


def _patches(folder: Path, side: int, count: int, channels: int, seed: int) -> Split:
    """Random patches; the test ones from pictures that the training ones are not from."""
    if side < 1 or count < 5:
        raise InputError(f"give patches of at least 1 pixel and at least 5, not {side} and {count}")
    store = load_store(folder, channels, side)
    if len(store) < 2:
        raise TrainingError(
            f"{folder} has one picture of {side} pixels or more; give two, so that one can test"
        )
    generator = torch.Generator().manual_seed(seed)
    tests = max(1, round(TEST_SHARE * len(store)))
    border, share = len(store) - tests, round(TEST_SHARE * count)
    return Split(
        Samples(_part(store, slice(border)).crops(count - share, side, generator).contiguous()),
        Samples(_part(store, slice(border, None)).crops(share, side, generator).contiguous()),
    )


def _part(store: PictureStore, index: slice) -> PictureStore:
    """Some of its pictures, the same memory."""
    return PictureStore(
        store.samples, store.starts[index], store.heights[index], store.widths[index]
    )
