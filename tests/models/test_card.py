"""The model card: to JSON and back, the noise it tells, and cards that are refused."""

from __future__ import annotations

import json

import pytest

from restore.errors import WeightsError
from restore.models.card import ModelCard, card_from_json

CARD = ModelCard("small", "denoise", "Denoiser", {"widths": [4, 8]}, limits=["text"])


def test_a_card_survives_json() -> None:
    assert card_from_json(CARD.to_json(), "a.safetensors") == CARD


def test_equal_cards_give_equal_text() -> None:
    values = json.loads(CARD.to_json())
    reordered = ModelCard(**dict(reversed(values.items())))
    assert reordered.to_json() == CARD.to_json()


@pytest.mark.parametrize(
    ("task", "recipe", "noise"),
    [
        ("denoise", {"degradation": "gaussian"}, "white"),
        ("denoise", {"degradation": "photo"}, "mixed"),
        ("denoise", {"fault": "photo"}, "mixed"),  # as older cards name it
        ("upscale", {"degradation": "second-order"}, "mixed"),
        ("upscale", {"degradation": "bicubic"}, "none"),
        ("denoise", None, "white"),
        ("upscale", None, "none"),
    ],
)
def test_the_noise_follows_from_the_degradation(
    task: str, recipe: dict[str, str] | None, noise: str
) -> None:
    training = {} if recipe is None else {"recipe": recipe}
    assert ModelCard("a", task, "Denoiser", {}, training=training).noise == noise


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "without any field"),
        ('{"name": "a", "task": "denoise"}', "without architecture, arguments"),
        (json.dumps({**json.loads(CARD.to_json()), "colour": 1}), r"unknown fields \(colour\)"),
    ],
)
def test_cards_that_are_refused(text: str, words: str) -> None:
    with pytest.raises(WeightsError, match=f"a.safetensors has a model card .*{words}"):
        card_from_json(text, "a.safetensors")


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("name", 5, "str"),
        ("architecture", ["Denoiser"], "str"),
        ("arguments", [1], "dict"),
        ("scale", "2", "int"),
        ("limits", [1], "list"),
        ("scores", "31 dB", "list"),
    ],
)
def test_values_of_another_type_are_refused(field: str, value: object, kind: str) -> None:
    values = {**json.loads(CARD.to_json()), field: value}
    with pytest.raises(WeightsError, match=f"{field} must be {kind}"):
        card_from_json(json.dumps(values), "a.safetensors")


def test_a_deep_card_is_refused() -> None:
    with pytest.raises(WeightsError, match="not JSON"):
        card_from_json("[" * 100_000, "a.safetensors")
