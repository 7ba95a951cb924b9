"""How large a picture shall become: a factor, a width, a height or a box, and what is refused."""

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
# The network's answer, the result, its resized and its stored form, for each pixel of the largest.
BYTES_PER_PIXEL = 40


@dataclass(frozen=True)
class Size:
    """What was asked, just one of: a factor, sides in pixels, or a box to fit into.

    scale:  above 1 and at most 16
    width, height: one of them (the other follows), or both where they agree with the picture
    fit:    (width, height) of the box; the result touches it on one axis
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    fit: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """InputError for two wishes at once, for none, and for what is no size."""
        sides = self.width is not None or self.height is not None
        if (self.scale is not None) + sides + (self.fit is not None) != 1:
            raise InputError("give one of scale, width and height, or fit, such as --scale 2")
        if self.scale is not None:
            check_factor(self.scale)
        for name, side in (("width", self.width), ("height", self.height)):
            if side is not None and side < 1:
                raise InputError(f"a {name} is a whole number of pixels above 0, not {side}")
        if self.fit is not None and min(self.fit) < 1:
            raise InputError(f"a box is at least 1x1 pixel, not {self.fit[0]}x{self.fit[1]}")

    def of(self, height: int, width: int) -> tuple[int, int]:
        """The height and width that a picture of this size shall have.

        Raises InputError where that would not enlarge it, would distort it, is above 16 times its
        size, or is more than this machine's memory holds.
        """
        factor = self._factor(height, width)
        given = f"a picture of {width}x{height}"
        if factor <= 1:
            raise InputError(f"{given} is as large as that already; ask for more than its size")
        if factor > LARGEST_FACTOR:
            raise InputError(
                f"{given} would become {factor:.1f} times as large; {LARGEST_FACTOR} times is "
                f"the most, {width * LARGEST_FACTOR}x{height * LARGEST_FACTOR}"
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
                f"{self.width}x{self.height} would distort a picture of {width}x{height}; give "
                f"one of the two, or --fit {self.width}x{self.height}"
            )
        return max(across, down)


def make_size(scale: Any = None, width: Any = None, height: Any = None, fit: Any = None) -> Size:
    """A size from numbers or words: scale "2.5", width "1920", fit "3840x2160" or a pair.

    Raises InputError for words that are no such thing.
    """
    if isinstance(fit, str):
        found = re.fullmatch(r"(\d+)[xX](\d+)", fit.strip())
        if found is None:
            raise InputError(f"'{fit}' is no box; write it like 3840x2160")
        fit = int(found[1]), int(found[2])
    sides = {"width": width, "height": height}
    for name, side in sides.items():
        try:
            sides[name] = None if side is None else int(side)
        except (ValueError, TypeError):
            raise InputError(f"a {name} is a whole number of pixels, not '{side}'") from None
    return Size(None if scale is None else check_factor(scale), fit=fit, **sides)


def check_factor(scale: Any) -> float:
    """The factor as a number. Raises InputError unless it is above 1 and at most 16."""
    try:
        factor = float(scale)
    except (ValueError, TypeError):
        factor = math.nan
    if not 1 < factor <= LARGEST_FACTOR:
        raise InputError(
            f"scale is a number above 1 and at most {LARGEST_FACTOR}, such as 2 or 3.5, not {scale}"
        )
    return factor


def check_memory(height: int, width: int) -> None:
    """InputError where a result of this size needs more memory than the machine has."""
    need, have = height * width * BYTES_PER_PIXEL, machine_memory()
    if have is not None and need > have:
        raise InputError(
            f"a result of {width}x{height} pixels needs about {need / 1e9:.1f} GB of memory and "
            f"there are {have / 1e9:.1f} GB; ask for a smaller size"
        )


def machine_memory() -> int | None:
    """Bytes of memory that this process can have, a container's limit counted; None: unknown."""
    found = []
    with contextlib.suppress(ValueError, OSError, AttributeError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            found.append(int(Path("/sys/fs/cgroup", limit).read_text()))
    return min(found, default=None)
