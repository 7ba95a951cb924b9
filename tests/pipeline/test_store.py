"""Stores: what is written is read again, whole, and what is wrong is a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from restore.errors import InputError, ReadError
from restore.pipeline.store import (
    Stored,
    is_address,
    is_shared,
    list_store,
    modified,
    read_store,
    write_store,
)

pytest.importorskip("fsspec", reason="pip install fsspec")


def test_addresses_are_told_from_paths() -> None:
    assert is_address("s3://bucket/a.png") and is_address("memory://a")
    assert not is_address("photos/a.png") and not is_address(Path("a.png"))
    assert not is_address("C:/photos")
    assert is_shared("file:///mnt/a.png") and not is_shared("memory://a.png")


@pytest.mark.filterwarnings("ignore")  # those of the server
@pytest.mark.parametrize("kind", ["memory", "file", "s3"])
def test_what_is_written_is_listed_and_read(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base = {"file": f"file://{tmp_path}/photos", "memory": f"memory:///{tmp_path.name}"}.get(kind)
    base = base or request.getfixturevalue("bucket")
    assert modified(f"{base}/a.png") is None
    for name in ("a.png", "deep/b.JPG", "deep/notes.txt"):
        write_store(f"{base}/{name}", name.encode())
    assert read_store(f"{base}/deep/b.JPG") == b"deep/b.JPG"
    write_store(f"{base}/a.png", b"again")
    assert read_store(f"{base}/a.png") == b"again"
    assert modified(f"{base}/a.png") is not None
    shallow, deep = list_store(base, False), list_store(base, True)
    assert [found.address.rpartition("/")[2] for found in shallow] == ["a.png"]
    assert [(found.address.rpartition("/")[2], found.tree) for found in deep] == [
        ("a.png", ""),
        ("b.JPG", "deep"),
    ]
    assert all(read_store(found.address) for found in deep)
    assert list_store(f"{base}/a.png", False) == [Stored(f"{base}/a.png")]
    if kind == "file":
        assert not list(tmp_path.rglob(".restore-*"))


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="cannot be read"):
        read_store(f"file://{tmp_path}/none.png")
    with pytest.raises(ReadError, match="holds no pictures; pass --recursive"):
        list_store(f"file://{tmp_path}", False)
    with pytest.raises(InputError, match="cannot be opened"):
        read_store("nothing-of-the-kind://a/b.png")
