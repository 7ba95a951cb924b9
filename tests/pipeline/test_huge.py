"""A TIFF from file to file in parts: as in memory, and whole after a kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from restore.errors import ReadError, WriteError
from restore.image.large_tiff import TiffStrips, unfinished
from restore.image.picture import quantise
from restore.image.read import load_image
from restore.models.denoiser import Denoiser
from restore.pipeline.file import denoise_file
from restore.pipeline.huge import denoise_huge, is_huge

SETTINGS: dict[str, Any] = {"precision": "fp32", "device": "cpu"}


def noisy(height: int, width: int, channels: int = 3, dtype: str = "uint8") -> Any:
    values = np.random.default_rng(0).random((height, width, channels))
    if dtype == "float32":
        return values.astype(np.float32)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


KINDS: list[tuple[str, int, dict[str, Any]]] = [
    ("uint8", 3, {"tile": (32, 48), "photometric": "rgb", "compression": "zlib"}),
    ("uint16", 3, {"rowsperstrip": 7, "photometric": "rgb", "bigtiff": True}),
    ("uint8", 1, {"tile": (16, 16), "photometric": "minisblack"}),
    ("float32", 3, {"rowsperstrip": 30, "photometric": "rgb", "byteorder": ">"}),
    ("uint8", 4, {"tile": (32, 32), "photometric": "rgb", "extrasamples": ["unassalpha"]}),
]


@pytest.mark.parametrize(("dtype", "channels", "kind"), KINDS, ids=str)
def test_in_parts_is_as_in_memory(
    small_network: Denoiser,
    tmp_path: Path,
    dtype: str,
    channels: int,
    kind: dict[str, Any],
    assert_same_picture: Callable[..., None],
) -> None:
    source = tmp_path / "in.tif"
    samples = noisy(150, 70, channels, dtype)
    samples = samples[:, :, 0] if channels == 1 else samples
    tifffile.imwrite(source, samples, resolution=(300, 300), resolutionunit=2, **kind)
    done, parts = denoise_huge(source, tmp_path / "parts.tif", small_network, **SETTINGS)
    _, whole = denoise_file(source, tmp_path / "whole.tif", model=small_network, **SETTINGS)
    assert parts == tmp_path / "parts.tif" and done.start == 0
    one, other = load_image(parts), load_image(whole)
    assert_same_picture(*(quantise(picture.pixels, one.depth) for picture in (one, other)))
    assert (one.alpha is None) == (other.alpha is None)
    if one.alpha is not None and other.alpha is not None:
        np.testing.assert_array_equal(one.alpha, other.alpha)
    assert (one.depth, one.icc, one.exif, one.xmp) == (
        other.depth, other.icc, other.exif, other.xmp
    )  # fmt: skip
    assert one.source["dpi"] == other.source["dpi"]
    assert {path.name for path in tmp_path.iterdir()} == {"in.tif", "parts.tif", "whole.tif"}


def test_profile_and_camera_go_along(
    small_network: Denoiser, tmp_path: Path, samples: Path
) -> None:
    source = tmp_path / "in.tif"
    icc = b"\0" * 128 + b"a profile"
    extra = [(34675, 7, len(icc), icc, True), (271, 2, 6, "Maker", True)]
    tifffile.imwrite(source, noisy(40, 24), photometric="rgb", rowsperstrip=8, extratags=extra)
    _, target = denoise_huge(source, tmp_path / "out.tif", small_network, **SETTINGS)
    with tifffile.TiffFile(target) as file:
        tags = file.pages[0].tags  # type: ignore[union-attr]
        assert tags[34675].value == icc and tags[271].value == "Maker"
    settings = SETTINGS | {"strip_metadata": True}
    _, bare = denoise_huge(source, tmp_path / "bare.tif", small_network, **settings)
    with tifffile.TiffFile(bare) as file:
        tags = file.pages[0].tags  # type: ignore[union-attr]
        assert tags[34675].value == icc and 271 not in tags


@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_killed_run_goes_on(
    small_network: Denoiser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed_after: int,
    assert_same_picture: Callable[..., None],
) -> None:
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    tifffile.imwrite(source, noisy(400, 24), photometric="rgb", rowsperstrip=16)
    from restore.image import tiff

    monkeypatch.setattr(tiff, "STRIP", 1)  # strips of two rows
    whole = denoise_huge(source, tmp_path / "whole.tif", small_network, **SETTINGS)[1]
    real, count = TiffStrips.append, [0]

    def dying(self: TiffStrips, rows: Any) -> None:
        count[0] += 1
        if count[0] > killed_after:
            raise KeyboardInterrupt
        real(self, rows)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(TiffStrips, "append", dying)
        denoise_huge(source, target, small_network, **SETTINGS)
    aside, journal = unfinished(target)
    assert aside.exists() and journal.exists() and not target.exists()
    with aside.open("ab") as file:
        file.write(b"half a strip")  # as a kill in the middle of a write leaves it
    done, _ = denoise_huge(source, target, small_network, **SETTINGS)
    assert done.start > 0
    assert target.stat().st_size == whole.stat().st_size
    assert_same_picture(*(tifffile.imread(path) for path in (target, whole)))
    assert not aside.exists() and not journal.exists()


def test_what_another_call_left_is_not_taken_for_ones_own(
    small_network: Denoiser, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    tifffile.imwrite(source, noisy(40, 24), photometric="rgb", rowsperstrip=16)
    aside, journal = unfinished(target)
    aside.write_bytes(b"x" * 1000)
    journal.write_text('{"another": "call"}\n900 0\n')
    done, _ = denoise_huge(source, target, small_network, **SETTINGS)
    assert done.start == 0
    assert load_image(target).height == 40


def test_what_cannot_be_read_in_parts_is_refused(small_network: Denoiser, tmp_path: Path) -> None:
    planes = tmp_path / "planes.tif"
    tifffile.imwrite(planes, noisy(3, 40).transpose(0, 2, 1), photometric="rgb", planarconfig=2)
    with pytest.raises(ReadError, match="its colours one after the other"):
        denoise_huge(planes, tmp_path / "out.tif", small_network, **SETTINGS)
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, noisy(8, 8), photometric="rgb")
    with pytest.raises(WriteError, match="the picture itself"):
        denoise_huge(source, source, small_network, **SETTINGS)
    (tmp_path / "there.tif").write_bytes(b"")
    with pytest.raises(WriteError, match="exists"):
        denoise_huge(source, tmp_path / "there.tif", small_network, **SETTINGS)
    assert not list(tmp_path.glob(".*"))


def test_only_tiffs_that_do_not_fit_are_huge(tmp_path: Path, samples: Path) -> None:
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, noisy(400, 400), photometric="rgb")
    assert is_huge(source, tmp_path / "out.tif", "2MB")
    assert not is_huge(source, tmp_path / "out.tif", "2GB")
    assert not is_huge(source, tmp_path / "out.png", "2MB")
    assert not is_huge(samples / "fur.png", tmp_path / "out.tif", "2MB")
    assert not is_huge(tmp_path / "absent.tif", None, "2MB")
