"""What sizes may be asked for, what they give, and how the others are refused."""

from __future__ import annotations

from typing import Any

import pytest

from restore.errors import InputError
from restore.tasks import target_size as sizes
from restore.tasks.target_size import make_size


@pytest.mark.parametrize(
    ("asked", "result"),
    [
        ({"scale": 2}, (200, 300)),
        ({"scale": "1.5"}, (150, 225)),
        ({"scale": 1.001}, (100, 150)),
        ({"width": 1920}, (1280, 1920)),
        ({"width": "1000"}, (667, 1000)),
        ({"height": 333}, (333, 500)),
        ({"width": 500, "height": 333}, (333, 500)),
        ({"width": 499, "height": 333}, (333, 499)),
        ({"fit": "640x480"}, (427, 640)),
        ({"fit": (10_000, 480)}, (480, 720)),
    ],
)
def test_sizes_of_a_picture_of_150x100(asked: dict[str, Any], result: tuple[int, int]) -> None:
    assert make_size(**asked).of(100, 150) == result


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "give exactly one of scale"),
        ({"scale": 2, "width": 300}, "give exactly one of scale"),
        ({"width": 300, "fit": "9x9"}, "give exactly one of scale"),
        *(({"scale": s}, "above 1 and at most 16") for s in (0, -1, 100, "x", "", 1, "nan", "inf")),
        ({"width": "wide"}, "whole number"),
        ({"height": 0}, "above 0"),
        ({"fit": "3840"}, "3840x2160"),
        ({"fit": "0x10"}, "at least 1x1"),
    ],
)
def test_what_is_no_size_is_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_size(**asked)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"width": 150}, "already that large"),
        ({"fit": "100x100"}, "already that large"),
        ({"height": 1601}, "largest factor is 16, to 2400x1600"),
        ({"width": 300, "height": 300}, "--fit 300x300"),
    ],
)
def test_what_does_not_suit_the_picture_is_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_size(**asked).of(100, 150)


def test_more_than_the_memory_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "machine_memory", lambda: 10**9)
    assert make_size(16).of(300, 300) == (4800, 4800)
    with pytest.raises(InputError, match=r"80000x80000 pixels needs about 256\.0 GB .* 1\.0 GB"):
        make_size(16).of(5000, 5000)


def test_the_memory_of_this_machine_is_known() -> None:
    memory = sizes.machine_memory()
    assert memory is None or memory > 2**28
