"""Which files are taken: of folders, trees, patterns and lists of all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from restore.errors import ReadError
from restore.image.find import find_pictures, find_unread


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A memory card: folders in folders, raw files, and what is no picture."""
    names = [
        "a.JPG",
        "b.png",
        "notes.txt",
        "._a.JPG",
        ".hidden.png",
        "DCIM/c.nef",
        "DCIM/deep/d.tif",
    ]
    for name in [*names, ".trash/e.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def found(card: Path, *given: str, **options: object) -> dict[str, str]:
    pictures = find_pictures([card / g for g in given], **options)  # type: ignore[arg-type]
    return {p.path.relative_to(card).as_posix(): Path(p.tree).as_posix() for p in pictures}


def test_a_folder_gives_its_own_pictures_and_a_tree_all(card: Path) -> None:
    assert found(card, "") == {"a.JPG": ".", "b.png": "."}
    assert found(card, "", recursive=True) == {
        "a.JPG": ".",
        "b.png": ".",
        "DCIM/c.nef": "DCIM",
        "DCIM/deep/d.tif": "DCIM/deep",
    }


def test_patterns_are_expanded_and_mirrored_from_their_last_plain_folder(card: Path) -> None:
    assert found(card, "*.png") == {"b.png": "."}
    assert found(card, "**/*.tif") == {"DCIM/deep/d.tif": "DCIM/deep"}
    assert found(card, "DCIM/**/*") == {"DCIM/c.nef": ".", "DCIM/deep/d.tif": "deep"}
    assert found(card, "DC*", recursive=True) == {
        "DCIM/c.nef": "DCIM",
        "DCIM/deep/d.tif": "DCIM/deep",
    }


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(card: Path) -> None:
    (card / "a[1].png").write_bytes(b"x")
    assert found(card, "a[1].png") == {"a[1].png": "."}


def test_each_picture_is_taken_once(card: Path) -> None:
    (card / "link.png").symlink_to(card / "b.png")
    assert list(found(card, "b.png", "", "*.png")) == ["b.png", "a.JPG"]


def test_named_files_are_taken_whatever_they_are(card: Path) -> None:
    assert list(found(card, "notes.txt", "missing.png")) == ["notes.txt", "missing.png"]


def test_the_folder_of_the_results_is_left_out(card: Path) -> None:
    assert "DCIM/c.nef" not in found(card, "", recursive=True, leave_out=card / "DCIM")
    assert "DCIM/c.nef" not in found(card, "**/*", leave_out=card / "DCIM")
    assert found(card, "*.png", leave_out=card) == {"b.png": "."}


def test_links_in_a_circle_end(card: Path) -> None:
    (card / "DCIM" / "up").symlink_to(card, target_is_directory=True)
    assert len(found(card, "", recursive=True)) == 4


@pytest.mark.parametrize(
    ("given", "words"), [("*.gif", "no picture matches"), ("empty", "pass --recursive")]
)
def test_where_nothing_is_found_it_is_said(card: Path, given: str, words: str) -> None:
    (card / "empty").mkdir()
    with pytest.raises(ReadError, match=words):
        find_pictures([card / "a.JPG", card / given])


def test_pictures_of_kinds_that_are_not_read_are_named(tmp_path: Path) -> None:
    for name in ("a.psd", "b.EXR", "c.png", "d.txt", ".hidden.psd", "deep/e.xcf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    named = [p.name for p in find_unread([tmp_path])]
    assert named == ["a.psd", "b.EXR"]
    assert [p.name for p in find_unread([tmp_path], recursive=True)] == ["a.psd", "b.EXR", "e.xcf"]
    assert [p.name for p in find_unread([tmp_path / "*.psd"])] == ["a.psd"]
