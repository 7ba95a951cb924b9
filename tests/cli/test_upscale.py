"""`restore upscale` as people meet it: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from restore.cli import main


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], upscaling_weights: Path
) -> Any:
    def command(*arguments: object, name: str = "upscale", model: object = None) -> Any:
        named = name != "upscale" or "--fast" in arguments
        chosen = [] if named else ["--model", model or upscaling_weights]
        monkeypatch.setattr(sys, "argv", ["restore", name, *map(str, [*arguments, *chosen])])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return command


@pytest.fixture
def photos(tmp_path: Path, samples: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name, picture in (("a.png", "text"), ("b.png", "cut-out"), ("sub/c.png", "grey")):
        with Image.open(samples / f"{picture}.png") as image:
            image.resize((40, 30)).save(folder / name)
    return folder


def test_one_file(call: Any, photos: Path) -> None:
    code, out, err = call(photos / "a.png", "--scale", "3.5")
    assert (code, err) == (0, "")
    assert f"{photos}/a.png -> {photos}/a-upscaled.png" in out
    assert "140x105" in out and "tiny-x3" in out
    with Image.open(photos / "a-upscaled.png") as image:
        assert image.size == (140, 105)
    assert call(photos / "a.png", "--scale", 2)[0] == 2  # never over an older one


@pytest.mark.parametrize(
    ("size", "wanted"),
    [(("--width", 100), (100, 75)), (("--height", 60), (80, 60)), (("--fit", "90x90"), (90, 68))],
)
@pytest.mark.parametrize("model", ["bicubic", None])
def test_sizes(call: Any, photos: Path, size: Any, wanted: Any, model: Any) -> None:
    target = photos / "r.webp"
    assert call(photos / "b.png", *size, "-o", target, "--back-projection", 2, model=model)[0] == 0
    with Image.open(target) as image:
        assert (image.size, image.mode) == (wanted, "RGBA")


def test_fast_takes_the_small_version(call: Any, photos: Path) -> None:
    for scale, arguments in (
        ("3", ["--scale", 2.5]),
        ("2", ["--model", "upscale-x2", "--width", 60]),
    ):
        code, out, err = call(photos / "a.png", *arguments, "--fast", "--overwrite")
        assert (code, err) == (0, "") and f"upscale-x{scale}-fast" in out
    code, out, _ = call(photos / "a.png", "--scale", 2, "--model", "fast", "--fast", "--overwrite")
    assert code == 0 and "upscale-x2-fast" in out
    code, _, err = call(photos / "a.png", "--scale", 2, "--model", "bicubic", "--fast")
    assert code == 2 and "'bicubic' has no fast version" in err


def test_batches_are_those_of_denoise(call: Any, photos: Path) -> None:
    out = photos.parent / "out"
    code, lines, err = call(photos, "--recursive", "-o", out, "--width", 80, "--json")
    assert code == 0 and "3 restored, 0 skipped, 0 failed" in err
    assert {(line["width"], line["height"]) for line in map(json.loads, lines.splitlines())} == {
        (80, 60)
    }
    assert (out / "sub" / "c.png").is_file()
    code, lines, _ = call(photos, "--recursive", "-o", out, "--width", 80)
    assert code == 0 and lines.count("skipped:") == 3
    assert call(photos, "--scale", 2, "--in-place", "--backup", "--quiet") == (0, "", "")
    assert (photos / "a.png.orig").is_file()
    with Image.open(photos / "a.png") as image:
        assert image.size == (80, 60)


def test_in_a_batch_a_picture_that_is_large_enough_fails_alone(call: Any, photos: Path) -> None:
    Image.new("RGB", (200, 20)).save(photos / "large.png")
    code, _, err = call(photos, "--width", 100)
    assert code == 1 and "2 restored, 0 skipped, 1 failed" in err
    assert "large.png: the picture of 200x20 is already that large" in err
    assert not (photos / "large-upscaled.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *((("--scale", scale), "above 1 and at most 16") for scale in ("0", "-1", "100", "x")),
        ((), "give exactly one of scale"),
        (("--scale", "2", "--width", "99"), "give exactly one of scale"),
        (("--fit", "large"), "like 3840x2160"),
        (("--width", "x"), "whole number"),
        (("--scale", "2", "--format", "gif"), "names no format"),
        (("--scale", "2", "--tile", "3"), "smallest"),
        (("--scale", "2", "--back-projection", "99"), "0 to 20"),
        (("--scale", "2", "--quality", "fast"), "from 1 to 100"),
        (("--scale", "2", "-o", "{folder}/a.png/r.png"), "no folder"),
        (("--scale", "2", "-o", "{folder}/a.png", "--overwrite"), "itself"),
    ],
)
def test_bad_input_is_one_sentence_exit_code_2_and_nothing_written(
    call: Any, photos: Path, arguments: tuple[str, ...], words: str
) -> None:
    before = sorted(photos.rglob("*"))
    code, out, err = call(photos / "a.png", *(a.format(folder=photos) for a in arguments))
    assert (code, out) == (2, "")
    assert words in err and err.startswith("restore: ") and err.count("\n") == 1
    assert sorted(photos.rglob("*")) == before


def test_models_for_the_other_task(call: Any, photos: Path, upscaling_weights: Path) -> None:
    code, _, err = call(photos / "a.png", "--scale", 2, model="denoise-gaussian")
    assert code == 2 and "does not enlarge" in err
    code, _, err = call(photos / "a.png", "--model", upscaling_weights, name="denoise")
    assert code == 2 and "restore upscale" in err


def test_evaluate_scores_upscalers_and_bicubic(
    call: Any, samples: Path, tmp_path: Path, upscaling_weights: Path
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.png").write_bytes((samples / "text-clean.png").read_bytes())
    data = ("--data", folder)
    code, out, _ = call("bicubic", *data, "--scale", 3, name="evaluate")
    assert code == 0 and "bicubic:3" in out and "border of 3 shaved" in out
    _, out, _ = call("bicubic", *data, "--scale", 3, "--json", name="evaluate")
    plain = json.loads(out)["means"][0]
    assert plain["psnr"] == plain["noisy_psnr"]
    code, out, _ = call(upscaling_weights, *data, "--record", "--json", name="evaluate")
    scored = json.loads(out)["means"][0]
    assert code == 0 and scored["noisy_psnr"] == plain["psnr"] != scored["psnr"]
    code, out, _ = call(upscaling_weights, "--json", name="models")
    assert code == 0 and json.loads(out)["scores"][-1]["noise"] == "bicubic:3"
    for wrong in (("--scale", 2), ("--noise", "gaussian:25")):
        assert call(upscaling_weights, *data, *wrong, name="evaluate")[0] == 2
    assert call("bicubic", *data, name="evaluate")[0] == 2
