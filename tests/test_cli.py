"""The command as people meet it: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import restore
from restore.cli import main
from restore.cli.console import parse_seconds
from restore.errors import InputError


@dataclass
class Ended:
    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `restore ARGUMENTS` in this process and returns how it ended."""

    def command(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["restore", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Ended(code, *capsys.readouterr())

    return command


def environment() -> dict[str, str]:
    """For a process of its own: the package under test, wherever it is imported from."""
    return {**os.environ, "PYTHONPATH": str(Path(restore.__file__).parent.parent)}


@pytest.fixture
def noisy(samples: Path, tmp_path: Path) -> Path:
    path = tmp_path / "noisy.png"
    path.write_bytes((samples / "text.png").read_bytes())
    return path


def test_denoise_writes_beside_and_says_what_it_did(run: Run, noisy: Path, samples: Path) -> None:
    ended = run("denoise", noisy, "--reference", samples / "text-clean.png")
    assert ended.code == 0 and ended.err == ""
    written = noisy.with_name("noisy-restored.png")
    assert str(written) in ended.out
    for word in ("size", "448x172", "denoise-photo", "cpu", "tiles", "MP/s", "grey", "8 bit"):
        assert word in ended.out
    before, after = map(float, re.findall(r"PSNR (\d+\.\d+) dB", ended.out))
    assert after > before + 5
    scored = run("compare", written, samples / "text-clean.png")
    assert f"{after:.2f}" == f"{float(re.findall(r'([0-9.]+) dB', scored.out)[0]):.2f}"


def test_compare_prints_the_protocol(run: Run, samples: Path) -> None:
    pair = samples / "fur.png", samples / "fur-clean.png"
    assert "RGB, 8 bit, no border" in run("compare", *pair).out
    assert "Y, 8 bit, border 4" in run("compare", *pair, "--channel", "y", "--border", 4).out
    assert run("compare", *pair, "--channel", "hue").code == 2
    assert "from 0 on, not -1" in run("compare", *pair, "--border", -1).err


def test_compare_of_a_tiny_picture_says_why_it_has_no_ssim(run: Run, tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "one.png")
    said = run("compare", tmp_path / "one.png", tmp_path / "one.png")
    assert said.code == 0 and "needs 11x11 pixels" in said.out and "nan" not in said.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.png"], "none.png"),
        (["{folder}/empty.png"], "empty"),
        (["{folder}/text.png"], "not a picture|no picture"),
        (["{folder}/half.png"], "half.png"),
        (["{folder}/huge.png"], "huge.png"),
        (["{noisy}", "--strength", "7"], "between 0"),
        (["{noisy}", "--model", "nonesuch"], "denoise-gaussian"),
        (["{noisy}", "--model", "{folder}/half.png"], "not a weights file"),
        (["{noisy}", "--device", "gpu"], "this machine has"),
        (["{noisy}", "--precision", "int8"], "not a precision"),
        (["{noisy}", "--tile", "8"], "smallest"),
        (["{noisy}", "--tile", "0"], "above 0"),
        (["{noisy}", "--quality", "90"], "quality"),
        (["{noisy}", "--quality", "0", "--format", "jpeg"], "1 to 100"),
        (["{noisy}", "--quality", "-5"], "from 1 to 100"),
        (["{noisy}", "--quality", "good"], "from 1 to 100"),
        (["{noisy}", "--quality", "fast"], "--fast"),
        (["{noisy}", "--model", "nonesuch", "--fast"], "no model 'nonesuch'"),
        (["{noisy}", "--format", "gif"], "PNG"),
        (["{noisy}", "-o", "{noisy}", "--overwrite"], "itself"),
        (["{noisy}", "-o", "{folder}/empty.png/out.png"], "no folder"),
        (["{noisy}", "-o", "{folder}/empty.png"], "exists"),
        (["{noisy}", "--reference", "{samples}/fur.png"], "reference is 320x300 RGB"),
        (["{noisy}", "--reference", "none.png"], "none.png"),
    ],
)
def test_bad_input_is_one_sentence_exit_code_2_and_nothing_written(
    run: Run, noisy: Path, samples: Path, arguments: list[str], words: str
) -> None:
    folder = noisy.parent
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("this is not a picture")
    (folder / "half.png").write_bytes(noisy.read_bytes()[:20_000])
    header = noisy.read_bytes()
    (folder / "huge.png").write_bytes(header[:16] + b"\x00\x0f\x42\x40" * 2 + header[24:])
    before = {path: path.read_bytes() for path in folder.iterdir()}
    filled = [a.format(folder=folder, noisy=noisy, samples=samples) for a in arguments]
    ended = run("denoise", *filled)
    assert ended.code == 2
    assert re.search(words, ended.err), ended.err
    assert ended.err.count("\n") == 1 and ended.err.startswith("restore: ")
    assert "Traceback" not in ended.err and ended.out == ""
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_debug_shows_the_traceback(run: Run) -> None:
    with pytest.raises(restore.RestoreError):
        run("denoise", "none.png", "--debug")


def test_corrupt_weights_are_named(run: Run, noisy: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    shipped = restore.available_models()["denoise-gaussian"].read_bytes()
    weights.write_bytes(shipped[: len(shipped) // 2])
    ended = run("denoise", noisy, "--model", weights)
    assert ended.code == 2 and "w.safetensors" in ended.err


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_found_before_the_work(run: Run, noisy: Path) -> None:
    noisy.parent.chmod(0o500)
    try:
        ended = run("denoise", noisy)
    finally:
        noisy.parent.chmod(0o700)
    assert ended.code == 2 and "may not be written" in ended.err


def test_overwrite_replaces_and_formats_convert(run: Run, noisy: Path) -> None:
    assert run("denoise", noisy).code == 0
    assert run("denoise", noisy).code == 2
    assert run("denoise", noisy, "--overwrite").code == 0
    assert run("denoise", noisy, "--format", "jpeg", "--quality", 70).code == 0
    with Image.open(noisy.with_name("noisy-restored.jpg")) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (448, 172), "L")


def test_strength_zero_gives_the_inputs_pixels(run: Run, noisy: Path) -> None:
    assert run("denoise", noisy, "--strength", 0).code == 0
    assert noisy.with_name("noisy-restored.png").read_bytes() == noisy.read_bytes()


def test_models_lists_and_prints_cards(run: Run) -> None:
    listed = run("models").out
    assert "denoise-gaussian" in listed and "white Gaussian noise" in listed
    card = json.loads(run("models", "denoise-gaussian", "--json").out)
    assert card["architecture"] == "Denoiser"
    assert run("models", "nonesuch").code == 2


def test_evaluate_prints_a_table_or_json(run: Run, samples: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.png").write_bytes((samples / "text-clean.png").read_bytes())
    words = ["evaluate", "denoise-gaussian", "--data", folder, "--noise", "gaussian:25"]
    ended = run(*words)
    assert ended.code == 0 and "gaussian:25" in ended.out and "seed 0" in ended.out
    assert "a.png" in ended.out  # the worst picture is named
    stored = json.loads(run(*words, "--json").out)
    assert stored["means"][0]["pictures"] == 1
    row = next(line for line in ended.out.splitlines() if "gaussian:25" in line)
    assert float(row.split()[3]) == pytest.approx(stored["pictures"][0]["psnr"], abs=1e-3)
    assert run("evaluate", "denoise-gaussian", "--data", folder, "--noise", "salt").code == 2
    assert run("evaluate", "denoise-gaussian", "--data", tmp_path / "none").code == 2


def test_recorded_scores_stand_in_the_card(run: Run, samples: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(restore.available_models()["denoise-gaussian"].read_bytes())
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "a.png").write_bytes((samples / "text-clean.png").read_bytes())
    for _ in range(2):  # the second replaces the first
        run("evaluate", weights, "--data", folder, "--noise", "gaussian:25", "--record")
    scores = [
        s for s in json.loads(run("models", weights, "--json").out)["scores"] if s["data"] == "tiny"
    ]
    assert len(scores) == 1 and scores[0]["pictures"] == 1


def test_train_writes_weights_that_denoise(run: Run, samples: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        'name = "small"\nwidths = [4, 8]\nblocks = [1, 1]\nbatch = 4\npatch = 32\nsteps = 20\n'
        "validate_every = 10\nvalidate_side = 64\n"
    )
    out = tmp_path / "small.safetensors"
    asked = ["train", recipe, "--data", samples, "--val", samples, "-o", out]
    ended = run(*asked)
    assert ended.code == 0 and str(out) in ended.out
    assert ended.err.count("validation") == 2 and "pictures/s" in ended.err
    assert run("denoise", samples / "text.png", "--model", out, "-o", tmp_path / "t.png").code == 0
    assert run(*asked).code == 2  # an output is not replaced unasked
    assert run(*asked, "--resume", "--steps", 30).code == 0
    assert run(*asked, "--resume", "--steps", 30, "--time-limit", "soon").code == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5s", 1.5), ("75m", 4500), ("1h30m", 5400)]
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "5x"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="1h30m"):
        parse_seconds(text)


@pytest.mark.parametrize(
    "command", ["", "denoise", "upscale", "compare", "evaluate", "models", "train"]
)
def test_help_imports_little_and_no_torch(command: str) -> None:
    code = (
        f"import sys; sys.argv = ['restore', *{command.split()!r}, '--help']\n"
        "from restore.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'torch' not in sys.modules and 'cv2' not in sys.modules\n"
        "print('modules', len(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert "Usage" in done.stdout
    # What an answer waits for; seconds would depend on the machine. torch alone imports 1,500.
    assert int(done.stdout.split()[-1]) < 600


def test_the_module_is_the_command(samples: Path) -> None:
    pair = [str(samples / "fur.png"), str(samples / "fur-clean.png")]
    done = subprocess.run(
        [sys.executable, "-m", "restore", "compare", *pair],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "PSNR" in done.stdout


# typer looks for the shell that it runs in, unless it is told not to
NO_SHELL = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}


@pytest.mark.parametrize(
    ("variables", "words", "printed"),
    [
        ({}, ["--help"], "Usage: restore "),
        (NO_SHELL, ["--show-completion", "bash"], "_RESTORE_COMPLETE=complete_bash"),
        ({"COMP_WORDS": "restore den", "COMP_CWORD": "1"}, [], "denoise"),
        ({"COMP_WORDS": "restore denoise --stre", "COMP_CWORD": "2"}, [], "--strength"),
    ],
)
def test_shells_complete_commands_and_options(
    variables: dict[str, str], words: list[str], printed: str
) -> None:
    asked = {"_RESTORE_COMPLETE": "complete_bash"} if "COMP_WORDS" in variables else {}
    done = subprocess.run(
        [sys.executable, "-m", "restore", *words],
        env={**environment(), **asked, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_interrupting_leaves_no_partial_file(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    values = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8)
    Image.fromarray(values).save(large, compress_level=0)
    words = ["denoise", str(large), "--precision", "fp32", "--device", "cpu", "--verbose"]
    process = subprocess.Popen(
        [sys.executable, "-m", "restore", *words],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # where the tests run in the background, a shell has the signal ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    planned = next((line for line in process.stdout if "plan:" in line), None)
    assert planned is not None  # the network begins next, and takes seconds
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert "interrupted" in said and "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["large.png"]
