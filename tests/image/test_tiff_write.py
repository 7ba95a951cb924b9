"""Rows of a TIFF file are those of the file, whatever parts they are stored in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from restore.errors import ReadError, WriteError
from restore.image import tiff
from restore.image.picture import Picture
from restore.image.tiff import TiffRows
from restore.image.tiff_write import TiffStrips, unfinished

SAMPLES = np.random.default_rng(0).integers(0, 256, (50, 37, 3), np.uint8)


@pytest.mark.parametrize("kind", [{"tile": (16, 32)}, {"rowsperstrip": 9}, {}], ids=str)
def test_any_rows_are_those_of_the_file(tmp_path: Path, kind: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", SAMPLES, photometric="rgb", **kind)
    rows = TiffRows(tmp_path / "a.tif")
    for first, last in ((0, 50), (0, 1), (8, 10), (15, 34), (49, 50)):
        np.testing.assert_array_equal(rows[first:last], SAMPLES[first:last])
    rows.close()


def test_parts_that_are_too_large_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", SAMPLES, photometric="rgb")
    monkeypatch.setattr(tiff, "LARGEST_PART", 1000)
    with pytest.raises(ReadError, match="parts of 50 rows"):
        TiffRows(tmp_path / "a.tif")


def test_damage_is_said_in_a_sentence(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", SAMPLES, photometric="rgb", compression="zlib")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        at = file.pages[0].dataoffsets[0]  # type: ignore[union-attr]
    data[at : at + 40] = bytes(40)
    (tmp_path / "a.tif").write_bytes(data)
    rows = TiffRows(tmp_path / "a.tif")
    with pytest.raises(ReadError, match="damaged or truncated"):
        rows[0:50]
    rows.close()


def test_strips_make_a_file_that_others_read(tmp_path: Path) -> None:
    like = Picture(np.zeros((1, 1, 3), np.float32), source={"dpi": (72.0, 72.0)})
    asked: dict[str, Any] = {"dtype": "uint8", "grid": 8, "overwrite": False}
    strips = TiffStrips(tmp_path / "a.tif", like, (50, 37, 3), {}, **asked)
    for first in range(0, 50, 7):
        strips.append(SAMPLES[first : first + 7])
    with pytest.raises(WriteError, match="another process"):
        TiffStrips(tmp_path / "a.tif", like, (50, 37, 3), {}, **asked)
    strips.finish()
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), SAMPLES)
    with pytest.raises(WriteError, match="exists"):
        TiffStrips(tmp_path / "a.tif", like, (50, 37, 3), {}, **asked)


@pytest.mark.parametrize("left", ["a second name of the result", "a link to another file"])
def test_a_hidden_file_that_is_not_ones_own_is_not_written_to(tmp_path: Path, left: str) -> None:
    """Killed between giving the result its name and removing the hidden one, a run leaves both."""
    precious = tmp_path / "precious.tif"
    precious.write_bytes(b"a finished result")
    target = tmp_path / "a.tif"
    for hidden in unfinished(target):
        if left.startswith("a second"):
            hidden.hardlink_to(precious)
        else:
            hidden.symlink_to(precious)
    like = Picture(np.zeros((1, 1, 3), np.float32))
    strips = TiffStrips(target, like, (50, 37, 3), {}, dtype="uint8", grid=8, overwrite=True)
    strips.append(SAMPLES)
    strips.finish()
    assert precious.read_bytes() == b"a finished result"
    np.testing.assert_array_equal(tifffile.imread(target), SAMPLES)
