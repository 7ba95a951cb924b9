"""`restore anomaly`, run as a person runs it, on a few small pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from restore.cli import app
from restore.errors import InputError, WeightsError, WriteError


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


def test_anomalies_are_fitted_and_scored(folder: Path) -> None:
    words = ["--data", "x.npz", "--kind", "linear", "--latent", "1", "--epochs", "60"]
    run("anomaly", "fit", *words, "--normal", "0", "-o", "a.safetensors")
    score = ["anomaly", "score", "a.safetensors"]
    out = run(*score, "x.npz", "--normal", "0")
    assert float(out.split("AUROC")[1].split(",")[0]) > 0.95
    values = json.loads(run(*score, "x.npz", "--normal", "0", "--json"))
    assert len(values["scores"]) == 12 and values["auroc"] > 0.95
    picture = np.tile(np.linspace(0, 200, 12, dtype=np.uint8)[:, None], (1, 30))
    truth = np.zeros((12, 30), np.uint8)
    truth[3:5, 10:14] = 255
    Image.fromarray(np.maximum(picture, truth)).save("p.png")
    Image.fromarray(truth).save("truth.png")
    outputs = ["--mask", "mask.png", "--heat", "heat.png"]
    out = run(*score, "p.png", "--truth", "truth.png", *outputs)
    assert float(out.split("AUROC per pixel")[1].split()[0]) > 0.9
    with Image.open("mask.png") as mask:
        assert mask.size == (30, 12)
        assert set(np.unique(np.asarray(mask))) <= {0, 255}
    assert (folder / "heat.png").is_file()
    before = (folder / "heat.png").read_bytes(), (folder / "mask.png").read_bytes()
    for words in (outputs[:2], outputs[2:]):
        with pytest.raises(WriteError, match="exists; give another name, or --overwrite"):
            run(*score, "p.png", *words)
    assert before == ((folder / "heat.png").read_bytes(), (folder / "mask.png").read_bytes())
    (folder / "mask.png").write_text("mine")
    run(*score, "p.png", *outputs, "--overwrite")
    assert (folder / "mask.png").read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--quantile", "1"], "quantile"),
        (["--normal", "7"], "too few"),
        (["--kind", "strange"], "choose one of linear"),
        (["--epochs", "0"], "at least 1"),
        (["-o", "a.png"], "must end in"),
    ],
)
def test_bad_input_is_one_sentence(folder: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        run("anomaly", "fit", "--data", "x.npz", *words)
    assert not list(folder.glob("*.safetensors"))


def test_what_cannot_be_scored_is_refused(folder: Path) -> None:
    run("autoencoder", "train", "linear", "--data", "x.npz", "--latent", "2", "--epochs", "1")
    with pytest.raises(WeightsError, match="is not an anomaly detector"):
        run("anomaly", "score", "linear-2.safetensors", "x.npz")
    run("anomaly", "fit", "--data", "x.npz", "--kind", "linear", "--latent", "2", "--epochs", "1")
    with pytest.raises(InputError, match="need a single picture file"):
        run("anomaly", "score", "anomaly.safetensors", "x.npz", "--heat", "h.png")
    with pytest.raises(InputError, match="a mask is written without loss, as PNG, TIFF"):
        run("anomaly", "score", "anomaly.safetensors", "x.png", "--mask", "m.jpg")
    with pytest.raises(InputError, match="give two names"):
        run(
            "anomaly", "score", "anomaly.safetensors", "x.npz", "--heat", "h.png", "--mask", "h.png"
        )
