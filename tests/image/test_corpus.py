"""The corpus test in small: what it calls right, refused, different and crashed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restore.image.picture import Picture

pytest.importorskip("resource", reason="its limits are POSIX's")


@pytest.fixture
def corpus(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module."""
    monkeypatch.syspath_prepend(root / "benchmarks")
    import corpus

    return corpus


def picture(path: Path) -> Path:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (16, 20, 3), np.uint8)).save(path)
    return path


def test_a_folder_is_sorted_and_counted(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for name in ("a.png", "a.jpg", "below/a.tif"):
        picture(folder / name)
    (folder / "same.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:300])
    (folder / "words.txt").write_text("no picture")
    stored = tmp_path / "corpus.json"
    words = ["benchmarks/corpus.py", str(folder), "--json", str(stored)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, *words], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(stored.read_text())["corpora"]["pictures"]
    counts = {k: v for k, v in found.items() if isinstance(v, int)}
    assert counts == {
        "tried": 4, "right": 3, "compared": 3, "refused": 1, "differs": 0, "crashed": 0, "slow": 0
    }  # fmt: skip
    assert list(found["refusals"]) == ["cut.png"]


def test_wrong_pixels_and_exceptions_are_found(
    corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, copies = picture(tmp_path / "a.png"), tmp_path / "copies"
    copies.mkdir()
    read = corpus.decode_image

    def wrong(data: bytes, **settings: Any) -> Any:
        found = read(data, **settings)
        return found.replace(pixels=found.pixels[::-1].copy())

    monkeypatch.setattr(corpus, "decode_image", wrong)
    found = corpus.examine(path, copies)
    assert found["outcome"] == "differs" and "OpenCV" in found["words"][0]
    monkeypatch.setattr(corpus, "decode_image", lambda *_, **__: 1 / 0)
    assert corpus.examine(path, copies)["outcome"] == "crashed"


def test_lost_metadata_is_found_and_what_tells_of_storage_is_not(corpus: Any) -> None:
    source = {
        "EXIF:IFD0:Main:JPEG-APP1-IFD0:Make": "A",
        "EXIF:IFD0:Main:JPEG-APP1-IFD0:Model": "B",
        "EXIF:IFD0:Main:JPEG-APP1-IFD0:Orientation": 6,
        "EXIF:IFD1:Main:JPEG-APP1-IFD1:ThumbnailOffset": 9,
        "IPTC:Main:JPEG-APP13-Photoshop-IPTC:City": "C",
    }
    copy = {"EXIF:IFD0:Main:TIFF-IFD0:Make": "A", "EXIF:IFD0:Main:TIFF-IFD0:Model": "other"}
    about = {"format": "JPEG", "notes": [], "icc": True}
    assert corpus.metadata_lost(source, copy, about, within=False) == ["EXIF:IFD0:Model 'B'"]
    assert len(corpus.metadata_lost(source, copy, about, within=True)) == 2


def test_what_is_left_out_on_purpose_is_not_lost(corpus: Any) -> None:
    """Tags of raw development, profiles of other items in the file, a second packet of XMP."""
    source = {
        "EXIF:IFD0:Main:JPEG-APP1-IFD0:BlackLevelDeltaH": {"id": 50715, "val": "1 1 1"},
        "EXIF:IFD0:Main:JPEG-APP1-IFD0:Make": {"id": 271, "val": "A"},
        "ICC_Profile:ICC-header2:Main:MOV-Meta:ProfileVersion": {"id": 8, "val": 1024},
        "XMP:XMP-dc:Main:Copy1:JPEG-APP1-XMP:Subject": {"id": "Subject", "val": "two"},
    }
    about = {"format": "HEIF", "notes": [], "icc": True}
    lost = corpus.metadata_lost(source, {}, about, within=True)
    assert lost == ["EXIF:IFD0:Make 'A'", "XMP:XMP-dc:Subject 'two'"]
    about["notes"] = ["a second XMP packet is left out"]
    assert corpus.metadata_lost(source, {}, about, within=True) == lost[:1]


def test_colour_under_full_transparency_of_a_lossy_copy_does_not_count(
    corpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpha = np.ones((16, 20), np.float32)
    alpha[:8] = 0
    first = Picture(np.full((16, 20, 3), 0.5, np.float32), alpha)
    hidden, shown = first.pixels.copy(), first.pixels.copy()
    hidden[:8], shown[8:] = 1, 1
    monkeypatch.setattr(
        corpus.other_readers, "compared", lambda *_: corpus.other_readers.Verdict([], [])
    )
    for pixels, words in ((hidden, 0), (shown, 1)):
        again = first.replace(pixels=pixels)
        monkeypatch.setattr(corpus, "decode_image", lambda *_, again=again, **__: again)
        assert len(list(corpus._copy(first, "WEBP", b""))) == words
        assert len(list(corpus._copy(first, "PNG", b""))) == 1  # which keeps it
