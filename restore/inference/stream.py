"""A network over a picture in bands of rows: each row of each layer is computed once.

A band goes through all layers of its level while it lies in the cache. What the next band needs of
this one (the last rows of each layer's input) is kept; what a level hands to the next coarser one
is gathered until it makes a band there. So the result lags behind the input by some hundred rows,
no row is computed twice, there is no halo above or below, and memory does not grow with the height.
The sums are those of the untiled network, zeros beyond the picture included.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TypeGuard, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.inference.fused import Convolution, Growth
from restore.models.denoiser import Denoiser
from restore.models.unet import UNet
from restore.models.upscaler import Upscaler

BAND_BYTES = 2**21  # of one tensor of a band: what a core's second cache holds
BELOW = 2  # rows of room below a band, for zeros below the picture
FEWEST_ROWS, MOST_ROWS = 16, 64  # a block computes two rows of each band again
# Beside the tensors counted: what the allocator cannot use, and oneDNN's own. By measurement.
SPARE, OWN_BYTES = 1.25, 2**25


class NotFiniteError(Exception):
    """A layer in half precision overflowed: the answer holds an infinity or NaN."""


def can_stream(network: object) -> TypeGuard[UNet]:
    """Whether the network is one whose layers are known here."""
    known = (Denoiser.forward, Upscaler.forward)
    return isinstance(network, UNet) and type(network).forward in known


class Layers:
    """A network's layers, laid out for bands of rows. Holds no picture: one serves many."""

    def __init__(self, network: UNet, dtype: torch.dtype) -> None:
        """The kernels as `dtype`; the network given stays as it is."""

        def ready(weight: Tensor) -> Tensor:
            return weight.detach().to("cpu", dtype).contiguous(memory_format=torch.channels_last)

        def conv(module: object) -> Convolution:
            assert isinstance(module, nn.Conv2d)
            copied = nn.Conv2d(1, 1, 1, bias=False)
            copied.weight = nn.Parameter(ready(module.weight), requires_grad=False)
            if module.bias is not None:  # of a network that was told the noise level
                copied.bias = nn.Parameter(
                    module.bias.detach().to("cpu", dtype), requires_grad=False
                )
            return Convolution(copied)

        def growth(module: object) -> Growth:
            assert isinstance(module, nn.ConvTranspose2d)
            copied = nn.ConvTranspose2d(1, 1, 1, bias=False)
            copied.weight = nn.Parameter(ready(module.weight), requires_grad=False)
            return Growth(copied)

        def blocks(level: object) -> list[tuple[Convolution, Convolution]]:
            assert isinstance(level, nn.Sequential)
            return [(conv(block.conv1), conv(block.conv2)) for block in level.children()]

        self.dtype = dtype
        self.channels, self.multiple_of = network.channels, network.multiple_of
        self.scale, self.reach = network.scale, network.reach
        self.enter, self.leave = network.enter, network.leave
        self.widths = list(cast("list[int]", network.arguments["widths"]))
        self.head, self.tail = conv(network.head), conv(network.tail)
        self.encoder = [blocks(level) for level in network.encoder]
        self.decoder = [blocks(level) for level in network.decoder]
        self.downs = [ready(cast(nn.Conv2d, module).weight) for module in network.downs]
        self.ups = [growth(module) for module in network.ups]

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of the widest level's tensor, of a picture `width` pixels wide."""
        per_pixel = max(w >> k for k, w in enumerate(self.widths))
        return max(1, per_pixel) * width * self.dtype.itemsize

    def band(self, width: int) -> int:
        """Rows of a band, a multiple of 4: as many as make its tensors as large as they should."""
        rows = BAND_BYTES // self.row_bytes(width)
        return max(FEWEST_ROWS, min(MOST_ROWS, rows)) // 4 * 4

    def lags(self, band: int) -> list[int]:
        """For each level, rows of it by which what it gives back can lag behind what it gets."""
        found = [2 * len(self.encoder[-1])]
        for encode in reversed(self.encoder[:-1]):
            found.insert(0, 4 * len(encode) + 2 * (found[0] + band))
        return found

    def peak_bytes(self, height: int, width: int) -> int:
        """The most memory a stream over a picture of this size needs, the picture not counted."""
        band, total = self.band(width), 0
        lags = self.lags(band)
        for level, lag in enumerate(lags):
            room = band + _above(self.encoder[level]) + BELOW  # a piece of a skip keeps its room
            waiting = min(height >> level, lag + 2 * band) * room // band
            rows = waiting + 3 * room
            total += rows * (width >> level) * self.widths[level] * self.dtype.itemsize
        total += 4 * (band + 4) * self.row_bytes(width)  # of the level that is at work
        picture = min(height, lags[0] + 4 * band) * width * self.channels * 8
        larger = (
            self.scale**2 - 1
        )  # the result of a band, its interpolation and what is added to it
        picture += 4 * (band + 4) * width * self.channels * 4 * larger
        return int(SPARE * (total + picture)) + OWN_BYTES


class Stream:
    """One picture going through, from its first row to its last."""

    def __init__(self, layers: Layers, width: int) -> None:
        """width: of all rows, a multiple of the network's `multiple_of`."""
        self.layers, self.rows = layers, layers.band(width)
        # so that a level gets a band
        self.first_rows = self.rows + 1 + 2 * len(layers.encoder[0]) + layers.reach
        self._head, self._tail = _Held(1), _Held(1)
        self._level = _Level(layers, 0, self.rows)
        self._picture = _Picture(layers.reach)
        self._entered = self._left = 0

    def push(self, rows: Tensor, last: bool) -> Iterator[Tensor]:
        """More rows of the picture in; the next rows of the result out, as they are ready.

        rows: float32 `(n, width, channels)` in [0, 1]: `first_rows` at first, then `rows` each
              time, and with `last` as many as remain, so that the whole height is a multiple of
              the network's `multiple_of`
        Yields float32 `(m, scale width, channels)`, in order; all that is left with `last`.
        Raises NotFiniteError where half precision overflowed.
        """
        layers = self.layers
        # in this order, for the stride of the one picture
        self._picture.add(rows[None].permute(0, 3, 1, 2))
        begin, self._entered = self._entered, self._picture.last - (0 if last else layers.reach)
        around, own = self._picture.around(begin, self._entered)
        x = self._head.join(_Room([layers.enter(around)[:, :, own]], 2, layers.dtype), last)
        if x is None:
            return
        features = _Room([layers.head(x)], _above(layers.encoder[0]))
        for room, ended in self._level.push(features, last):
            y = self._tail.join(room, ended)
            if y is not None:
                yield self._result(layers.tail(y).float())

    def _result(self, found: Tensor) -> Tensor:
        """The next rows of the result, from what the layers found in them."""
        if self.layers.dtype != torch.float32 and not bool(found.isfinite().all()):
            raise NotFiniteError
        begin, self._left = self._left, self._left + found.shape[2]
        around, own = self._picture.around(begin, self._left)
        result = self.layers.leave(around, found, own)
        self._picture.forget(self._left)
        return result[0].permute(1, 2, 0)


class _Picture:
    """Rows of the picture, as long as they are needed."""

    def __init__(self, reach: int) -> None:
        """reach: how many rows around a row are seen with it."""
        self.reach = reach
        self.pieces: deque[Tensor] = deque()
        self.first = self.last = 0

    def add(self, rows: Tensor) -> None:
        """The next rows, `(1, C, rows, W)`."""
        self.pieces.append(rows)
        self.last += rows.shape[2]

    def around(self, first: int, last: int) -> tuple[Tensor, slice]:
        """Rows [first, last) and those around them that there are; and where the former lie."""
        begin, end = max(0, first - self.reach), min(self.last, last + self.reach)
        found, at = [], self.first
        for piece in self.pieces:
            part = piece[:, :, max(0, begin - at) : max(0, end - at)]
            if part.shape[2]:
                found.append(part)
            at += piece.shape[2]
        rows = found[0] if len(found) == 1 else _Room(found).rows
        return rows, slice(first - begin, last - begin)

    def forget(self, before: int) -> None:
        """Rows that nothing from this row on looks at."""
        while self.pieces and self.first + self.pieces[0].shape[2] <= before - self.reach:
            self.first += self.pieces.popleft().shape[2]


class _Room:
    """Rows with room above and below, for those that the next layers need around them.

    The layers work where the rows lie, so that a band is copied once for a row of blocks.
    """

    def __init__(
        self, pieces: Sequence[Tensor], above: int = 0, dtype: torch.dtype | None = None
    ) -> None:
        """Rows one below the other, copied. pieces: `(1, C, rows, W)`, channels last."""
        _, channels, _, width = pieces[0].shape
        self.first = self.last = above
        height = above + sum(piece.shape[2] for piece in pieces) + BELOW
        lines = torch.empty((height, width, channels), dtype=dtype or pieces[0].dtype)
        for piece in pieces:
            begin, self.last = self.last, self.last + piece.shape[2]
            lines[begin : self.last] = piece[0].permute(1, 2, 0)
        self.memory = lines[None].permute(0, 3, 1, 2)

    @property
    def rows(self) -> Tensor:
        """The rows themselves, `(1, C, rows, W)`; not a copy."""
        return self.memory[:, :, self.first : self.last]


class _Held:
    """The rows that a layer still needs, and rows of zeros above and below the picture."""

    def __init__(self, reach: int) -> None:
        self.reach = reach
        self.held: Tensor | None = None

    def join(self, room: _Room, last: bool) -> Tensor | None:
        """Put what was held above the rows, and `reach` of zeros at either end of the picture.

        None where these are too few for a row of the answer.
        """
        above = self.reach if self.held is None else self.held.shape[2]
        room.first -= above
        room.memory[:, :, room.first : room.first + above] = 0 if self.held is None else self.held
        if last:
            room.memory[:, :, room.last : room.last + self.reach] = 0
            room.last += self.reach
        x = room.rows
        few = x.shape[2] <= 2 * self.reach
        kept = x if few else x[:, :, -2 * self.reach :]
        self.held = kept.clone(memory_format=torch.channels_last)
        return None if few else x


class _Block:
    """x + conv2(relu(conv1(x))); two rows behind its input."""

    def __init__(self, convolutions: tuple[Convolution, Convolution]) -> None:
        self.conv1, self.conv2 = convolutions
        self.held = _Held(2)
        self.begun = False

    def push(self, room: _Room, last: bool) -> bool:
        """The answer takes the place of the rows; False where there is none yet."""
        x = self.held.join(room, last)
        if x is None:
            return False
        y = self.conv1(x, relu=True)
        # The network pads each layer with zeros, not with what the layer makes of zeros.
        if not self.begun:
            y[:, :, 0] = 0
        if last:
            y[:, :, -1] = 0
        self.begun = True
        room.first, room.last = room.first + 2, room.last - 2
        self.conv2.added_to(room.rows, y)
        return True


def _above(blocks: Sequence[object]) -> int:
    """Rows of room that blocks in a row need: four for the first, two more for each further one."""
    return 2 * len(blocks) + 2


class _Level:
    """One level of the U and all below it."""

    def __init__(self, layers: Layers, level: int, band: int) -> None:
        self.band = band
        self.encoder = [_Block(pair) for pair in layers.encoder[level]]
        self.inner: _Level | None = None
        if level + 1 < len(layers.encoder):
            self.decoder = [_Block(pair) for pair in layers.decoder[level]]
            self.down, self.up = layers.downs[level], layers.ups[level]
            self.inner = _Level(layers, level + 1, band)
            self.skips, self.waiting = _Queue(), _Queue()

    def push(self, room: _Room, last: bool) -> Iterator[tuple[_Room, bool]]:
        """An even count of rows in, unless they are the last; bands of the same level out.

        What comes out of the inner levels comes in large pieces: these are cut into bands again,
        and the level above gets each while it is warm. The flag says which band is the last.
        """
        if not all(block.push(room, last) for block in self.encoder):
            return
        if self.inner is None:
            yield room, last
            return
        self.skips.add(room.rows)
        self.waiting.add(F.conv2d(room.rows, self.down, stride=2))
        del room
        ready = self.waiting.count if last else self.waiting.count // self.band * self.band
        if not ready:
            return
        inner = self.waiting.take(ready, _above(self.inner.encoder))
        for grown, ended in self.inner.push(inner, last):
            for piece, final in _cut(grown.rows, self.band // 2):
                room = self.skips.take(2 * piece.shape[2], _above(self.decoder))
                self.up.added_to(room.rows, piece)
                if all(block.push(room, ended and final) for block in self.decoder):
                    yield room, ended and final


def _cut(rows: Tensor, count: int) -> Iterator[tuple[Tensor, bool]]:
    """Pieces of `count` rows; the flag says which is the last."""
    height = rows.shape[2]
    for begin in range(0, height, count):
        yield rows[:, :, begin : begin + count], begin + count >= height


class _Queue:
    """Rows in order, put in and taken out in pieces of different sizes."""

    def __init__(self) -> None:
        self.pieces: deque[Tensor] = deque()
        self.count = 0

    def add(self, rows: Tensor) -> None:
        self.pieces.append(rows)
        self.count += rows.shape[2]

    def take(self, count: int, above: int = 0) -> _Room:
        found: list[Tensor] = []
        self.count -= count
        while count:
            piece = self.pieces.popleft()
            if piece.shape[2] > count:
                self.pieces.appendleft(piece[:, :, count:])
                piece = piece[:, :, :count]
            found.append(piece)
            count -= piece.shape[2]
        return _Room(found, above)
