"""Test sets: clean pictures to which a degradation is added, or real pairs of pictures.

Gaussian noise follows the protocol of the field (Zhang et al., DnCNN and FFDNet; Zamir et al.,
Restormer): `numpy.random.seed(0)` before each picture, noise of sigma/255 on pixels in [0, 1],
neither clipped nor rounded.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from restore.errors import InputError, ReadError
from restore.image.color import as_rgb
from restore.image.find import list_pictures
from restore.image.metrics import Channel
from restore.image.picture import Picture, Pixels, dequantise, quantise
from restore.image.read import load_image

CLEAN_FOLDERS = ("clean", "gt", "reference")
DEGRADED_FOLDERS = ("noisy", "input", "degraded")
PROTOCOLS = {
    "gaussian": "noise from seed 0 for each picture, not clipped",
    "jpeg": "JPEG by Pillow, 4:2:0",
    "none": "the clean picture itself",
    "pairs": "pairs of files",
}


@dataclass(frozen=True)
class Degradation:
    """A degradation of clean pictures, or `PAIRS` of pictures that are degraded already."""

    kind: str  # "gaussian", "jpeg", "none" or "pairs"
    level: float = 0.0  # sigma from 0 to 255, or JPEG quality from 1 to 100

    @property
    def name(self) -> str:
        """As the command line has it, such as "gaussian:25"."""
        return self.kind if self.kind in ("none", "pairs") else f"{self.kind}:{self.level:g}"

    @property
    def channel(self) -> Channel:
        """The channels that the field scores: luma for JPEG, all of them otherwise."""
        return "y" if self.kind == "jpeg" else "rgb"

    @property
    def protocol(self) -> str:
        """How a denoiser is scored on it, in a few words."""
        channels = "luma" if self.channel == "y" else "all channels"
        return f"{PROTOCOLS[self.kind]}; result 8 bit; {channels}, no border; mean over pictures"


PAIRS = Degradation("pairs")


@dataclass(frozen=True)
class Case:
    """A picture of a test set, degraded and clean, in the same channels."""

    name: str  # of the clean file
    degraded: Picture
    clean: Picture


def parse_degradation(text: str) -> Degradation:
    """The degradation for "gaussian:SIGMA", "jpeg:QUALITY" or "none".

    SIGMA: noise level from 0 to 255; QUALITY: a whole number from 1 to 100
    Raises InputError for anything else.
    """
    match = re.fullmatch(r"(none)|(gaussian):(\d+(?:\.\d+)?)|(jpeg):(\d+)", text)
    if match is None:
        raise InputError(f"a degradation is gaussian:SIGMA, jpeg:QUALITY or none, not '{text}'")
    if match[1]:
        return Degradation("none")
    degradation = Degradation(match[2] or match[4], float(match[3] or match[5]))
    low, high = (1, 100) if degradation.kind == "jpeg" else (0, 255)
    if not low <= degradation.level <= high:
        raise InputError(
            f"the level of {degradation.kind} is from {low} to {high}, not {degradation.level:g}"
        )
    return degradation


def clean_files(folder: Path, degradation: Degradation) -> list[Path]:
    """The clean files of a test set, sorted. Raises ReadError for a folder without any."""
    return list_pictures(_subfolder(folder, CLEAN_FOLDERS) if degradation == PAIRS else folder)


def make_case(clean_file: Path, degradation: Degradation) -> Case:
    """A clean file and its degraded version; for pairs, the degraded file of the same name."""
    clean = load_image(clean_file)
    if degradation == PAIRS:
        degraded = load_image(degraded_file(clean_file))
    elif degradation.kind == "gaussian":
        degraded = clean.replace(pixels=add_noise(clean.pixels, degradation.level), alpha=None)
    elif degradation.kind == "jpeg":
        degraded = clean.replace(
            pixels=through_jpeg(clean.pixels, int(degradation.level)), alpha=None
        )
    else:
        degraded = clean
    return Case(clean_file.name, degraded, clean)


def add_noise(clean: Pixels, sigma: float) -> Pixels:
    """The noise of the protocol: seed 0, drawn in the order of `(height, width, channels)`."""
    noise = np.random.RandomState(0).normal(0, sigma / 255, clean.shape)
    return (clean + noise).astype(np.float32)


def through_jpeg(clean: Pixels, quality: int) -> Pixels:
    """The picture saved as JPEG of that quality, chroma at half resolution, and loaded again."""
    buffer = io.BytesIO()
    samples = quantise(clean, 8)
    Image.fromarray(samples.squeeze(2) if samples.shape[2] == 1 else samples).save(
        buffer, "JPEG", quality=quality
    )
    return dequantise(np.array(Image.open(buffer)).reshape(samples.shape))


def _subfolder(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise ReadError(
        f"{folder} holds no pairs; put clean pictures into {folder / 'clean'} and degraded "
        f"ones of the same names into {folder / 'noisy'}"
    )


def has_pairs(folder: Path) -> bool:
    """Whether a folder holds pairs: a sub-folder of clean pictures beside one of degraded ones."""
    return all(
        any((folder / name).is_dir() for name in names)
        for names in (CLEAN_FOLDERS, DEGRADED_FOLDERS)
    )


def degraded_file(clean_file: Path) -> Path:
    """The degraded picture of the same name, whatever its suffix. Raises ReadError."""
    folder = _subfolder(clean_file.parent.parent, DEGRADED_FOLDERS)
    found = [f for f in list_pictures(folder) if f.stem == clean_file.stem]
    if not found:
        raise ReadError(f"{folder} has no picture of the name {clean_file.name}")
    return found[0]


def fit_channels(case: Case) -> Case:
    """Both pictures in the same channels: if only one is grey, it becomes RGB."""
    if case.degraded.channels == case.clean.channels:
        return case
    degraded, clean = (p.replace(pixels=as_rgb(p.pixels)) for p in (case.degraded, case.clean))
    return Case(case.name, degraded, clean)


def cases_of(folder: Path, degradation: Degradation) -> Iterator[Case]:
    """Every picture of a test set, loaded one at a time."""
    for file in clean_files(folder, degradation):
        yield fit_channels(make_case(file, degradation))
