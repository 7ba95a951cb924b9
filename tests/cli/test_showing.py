"""`--compare` and `--report`: files that show what a command did, and what is refused."""

from __future__ import annotations

import json
import os
import sys
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from restore.cli import app
from restore.errors import InputError, WriteError
from restore.evaluation import report as report_module
from restore.models.card import ModelCard
from restore.models.denoiser import Denoiser
from restore.models.weights import save_weights
from restore.pipeline import file as file_requests
from restore.pipeline import large
from restore.tasks.noise_level import white


@pytest.fixture(autouse=True)
def known_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "estimate_noise", lambda pixels: white(9.0))


@pytest.fixture
def model(tmp_path: Path, small_network: Denoiser) -> Path:
    arguments = {"channels": 3, "widths": [4, 8], "blocks": [1, 1]}
    path = tmp_path / "tiny.safetensors"
    card = ModelCard("tiny", "denoise", "Denoiser", arguments, licence="CC0-1.0")
    save_weights(small_network, card, path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b <i>.png"):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(folder / name)
    return folder


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)


def width_of(path: Path) -> int:
    with Image.open(path) as image:
        return image.width


def text_of(path: Path) -> str:
    return unescape(path.read_text(encoding="utf-8"))


def test_one_picture_with_a_sheet_and_a_report(photos: Path, model: Path, tmp_path: Path) -> None:
    sheet, page = tmp_path / "sheet.png", tmp_path / "page.html"
    words = ["denoise", photos / "b <i>.png", "-o", tmp_path / "r.png", "--model", model]
    words += ["--reference", photos / "a.png", "--compare", sheet, "--report", page]
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-2:] == [f"sheet: {sheet}", f"report: {page}"]
    assert width_of(sheet) > 3 * 60
    text = text_of(page)
    assert f"restore denoise '{photos}/b <i>.png' -o {tmp_path}/r.png" in text
    for told in ("CC0-1.0", "PSNR before", "b <i>.png", "RGB, 8 bit, no border"):
        assert told in text
    assert "tiny.safetensors (" not in text  # a place on this machine is nobody's business


def test_an_enlargement_is_shown_beside_its_interpolation(photos: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    words = ["--scale", "2", "--model", "bicubic", "-o", tmp_path / "r.png", "--compare", sheet]
    assert run("upscale", photos / "a.png", *words).exit_code == 0
    assert width_of(sheet) > 2 * 120


def test_a_folder_has_an_overview_with_what_failed(
    photos: Path, model: Path, tmp_path: Path
) -> None:
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    page = tmp_path / "page.html"
    words = ["denoise", photos, "-o", tmp_path / "out", "--model", model, "--report"]
    done = run(*words, page)
    assert done.exit_code == 1 and page.is_file()
    text = page.read_text(encoding="utf-8")
    names = ["broken.png", "a.png", "b &lt;i&gt;.png"]
    assert all(f">{name}</a>" in text for name in names)
    assert text.index(">broken.png</a>") < text.index(">a.png</a>")  # the worst first
    # a second run has nothing to do, and reports what is there
    again = tmp_path / "again.html"
    assert run(*words, again).exit_code == 1
    assert "exists and was made of it" in text_of(again) and "photos: 3 pictures" in text_of(again)


def test_pictures_replaced_in_place_are_compared_with_their_originals(
    photos: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(report_module.Report, "add", lambda self, pair, *more: seen.append(pair))
    with Image.open(photos / "a.png") as image:
        original = np.array(image)
    page = tmp_path / "page.html"
    words = ["denoise", photos / "a.png", "--in-place", "--backup", "--model", model]
    assert run(*words, "--report", page).exit_code == 0
    (pair,) = seen
    assert (np.rint(pair.before.pixels * 255) == original).all()
    assert (pair.after.pixels != pair.before.pixels).any()


def test_json_stays_json(photos: Path, model: Path, tmp_path: Path) -> None:
    words = ["denoise", photos / "a.png", "-o", tmp_path / "r.png", "--model", model, "--json"]
    done = run(*words, "--report", tmp_path / "p.html", "--compare", tmp_path / "s.png")
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert told["model"] == "tiny.safetensors" and told["unchanged"] is False
    assert (tmp_path / "p.html").is_file() and (tmp_path / "s.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--compare", "sheet.jpg"], "a sheet is a PNG file; name it like sheet.png"),
        (["--report", "page.pdf"], "a report is an HTML file; name it like page.html"),
        (["--report", "photos"], "a report is an HTML file"),
        (["--compare", "there.png"], "there.png exists"),
        (["--compare", "r.png", "-o", "r.png"], "r.png is a picture of this command"),
        (["--compare", "photos/a.png", "--overwrite"], "is a picture of this command"),
    ],
)
def test_names_that_cannot_be_are_refused_before_any_work(
    photos: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(photos.parent)
    Path("there.png").write_bytes(b"mine")
    before = sorted(photos.parent.rglob("*"))
    with pytest.raises((InputError, WriteError), match=message):
        run("denoise", "photos/a.png", *words)
    assert sorted(photos.parent.rglob("*")) == before
    assert Path("there.png").read_bytes() == b"mine"


def test_a_sheet_of_several_pictures_is_refused(photos: Path) -> None:
    with pytest.raises(InputError, match="--compare is for one picture, and not"):
        run("denoise", photos, "--compare", photos.parent / "s.png")


def test_a_report_may_lie_in_the_new_folder_of_the_results(photos: Path, model: Path) -> None:
    new = photos.parent / "new"
    words = ("--model", model, "--report", new / "r.html")
    assert run("denoise", photos, "-o", new, *words).exit_code == 0
    assert (new / "r.html").is_file() and (new / "a.png").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_a_name_that_is_no_text_is_in_the_report(photos: Path, model: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(photos / "odd") + b"\xff.png"))
    (photos / "a.png").rename(odd)
    page = photos.parent / "r.html"
    assert run("denoise", odd, "--model", model, "--report", page).exit_code == 0
    assert "\\udcff" in page.read_text("utf-8")


def test_two_files_are_compared(photos: Path, tmp_path: Path) -> None:
    sheet, page = tmp_path / "s.png", tmp_path / "p.html"
    words = ["compare", photos / "a.png", photos / "b <i>.png", "--compare", sheet]
    done = run(*words, "--report", page)
    assert done.exit_code == 0 and "PSNR" in done.output
    assert width_of(sheet) > 2 * 60 and "picture and reference" not in text_of(page)
    with pytest.raises(WriteError, match="exists"):
        run(*words)
    assert run(*words, "--overwrite").exit_code == 0


def test_an_evaluation_reports_every_picture(photos: Path, model: Path, tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    words = [
        "evaluate",
        model,
        "--data",
        photos,
        "--noise",
        "gaussian:25",
        "--noise",
        "gaussian:50",
    ]
    done = run(*words, "--report", page, "--device", "cpu")
    assert done.exit_code == 0 and f"report: {page}" in done.output
    text = text_of(page)
    for name in ("a.png, gaussian:25", "b <i>.png, gaussian:50"):
        assert f">{name}</a>" in text
    assert "result 8 bit" in text or "RGB, 8 bit" in text
    assert "before and reference" in text or "reference and after" in text


def test_of_a_picture_larger_than_memory_the_rows_in_the_middle_are_shown(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tifffile

    samples = np.random.default_rng(0).integers(0, 256, (400, 60, 3), np.uint8)
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, samples, photometric="rgb", rowsperstrip=8)
    monkeypatch.setattr(file_requests, "needs_rows", lambda *_: True)
    monkeypatch.setattr(large, "SHOWN_PIXELS", 60 * 100)
    monkeypatch.setattr(
        large, "_budget", lambda memory: 2_000_000_000 if memory is None else 1_000_000
    )
    page = tmp_path / "p.html"
    words = ["denoise", source, "-o", tmp_path / "r.tif", "--model", model, "--memory", "900MB"]
    done = run(*words, "--report", page, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "a.tif, rows 150 to 250 of 400" in text_of(page)
    assert "60x100 pixels" in text_of(page)
