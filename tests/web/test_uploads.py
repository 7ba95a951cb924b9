"""The body of a request: harmless names, nothing on the disk."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason='pip install ".[web]" to test the web server')

from restore.web.uploads import _InMemory, clean_name


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\a.png", "a.png"),
        ("..", ""),
        (".bashrc", "bashrc"),
        ('a"\r\nSet-Cookie: b.png', "a___Set-Cookie_ b.png"),
        ("ünïcode 図.png", "ünïcode 図.png"),
        ("x" * 500 + ".png", "x" * 116 + ".png"),
        ("\u202egnp.exe", "_gnp.exe"),
    ],
)
def test_names_are_reduced_to_harmless_characters(given: str, kept: str) -> None:
    assert clean_name(given) == kept


def test_no_upload_is_large_enough_for_the_disk() -> None:
    assert _InMemory.spool_max_size > 2**60
