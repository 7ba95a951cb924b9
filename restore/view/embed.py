"""Pictures inside of a page: as exact as so many bytes allow, whole or the windows that matter.

At 100 % every sample counts, so a picture is stored without loss where that fits. If not, as a JPEG
with colour at full resolution; if that is too large, windows at 100 % take the place of the whole.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from restore.view.pair import Pair, Samples, displayed
from restore.view.windows import Window, choose_windows

LOSSLESS = 0  # in place of a JPEG quality
CODINGS = (LOSSLESS, 95, 88, 80, 70)  # the most exact first
SIDES = (1024, 768, 512, 384, 256, 192, 128)  # of windows, in pixels
PROBE = 128  # pixels to a side of the samples by which sizes are foretold
TOO_MUCH = 1.5  # times the limit: a foretold size of which the encoding itself is not tried
SHARE = 0.6  # of the bytes: a whole picture with loss, which leaves room for windows without
MOST_SIDE = 16_383  # pixels of a WebP file; a browser shows no picture that is much larger


@dataclass(frozen=True)
class View:
    """A whole picture or a window of it, before, after and perhaps the reference.

    title:   what it is, such as "largest change: 400x300 pixels at 120, 80"
    short:   the same without numbers
    coding:  how it is stored, such as "stored as JPEG of quality 88"
    sources: `data:` addresses, in the order of `Pair.pictures`
    """

    title: str
    short: str
    coding: str
    width: int
    height: int
    sources: tuple[str, ...]

    @property
    def size(self) -> int:
        """Characters of the addresses."""
        return sum(map(len, self.sources))


def embed(pair: Pair, budget: int) -> list[View]:
    """The views of a pair in at most so many characters; none if not even a small one fits.

    A whole picture stands first where it fits; windows follow unless it was stored without loss.
    """
    probes = choose_windows(pair.before, pair.after, PROBE, 4)
    rates = {quality: _rate(pair, probes, quality) for quality in CODINGS}
    whole = _whole(pair, rates, budget)
    if whole is None:
        return _windows(pair, rates, budget)
    if whole.coding == _coding(LOSSLESS):
        return [whole]
    return [whole, *_windows(pair, rates, budget - whole.size)]


def data_uri(samples: Samples, quality: int = LOSSLESS) -> str:
    """`(height, width, 3)` as an address that holds the picture: WebP without loss, or JPEG."""
    memory = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(samples))
    if quality == LOSSLESS:
        image.save(memory, "WEBP", lossless=True, quality=20, method=1, exact=True)
    else:
        image.save(memory, "JPEG", quality=quality, subsampling=0)
    kind = "webp" if quality == LOSSLESS else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(memory.getvalue()).decode()}"


def _whole(pair: Pair, rates: dict[int, float], budget: int) -> View | None:
    """The whole picture, as exact as it fits; None if it does not."""
    window = Window(0, 0, pair.after.height, pair.after.width)
    if max(window.height, window.width) > MOST_SIDE:
        return None
    for quality in CODINGS:
        limit = budget if quality == LOSSLESS else SHARE * budget
        if rates[quality] * window.height * window.width <= TOO_MUCH * limit:
            view = _view(pair, window, quality)
            if view.size <= limit:
                return view
    return None


def _windows(pair: Pair, rates: dict[int, float], budget: int) -> list[View]:
    """The two windows that matter, as large and then as exact as they fit."""
    picture = pair.after
    for side in SIDES:
        area = 2 * min(side, picture.height) * min(side, picture.width)
        fitting = [quality for quality in CODINGS if rates[quality] * area <= TOO_MUCH * budget]
        if not fitting or area > picture.height * picture.width:
            continue
        windows = choose_windows(pair.before, picture, side, 2)
        for quality in fitting:
            views = [_view(pair, window, quality) for window in windows]
            if sum(view.size for view in views) <= budget:
                return views
    return []


def _view(pair: Pair, window: Window, quality: int) -> View:
    size = f"{window.width}x{window.height} pixels"
    where = f"{window.why}: {size} at {window.left}, {window.top}"
    return View(
        where if window.why else f"whole picture: {size}",
        window.why or "whole picture",
        _coding(quality),
        window.width,
        window.height,
        tuple(data_uri(displayed(p, window), quality) for p in pair.pictures.values()),
    )


def _coding(quality: int) -> str:
    return "stored without loss" if quality == LOSSLESS else f"stored as JPEG of quality {quality}"


def _rate(pair: Pair, windows: list[Window], quality: int) -> float:
    """Characters to a pixel of all pictures together, measured on some windows."""
    size = area = 0
    for window in windows:
        size += _view(pair, window, quality).size
        area += window.height * window.width
    return size / area
