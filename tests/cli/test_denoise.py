"""`restore denoise` and memory: plans shown, budgets refused, large TIFFs in parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from restore.cli import app
from restore.engine.compute import Compute
from restore.errors import InputError
from restore.pipeline import batch as batch_requests
from restore.pipeline import file as file_requests
from restore.pipeline.cluster import ClusterBatch
from restore.pipeline.file import Saving
from restore.tasks.denoise import denoising


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    samples = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", rowsperstrip=8)
    return tmp_path / "a.tif"


def denoise(*words: object) -> str:
    return run("denoise", *words)


def run(*words: object) -> str:
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_verbose_shows_the_plan(picture: Path) -> None:
    said = denoise(picture, "--verbose", "--memory", "900MB", "--precision", "fp32")
    assert "plan: 1 tiles of 80x64, 1 at once, on cpu" in said or "on cuda" in said
    assert "MB for the network" in said and "noise: " in said
    assert "plan:" not in denoise(picture, "-o", picture.with_name("b.tif"), "--precision", "fp32")


def test_a_memory_that_is_too_small_is_refused_and_nothing_written(picture: Path) -> None:
    with pytest.raises(InputError, match="needs at least"):
        denoise(picture, "--memory", "1MB", "-o", picture.with_name("b.png"))
    assert [path.name for path in picture.parent.iterdir()] == ["a.tif"]


def test_a_tiff_that_does_not_fit_goes_in_parts(
    picture: Path, monkeypatch: pytest.MonkeyPatch, assert_same_picture: Callable[..., None]
) -> None:
    whole, parts = picture.with_name("whole.tif"), picture.with_name("parts.tif")
    denoise(picture, "-o", whole, "--precision", "fp32", "--device", "cpu")
    monkeypatch.setattr(file_requests, "needs_rows", lambda *_: True)
    said = denoise(picture, "-o", parts, "--precision", "fp32", "--device", "cpu")
    assert "in parts" in said and "planned at most" in said
    assert_same_picture(*(tifffile.imread(path) for path in (parts, whole)))


@pytest.mark.parametrize(("command", "more"), [("denoise", []), ("upscale", ["--scale", "2"])])
def test_a_cluster_gets_addresses_as_they_are(
    command: str, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def many(*places: Any, **settings: Any) -> ClusterBatch:
        given.append((places, settings))
        batch = ClusterBatch(
            "auto", [], (denoising("denoise-gaussian-fast"), Compute(), Saving()), False
        )
        monkeypatch.setattr(ClusterBatch, "__iter__", lambda _: iter(()))
        return batch

    monkeypatch.setattr(batch_requests, f"{command}_files", many)
    words = ("s3://bucket/photos", "~/more", "-o", "s3://bucket/clean", "--cluster", "auto", *more)
    assert "0 restored" in run(command, *words, "--recursive", "--quality", "90")
    ((places, settings),) = given
    home = str(Path("~/more").expanduser())
    assert places == (["s3://bucket/photos", home], "s3://bucket/clean")
    assert (settings["cluster"], settings["recursive"], settings["quality"]) == ("auto", True, 90)
    with pytest.raises(InputError, match="or --cluster"):
        run(command, *words, "--reference", "a.png")
