"""The size of an upscaled picture: a factor, a width, a height or a box, and its limits."""

from __future__ import annotations

import contextlib
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore.errors import InputError

LARGEST_FACTOR = 16
# For each pixel of the result: the network's output, the resized result and its stored samples.
BYTES_PER_PIXEL = 40


@dataclass(frozen=True)
class Size:
    """A size to upscale to: exactly one of a factor, sides in pixels, or a box to fit into.

    scale:  above 1 and at most 16
    width, height: one of them (the other follows), or both if they keep the picture's proportions
    fit:    (width, height) of a box; the result is the largest that fits into it
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    fit: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Raises InputError unless exactly one is given, and it is a valid size."""
        sides = self.width is not None or self.height is not None
        if (self.scale is not None) + sides + (self.fit is not None) != 1:
            raise InputError(
                "give exactly one of scale, size (width, height or both) and fit, such as scale 2"
            )
        if self.scale is not None:
            check_factor(self.scale)
        for name, side in (("width", self.width), ("height", self.height)):
            if side is not None and side < 1:
                raise InputError(f"the {name} must be a whole number of pixels above 0, not {side}")
        if self.fit is not None and min(self.fit) < 1:
            raise InputError(
                f"a box to fit into must be at least 1x1, not {self.fit[0]}x{self.fit[1]}"
            )

    def of(self, height: int, width: int) -> tuple[int, int]:
        """The height and width of the result for a picture of this size.

        Raises InputError if the result would be no larger, distorted, more than 16 times as large,
        or too large for this machine's memory.
        """
        factor = self._factor(height, width)
        given = f"the picture of {width}x{height}"
        if factor <= 1:
            raise InputError(f"{given} is already that large; ask for a larger size")
        if factor > LARGEST_FACTOR:
            raise InputError(
                f"{given} would become {factor:.1f} times as large; the largest factor is "
                f"{LARGEST_FACTOR}, to {width * LARGEST_FACTOR}x{height * LARGEST_FACTOR}"
            )
        rows, columns = (max(1, math.floor(side * factor + 0.5)) for side in (height, width))
        rows, columns = self.height or rows, self.width or columns
        check_memory(rows, columns)
        return rows, columns

    def _factor(self, height: int, width: int) -> float:
        if self.scale is not None:
            return self.scale
        if self.fit is not None:
            return min(self.fit[0] / width, self.fit[1] / height)
        across = None if self.width is None else self.width / width
        down = None if self.height is None else self.height / height
        if across is None or down is None:
            return across or down or 0.0
        if abs(across * height - down * height) > 1 and abs(down * width - across * width) > 1:
            raise InputError(
                f"{self.width}x{self.height} would distort the picture of {width}x{height}; "
                f"give only one of the two, or --fit {self.width}x{self.height}"
            )
        return max(across, down)


def make_size(scale: Any = None, width: Any = None, height: Any = None, fit: Any = None) -> Size:
    """A size from numbers or strings: scale "2.5", width "1920", fit "3840x2160" or a pair.

    Raises InputError for what is not a valid size.
    """
    if isinstance(fit, str):
        match = re.fullmatch(r"(\d+)[xX](\d+)", fit.strip())
        if match is None:
            raise InputError(f"'{fit}' is not a size to fit into; write it like 3840x2160")
        fit = int(match[1]), int(match[2])
    sides = {"width": width, "height": height}
    for name, side in sides.items():
        try:
            sides[name] = None if side is None else int(side)
        except (ValueError, TypeError):
            raise InputError(f"the {name} must be a whole number of pixels, not '{side}'") from None
    return Size(None if scale is None else check_factor(scale), fit=fit, **sides)


def check_factor(scale: Any) -> float:
    """The factor as a number. Raises InputError unless it is above 1 and at most 16."""
    try:
        factor = float(scale)
    except (ValueError, TypeError):
        factor = math.nan
    if not 1 < factor <= LARGEST_FACTOR:
        raise InputError(
            f"scale must be above 1 and at most {LARGEST_FACTOR}, for example 2 or 3.5, not {scale}"
        )
    return factor


def check_memory(height: int, width: int) -> None:
    """Raises InputError if a result of this size needs more memory than the machine has."""
    need, have = height * width * BYTES_PER_PIXEL, machine_memory()
    if have is not None and need > have:
        raise InputError(
            f"a result of {width}x{height} pixels needs about {need / 1e9:.1f} GB of memory, and "
            f"this machine has {have / 1e9:.1f} GB; ask for a smaller size"
        )


def machine_memory() -> int | None:
    """Bytes of memory available to this process at most, within a container's limit; or None."""
    found = []
    with contextlib.suppress(ValueError, OSError, AttributeError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            found.append(int(Path("/sys/fs/cgroup", limit).read_text()))
    return min(found, default=None)
