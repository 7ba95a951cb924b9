"""`restore models`: a line for each model, a short card for one, all of it as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from restore.cli import app
from restore.cli.models import score_words, summary, trained_on
from restore.errors import RestoreError, UnknownModelError, WeightsError
from restore.models.card import ModelCard
from restore.models.folders import available_models
from restore.models.weights import load_model, read_card
from restore.tasks.task import find_network


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folders, empty."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "data" / "restore" / "models"


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["models", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_each_model_is_listed_with_its_use() -> None:
    lines = run().splitlines()
    for name in available_models():
        (line,) = [line for line in lines if line.split()[0] == name]
        assert len(line.split()) > 4


@pytest.mark.parametrize("name", available_models())
def test_a_card_is_short_and_says_what_matters(name: str) -> None:
    lines = run(name).splitlines()
    assert len(lines) < 20
    words = "\n".join(lines)
    for field in ("use", "task", "trained on", "licence", "limit 1"):
        assert field in words
    assert " dB" in words and " MB)" in words


def test_json_holds_the_whole_card() -> None:
    name = next(iter(available_models()))
    card = json.loads(run(name, "--json"))
    assert card["arguments"] == read_card(name).arguments
    assert set(json.loads(run("--json"))) == set(available_models())


def card(name: str, task: str, degradation: str = "", scale: int = 1) -> ModelCard:
    training = {"recipe": {"degradation": degradation}} if degradation else {}
    return ModelCard(name, task, "A", {}, scale=scale, training=training)


def test_every_kind_of_model_has_a_use_of_its_own() -> None:
    uses = [
        card("d", "denoise", "gaussian").use,
        card("d-fast", "denoise", "gaussian").use,
        card("p", "denoise", "photo").use,
        card("x", "denoise").use,
        card("u", "upscale", "bicubic", 3).use,
        card("u", "upscale", "second-order", 4).use,
        card("a", "autoencoder").use,
        card("n", "anomaly").use,
        card("l", "noise-level", "photo").use,
    ]
    assert len(set(uses)) == len(uses)
    assert uses[1] == f"{uses[0]}; smaller and faster"
    assert "3 times" in uses[4]


@pytest.mark.parametrize(
    ("score", "words"),
    [
        ({"noise": "gaussian:25", "psnr": 31.326}, "gaussian:25 31.33 dB"),
        (
            {"noise": "pairs", "psnr": 37.7, "min_psnr": 33.214, "worst": "a.png"},
            "pairs 37.70 dB (lowest 33.21 dB, a.png)",
        ),
        ({"noise": "none", "psnr": None}, "none unchanged"),
        (
            {"noise": "photo", "psnr": 52.7, "protocol": "against the teacher's answers"},
            "photo 52.70 dB to the teacher's results",
        ),
        ({"data": "digits", "squared_error": 2.96}, "squared error 2.96"),
        ({"noise": "photo", "error": 0.191}, "photo mean error of ln(level) 0.191"),
    ],
)
def test_scores_are_told_in_words(score: dict[str, Any], words: str) -> None:
    assert score_words(score) == words


def test_validation_scores_are_told_from_test_scores(tmp_path: Path) -> None:
    (tmp_path / "w").touch()
    validation = {"data": "val", "noise": "n", "psnr": 30, "protocol": "RGB, used to choose"}
    test = {"data": "CC15", "noise": "n", "psnr": 31, "protocol": "RGB"}
    chosen = ModelCard("w", "denoise", "A", {}, scores=[validation, test])
    lines = summary(chosen, tmp_path / "w")
    assert lines["validation on val"] == "n 30.00 dB" and lines["scores on CC15"] == "n 31.00 dB"


def test_licences_are_told_the_most_frequent_first() -> None:
    found = trained_on({"pictures": 9, "licences": {"A": 1, "B": 4, "C": 2, "D": 1, "E": 1}})
    assert found == "9 pictures: 4 B, 2 C, 1 A, 2 others"
    assert trained_on({"pictures": 9, "data": "digits"}) == "9 pictures of digits"
    assert trained_on({}) == "unknown pictures"


def test_a_card_without_scores_is_told_too(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"0" * 1000)
    lines = summary(card("w", "upscale", "bicubic", 2), tmp_path / "w.safetensors")
    assert lines["task"] == "upscale by 2"
    assert not [key for key in lines if key.startswith("scores")]


def refusal(*words: str) -> Exception:
    result = CliRunner().invoke(app, ["models", *words])
    assert result.exception is not None
    return result.exception  # type: ignore[return-value]


def test_an_added_model_is_listed_and_found_by_its_name(
    own_folder: Path, upscaling_weights: Path
) -> None:
    words = run("--add", str(upscaling_weights), "--name", "mine-x3")
    assert str(own_folder / "mine-x3.safetensors") in words and "upscale by 3" in words
    upscaling_weights.unlink()
    assert any(line.split()[0] == "mine-x3" for line in run().splitlines())
    assert load_model("mine-x3").scale == 3
    assert find_network("mine-x3").card.name == "mine-x3"  # type: ignore[union-attr]
    with pytest.raises(UnknownModelError, match="mine-x3"):
        load_model("mine-x4")


def test_another_projects_model_is_listed_with_its_licence(
    own_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("spandrel", reason="pip install spandrel")
    from safetensors.torch import save_file
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    state = SRVGGNetCompact(num_feat=4, num_conv=1, upscale=4).state_dict()
    save_file(state, tmp_path / "4x-a.safetensors", metadata={"modelspec.license": "CC0-1.0"})
    torch.save(state, tmp_path / "4x-b.pth")
    words = run("--add", str(tmp_path / "4x-a.safetensors"))
    assert "CC0-1.0" in words and "tiles equal the whole" in words
    assert "trained on" not in words  # nobody knows
    run("--add", str(tmp_path / "4x-b.pth"))
    names = {path.name for path in own_folder.iterdir()}
    assert names == {
        "4x-a.safetensors", "4x-a.safetensors.restore.json", "4x-b.pth", "4x-b.pth.restore.json",
    }  # fmt: skip
    listed = {line.split()[0]: line for line in run().splitlines()}
    assert "enlarges pictures 4 times" in listed["4x-a"] and "CC0-1.0" in listed["4x-a"]
    assert "licence unknown" in listed["4x-b"]
    assert json.loads(run("4x-b", "--json"))["scale"] == 4
    assert not (tmp_path / "4x-b.pth.restore.json").exists()  # beside the copy only


def test_an_added_file_that_is_damaged_later_is_told_of(
    own_folder: Path, upscaling_weights: Path
) -> None:
    run("--add", str(upscaling_weights))
    (own_folder / "tiny-x3.safetensors").write_bytes(b"damaged")
    words = run()
    assert "tiny-x3 cannot be used: " in words and "denoise-photo" in words


def test_what_cannot_be_added_leaves_nothing(own_folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"0" * 100)
    error = refusal("--add", str(bad))
    assert isinstance(error, WeightsError) and str(error).startswith(str(bad))
    assert not list(own_folder.iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--add", "{file}", "--name", "denoise-photo"],
            "there is a model 'denoise-photo' already",
        ),
        (["--add", "{file}", "--name", "noise-level"], "already; give another with --name"),
        (["--add", "{file}", "--name", "bicubic"], "there is a model 'bicubic' already"),
        (["--add", "{file}", "--name", "../x"], "is not a name for a model"),
        (["--add", "{file}", "--name", ""], "is not a name for a model"),
        (["--add", "gone.pth"], "gone.pth does not exist"),
        (["denoise-photo", "--add", "{file}"], "but not both"),
        (["--name", "x"], "--name goes with --add"),
    ],
)
def test_names_and_options_that_do_not_fit_are_refused(
    own_folder: Path, upscaling_weights: Path, words: list[str], sentence: str
) -> None:
    error = refusal(*(word.format(file=upscaling_weights) for word in words))
    assert isinstance(error, RestoreError) and sentence in str(error)
    assert not own_folder.exists() or not list(own_folder.iterdir())
