"""Every command and every Python example in the README runs, as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest

from restore.models.weights import read_card

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = [
    line
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.S)
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.S)
INSTALLS = [line for line in SHELL if line.startswith("pip ")]
COMMANDS = [line for line in SHELL if line not in INSTALLS]
SHORTER = {  # instead of minutes or an hour
    "restore train": "--steps 2 --no-compile",
    "restore autoencoder train": "--epochs 1",
    "restore autoencoder compare": "--epochs 1",
}


@pytest.fixture(scope="session")
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A virtual environment that has the dependencies at hand, and this package not."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    places = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    dependencies = sysconfig.get_paths()["purelib"]
    Path(places["purelib"], "dependencies.pth").write_text(dependencies + "\n")
    scripts = Path(places["scripts"])
    for name in ("pip", "pytest"):
        script = scripts / name
        script.write_text(
            f"#!{scripts / 'python'}\nimport runpy, sys\n"
            f"sys.argv[0] = '{name}'\nrunpy.run_module('{name}', run_name='__main__')\n"
        )
        script.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {
        **kept,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",  # the tests need no network
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's spelling of "no isolation"
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PYTEST_ADDOPTS": "--collect-only -q",  # not the tests within the tests
        "COLUMNS": "200",
    }


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a person has after cloning, with stand-ins for the sets the README names."""
    folder = tmp_path_factory.mktemp("clone") / "restore"
    junk = shutil.ignore_patterns(
        ".*", "*-restored.*", "__pycache__", "build", "dist", "*.egg-info", "runs"
    )
    shutil.copytree(ROOT, folder, ignore=junk)
    for name in ("CBSD68", "Kodak24", "BSD68_gray", "Set12", "LIVE1", "Set5", "train", "val"):
        (folder / name).mkdir()
        shutil.copy(folder / "samples" / "fur-clean.png", folder / name)
    for name in ("fur.png", "fur-clean.png"):
        part = folder / "CC15" / ("gt" if "clean" in name else "noisy")
        part.mkdir(parents=True)
        shutil.copy(folder / "samples" / name, part / "fur.png")
    write_digits(folder / "digits")
    return folder


def write_digits(folder: Path) -> None:
    """Something in the shape of MNIST: 400 pictures of 28x28 and their labels, in IDX files."""
    folder.mkdir()
    labels = (np.arange(400) % 10).astype(np.uint8)
    pictures = np.random.default_rng(0).integers(0, 60, (400, 28, 28), np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        picture[8:20, 4 + 2 * label : 8 + 2 * label] = 255
    for name, array in (("images-idx3", pictures), ("labels-idx1", labels)):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        (folder / f"t10k-{name}-ubyte").write_bytes(header + array.tobytes())


@pytest.fixture(scope="session")
def installed(checkout: Path, clean_environment: dict[str, str]) -> dict[str, str]:
    """The environment after the README's first command, which must have succeeded."""
    done = bash(INSTALLS[0], checkout, clean_environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return clean_environment


def bash(line: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )


def test_the_readme_begins_with_the_two_commands() -> None:
    first_screen = "\n".join(TEXT.splitlines()[:40])
    assert len(INSTALLS) == 2
    assert INSTALLS[0].startswith("pip install . && restore denoise samples/")
    assert INSTALLS[1] == 'pip install ".[test]" && pytest'
    assert all(line in first_screen for line in INSTALLS)


def test_the_first_command_restores_a_sample(checkout: Path, installed: dict[str, str]) -> None:
    source = Path(next(word for word in shlex.split(INSTALLS[0]) if word.endswith(".png")))
    assert (checkout / source.with_name(source.stem + "-restored.png")).is_file()


def test_the_second_command_finds_the_tests(checkout: Path, installed: dict[str, str]) -> None:
    done = bash(INSTALLS[1], checkout, installed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tests collected" in done.stdout


def test_the_wheel_is_whole_from_an_empty_folder(
    installed: dict[str, str], tmp_path: Path, samples: Path
) -> None:
    shutil.copy(samples / "text.png", tmp_path)
    done = bash("restore denoise text.png && restore models", tmp_path, installed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "text-restored.png").is_file()
    where = bash("python -c 'import restore; print(restore.__file__)'", tmp_path, installed).stdout
    assert not where.startswith(str(ROOT)) and str(Path(where).parent) in done.stdout


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run(line: str, checkout: Path, installed: dict[str, str]) -> None:
    line += "".join(f" {more}" for start, more in SHORTER.items() if line.startswith(start))
    done = bash(line, checkout, installed)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("code", PYTHON)
def test_python_examples_run(code: str, checkout: Path, installed: dict[str, str]) -> None:
    script = checkout / "example.py"
    script.write_text(code)
    done = bash("python example.py", checkout, installed)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_scores_are_those_of_the_card() -> None:
    recorded = {
        (s["data"], s["noise"]): s["psnr"]
        for s in read_card("denoise-gaussian").scores
        if s.get("precision") == "fp32"
    }
    row = r"^\| (\w+), \d+ (?:grey )?pictures \| ([0-9. /]+) \|"
    rows = re.findall(row, TEXT, re.M)
    assert {name for name, _ in rows} == {"CBSD68", "Kodak24", "BSD68_gray", "Set12"}
    for name, printed in rows:
        for sigma, value in zip((15, 25, 50), printed.split(" / "), strict=True):
            assert f"{recorded[name, f'gaussian:{sigma}']:.2f}" == value


def test_the_table_of_the_family_is_the_measured_one() -> None:
    stored = json.loads((ROOT / "benchmarks" / "autoencoders.json").read_text())
    printed = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) % \| ([\d,]+) \|", TEXT, re.M)
    assert printed == [
        (r["name"], f"{r['error']:.2f}", f"{100 * r['accuracy']:.1f}", f"{r['parameters']:,}")
        for r in stored["table"]
    ]
    anomalies = json.loads((ROOT / "benchmarks" / "anomalies.json").read_text())
    means = re.findall(r"^\| (\w+) (?:\| [\d.]+ ){10}\| ([\d.]+) \|$", TEXT, re.M)
    assert means == [(kind, f"{row['mean']:.3f}") for kind, row in anomalies.items()]


def test_the_tables_of_speeds_are_the_measured_ones() -> None:
    found = {
        (row["name"], row["megapixels"]): row
        for row in json.loads((ROOT / "benchmarks" / "speed.json").read_text())
        if row["asked"] in ("auto", "-")
    }
    names = ["denoise-gaussian", "denoise-gaussian-fast"]
    rows = {
        "**`denoise-gaussian`**, the whole pipeline": names[0],
        "**`denoise-gaussian-fast`**": names[1],
        "the first network in tiles as Real-ESRGAN makes them": "Real-ESRGAN's tiles",
        "the first network in tiles as SwinIR makes them": "SwinIR's tiles",
        "the first network in tiles as MONAI makes them": "MONAI's tiles",
        "OpenCV non-local means": "OpenCV NLM",
        "wavelets (scikit-image)": "wavelet",
        "total variation (scikit-image)": "TV",
    }
    for words, name in rows.items():
        row = found[name, 12.0]
        shown = [f"{row['megapixels_per_second']:.2f}", f"{row['psnr']:.2f}"]
        printed = re.search(rf"^\| {re.escape(words)} \| (.+?) \| (.+?) \|", TEXT, re.M)
        assert printed and [cell.strip("*") for cell in printed.groups()] == shown
    best, fast = (found[name, 12.0]["megapixels_per_second"] for name in names)
    alone = [found[f"{name} convolutions alone", 12.0]["megapixels_per_second"] for name in names]
    assert f"alone, in the cache | {alone[0]:.2f}; {alone[1]:.2f} |" in TEXT
    for size in ("photo", "gaussian"):  # in the table of sizes
        assert re.search(rf"^\| `denoise-{size}` \|.*\| {best:.2f} \|", TEXT, re.M)
        assert re.search(rf"^\| `denoise-{size}-fast` \|.*\| {fast:.2f} \|", TEXT, re.M)
    for mp, words in ((24.0, "Of 24 megapixels: "), (1.0, "Of one megapixel ")):
        speeds = (f"{found[name, mp]['megapixels_per_second']:.2f}" for name in names)
        assert words + " and ".join(speeds) + " MP/s" in TEXT
    memory = " and ".join(f"{found[name, 24.0]['peak_bytes'] / 1e6:,.0f}" for name in names)
    assert f"they take {memory} MB above the imported libraries" in TEXT


def test_the_table_of_other_engines_is_the_measured_one() -> None:
    stored = json.loads((ROOT / "benchmarks" / "engines.json").read_text())["rows"]
    ways = {
        "`restore`, the whole pipeline": "restore, whole pipeline",
        "torch, bf16": "torch",
        "`torch.compile`, bf16": "torch.compile",
        "ONNX Runtime, float32": "ONNX Runtime, fp32",
        "OpenVINO, bf16": "OpenVINO",
    }
    for words, way in ways.items():
        best, fast = (
            [row for row in stored if (row["model"], row["way"]) == (name, way)]
            for name in ("denoise-gaussian", "denoise-gaussian-fast")
        )
        cells = [
            "; ".join(f"{row['megapixels_per_second']:.2f}" for row in of) for of in (best, fast)
        ]
        cells.append("; ".join(f"{of[-1]['start_seconds']:.1f} s" for of in (best, fast)))
        assert f"| {words} | {' | '.join(cells)} |" in TEXT


def test_the_throughput_of_a_folder_is_the_measured_one() -> None:
    row = json.loads((ROOT / "benchmarks" / "batch.json").read_text())
    whole, alone = row["seconds"], row["network_seconds_alone"]
    assert f"A folder of {row['pictures']} mixed pictures ({row['megapixels']:.0f} MP" in TEXT
    assert f"took {whole:.0f} seconds on two CPU cores" in TEXT
    assert f"the network ran for {100 * row['network_share']:.1f} % of them" in TEXT
    assert f"it takes {alone:.0f} seconds: {row['throughput_ratio']:.2f} of" in TEXT


def test_the_floors_of_a_card_are_what_the_command_prints() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "floors.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    large, small = (
        re.findall(r"(\d+) (?=kFLOP|bytes|MP/s)", line) for line in done.stdout.splitlines()
    )
    flop, size, arithmetic, memory = (f"{int(number):,}" for number in large)
    assert f"{flop} kFLOP and {size} bytes for each pixel of the large network" in TEXT
    assert f"at most {arithmetic} MP/s by\narithmetic and {memory} by memory" in TEXT
    flop, size, arithmetic, memory = (f"{int(number):,}" for number in small)
    assert f"{flop} kFLOP and {size} bytes of the small one, at most {memory} MP/s" in TEXT


def test_nothing_in_the_readme_is_left_out() -> None:
    fences = re.findall(r"^```(\w*)$", TEXT, re.M)
    assert set(fences) - {""} <= {"bash", "python", "text"}
    assert SHELL and PYTHON
    assert sys.version_info >= (3, 10)
