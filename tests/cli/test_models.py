"""`restore models`: a line for each model, a short card for one, all of it as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from restore.cli import app
from restore.cli.models import score_words, summary, trained_on
from restore.models.card import ModelCard
from restore.models.weights import available_models, read_card


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
