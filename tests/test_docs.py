"""The README and the documentation: their commands run, their numbers are the measured ones."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

import restore
from restore.cli import app

ROOT = Path(__file__).resolve().parent.parent
GPU = ROOT / "benchmarks" / "gpu.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), GPU]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
# .ci/run installs in a fresh environment; the tests for a GPU are looked for below
ELSEWHERE = ("pip install", "python -m venv", "python -m pytest")
SHORTER = {  # instead of minutes or hours, and on a CPU
    "restore train": "--steps 2 --no-compile --device cpu",
    "python benchmarks/gpu.py": "--device cpu --models BEST.safetensors --megapixels 0.01",
    "restore finetune": "--steps 40",
    "restore autoencoder train": "--epochs 1",
    "restore autoencoder compare": "--epochs 1 --kinds linear,vanilla",
    "restore anomaly fit": "--epochs 1",
}
NEEDED = {"community": ("spandrel", "onnx", "onnxscript", "onnxruntime", "openvino")}
MARK = "@pytest.mark." + "gpu"
SIDE = 128  # of the crops of the samples that the commands get


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and the text of each block of code, in order."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def is_run(page: Path) -> bool:
    return any(language in ("bash", "python") for language, _ in blocks(page))


@pytest.fixture(scope="session")
def small_samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples, cropped: the commands are the documentation's, but take less time."""
    folder = tmp_path_factory.mktemp("small")
    for path in sorted((ROOT / "samples").glob("*.png")):
        picture = restore.load_image(path)
        alpha = None if picture.alpha is None else picture.alpha[:SIDE, :SIDE]
        crop = replace(picture, pixels=picture.pixels[:SIDE, :SIDE], alpha=alpha)
        restore.save_image(crop, folder / path.name)
    return folder


@pytest.fixture
def checkout(small_samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: the samples, and stand-ins for the data sets that a reader brings."""
    for name in ("CBSD68", "Kodak24", "BSD68_gray", "Set12", "LIVE1", "Set5"):
        (tmp_path / name).mkdir()
        os.link(small_samples / "fur-clean.png", tmp_path / name / "a.png")
    for name in ("train", "val"):  # a crop is too small for the recipes
        (tmp_path / name).mkdir()
        with Image.open(ROOT / "samples" / "fur-clean.png") as sample:
            sample.resize((400, 400)).save(tmp_path / name / "fur-clean.png")
    (tmp_path / "noisy").mkdir()
    shutil.copy(ROOT / "samples" / "fur.png", tmp_path / "noisy")
    write_pairs(tmp_path / "pairs")
    for part, name in (("noisy", "fur.png"), ("gt", "fur-clean.png")):
        (tmp_path / "CC15" / part).mkdir(parents=True)
        os.link(small_samples / name, tmp_path / "CC15" / part / "a.png")
    (tmp_path / "samples").mkdir()
    for path in small_samples.iterdir():
        os.link(path, tmp_path / "samples" / path.name)
    write_digits(tmp_path / "digits")
    write_community(tmp_path)
    write_for_a_gpu(tmp_path, monkeypatch)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_for_a_gpu(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """What `benchmarks/gpu.md` names in capitals, small; and small models for `restore devices`."""
    from restore.cli import devices
    from restore.models.card import ModelCard
    from restore.models.denoiser import Denoiser
    from restore.models.upscaler import Upscaler
    from restore.models.weights import save_weights

    for name in ("TRAIN", "VAL"):
        shutil.copytree(folder / name.lower(), folder / name)
    recipe = (ROOT / "restore" / "training" / "recipes" / "upscale-x4.toml").read_text()
    recipe = re.sub(r"^widths = .*$", "widths = [4]", recipe, flags=re.M)
    (folder / "RECIPE.toml").write_text(
        re.sub(r"^blocks = .*$", "blocks = [1]", recipe, flags=re.M)
    )
    for name, network in (
        ("BEST", Upscaler(4, 3, (4,), (1,))),
        ("tiny", Denoiser(3, (4,), (1,), noise_inputs=3)),
    ):
        task, kind = ("upscale", "denoise")[network.scale == 1], type(network).__name__
        card = ModelCard(name, task, kind, network.arguments, scale=network.scale)
        save_weights(network, card, folder / f"{name}.safetensors")
    patch.setattr(devices, "MODELS", (str(folder / "tiny.safetensors"),))
    patch.setattr(devices, "SIDES", (24, 32))


def write_community(folder: Path) -> None:
    """Two small networks as other projects publish them, if spandrel is there."""
    if importlib.util.find_spec("spandrel") is None:
        return
    import torch
    from safetensors.torch import save_file
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    states = [SRVGGNetCompact(num_feat=4, num_conv=1, upscale=n).state_dict() for n in (4, 1)]
    torch.save({"params_ema": states[0]}, folder / "4x-example.pth")
    save_file(states[1], folder / "1x-example.safetensors")


def write_pairs(folder: Path) -> None:
    """Clean pictures, and the same with strong coarse noise, of which models leave much.

    A few steps gain 1.7 dB on it, far more than another CPU's rounding could take away.
    """
    rng = np.random.default_rng(0)
    clean = restore.load_image(ROOT / "samples" / "fur-clean.png")
    for number in range(3):
        part = clean.pixels[64 * number : 64 * number + 128, :128]
        noise = gaussian_filter(rng.normal(0, 1, part.shape), (1.5, 1.5, 0))
        noise *= 40 / 255 / noise.std()
        noisy = (part + noise).clip(0, 1).astype(np.float32)
        for place, pixels in (("clean", part), ("noisy", noisy)):
            (folder / place).mkdir(parents=True, exist_ok=True)
            restore.save_image(replace(clean, pixels=pixels), folder / place / f"{number}.png")


def write_digits(folder: Path) -> None:
    """Something in the shape of MNIST: 100 pictures of 28x28 and their labels, in IDX files."""
    folder.mkdir()
    labels = (np.arange(100) % 10).astype(np.uint8)
    pictures = np.random.default_rng(0).integers(0, 60, (100, 28, 28), np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        picture[8:20, 4 + 2 * label : 8 + 2 * label] = 255
    for name, array in (("images-idx3", pictures), ("labels-idx1", labels)):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        (folder / f"t10k-{name}-ubyte").write_bytes(header + array.tobytes())


def run_line(line: str) -> None:
    """A line of a bash block, in this process; of `pip ... && restore ...` the second half."""
    line = line.removeprefix("pip install . && ")
    words = shlex.split(line, comments=True)
    if not words or line.startswith(ELSEWHERE):
        return
    words, target = (words[:-2], words[-1]) if ">" in words[-2:-1] else (words, None)
    for start, more in SHORTER.items():
        words += shlex.split(more) if line.startswith(start) else []
    if words[0] in ("mkdir", "tar"):
        subprocess.run(words, check=True)
    elif words[0] == "python":
        run_script(words[1:])
    else:
        assert words[0] == "restore", f"nothing here runs {line!r}"
        done = CliRunner().invoke(app, words[1:], catch_exceptions=False)
        assert done.exit_code == 0, f"{line}\n{done.output}"
        if target is not None:
            Path(target).write_text(done.stdout)


def run_script(words: list[str]) -> None:
    """A script of the repository with its arguments, in this process."""
    script = ROOT / words[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(script.parent)
        patch.setattr(sys, "argv", words)
        runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("page", [*filter(is_run, PAGES)], ids=lambda page: page.stem)
def test_commands_and_examples_run(page: Path, checkout: Path) -> None:
    for package in NEEDED.get(page.stem, ()):
        pytest.importorskip(package, reason=f"pip install {package}")
    for language, text in blocks(page):
        if language == "bash":
            for line in text.replace("\\\n", " ").splitlines():
                run_line(line)
        elif language == "python":
            exec(compile(text, str(page), "exec"), {"__name__": "example"})


def test_the_first_command_on_a_gpu_finds_tests() -> None:
    assert "python -m pytest -q -m gpu" in GPU.read_text(encoding="utf-8")
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if MARK in path.read_text()]
    assert len(marked) > 3
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r"^markers = \[.*gpu", settings, re.M | re.S)


EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_examples_run_as_their_docstring_says(
    script: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docstring = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    words = re.findall(r"^\s*python docs/examples/(.+)$", docstring, re.M)[0].split()
    assert words[0] == script.name
    monkeypatch.setattr(sys, "argv", words)
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        assert not end.code


NOTEBOOKS = sorted((ROOT / "docs" / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_and_show_their_results(path: Path, checkout: Path) -> None:
    """Each cell as a notebook runs it: the value of its last line is shown in every form it has."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = 0
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        assert not cell["outputs"] and cell["execution_count"] is None, "stored without outputs"
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, path.name, "exec"), names)
        value = last and eval(compile(ast.Expression(last.value), path.name, "eval"), names)
        for form in ("_repr_png_", "_repr_html_"):
            if hasattr(value, form):
                assert getattr(value, form)()
                shown += 1
    assert shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_of_code_are_run_or_marked_as_text(page: Path) -> None:
    assert {language for language, _ in blocks(page)} <= {"bash", "python", "text"}
    assert page.read_text(encoding="utf-8").count("```") == 2 * len(blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_line_begins_with_a_measured_number(page: Path) -> None:
    """A comment at the start of a line ends the paragraph, on GitHub as on the site."""
    assert not re.findall(r"^\s*<!--n:", page.read_text(encoding="utf-8"), re.M)


def test_the_numbers_are_the_measured_ones() -> None:
    script = ROOT / "docs" / "fill_numbers.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def numbers() -> Any:
    """The script that fills in the numbers, as a module."""
    place = ROOT / "docs" / "fill_numbers.py"
    spec = importlib.util.spec_from_file_location("fill_numbers", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_number_that_was_not_measured_is_found(
    numbers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for page in numbers.PAGES:
        text = page.read_text(encoding="utf-8")
        for name in (m[2] for m in numbers.BLOCK.finditer(text)):
            monkeypatch.setitem(numbers.TABLES, name, lambda: "| another |\n")
            assert numbers.filled(text) != text
            monkeypatch.undo()
    text = "took <!--n:batch.seconds-->1<!--/--> seconds"
    assert numbers.filled(text) != text
    with pytest.raises(KeyError):
        numbers.filled(text.replace("seconds-->", "hours-->"))


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ((1.2, 1.1), "OpenVINO has 1.20 times .*; without them, 1.10 times. .* more at every size"),
        ((1.2, 0.9), "more in 1 of the 2 cases. At 12 MP its memory is 2.00 times"),
        ((1.04, 0.9), "more nowhere"),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_said_of_the_engines_follows_from_what_was_measured(
    numbers: Any,
    monkeypatch: pytest.MonkeyPatch,
    ratios: tuple[float, float],
    words: str,
    threads: int,
) -> None:
    def measured(name: str) -> dict[str, Any]:
        ratio, kept = (ratios[1], "AVX2") if name.endswith("avx512") else (ratios[0], "")
        rates = {"torch, bf16": 1.0, "torch, fp32": 0.4, "openvino, bf16": ratio, "onnx, fp32": 9.0}
        rows = [
            {"model": "denoise-gaussian", "megapixels": 12.0, "way": way, "rate": rate,
             "peak_bytes": 2 if "openvino" in way else 1}
            for way, rate in rates.items()
        ]  # fmt: skip
        about = {"threads": threads, "load": 0.1, "processor": "Intel(R) X", "limit": kept}
        return {**about, "rows": rows}

    monkeypatch.setattr(numbers, "measured", measured)
    said = numbers.engines_verdict()
    assert re.search(words, said)
    assert ("all cores" in said) == (threads == 1)
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in numbers.engine_limit()
    machine = ("one thread", "2 threads")[threads - 1] + " of an Intel X, at a load of 0.1 before"
    assert numbers.engine_machine("engines") == machine
    assert f"| {ratios[0]:.2f} |" in numbers.engine_table("engines")
    assert numbers.large_sizes(numbers.engine_rows("engines")) == [12]


def test_every_link_within_the_repository_leads_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (page.parent / link).exists(), (page.name, link)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="pip install mkdocs-material 'mkdocstrings[python]'")
    pytest.importorskip("mkdocstrings")
    words = ["-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    reference = (tmp_path / "reference" / "index.html").read_text(encoding="utf-8")
    missing = [name for name in restore.__all__ if f'id="restore.{name}"' not in reference]
    assert not missing
