"""What is told at once: one sentence, exit code 2, before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import restore
from restore.cli import app
from restore.cli.checks import check_model, is_folder_name, left_out, local, parse_quality
from restore.errors import InputError, RestoreError, UnknownModelError

CODE = """
import sys
from restore.cli import main
lines = []
for words in {calls!r}:
    sys.argv = ["restore", *words]
    try:
        main()
    except SystemExit as end:
        assert end.code == {code}, (words, end.code)
    assert "torch" not in sys.modules, words
"""


FINETUNE = ("finetune", "denoise-photo", "--data", ".")


def without_torch(calls: list[list[str]], folder: Path, code: int = 2) -> list[str]:
    """The lines on standard error of calls that end before torch is imported."""
    package = str(Path(restore.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(calls=calls, code=code)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": package, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return (done.stderr if code else done.stdout).splitlines()


def test_mistakes_are_told_before_torch_is_imported(tmp_path: Path, samples: Path) -> None:
    picture = str(samples / "text.png")
    (tmp_path / "there.png").touch()
    (tmp_path / "empty").mkdir()
    told = {
        ("denoise", "none.png"): "none.png does not exist",
        ("denoise", "empty"): "empty contains no pictures",
        ("denoise", "*.tif"): "no picture matches",
        ("denoise", "https://example.org/a.png"): "is a web address",
        ("denoise", "-"): "standard input cannot be read",
        ("denoise", picture, "--format", "xyz"): "restore: 'xyz' names no format that can be",
        ("denoise", picture, "-o", "a.xyz"): "known are JPEG",
        ("denoise", picture, "-o", "a"): "a/ for a folder",
        ("denoise", picture, "-o", "there.png"): "exists",
        ("denoise", picture, "-o", "no/such.xyz"): "known are JPEG",
        ("denoise", picture, "--quality", "fast"): "--fast",
        ("denoise", picture, "--quality", "best"): "--fast",
        ("denoise", picture, "--quality", "0"): "from 1 to 100",
        ("denoise", picture, "--strength", "7"): "between 0",
        ("denoise", picture, "--sigma", "loud"): "noise level",
        ("denoise", picture, "--precision", "int8"): "not a precision",
        ("denoise", picture, "--model", "none.safetensors"): "does not exist",
        ("denoise", picture, "--model", "nonesuch"): "there is no model 'nonesuch'; give one of",
        ("denoise", picture, "--model", "bicubic"): "there is no model 'bicubic'",
        ("denoise", picture, "--memory", "much"): "write it like 2GB",
        ("denoise", picture, "--memory", "0"): "write it like 2GB",
        ("denoise", picture, "--tile", "0"): "above 0",
        ("denoise", picture, "--engine", "nonesuch"): "is not an engine",
        ("denoise", picture, "--reference", "none.png"): "none.png does not exist",
        ("denoise", picture, "--in-place"): "--backup",
        ("denoise", picture, "--overwrite", "--skip-existing"): "give one",
        ("upscale", picture): "give exactly one of scale",
        ("upscale", picture, "--scale", "x"): "above 1",
        ("upscale", picture, "--scale", "2", "--quality", "fast"): "--fast",
        ("upscale", picture, "--scale", "2", "--model", "nonesuch"): "no model 'nonesuch'",
        ("upscale", picture, "--scale", "2", "--memory", "much"): "write it like 2GB",
        ("compare", picture, "none.png"): "none.png does not exist",
        ("evaluate", "nonesuch", "--data", "."): "there is no model 'nonesuch'",
        ("evaluate", "bicubic", "--data", ".", "--precision", "int8"): "not a precision",
        ("evaluate", "bicubic", "--data", ".", "--device", "all"): "takes one device, not 'all'",
        ("export", "nonesuch", "--format", "onnx"): "there is no model 'nonesuch'",
        ("finetune", "nonesuch", "--data", "."): "there is no model 'nonesuch'",
        (*FINETUNE, "--device", "all"): "takes one device",
        (*FINETUNE, "--steps", "2", "--time-limit", "10s"): "give one of them",
        ("train", "denoise-photo", "--data", ".", "--device", "cpu,cpu"): "`torchrun --nproc",
        ("models", "nonesuch"): "there is no model 'nonesuch'",
        ("web", "--memory", "much"): "write it like 2GB",
        ("web", "--keep", "much"): "write it like 2GB",
    }
    lines = without_torch([list(words) for words in told], tmp_path)
    assert len(lines) == len(told), lines
    for line, words in zip(lines, told.values(), strict=True):
        assert line.startswith("restore: ") and words in line, line


@pytest.mark.parametrize("command", ["", "denoise", "upscale", "compare", "models"])
def test_help_is_plain(command: str, tmp_path: Path) -> None:
    calls = [[*command.split(), flag] for flag in ("-h", "--help")]
    text = "\n".join(without_torch(calls, tmp_path, code=0))
    assert text.count("Usage") == 2
    assert "<" not in text and "TEXT" not in text


def test_help_shows_newcomers_options_first_then_groups_and_examples(tmp_path: Path) -> None:
    text = "\n".join(without_torch([["denoise", "-h"]], tmp_path, code=0))
    order = ["Arguments", "Options", "--output", "--fast", "Output files", "--format", "Model"]
    order += ["Many files", "--recursive", "Machine", "--device", "Messages", "Examples:"]
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    assert "[default: denoise-photo]" in text and "restore denoise photo.jpg" in text


def test_the_version_is_printed(tmp_path: Path) -> None:
    assert without_torch([["--version"]], tmp_path, code=0) == [f"restore {restore.__version__}"]


def test_a_home_folder_in_quotes_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert local("~/a.png") == tmp_path / "a.png"
    (tmp_path / "m.safetensors").touch()
    assert check_model("~/m.safetensors") == str(tmp_path / "m.safetensors")


def test_a_model_is_found_by_its_name_or_file() -> None:
    assert check_model("denoise-photo") == "denoise-photo"
    assert check_model("bicubic", "bicubic") == "bicubic"
    with pytest.raises(UnknownModelError, match="restore models"):
        check_model("folder/none")


@pytest.mark.parametrize("given", ["http://x.org/a.png", "s3://bucket/a.png", "-"])
def test_what_is_no_file_is_refused(given: str) -> None:
    with pytest.raises(InputError):
        local(given)


def test_a_windows_drive_is_no_web_address() -> None:
    assert local("C:/a.png") == Path("C:/a.png")


def test_quality_is_of_the_file() -> None:
    assert parse_quality(None) is None and parse_quality("90") == 90
    for wrong in ("fast", "best", "101", "-5", "good", ""):
        with pytest.raises(InputError):
            parse_quality(wrong)


def test_a_trailing_slash_means_a_folder() -> None:
    assert is_folder_name("new/") and not is_folder_name("new") and not is_folder_name(None)


def test_pictures_in_sub_folders_are_counted(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "sub/b.png", "sub/c.jpg"):
        (tmp_path / name).touch()
    assert left_out([tmp_path], None) == 2
    assert left_out([tmp_path], tmp_path / "sub") == 0
    assert left_out([tmp_path / "a.png"], None) == 0


@pytest.mark.parametrize(("output", "written"), [("", "text.png"), ("x.png", "x.png")])
def test_a_folder_is_made_for_one_picture(
    tmp_path: Path, samples: Path, output: str, written: str
) -> None:
    place = tmp_path / "new" / "deeper"
    words = ["denoise", str(samples / "text.png"), "-o", f"{place}/{output}", "--strength", "0"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert [path.name for path in place.iterdir()] == [written]


@pytest.mark.parametrize("output", ["", "x.png"])
def test_a_folder_made_for_a_picture_that_fails_is_removed(tmp_path: Path, output: str) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    place = tmp_path / "new" / "deeper"
    words = ["denoise", str(tmp_path / "bad.png"), "-o", f"{place}/{output}"]
    with pytest.raises(RestoreError):
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.png"]


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "denoise-photo", "--data", "~/none"],
        ["compare", "~/none/a.png", "~/none/b.png"],
        ["train", "denoise-gaussian", "--data", "~/none"],
        ["autoencoder", "embed", "~/none.safetensors", "--data", "x", "-o", "y.csv"],
    ],
)
def test_every_command_knows_the_home_folder(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, RestoreError)
    assert str(tmp_path / "none") in str(done.exception)
