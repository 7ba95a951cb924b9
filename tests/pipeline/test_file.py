"""A TIFF from file to file in parts: as in memory, and whole after a kill."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from restore.engine.compute import Compute
from restore.errors import InputError, ReadError, WriteError
from restore.image.picture import quantise
from restore.image.read import load_image
from restore.image.tiff import LEFT_OUT, OF_64_BITS
from restore.image.tiff_write import TiffStrips, unfinished
from restore.models.denoiser import Denoiser
from restore.models.network import BaseNetwork
from restore.pipeline.batch import denoise_files
from restore.pipeline.file import (
    Saving,
    denoise_file,
    denoise_huge,
    sort_settings,
    target_by_rows,
)
from restore.pipeline.journal import JOURNAL
from restore.pipeline.large import denoise_windows
from restore.pipeline.picture import denoise
from restore.tasks.denoise import denoising

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
    from restore.image import tiff_write

    monkeypatch.setattr(tiff_write, "STRIP", 1)  # strips of two rows
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


@pytest.mark.parametrize("wrong", ["a value", "the memory", "a strip"])
def test_a_run_that_is_refused_leaves_nothing(
    small_network: Denoiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    samples = np.full((400, 24, 3), 0.5, np.float32)
    if wrong == "a value":
        samples[399, 0, 0] = np.nan
    if wrong == "a strip":
        samples = noisy(400, 24)
    tifffile.imwrite(source, samples, photometric="rgb", rowsperstrip=16, compression="zlib")
    if wrong == "a strip":
        from restore.image import tiff_write

        monkeypatch.setattr(tiff_write, "STRIP", 1)  # so that strips are written before it
        with tifffile.TiffFile(source) as file:
            at = file.pages[0].dataoffsets[-1]  # type: ignore[union-attr]
        data = bytearray(source.read_bytes())
        data[at : at + 40] = bytes(40)
        source.write_bytes(data)
    memory = {"memory": 1000} if wrong == "the memory" else {}
    with pytest.raises((InputError, ReadError)):
        denoise_huge(source, target, small_network, **SETTINGS, **memory)
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_too_little_memory_leaves_the_strips_of_an_earlier_run(
    small_network: Denoiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    tifffile.imwrite(source, noisy(400, 24), photometric="rgb", rowsperstrip=16)
    from restore.image import tiff_write

    monkeypatch.setattr(tiff_write, "STRIP", 1)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denoise_huge(source, target, small_network, report=stop, **SETTINGS)
    with pytest.raises(InputError, match="at least"):
        denoise_huge(source, target, small_network, memory=1000, **SETTINGS)
    assert all(path.exists() for path in unfinished(target))
    done, _ = denoise_huge(source, target, small_network, **SETTINGS)
    assert done.start > 0


def test_too_little_memory_names_what_the_parts_need_and_the_whole(
    small_network: Denoiser, tmp_path: Path
) -> None:
    """It promised less from TIFF to TIFF, where the parts need more than the whole."""
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, noisy(400, 24), photometric="rgb", rowsperstrip=16)

    def run(name: str, memory: int | str) -> Any:
        return denoise_file(source, tmp_path / name, model=small_network, memory=memory, **SETTINGS)

    with pytest.raises(InputError) as refusal:
        run("a.tif", 1000)
    found = re.search(r"at least (\d+ MB) in parts, and (\d+ MB) as a whole$", str(refusal.value))
    assert found is not None, refusal.value
    run("b.tif", found[2])
    denoise_huge(source, tmp_path / "c.tif", small_network, memory=found[1], **SETTINGS)
    with pytest.raises(InputError, match=f"24x400; it needs at least {found[2]}$"):
        run("d.png", 1000)
    run("e.png", found[2])


def test_what_is_left_out_is_told_of_parts_too(small_network: Denoiser, tmp_path: Path) -> None:
    source = tmp_path / "in.tif"
    about: dict[str, Any] = {"photometric": "rgb", "extrasamples": ["unspecified"]}
    tifffile.imwrite(source, noisy(40, 24, 4).astype(np.float64) / 255, **about)
    done, target = denoise_huge(source, tmp_path / "out.tif", small_network, **SETTINGS)
    whole = denoise(source, small_network, **SETTINGS)
    assert done.notes == whole.notes == (LEFT_OUT, OF_64_BITS)
    assert tifffile.imread(target).shape == (40, 24, 3)


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
    turned = tmp_path / "turned.tif"
    extra = [(274, 3, 1, 6, True)]
    tifffile.imwrite(turned, noisy(40, 40), photometric="rgb", extratags=extra)
    with pytest.raises(ReadError, match="is stored turned"):
        denoise_huge(turned, tmp_path / "out.tif", small_network, **SETTINGS)
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, noisy(8, 8), photometric="rgb")
    with pytest.raises(WriteError, match="the picture itself"):
        denoise_huge(source, source, small_network, **SETTINGS)
    (tmp_path / "there.tif").write_bytes(b"")
    with pytest.raises(WriteError, match="exists"):
        denoise_huge(source, tmp_path / "there.tif", small_network, **SETTINGS)
    assert not list(tmp_path.glob(".*"))


def test_only_tiffs_that_do_not_fit_are_huge(
    tmp_path: Path, samples: Path, small_network: Denoiser
) -> None:
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, noisy(400, 400), photometric="rgb")
    task = denoising(small_network)

    def by_rows(source: Path, target: str, memory: str) -> bool:
        saving, compute = Saving(), Compute(memory=memory)
        return target_by_rows(source, tmp_path / target, task, saving, compute) is not None

    assert by_rows(source, "out.tif", "2MB")
    assert not by_rows(source, "out.tif", "2GB")
    assert not by_rows(source, "out.png", "2MB")
    assert not by_rows(samples / "fur.png", "out.tif", "2MB")
    assert not by_rows(tmp_path / "absent.tif", "out.tif", "2MB")


def test_every_way_in_decides_alike(small_network: Denoiser, tmp_path: Path) -> None:
    source, folder = tmp_path / "in" / "a.tif", tmp_path / "out"
    source.parent.mkdir()
    tifffile.imwrite(source, noisy(1450, 1450), photometric="rgb", rowsperstrip=16)
    whole = denoise(source, small_network, **SETTINGS)
    asked = {**SETTINGS, "memory": "75MB"}  # the picture alone takes 76
    _, alone = denoise_file(source, tmp_path / "alone.tif", model=small_network, **asked)
    (outcome,) = denoise_files(source.parent, folder, small_network, **asked)
    assert outcome.status == "written" and outcome.target == folder / "a.tif"
    result = denoise(source, small_network, **asked)
    assert result.picture.depth == 8 and isinstance(result.picture.pixels, np.memmap)
    for found in (load_image(alone), load_image(outcome.target), result.picture):
        np.testing.assert_allclose(found.pixels, whole.picture.pixels, rtol=0, atol=0.6 / 255)
    assert [p.name for p in folder.glob(".*")] == [JOURNAL]
    (again,) = denoise_files(source.parent, folder, small_network, **asked)
    assert again.status == "skipped" and "was made of it" in again.reason


def test_strength_zero_copies_rows_without_the_network(tmp_path: Path) -> None:
    class Never(Denoiser):
        def preprocess(self, x: Any) -> Any:
            pytest.fail("the network ran")

    source = tmp_path / "in.tif"
    samples = noisy(300, 90)
    tifffile.imwrite(source, samples, photometric="rgb", rowsperstrip=16)
    network = Never(3, widths=(4, 8), blocks=(1, 1))
    _, target = denoise_huge(source, tmp_path / "out.tif", network, strength=0, **SETTINGS)
    np.testing.assert_array_equal(tifffile.imread(target), samples)


def test_an_overflow_in_the_middle_goes_on_in_float32(caplog: pytest.LogCaptureFixture) -> None:
    class Overflowing(BaseNetwork):
        channels, scale, halo, multiple_of = 3, 1, 4, 2
        calls = 0

        def __call__(self, x: Any) -> Any:
            self.calls += 1
            return x / 0 if self.calls == 3 else x

    picture = noisy(400, 60)
    rows: list[tuple[int, Any]] = []
    network = Overflowing()
    denoise_windows(
        picture,
        lambda first, band: rows.append((first, band)),
        network,
        memory="2MB",
        device="cpu",
        precision="bf16",
    )
    assert network.calls > 4 and "retrying in float32" in caplog.text
    assert [first for first, _ in rows] == np.cumsum([0, *(len(b) for _, b in rows[:-1])]).tolist()
    np.testing.assert_array_equal(np.concatenate([band for _, band in rows]), picture)


def test_keyword_settings_are_sorted_by_kind() -> None:
    given = {"quality": 80, "overwrite": True, "device": "cpu", "tile": 64, "reference": "a.png"}
    saving, compute, rest = sort_settings(given, "restored")
    assert saving == Saving(quality=80, overwrite=True, mark="restored")
    assert compute == Compute("cpu", tile=64)
    assert rest == {"reference": "a.png"}


def test_an_unknown_setting_is_an_error_and_not_dropped(small_network: Denoiser) -> None:
    with pytest.raises(TypeError, match="qualty"):
        denoise_file("a.png", model=small_network, qualty=80)


def test_a_single_run_sweeps_what_a_killed_one_left(
    tmp_path: Path, samples: Path, small_network: Denoiser
) -> None:
    shutil.copy(samples / "text.png", tmp_path / "a.png")
    (tmp_path / ".restore-left.part").write_bytes(b"half")
    denoise_file(tmp_path / "a.png", model=small_network, **SETTINGS)
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "a-restored.png"}


def test_a_large_result_is_as_private_as_its_picture(
    tmp_path: Path, small_network: Denoiser
) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (64, 48, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    (tmp_path / "a.tif").chmod(0o600)
    result = denoise_huge(tmp_path / "a.tif", model=small_network, **SETTINGS)[1]
    assert result.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_a_pipe_given_by_its_name_is_refused_and_not_waited_for(
    tmp_path: Path, small_network: Denoiser, name: str
) -> None:
    def waited(*_: object) -> None:
        raise TimeoutError("it waits for the other end of the pipe")

    pipe = tmp_path / name
    os.mkfifo(pipe)
    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(60)
    try:
        for restored in (
            lambda: denoise(pipe, small_network, **SETTINGS),
            lambda: denoise_file(pipe, model=small_network, **SETTINGS),
            lambda: denoise_huge(pipe, tmp_path / "b.tif", small_network, **SETTINGS),
        ):
            with pytest.raises(ReadError, match="not a regular file"):
                restored()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
