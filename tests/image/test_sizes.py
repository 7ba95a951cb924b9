"""Sizes in headers, against the libraries that wrote them."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from restore.image.sizes import coded_size

KINDS: list[tuple[str, str, dict[str, Any]]] = [
    ("PNG", "RGB", {}),
    ("JPEG", "RGB", {}),
    ("JPEG", "L", {"progressive": True}),
    ("JPEG", "RGB", {"exif": b"Exif\0\0II*\0" + b"\xff\xc0" * 40, "comment": b"words"}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGB", {"lossless": True}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("WEBP", "RGBA", {"exif": b"II*\0"}),
    ("JPEG2000", "RGB", {}),
    ("JPEG2000", "L", {"no_jp2": True}),
]


@pytest.mark.parametrize("size", [(1, 1), (37, 45), (3000, 20)])
@pytest.mark.parametrize(("kind", "mode", "options"), KINDS)
def test_the_size_of_what_pillow_writes(
    kind: str, mode: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    memory = io.BytesIO()
    Image.new(mode, size, 90).save(memory, kind, **options)
    data = memory.getvalue()
    assert coded_size(data) == (size[1], size[0])
    for cut in range(0, min(len(data), 200), 3):
        assert coded_size(data[:cut]) in (None, (size[1], size[0]), (0, 0))


@pytest.mark.parametrize("size", [(1, 1), (45, 37), (200, 3000)])
def test_the_size_of_what_imagecodecs_writes(size: tuple[int, int]) -> None:
    black = np.zeros(size, np.uint8)
    for encode in (imagecodecs.jpegxl_encode, imagecodecs.lerc_encode, imagecodecs.jpeg2k_encode):
        assert coded_size(bytes(encode(black))) == size


def test_other_kinds_have_no_size_here() -> None:
    for data in (b"", b"GIF89a", b"II*\0" + bytes(100), bytes(500)):
        assert coded_size(data) is None
