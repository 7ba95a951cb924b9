"""Seams of tiles that cannot equal the whole: neighbours overlap and are blended linearly.

Each tile's core is widened over its inner edges. Where cores overlap, the result is their mean,
weighted by the distance to the edges; the weights of each pixel sum up to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from restore.engine.backend import Plan, Sink
from restore.engine.tiling import Span
from restore.image.picture import Pixels
from restore.models.network import Network


@dataclass(frozen=True)
class Part:
    """A span with a widened core, and the weights of the core's output pixels."""

    span: Span
    weights: npt.NDArray[np.float32]


def overlapping(spans: Sequence[Span], blend: int, scale: int) -> list[Part]:
    """The spans with cores widened by `blend` over their inner edges; the weights sum up to 1."""
    last = len(spans) - 1
    wide = [
        replace(s, first=s.first - blend * (i > 0), last=s.last + blend * (i < last))
        for i, s in enumerate(spans)
    ]
    raw = []
    for index, span in enumerate(wide):
        inside = np.arange(scale * (span.last - span.first)) + 0.5
        weights = np.full(len(inside), 2.0 * blend * scale)
        if index > 0:
            weights = np.minimum(weights, inside)
        if index < last:
            weights = np.minimum(weights, inside[::-1])
        raw.append(weights)
    total = np.zeros(scale * spans[-1].last)
    for span, weights in zip(wide, raw, strict=True):
        total[span.write(scale)] += weights
    return [
        Part(span, (weights / total[span.write(scale)]).astype(np.float32))
        for span, weights in zip(wide, raw, strict=True)
    ]


class Seams:
    """Adds up the tiles of a row of tiles, and writes the rows that no further tile reaches.

    At any time it holds one row of tiles of the result, at full width.
    """

    def __init__(
        self, rows: Sequence[Span], columns: Sequence[Span], blend: int, scale: int
    ) -> None:
        """rows, columns: of the plan, which covers the whole padded picture."""
        self.scale = scale
        down, across = overlapping(rows, blend, scale), overlapping(columns, blend, scale)
        following = [part.span.first for part in down[1:]] + [rows[-1].last]
        self._down = {s: (p, n) for s, p, n in zip(rows, down, following, strict=True)}
        self._across = dict(zip(columns, across, strict=True))
        self._width = scale * columns[-1].last
        self._rows: Span | None = None
        self._band: Pixels = np.empty((0, 0, 0), np.float32)
        self._missing = 0

    def add(self, rows: Span, columns: Span, output: Pixels) -> None:
        """Take the output of one tile; rows of tiles come in order."""
        down, _ = self._down[rows]
        across, scale = self._across[columns], self.scale
        if rows != self._rows:
            self._begin(rows, down.span, output.shape[2])
        part = output[down.span.crop(scale), across.span.crop(scale)]
        weights = down.weights[:, None, None] * across.weights[None, :, None]
        self._band[:, across.span.write(scale)] += part * weights
        self._missing -= 1

    def _begin(self, rows: Span, wide: Span, channels: int) -> None:
        """An empty band, which begins with what the band above left over."""
        left, scale = self._band, self.scale
        height = scale * (wide.last - wide.first)
        self._band = np.zeros((height, self._width, channels), np.float32)
        if left.size:
            self._band[: len(left)] = left
        self._rows, self._missing = rows, len(self._across)

    def write(self, sink: Sink, top: int, rows: slice, columns: slice) -> None:
        """Once a row of tiles is complete, write those of its rows that no later tile reaches.

        top:           the row of the padded result that is row 0 of the sink
        rows, columns: the part of the padded result that is written
        """
        if self._missing or self._rows is None:
            return
        part, following = self._down[self._rows]
        first, done = self.scale * part.span.first, self.scale * (following - part.span.first)
        start, stop = max(first, rows.start), min(first + done, rows.stop)
        if start < stop:
            kept = self._band[start - first : stop - first, columns]
            sink.write(start - top, slice(0, kept.shape[1]), kept)
        self._band, self._rows = self._band[done:], None


def seam_notes(network: Network, plan: Plan) -> tuple[str, ...]:
    """What a person should know of tiles that were blended; nothing if there were none."""
    if not network.blend or plan.tiles == 1:
        return ()
    return (
        f"this model sees further than a tile: {plan.tiles} tiles that overlap by "
        f"{2 * network.halo} pixels were blended, and the result is close to that of the whole "
        "picture at once, but cannot equal it; a larger --tile or more --memory makes fewer tiles",
    )
