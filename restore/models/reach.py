"""How far a network sees, measured: for networks that do not declare it themselves.

NaN in some pixels of the input makes every output NaN that depends on them, however little: that is
the receptive field, whatever the kernels hold. Where it is finite, tiles with that halo equal the
whole. Where a network looks at the whole picture (global pooling, for example), or further than is
affordable, a part of the input is cut off instead, and the halo is chosen by how much the output
changes at what distance from the cut.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Call = Callable[[Tensor], Tensor]

MOST = 192  # pixels; a wider halo would make most of a tile halo
STRIPS = (128, 2 * MOST + 256)  # lengths of the strips that are measured, in pixels
THICKNESS = 32  # of a strip
WIDEST_GRIDS = (64, 48, 56)  # pixels; the windows of attention divide one of them
SIMILAR = 10  # off its grid, a network that sees everything changes a thousand times as much
ROUNDING = 2e-5  # by which outputs for windows of another shape may differ, of the largest output
OVERLAP, BLEND = 64, 16  # pixels, where no distance makes the difference vanish
PROBE = 96  # side in pixels of the input on which memory is measured


@dataclass(frozen=True)
class Geometry:
    """What was measured; the first three as in `models.network.Network`.

    reach:         radius in pixels of the receptive field, rounded up to `multiple_of`; None where
                   it is the whole picture, or more than `MOST`
    difference:    by how much outputs changed beyond the halo when the input was cut off there, on
                   the scale of the output; up to about 1e-5 it is rounding
    footprint:     values per input pixel that are in memory at once
    channels_last: whether it runs with the channels of a pixel side by side in memory
    """

    multiple_of: int
    halo: int
    blend: int
    reach: int | None
    difference: float
    footprint: int
    channels_last: bool


@dataclass(frozen=True)
class Subject:
    """A network to be measured: (1, channels, H, W) -> (1, any, scale H, scale W) on the CPU.

    It must not change its input.

    multiple_of, minimum: as in `models.network.Network`
    """

    call: Call
    channels: int
    scale: int
    multiple_of: int = 1
    minimum: int = 1


@torch.no_grad()
def measure(subject: Subject) -> Geometry:
    """Measure a network; takes about ten runs over strips of the picture's size of 100x150."""
    near = [reach_along(subject, axis, subject.multiple_of) for axis in (2, 3)]
    least = None if None in near else max(n for n in near if n is not None)
    grid, profile = find_grid(subject, least)
    reach = None
    if least is not None:  # a cell of the grid may reach further than one of `multiple_of`
        both = [reach_along(subject, axis, grid) for axis in (2, 3)]
        reach = None if None in both else max(n for n in both if n is not None)
    exact = reach is not None and beyond(profile, reach) <= ROUNDING
    halo, blend = (reach, 0) if reach is not None and exact else affordable(profile, grid)
    return Geometry(
        grid, halo, blend,
        reach if exact else None,
        beyond(profile, halo - blend),
        footprint(subject, grid),
        runs_channels_last(subject, grid),
    )  # fmt: skip


def reach_along(subject: Subject, axis: int, cell: int) -> int | None:
    """How far outputs depend on a cell of pixels along an axis, rounded up to cells.

    None if that is the whole strip, or nothing at all, as where NaN does not survive.
    """
    for length in STRIPS:
        x = strip(subject, axis, length, cell)
        first = x.shape[axis] // 2 // cell * cell
        x.narrow(axis, first, cell).fill_(torch.nan)
        output = subject.call(x).isnan().any(1, keepdim=True)
        touched = output.any(5 - axis, keepdim=True).flatten().nonzero()
        if not len(touched):
            return None
        low, high = int(touched[0]) // subject.scale, int(touched[-1]) // subject.scale
        if low > 0 and high < x.shape[axis] - 1:
            distance = max(first - low, high - (first + cell - 1), 0)
            reach = -(-distance // cell) * cell
            return reach if reach <= MOST else None
    return None


def find_grid(subject: Subject, reach: int | None) -> tuple[int, Tensor]:
    """The grid on which windows may begin, and how outputs change at what distance from a cut.

    Networks with attention in windows have a grid of their own. It is the smallest for which
    nothing changes beyond the reach; without a reach, for which little more changes than for the
    widest. What fits one grid fits its multiples: so it is divided as long as that goes well.
    """
    multiple = subject.multiple_of
    cuts = _Cuts(subject)
    most, from_ = ROUNDING, MOST // 2
    if reach is None:
        widest = max(WIDEST_GRIDS[0] // multiple, 1) * multiple
        most = max(most, SIMILAR * cuts.change(widest, from_, most=torch.inf))

    def fits(grid: int) -> bool:
        return cuts.change(grid, from_ if reach is None else reach + grid, most) <= most

    if fits(multiple):
        return multiple, cuts.profile(multiple)
    for wide in WIDEST_GRIDS:
        grid = wide // multiple * multiple
        if grid > multiple and fits(grid):
            for prime in (2, 3, 7):
                while grid % (prime * multiple) == 0 and fits(grid // prime):
                    grid //= prime
            return grid, cuts.profile(grid)
    return multiple, cuts.profile(multiple)


class _Cuts:
    """What cutting off the beginning of strips changes; each output is computed once."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._whole: dict[tuple[int, int], Tensor] = {}
        self._profiles: dict[tuple[int, int], Tensor] = {}

    def change(self, grid: int, distance: int, most: float) -> float:
        """The largest change at a distance or further, along one axis if that exceeds `most`."""
        found = beyond(self._along(3, grid), distance)
        return found if found > most else max(found, beyond(self._along(2, grid), distance))

    def profile(self, grid: int) -> Tensor:
        """The largest change at each distance in pixels, of both axes, of the largest output."""
        return torch.maximum(self._along(2, grid), self._along(3, grid))  # of the same length

    def _along(self, axis: int, grid: int) -> Tensor:
        """Of a strip two fifths are cut off; its end stays, so that it changes nothing."""
        if (axis, grid) not in self._profiles:
            scale, x = self.subject.scale, strip(self.subject, axis, STRIPS[-1], grid)
            length = x.shape[axis]
            cut = (2 * length // (5 * 2 * grid)) * 2 * grid + grid  # off any coarser grid
            if (axis, length) not in self._whole:
                self._whole[axis, length] = self.subject.call(x)
            whole = self._whole[axis, length]
            part = self.subject.call(x.narrow(axis, cut, length - cut).contiguous())
            same = whole.narrow(axis, cut * scale, part.shape[axis])
            change = (same - part).abs().amax(dim=(0, 1, 5 - axis)) / largest(whole)
            self._profiles[axis, grid] = change.view(-1, scale).amax(1)[: length // 2]
        return self._profiles[axis, grid]


def largest(output: Tensor) -> Tensor:
    """The largest value of an output, at least 1."""
    return output.abs().amax().clamp(min=1)


def beyond(profile: Tensor, distance: int) -> float:
    """The largest change at a distance or further from the cut; 0 beyond the profile."""
    return float(profile[distance:].amax()) if distance < len(profile) else 0.0


def affordable(profile: Tensor, grid: int) -> tuple[int, int]:
    """The halo and the blend for a network that sees further than `MOST`.

    The least halo after which only rounding remains, and a quarter more; or else `OVERLAP`.
    """
    vanished = [k for k in range(0, MOST, 8) if beyond(profile, k) <= ROUNDING]
    context = vanished[0] + vanished[0] // 4 if vanished else OVERLAP - BLEND
    return -(-min(context + BLEND, MOST) // grid) * grid, BLEND


def strip(subject: Subject, axis: int, length: int, cell: int) -> Tensor:
    """A part of a picture, long along an axis, its length a multiple of `cell`.

    It has noise, edges, and areas of one colour up to black and white.
    """
    generator = torch.Generator().manual_seed(0)
    multiple = subject.multiple_of
    thin = -(-max(THICKNESS, subject.minimum) // multiple) * multiple
    long = -(-max(length, 2 * subject.minimum) // cell) * cell
    blocks = torch.rand(1, subject.channels, -(-thin // 16), -(-long // 16), generator=generator)
    x = (blocks * 1.6 - 0.3).clamp(0, 1)
    x = x.repeat_interleave(16, 2).repeat_interleave(16, 3)[:, :, :thin, :long]
    x = (x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    return x.transpose(2, 3).contiguous() if axis == 2 else x.contiguous()


def probe(subject: Subject, grid: int) -> Tensor:
    """A square input."""
    side = -(-max(PROBE, subject.minimum) // grid) * grid
    shape = (1, subject.channels, side, side)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def footprint(subject: Subject, grid: int) -> int:
    """Values per input pixel that are in memory at once, a quarter added for what is not seen."""
    x = probe(subject, grid)
    with LiveBytes() as live:
        subject.call(x)
    return int(live.most * 5 / 4 / x.element_size() / (x.shape[2] * x.shape[3])) + 1


def runs_channels_last(subject: Subject, grid: int) -> bool:
    """Whether the network runs on such an input, with the same result.

    Networks that view their tensors in other shapes fail.
    """
    x = probe(subject, grid)
    try:
        output = subject.call(x.contiguous(memory_format=torch.channels_last))
    except RuntimeError:
        return False
    usual = subject.call(x)
    return bool((output - usual).abs().amax() <= ROUNDING * largest(usual))


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive, as the operations within it make them.

    most: the largest number so far
    """

    def __init__(self) -> None:
        """Start at 0."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own, without types
        self.most = self._now = 0
        self._seen: dict[int, Any] = {}
        self._number = itertools.count()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count the memory of what it returns unless it is known."""
        output = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return output

    def _count(self, storage: torch.UntypedStorage) -> None:
        if any(known() is storage for known in self._seen.values()):
            return
        number, size = next(self._number), storage.nbytes()
        self._now += size
        self.most = max(self.most, self._now)

        def gone(_: object) -> None:
            self._now -= size
            self._seen.pop(number, None)

        self._seen[number] = weakref.ref(storage, gone)
