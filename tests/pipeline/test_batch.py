"""Many files: each like one alone, none stops another, and the next run goes on where one ended."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

import restore
from restore.errors import InputError, UnknownModelError
from restore.models.denoiser import Denoiser
from restore.models.network import BaseNetwork
from restore.pipeline import flow
from restore.pipeline.batch import denoise_files
from restore.pipeline.file import denoise_file
from restore.pipeline.flow import InFlight, Outcome
from restore.pipeline.journal import JOURNAL
from restore.pipeline.picture import denoise

FP32: dict[str, Any] = {"device": "cpu", "precision": "fp32"}


class Never(BaseNetwork):
    channels, scale, halo, multiple_of = 3, 1, 0, 1

    def __call__(self, x: Tensor) -> Tensor:
        pytest.fail("the network ran where nothing is to be done")


@pytest.fixture
def photos(tmp_path: Path, samples: Path) -> Path:
    """A tree with a picture of each kind, each with words of its own, and two bad files."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("text.png", "portrait-16bit.png", "cut-out.png", "grey.png"):
        (folder / name).write_bytes((samples / name).read_bytes())
    for name in ("one.jpg", "sub/one.jpg"):
        tag = Image.Exif()
        tag[0x010E] = f"words of {name}"
        image = Image.open(samples / "fur.png").crop((0, 0, 60, 40))
        image.save(folder / name, exif=tag, quality=90)
    (folder / "bad.jpg").write_bytes(b"no picture")
    (folder / "sub" / "cut.png").write_bytes((samples / "text.png").read_bytes()[:5000])
    return folder


def test_kernels_are_prepared_once_though_each_picture_is_told_its_own_noise(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from restore.engine.rows import backend
    from restore.models.weights import load_model

    made: list[object] = []
    layers = backend.Layers
    monkeypatch.setattr(backend, "Layers", lambda *given: made.append(given) or layers(*given))
    for number in range(3):
        noisy = 128 + (5 + 9 * number) * rng.standard_normal((64, 64, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{number}.png")
    model = load_model("denoise-photo-fast")
    outcomes = list(denoise_files(tmp_path, tmp_path / "out", model, **FP32))
    assert [o.status for o in outcomes] == ["written"] * 3
    assert len({o.sigma for o in outcomes}) == 3 and len(made) == 1
    assert getattr(model, "prepared", None) is None  # the caller's own stays as it was


def by_name(outcomes: list[Outcome], root: Path) -> dict[str, Outcome]:
    return {o.source.relative_to(root).as_posix(): o for o in outcomes}


def test_each_file_is_as_if_alone_and_bad_ones_stop_nobody(
    photos: Path, tmp_path: Path, small_network: Denoiser
) -> None:
    batch = restore.denoise_files(photos, tmp_path / "out", small_network, recursive=True, **FP32)
    assert len(batch) == 8
    found = by_name(list(batch), photos)
    assert {n for n, o in found.items() if o.status == "failed"} == {"bad.jpg", "sub/cut.png"}
    assert "not a picture" in found["bad.jpg"].reason and "truncated" in found["sub/cut.png"].reason
    for name, outcome in found.items():
        if outcome.status == "written":
            alone = tmp_path / ("alone" + Path(name).suffix)
            denoise_file(photos / name, alone, model=small_network, overwrite=True, **FP32)
            a, b = restore.load_image(alone), restore.load_image(outcome.target or "")
            assert (a.depth, a.channels, a.exif) == (b.depth, b.channels, b.exif)
            np.testing.assert_allclose(a.pixels, b.pixels, atol=1.01 / 255)
            assert outcome.megapixels == a.megapixels and outcome.seconds > 0
    for name in ("one.jpg", "sub/one.jpg"):  # the metadata of that very picture
        with Image.open(tmp_path / "out" / name) as image:
            assert image.getexif()[0x010E] == f"words of {name}"
    assert 0 < batch.network_share <= 1


def test_the_next_run_does_only_what_is_missing(
    photos: Path, tmp_path: Path, identity: Any
) -> None:
    out = tmp_path / "out"
    list(denoise_files(photos, out, identity(), **FP32))
    (out / "one.jpg").unlink()
    network = identity()
    found = by_name(list(denoise_files(photos, out, network, **FP32)), photos)
    assert sum(n * h * w for n, _, h, w in network.shapes) == 40 * 60  # only that picture
    assert {n: o.status for n, o in found.items()} == {
        "bad.jpg": "failed",
        "one.jpg": "written",
        **dict.fromkeys(("text.png", "portrait-16bit.png", "cut-out.png", "grey.png"), "skipped"),
    }


def test_a_result_older_than_its_picture_is_never_taken_for_done(
    tmp_path: Path, samples: Path, identity: Any
) -> None:
    source, result = tmp_path / "a.png", tmp_path / "a-restored.png"
    source.write_bytes((samples / "text.png").read_bytes())
    result.write_bytes(b"precious")
    os.utime(result, (1, 1))
    (outcome,) = denoise_files(source, None, Never(), **FP32)
    assert outcome.status == "failed" and "older" in outcome.reason
    (outcome,) = denoise_files(source, None, Never(), skip_existing=True, **FP32)
    assert outcome.status == "skipped" and result.read_bytes() == b"precious"
    (outcome,) = denoise_files(source, None, identity(), overwrite=True, **FP32)
    assert outcome.status == "written" and restore.load_image(result).width == 448


def test_a_picture_from_the_future_is_done_when_it_is_done(
    tmp_path: Path, samples: Path, identity: Any
) -> None:
    source = tmp_path / "a.png"
    source.write_bytes((samples / "text.png").read_bytes())
    os.utime(source, (4e9, 4e9))  # a camera whose clock is wrong
    for status in ("written", "skipped"):
        (outcome,) = denoise_files(source, None, identity(), **FP32)
        assert outcome.status == status


def test_in_place_keeps_the_original_and_resumes(photos: Path, small_network: Denoiser) -> None:
    first = {p: p.read_bytes() for p in photos.glob("*.*")}
    one = photos / "one.jpg"
    one.chmod(0o600)
    os.link(one, photos / "one.jpg.orig")  # a run was killed between backup and replacement
    asked = {"in_place": True, "backup": True, **FP32}
    for status in ("written", "skipped"):
        found = by_name(list(denoise_files(photos, None, small_network, **asked)), photos)
        assert {o.status for n, o in found.items() if n != "bad.jpg"} == {status}
        assert found["bad.jpg"].status == "failed"
        for path, data in first.items():
            kept = path.with_name(path.name + ".orig")
            if path.name == "bad.jpg":
                assert path.read_bytes() == data and not kept.exists()
            else:
                assert kept.read_bytes() == data and path.read_bytes() != data
        assert one.stat().st_mode & 0o777 == 0o600
    assert len([p for p in photos.glob("*") if p.name != JOURNAL]) == 6 + 5 + 1


def test_an_edit_made_meanwhile_is_not_lost(tmp_path: Path, samples: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes((samples / "text.png").read_bytes())

    class Editing(BaseNetwork):
        channels, scale, halo, multiple_of = 3, 1, 0, 1

        def __call__(self, x: Tensor) -> Tensor:
            source.write_bytes(b"what somebody saved while the network ran")
            return x * 0.5

    asked = {"in_place": True, "backup": True, **FP32}
    (outcome,) = denoise_files(source, None, Editing(), **asked)
    assert outcome.status == "failed" and "changed while" in outcome.reason
    assert source.read_bytes() == b"what somebody saved while the network ran"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_in_place_never_loses_another_backup(
    tmp_path: Path, samples: Path, small_network: Denoiser
) -> None:
    source = tmp_path / "a.png"
    source.write_bytes((samples / "text.png").read_bytes())
    (tmp_path / "a.png.orig").write_bytes(b"another original")
    asked = {"in_place": True, "backup": True, **FP32}
    (outcome,) = denoise_files(source, None, small_network, **asked)
    assert outcome.status == "failed" and "move the backup away" in outcome.reason
    assert (tmp_path / "a.png.orig").read_bytes() == b"another original"
    assert source.read_bytes() == (samples / "text.png").read_bytes()


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"in_place": True}, InputError, "--backup"),
        ({"backup": True}, InputError, "--in-place"),
        ({"in_place": True, "backup": True, "file_format": "png"}, InputError, "keeps its format"),
        ({"in_place": True, "backup": True, "overwrite": True}, InputError, "leave overwrite out"),
        ({"strength": 2}, InputError, "between 0"),
        ({"quality": 0}, InputError, "1 to 100"),
        ({"file_format": "xcf"}, restore.RestoreError, "no format"),
        ({"device": "gpu"}, InputError, "not a device"),
        ({"model": "nonesuch"}, UnknownModelError, "nonesuch"),
    ],
)
def test_what_can_be_refused_is_refused_before_the_first_picture(
    photos: Path, asked: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        denoise_files(photos, None, **{"model": Never(), **asked})


def test_quality_is_for_those_that_have_one(photos: Path, tmp_path: Path, identity: Any) -> None:
    found = by_name(list(denoise_files(photos, tmp_path / "o", identity(), quality=30)), photos)
    assert found["text.png"].status == found["one.jpg"].status == "written"
    assert found["one.jpg"].target is not None
    assert found["one.jpg"].target.stat().st_size < (photos / "one.jpg").stat().st_size / 2


# ---- the flow


def many(folder: Path, count: int, size: tuple[int, int] = (24, 16)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(count)]
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{number:03}.png")
    return arrays


class Slow(BaseNetwork):
    """The identity, whose first call waits until others have been read."""

    channels, scale, halo, multiple_of = 3, 1, 0, 1

    def __init__(self, until: Any = None) -> None:
        self.until, self.shapes = until, []

    def __call__(self, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        if self.until is not None and len(self.shapes) == 1:
            wait_until(self.until)
        return x


def wait_until(happened: Callable[[], bool]) -> None:
    """For what other threads do; two minutes are for a test that fails."""
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_pictures_are_read_while_the_network_runs_and_small_ones_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = many(tmp_path, 12)
    opened: list[Any] = []
    real = flow.open_picture
    monkeypatch.setattr(flow, "open_picture", lambda *a: opened.append(0) or real(*a))
    network = Slow(until=lambda: len(opened) == 12)
    outcomes = list(denoise_files(tmp_path, tmp_path / "out", network, **FP32))
    assert len(network.shapes) <= 5  # the first alone, in its tiles, then the others together
    assert max(shape[0] for shape in network.shapes) >= 6
    assert {o.status for o in outcomes} == {"written"}
    for number, array in enumerate(arrays):
        result = Image.open(tmp_path / "out" / f"{number:03}.png")
        assert np.array_equal(np.asarray(result), array)


@pytest.mark.parametrize(("kind", "level"), [("telling", "auto"), ("small", 30)])
def test_each_is_told_its_own_noise_level(
    tmp_path: Path,
    kind: str,
    level: Any,
    request: pytest.FixtureRequest,
    assert_same_picture: Callable[..., None],
) -> None:
    network = request.getfixturevalue(f"{kind}_network")
    rng = np.random.default_rng(0)
    for sigma in (3, 6, 12, 24, 48, 60):  # more than stay prepared
        array = (128 + rng.normal(0, sigma, (48, 40, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(array).save(tmp_path / f"{sigma:02}.png")
    asked: dict[str, Any] = {"sigma": level, **FP32}
    outcomes = list(denoise_files(tmp_path, tmp_path / "out", network, **asked))
    assert {o.status for o in outcomes} == {"written"}
    for outcome in outcomes:
        alone = denoise(Image.open(outcome.source), network, **asked)
        assert_same_picture(Image.open(outcome.target), alone.image)


def test_one_picture_that_the_network_refuses_fails_alone(tmp_path: Path) -> None:
    arrays = many(tmp_path, 6)
    marked = arrays[3].copy()
    marked[...] = 255
    Image.fromarray(marked).save(tmp_path / "003.png")

    class Picky(Slow):
        def __call__(self, x: Tensor) -> Tensor:
            if bool((x.amin(dim=(1, 2, 3)) == 1).any()):
                raise RuntimeError("too white")
            return x

    outcomes = by_name(list(denoise_files(tmp_path, tmp_path / "out", Picky(), **FP32)), tmp_path)
    failed = {n: o.reason for n, o in outcomes.items() if o.status == "failed"}
    assert list(failed) == ["003.png"]
    assert "003.png: unexpected RuntimeError: too white" in failed["003.png"]
    assert len(outcomes) == 6 and len(list((tmp_path / "out").glob("[!.]*"))) == 5


def test_leaving_early_ends_the_threads_and_leaves_whole_files_only(tmp_path: Path) -> None:
    many(tmp_path, 30)
    before = threading.active_count()
    for outcome in denoise_files(tmp_path, tmp_path / "out", Slow(), **FP32):
        assert outcome.status == "written"
        break
    assert threading.active_count() == before
    for path in (tmp_path / "out").glob("[!.]*"):
        assert path.suffix == ".png" and restore.load_image(path).width == 16


def test_two_batches_at_once_do_not_mix(tmp_path: Path) -> None:
    made: dict[str, list[np.ndarray]] = {}
    for name, size in (("a", (24, 16)), ("b", (16, 24))):
        (tmp_path / name).mkdir()
        made[name] = many(tmp_path / name, 8, size)
    network = Slow()
    threads = [
        threading.Thread(
            target=lambda n=name: list(denoise_files(tmp_path / n, tmp_path / f"{n}2", network))
        )
        for name in made
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, arrays in made.items():
        for number, array in enumerate(arrays):
            result = Image.open(tmp_path / f"{name}2" / f"{number:03}.png")
            assert np.array_equal(np.asarray(result), array)


def test_the_pixels_in_flight_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: Any
) -> None:
    many(tmp_path, 40, (50, 50))
    monkeypatch.setattr(flow, "most_in_flight", lambda memory=None: 3 * 2500)
    most: list[int] = []

    class Watched(InFlight):
        def enter(self, pixels: int) -> bool:
            result = super().enter(pixels)
            most.append(self.pixels)
            return result

    monkeypatch.setattr(flow, "InFlight", Watched)
    outcomes = list(denoise_files(tmp_path, tmp_path / "out", identity(), **FP32))
    assert len(outcomes) == len(most) == 40 and max(most) <= 3 * 2500


def test_what_a_killed_run_left_is_swept_and_what_a_living_one_writes_is_not(
    tmp_path: Path, identity: Any
) -> None:
    from restore.image.atomic import open_aside, tidy

    many(tmp_path, 1)
    (tmp_path / ".restore-0123456789ab.part").write_bytes(b"half")
    handle, living = open_aside(tmp_path)
    try:
        list(denoise_files(tmp_path, None, identity(), **FP32))
        assert sorted(p.name for p in tmp_path.glob(".*")) == sorted((living.name, JOURNAL))
    finally:
        os.close(handle)
    assert tidy(tmp_path) == 1


def test_files_that_vanish_after_the_plan_are_failures(tmp_path: Path, identity: Any) -> None:
    many(tmp_path, 3)
    batch = denoise_files(tmp_path, None, identity(), **FP32)
    (tmp_path / "001.png").unlink()
    found = by_name(list(batch), tmp_path)
    assert found["001.png"].status == "failed" and "does not exist" in found["001.png"].reason
    assert found["000.png"].status == found["002.png"].status == "written"
