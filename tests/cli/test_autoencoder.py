"""`restore autoencoder`, run as a person runs it, on a few small pictures."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from restore.cli import app
from restore.errors import InputError, RestoreError, WriteError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two kinds of gradient, 60 of 12x12, with labels; the working folder."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    ramp = np.linspace(0, 0.8, 12)
    pictures = np.where(labels[:, None, None] == 1, ramp, ramp[:, None]) + np.zeros((60, 12, 12))
    pictures = (pictures + 0.2 * rng.random(pictures.shape)).astype(np.float32)
    np.savez(tmp_path / "x.npz", pictures=pictures, labels=labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> str:
    result = CliRunner().invoke(app, [*words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def train(kind: str, *more: str) -> str:
    return run(
        "autoencoder", "train", kind, "--data", "x.npz", "--latent", "3", "--epochs", "2", *more
    )


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom restore.cli import app\n"
        "for words in (['--help'], ['autoencoder', '--help'], ['anomaly', 'fit', '--help']):\n"
        "    try: app(words)\n    except SystemExit: pass\n"
        "assert not {'torch', 'matplotlib', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "anomaly" in done.stdout and "compare" in done.stdout and "--quantile" in done.stdout


def test_train_reconstruct_embed_generate_probe(folder: Path) -> None:
    (folder / "ae").mkdir()
    said = train("linear", "-o", "ae/l.safetensors")
    assert f"wrote {Path('ae/l.safetensors')} and {Path('ae/l-curves.png')}\n" in said
    assert "negative ELBO" in train("variational", "-o", "v.safetensors")
    for words in (
        ["reconstruct", "v.safetensors", "--data", "x.npz"],
        ["embed", "v.safetensors", "--data", "x.npz", "-o", "codes.csv"],
        ["embed", "v.safetensors", "--data", "x.npz", "-o", "all.npz", "--part", "train"],
        ["generate", "v.safetensors", "--count", "8", "--walks", "2"],
    ):
        run("autoencoder", *words)
    for name in ("v-curves", "v-reconstructions", "codes", "v-samples", "v-samples-walk"):
        with Image.open(folder / f"{name}.png") as image:
            assert np.asarray(image.convert("L")).std() > 1
    lines = list(csv.DictReader((folder / "codes.csv").read_text().splitlines()))
    assert len(lines) == 12 and set(lines[0]) == {"z0", "z1", "z2", "label"}
    with np.load(folder / "all.npz") as arrays:
        assert arrays["codes"].shape == (48, 3) and arrays["labels"].shape == (48,)
    table = run("autoencoder", "probe", "v.safetensors", "--data", "x.npz")
    assert "PCA, 3 components" in table and "code, 3 numbers" in table


def test_members_report_what_is_their_own(folder: Path) -> None:
    assert "activation" in train("sparse", "--hidden", "200", "--target", "0.1")
    assert (folder / "sparse-3-filters.png").is_file()
    assert "denoising error" in train("denoising", "--corruption", "masking", "--level", "0.4")
    out = run("autoencoder", "reconstruct", "denoising-3.safetensors", "--data", "x.npz")
    assert "denoising error" in out
    train("stacked", "--hidden", "20,10")
    train("convolutional", "--hidden", "4,8")


def test_compare_prints_a_table_or_json(folder: Path) -> None:
    words = ["autoencoder", "compare", "--data", "x.npz", "--latent", "2"]
    words += ["--kinds", "linear,vanilla", "--epochs", "1"]
    out = run(*words)
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["pca", "linear", "vanilla"]
    rows = json.loads(run(*words, "--json", "-o", "second.png"))
    assert [row["latent"] for row in rows] == [2, 2, 2]
    assert (folder / "comparison.png").is_file() and (folder / "second.png").is_file()


def test_compress_draws_the_classic_figure(folder: Path, samples: Path) -> None:
    run("autoencoder", "compress", str(samples / "grey-clean.png"), "-o", "c.png")
    assert (folder / "c.png").stat().st_size > 10_000


@pytest.mark.parametrize("size", [(1, 1), (900, 1), (1, 900), (12, 20)])
def test_small_and_narrow_pictures_are_compressed_too(folder: Path, size: tuple[int, int]) -> None:
    Image.linear_gradient("L").resize(size).save("p.png")
    run("autoencoder", "compress", "p.png", "-o", "c.png")
    with Image.open(folder / "c.png") as image:
        assert max(image.size) < 5000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["autoencoder", "train", "vanilla", "--latent", "0"], "from 1 to 144"),
        (["autoencoder", "train", "linear", "--latent", "145"], "from 1 to 144"),
        (["autoencoder", "train", "sparse", "--target", "1"], "above 0 and below 1"),
        (["autoencoder", "train", "vanilla", "--beta", "2"], "no option beta"),
        (["autoencoder", "train", "vanilla", "--hidden", "a"], "widths of layers"),
        (["autoencoder", "train", "vanilla", "--hidden", "1000000000"], "give smaller layers"),
        (["autoencoder", "train", "vanilla", "--rate", "nan"], "rate above 0"),
        (["autoencoder", "train", "vanilla", "--seed", "9" * 25], "the seed must be"),
        (["autoencoder", "train", "perceptual"], "choose one of linear"),
        (["autoencoder", "train", "vanilla", "--channels", "2"], r"1 \(grey\) or 3"),
        (["autoencoder", "train", "vanilla", "--precision", "fp8"], "not a precision"),
    ],
)
def test_bad_input_is_one_sentence(folder: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        run(*words, "--data", "x.npz")
    assert not list(folder.glob("*.safetensors"))


def test_a_mistake_ends_with_one_line_and_exit_code_2(folder: Path, root: Path) -> None:
    (folder / "x-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0\0\x01")
    words = ["-m", "restore", "autoencoder", "train", "linear", "--data", str(folder)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=root)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "truncated" in done.stderr


def test_weights_of_another_kind_are_refused(folder: Path) -> None:
    train("linear")
    with pytest.raises(RestoreError, match="only a variational autoencoder can"):
        run("autoencoder", "generate", "linear-3.safetensors")


def test_no_file_is_replaced_unless_wanted(folder: Path, samples: Path) -> None:
    train("variational", "-o", "v.safetensors")
    shutil.copy(samples / "grey-clean.png", folder / "p.png")
    words = {
        ("reconstruct", "v.safetensors", "--data", "x.npz"): ["v-reconstructions.png"],
        ("embed", "v.safetensors", "--data", "x.npz"): ["v-codes.npz", "v-codes.png"],
        ("embed", "v.safetensors", "--data", "x.npz", "-o", "c.csv"): ["c.csv", "c.png"],
        ("generate", "v.safetensors", "--count", "4"): ["v-samples.png", "v-samples-walk.png"],
        ("compress", "p.png"): ["p-compressed.png"],
        ("compare", "--data", "x.npz", "--kinds", "linear", "--epochs", "1"): ["comparison.png"],
        ("train", "linear", "--data", "x.npz", "--latent", "2", "--epochs", "1"): [
            "linear-2.safetensors",
            "linear-2-curves.png",
        ],
    }
    for command, names in words.items():
        for name in names:
            (folder / name).write_text("mine")
            with pytest.raises(WriteError, match="exists; give another name, or --overwrite"):
                run("autoencoder", *command)
            assert (folder / name).read_text() == "mine"
            (folder / name).unlink()
        assert not [name for name in names if (folder / name).exists()]  # refused before any work
        for name in names:
            (folder / name).write_text("mine")
        run("autoencoder", *command, "--overwrite")
        assert all((folder / name).read_bytes() != b"mine" for name in names)


def test_outputs_are_checked_before_data_is_read(folder: Path) -> None:
    for name, sentence in (
        ("no/a.safetensors", "there is no folder"),
        ("a.pt", r"must end in \.safetensors"),
    ):
        with pytest.raises(RestoreError, match=sentence):
            run("autoencoder", "train", "linear", "--data", "missing.npz", "-o", name)
    with pytest.raises(RestoreError, match=r"must end in \.png"):
        run("autoencoder", "compare", "--data", "missing.npz", "-o", "a.jpg")
