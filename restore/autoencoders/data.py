"""Pictures to train and test autoencoders on: one tensor in memory, with labels or without.

They come from IDX files (MNIST, Fashion-MNIST), from a NumPy file, or as patches of the pictures in
a folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from restore.autoencoders.array_files import read_arrays, read_idx
from restore.engine.memory import format_bytes, free_memory
from restore.errors import InputError, ReadError, TrainingError
from restore.image.picture import dequantise
from restore.models.folders import cache_folder
from restore.training.crops import PictureStore, load_store

DOWNLOADS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}  # our name -> torchvision's
IDX_IMAGES = re.compile(r"(.*)images[.-]idx3-ubyte(\.gz)?$")
TEST_SHARE = 0.2  # the last fifth, of data that has no test set of its own


@dataclass(frozen=True)
class Samples:
    """Pictures float32 (N, C, H, W) in [0, 1], and int64 labels (N,) or None."""

    pictures: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.pictures)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of each picture."""
        channels, height, width = self.pictures.shape[1:]
        return channels, height, width

    def take(self, index: slice | Tensor) -> Samples:
        """The pictures at an index, with their labels."""
        return Samples(self.pictures[index], None if self.labels is None else self.labels[index])


@dataclass(frozen=True)
class Split:
    """A training set and a test set."""

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
    """Training and test pictures from a name, a file or a folder.

    data:     "mnist" or "fashion-mnist"; a folder of IDX files, or one of them; a .npy or .npz
              file; or a folder of pictures
    download: fetch "mnist" or "fashion-mnist" with torchvision if they are missing
    labels:   an IDX or NumPy file of labels for a single file of pictures
    patch, count, channels, seed: side in pixels, number, channels (1 or 3) and random seed of the
              patches cut from a folder of pictures
    Data without a test set is divided: the first 80 % for training, the rest for testing.
    Raises ReadError, InputError or TrainingError in one sentence for data that cannot be used.
    """
    if data in DOWNLOADS:
        return _folder_of_idx(_downloaded(data, download))
    path = Path(data)
    if path.is_dir() and _idx_files(path):
        return _folder_of_idx(path)
    if path.is_dir():
        return _patches(path, patch, count, channels, seed)
    if not path.is_file():
        raise ReadError(
            f"there is no '{data}'; give {' or '.join(DOWNLOADS)}, a folder of pictures or of IDX "
            "files, an IDX file, or a .npy or .npz file"
        )
    pictures, found = read_arrays(path)
    if labels is not None:
        found = read_arrays(labels)[0]
    elif found is None:
        found = _labels_beside(path)
    return divide(make_samples(pictures, found, str(path)))


def make_samples(
    pictures: npt.NDArray[Any], labels: npt.NDArray[Any] | None = None, where: str = "the array"
) -> Samples:
    """Samples from arrays.

    pictures: (N, H, W), (N, H, W, 1 or 3), or rows of values (N, D); uint8, uint16, or floats in
              [0, 1]
    labels:   whole numbers from 0 on, (N,)
    where:    the source of the arrays, for messages
    Raises InputError for other shapes, values out of range, or labels that do not match.
    """
    if pictures.ndim not in (2, 3, 4) or (pictures.ndim == 4 and pictures.shape[3] not in (1, 3)):
        raise InputError(
            f"{where} has the shape {pictures.shape}; pictures must be (N, height, width), "
            "(N, height, width, 1 or 3) or rows (N, values)"
        )
    if pictures.size == 0:
        raise InputError(f"{where} contains no pictures; its shape is {pictures.shape}")
    values = dequantise(pictures)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):
        raise InputError(f"{where} has values from {low:g} to {high:g}; they must be in [0, 1]")
    if pictures.ndim == 2:
        values = values[:, None, None, :]
    else:
        values = values.transpose(0, 3, 1, 2) if pictures.ndim == 4 else values[:, None]
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return Samples(tensor, None if labels is None else _check_labels(labels, len(tensor), where))


def _check_labels(labels: npt.NDArray[Any], count: int, where: str) -> Tensor:
    if labels.shape != (count,):
        found = f"{len(labels)} labels" if labels.ndim == 1 else f"labels of shape {labels.shape}"
        raise InputError(
            f"the labels do not match: {where} has {count} pictures, and there are {found}"
        )
    if labels.dtype.kind not in "iub" or (labels.size and int(labels.min()) < 0):
        raise InputError(f"the labels of {where} must be whole numbers from 0 on")
    return torch.from_numpy(labels.astype(np.int64))


def divide(samples: Samples) -> Split:
    """The first 80 % for training, the rest for testing. Raises InputError below five pictures."""
    if len(samples) < 5:
        raise InputError(
            f"{len(samples)} pictures are too few to divide into training and test; give at least 5"
        )
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
        raise InputError(
            f"the training and test pictures in {folder} differ in size; they must be alike"
        )
    return Split(train, others[0])


def _labels_beside(path: Path) -> npt.NDArray[Any] | None:
    """The labels in the file whose name matches that of the pictures; None without one."""
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
    """The folder of IDX files that torchvision downloads to, below the user's cache folder."""
    root = cache_folder()
    raw = root / DOWNLOADS[name] / "raw"
    if not raw.is_dir() or len(_idx_files(raw)) < 2:
        if not download:
            raise ReadError(
                f"{name} is not in {raw}; add --download, or give a folder with its IDX files"
            )
        from torchvision import datasets  # only here: with a CPU-only torch its import may fail

        try:
            getattr(datasets, DOWNLOADS[name])(root, download=True)
        except (OSError, RuntimeError) as error:
            raise ReadError(f"{name} cannot be downloaded: {error}") from error
    return raw


def _patches(folder: Path, side: int, count: int, channels: int, seed: int) -> Split:
    """Random patches; those for testing come from pictures that are not used for training."""
    if channels not in (1, 3):
        raise InputError(f"patches have 1 or 3 channels, not {channels}")
    if side < 1 or count < 5:
        raise InputError(
            f"give at least 5 patches of at least 1 pixel, not {count} patches of {side} pixels"
        )
    # a patch is float32, and while it is cut its pixels are also indexed by 64-bit numbers
    needed, free = count * side**2 * (4 * channels + 16), free_memory(torch.device("cpu"))
    if needed > free:
        raise InputError(
            f"{count} patches of {side}x{side} pixels take {format_bytes(needed)}, and "
            f"{format_bytes(free)} are free; give fewer or smaller ones"
        )
    store = load_store(folder, channels, side)
    if len(store) < 2:
        raise TrainingError(
            f"{folder} has only one picture of at least {side}x{side} pixels; "
            "give two, one to train and one to test"
        )
    generator = torch.Generator().manual_seed(seed)
    tests = max(1, round(TEST_SHARE * len(store)))
    border, share = len(store) - tests, round(TEST_SHARE * count)
    return Split(
        Samples(_part(store, slice(border)).crops(count - share, side, generator).contiguous()),
        Samples(_part(store, slice(border, None)).crops(share, side, generator).contiguous()),
    )


def _part(store: PictureStore, index: slice) -> PictureStore:
    """Some of the pictures of a store, in the same memory."""
    return PictureStore(
        store.samples, store.starts[index], store.heights[index], store.widths[index]
    )
