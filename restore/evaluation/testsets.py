"""What a model is scored on: clean pictures with a degradation added, or real pairs.

Gaussian noise follows the protocol of the field (Zhang et al., DnCNN and FFDNet; Zamir et al.,
Restormer): `numpy.random.seed(0)` before each picture, noise of sigma/255 added to the floats,
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
FAULTY_FOLDERS = ("noisy", "input", "degraded")
WORDS = {
    "gaussian": "noise from seed 0 for each picture, not clipped",
    "jpeg": "JPEG by Pillow, 4:2:0",
    "none": "the clean picture itself",
    "pairs": "pairs of files",
}


@dataclass(frozen=True)
class Degradation:
    """A degradation of clean pictures: "gaussian" of a sigma, "jpeg" of a quality, or "none"."""

    kind: str
    level: float = 0.0

    @property
    def name(self) -> str:
        """As it is written on the command line, e.g. "gaussian:25"."""
        return self.kind if self.kind in ("none", "pairs") else f"{self.kind}:{self.level:g}"

    @property
    def channel(self) -> Channel:
        """What the field scores: luma where JPEG is the degradation, all channels elsewhere."""
        return "y" if self.kind == "jpeg" else "rgb"


PAIRS = Degradation("pairs")


@dataclass(frozen=True)
class Case:
    """A picture with its degradation, and without."""

    name: str
    faulty: Picture
    clean: Picture


def parse_degradation(text: str) -> Degradation:
    """The degradation in words. Raises InputError for what is not "gaussian:S", "jpeg:Q" or "none".

    S: sigma from 0 to 255; Q: a whole quality from 1 to 100
    """
    match = re.fullmatch(r"(none)|(gaussian):(\d+(?:\.\d+)?)|(jpeg):(\d+)", text)
    if match is None:
        raise InputError(f"'{text}' is no degradation; write gaussian:SIGMA, jpeg:QUALITY or none")
    if match[1]:
        return Degradation("none")
    degradation = Degradation(match[2] or match[4], float(match[3] or match[5]))
    low, high = (1, 100) if degradation.kind == "jpeg" else (0, 255)
    if not low <= degradation.level <= high:
        raise InputError(
            f"{degradation.kind} has a level from {low} to {high}, not {degradation.level:g}"
        )
    return degradation


def cases(folder: Path, degradation: Degradation) -> list[Path]:
    """The clean files that the cases of a folder are made of, sorted."""
    return list_pictures(_subfolder(folder, CLEAN_FOLDERS) if degradation == PAIRS else folder)


def make_case(clean_file: Path, degradation: Degradation) -> Case:
    """One clean file and its degradation; of pairs, the file of that name in the other folder."""
    clean = load_image(clean_file)
    if degradation == PAIRS:
        faulty = load_image(_partner(clean_file))
    elif degradation.kind == "gaussian":
        faulty = clean.replace(pixels=add_noise(clean.pixels, degradation.level), alpha=None)
    elif degradation.kind == "jpeg":
        faulty = clean.replace(
            pixels=through_jpeg(clean.pixels, int(degradation.level)), alpha=None
        )
    else:
        faulty = clean
    return Case(clean_file.name, faulty, clean)


def add_noise(clean: Pixels, sigma: float) -> Pixels:
    """The benchmark's noise, the same in every run and for every method: seed 0, HWC order."""
    noise = np.random.RandomState(0).normal(0, sigma / 255, clean.shape)
    return (clean + noise).astype(np.float32)


def through_jpeg(clean: Pixels, quality: int) -> Pixels:
    """The picture written as a JPEG of that quality (chroma at half resolution) and read again."""
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
        f"{folder} holds no pairs; put clean pictures into {folder / 'clean'} and the faulty ones, "
        f"under the same names, into {folder / 'noisy'}"
    )


def _partner(clean_file: Path) -> Path:
    folder = _subfolder(clean_file.parent.parent, FAULTY_FOLDERS)
    found = [f for f in list_pictures(folder) if f.stem == clean_file.stem]
    if not found:
        raise ReadError(f"{folder} has no picture named like {clean_file.name}")
    return found[0]


def fit_channels(case: Case) -> Case:
    """Both in the same channels: a grey one of the two becomes RGB."""
    if case.faulty.channels == case.clean.channels:
        return case
    faulty, clean = (p.replace(pixels=as_rgb(p.pixels)) for p in (case.faulty, case.clean))
    return Case(case.name, faulty, clean)


def files_of(folder: Path, degradation: Degradation) -> Iterator[Case]:
    """Every case of a folder, one at a time."""
    for file in cases(folder, degradation):
        yield fit_channels(make_case(file, degradation))
