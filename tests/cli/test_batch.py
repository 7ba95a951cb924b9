"""`restore denoise` for many files: what it prints where, and how it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from restore.cli import main
from restore.models.card import ModelCard
from restore.models.denoiser import Denoiser
from restore.models.weights import save_weights


@pytest.fixture
def model(tmp_path: Path, small_network: Denoiser) -> str:
    arguments = {"channels": 3, "widths": [4, 8], "blocks": [1, 1]}
    path = tmp_path / "tiny.safetensors"
    card = ModelCard(name="tiny", task="denoise", architecture="Denoiser", arguments=arguments)
    save_weights(small_network, card, path)
    return str(path)


@pytest.fixture
def photos(tmp_path: Path, samples: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("text.png", "sub/grey.png"):
        (folder / name).write_bytes((samples / Path(name).name).read_bytes())
    return folder


@pytest.fixture
def restore_command(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        words = ["restore", "denoise", *map(str, arguments), "--model", model, "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return int(code or 0), *capsys.readouterr()

    return call


def test_plain_lines_in_a_pipe_and_a_summary(restore_command: Any, photos: Path) -> None:
    code, out, err = restore_command(photos, "--recursive", "-o", photos.parent / "out")
    assert code == 0
    assert sorted(line[6:] for line in out.splitlines()) == [
        f"{photos}/sub/grey.png -> {photos.parent}/out/sub/grey.png (0.10 MP)",
        f"{photos}/text.png -> {photos.parent}/out/text.png (0.08 MP)",
    ]
    assert [line[:5] for line in out.splitlines()] == ["[1/2]", "[2/2]"]
    assert err.startswith("2 restored, 0 skipped, 0 failed; 0.2 MP in ")
    assert "network busy" in err and "\x1b" not in out + err
    code, out, err = restore_command(photos, "--recursive", "-o", photos.parent / "out")
    assert code == 0 and out.count("skipped:") == 2 and "0 restored, 2 skipped" in err


def test_a_failure_is_told_at_the_end_and_by_the_exit_code(
    restore_command: Any, photos: Path
) -> None:
    (photos / "bad.jpg").write_bytes(b"no picture")
    code, out, err = restore_command(photos, "--recursive")
    assert code == 1
    assert "2 restored, 0 skipped, 1 failed" in err.splitlines()[0]
    assert err.splitlines()[1].startswith(f"  failed: {photos}/bad.jpg is not a picture")
    assert (photos / "text-restored.png").exists() and "Traceback" not in out + err


def test_quiet_says_nothing_but_failures(restore_command: Any, photos: Path) -> None:
    assert restore_command(photos, "--quiet") == (0, "", "")
    (photos / "bad.jpg").write_bytes(b"no picture")
    code, out, err = restore_command(photos, "--quiet")
    assert (code, out) == (1, "") and err.count("\n") == 1 and "bad.jpg" in err
    assert restore_command(photos / "sub" / "grey.png", "--quiet") == (0, "", "")


def test_json_is_a_line_for_each_picture(restore_command: Any, photos: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"no picture")
    code, out, _ = restore_command(photos, "--json")
    lines = {Path(line["source"]).name: line for line in map(json.loads, out.splitlines())}
    assert code == 1 and set(lines) == {"bad.jpg", "text.png"}
    assert lines["text.png"]["status"] == "written" and lines["text.png"]["width"] == 448
    assert lines["text.png"]["target"] == str(photos / "text-restored.png")
    assert lines["bad.jpg"]["status"] == "failed" and "bad.jpg" in lines["bad.jpg"]["reason"]
    code, out, _ = restore_command(photos / "text.png", "--json")
    assert code == 0 and json.loads(out)["status"] == "skipped"


def test_json_of_one_picture_has_its_scores(
    restore_command: Any, photos: Path, samples: Path
) -> None:
    words = (photos / "text.png", "--json", "--reference", samples / "text-clean.png")
    code, out, _ = restore_command(*words)
    line = json.loads(out)
    assert code == 0 and line["target"] == str(photos / "text-restored.png")
    assert min(line["psnr_before"], line["psnr_after"]) > 10 and 0 < line["ssim_after"] < 1


def test_what_a_format_takes_of_the_depth_is_noted(
    restore_command: Any, tmp_path: Path, samples: Path
) -> None:
    deep = samples / "portrait-16bit.png"
    code, _, err = restore_command(deep, "-o", tmp_path / "r.jpg")
    assert code == 0 and "note: its 16 bits are written as 8 bits, the most that JPEG holds" in err
    code, _, err = restore_command(deep, "-o", tmp_path / "r.tif")
    assert (code, err) == (0, "")


def test_a_picture_too_small_for_ssim_is_scored_by_psnr(
    restore_command: Any, tmp_path: Path
) -> None:
    Image.new("RGB", (9, 9), (9, 90, 200)).save(tmp_path / "a.png")
    code, out, _ = restore_command(tmp_path / "a.png", "--reference", tmp_path / "a.png")
    assert code == 0 and "SSIM none, it needs 11x11 pixels" in out and "nan" not in out


def test_in_place_other_settings_are_no_reason_to_skip(restore_command: Any, photos: Path) -> None:
    in_place = (photos / "text.png", "--in-place", "--backup")
    assert restore_command(*in_place)[0] == 0
    code, out, _ = restore_command(*in_place)
    assert code == 0 and "restored before" in out
    code, _, err = restore_command(*in_place, "--strength", "0.5")
    assert code == 1 and "other settings; move" in err and "text.png.orig back" in err
    code, out, _ = restore_command(*in_place, "--strength", "0.5", "--skip-existing")
    assert code == 0 and "restored before" in out
    code, _, err = restore_command(*in_place, "--overwrite")
    assert code == 2 and "leave out --overwrite" in err


def test_the_result_of_one_picture_is_skipped_by_its_name(
    restore_command: Any, photos: Path
) -> None:
    words = (photos / "text.png", "-o", photos / "r.png", "--skip-existing")
    for count in ("1 restored", "1 skipped"):
        code, _, err = restore_command(*words)
        assert code == 0 and count in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{photos}/text.png", "-o", ""], "a name is empty"),
        ([""], "a name is empty"),
        (["{photos}/text.png", "-o", f"{'y' * 300}.png"], "is too long a name"),
        (["{photos}/text.png", "-o", "{photos}/r.png", "--format", "jpeg"], "of a PNG file"),
        (["{photos}", "-o", "{photos}/{{stem}}.png", "--format", "jpeg"], "of a PNG file"),
        (["{photos}", "-o", "{photos}/{{stem}}.xyz"], "'.xyz' names no format"),
        (["{photos}", "-o", "{photos}/{{tree}}/{{stem}}"], "has no suffix; end it with {ext}"),
        (["{photos}", "-o", "{photos}/{{stem:>9999}}{{ext}}"], "a name has at most 255"),
    ],
)
def test_names_that_cannot_be_are_refused_in_a_sentence(
    restore_command: Any, photos: Path, words: list[str], message: str
) -> None:
    before = sorted(photos.rglob("*"))
    code, out, err = restore_command(*(word.format(photos=photos) for word in words))
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
    assert sorted(photos.rglob("*")) == before


def test_quoted_patterns_are_expanded(restore_command: Any, photos: Path) -> None:
    code, _, _ = restore_command(f"{photos}/**/*.png", "-o", f"{photos.parent}/{{stem}}.webp")
    assert code == 0
    assert sorted(p.name for p in photos.parent.glob("*.webp")) == ["grey.webp", "text.webp"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("-o", "{nix}.png"), "there are {stem}"),
        (("--in-place",), "--backup"),
        (("--overwrite", "--skip-existing"), "give one"),
        (("--format", "xyz"), "JPEG, PNG, WEBP|JPEG \\("),
        (("--reference", "x.png"), "for one picture"),
        (("--strength", "2"), "between 0"),
    ],
)
def test_refused_up_front_with_exit_code_2(
    restore_command: Any, photos: Path, more: tuple[str, ...], words: str
) -> None:
    before = sorted(photos.rglob("*"))
    code, out, err = restore_command(photos, *more)
    assert code == 2 and out == "" and err.startswith("restore: ") and re.search(words, err), err
    assert sorted(photos.rglob("*")) == before


def test_subfolders_that_are_left_out_are_mentioned(restore_command: Any, photos: Path) -> None:
    code, out, err = restore_command(photos)
    assert code == 0 and out.startswith("[1/1]")
    assert err.startswith("1 picture in sub-folders left out; add --recursive")
    assert "sub-folders" not in restore_command(photos, "--recursive")[2]
    assert restore_command(photos, "--quiet", "--overwrite") == (0, "", "")


def test_results_in_the_output_folder_are_not_left_out(restore_command: Any, photos: Path) -> None:
    (photos / "sub" / "grey.png").unlink()
    restore_command(photos, "-o", photos / "out")
    assert "sub-folders" not in restore_command(photos, "-o", photos / "out", "--overwrite")[2]


INTERRUPTED = """
import signal
from restore.cli.batch import interruption_answered
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with interruption_answered():
        signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_an_interruption_is_answered_at_once(root: Path) -> None:
    """In a process of its own, since a signal may end the one that runs the tests."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, cwd=root, check=True
    )
    assert "stopping" in done.stderr and done.stdout == "True\n"


def test_two_inputs_with_one_output_are_refused_up_front(
    restore_command: Any, photos: Path
) -> None:
    (photos / "grey.png").write_bytes((photos / "sub" / "grey.png").read_bytes())
    code, _, err = restore_command(f"{photos}/**/*.png", "-o", f"{photos.parent}/{{stem}}.png")
    assert code == 2 and "would both become" in err
    assert not list(photos.parent.glob("*.png"))


@pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")
def test_on_a_terminal_the_progress_is_live(photos: Path, model: str, root: Path) -> None:
    import pty

    words = ["-m", "restore", "denoise", str(photos), "--recursive", "--model", model]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "150"}
    process = subprocess.Popen(
        [sys.executable, *words], stdout=theirs, stderr=theirs, cwd=root, env=environment
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:  # Linux ends a terminal so
        pass
    os.close(ours)
    assert process.wait() == 0
    text = shown.decode()
    assert "\x1b[" in text and "2/2" in text and "MP/s" in text and "left" in text
    assert "2 restored, 0 skipped, 0 failed" in text
