"""A job leaves a weights file that says how it was made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from restore.errors import TrainingError
from restore.models.weights import load_model
from restore.training.job import Job, describe_sources, open_validation, run_job
from restore.training.loop import Limits
from restore.training.recipe import Recipe


def test_a_job_writes_weights_with_a_true_card(tiny_toml: Path, samples: Path) -> None:
    out = tiny_toml.with_name("out.safetensors")
    job = Job(str(tiny_toml), {"seed": 5}, samples, samples, out)
    assert list(run_job(job))[-1] == out
    card = load_model(out).card
    assert card is not None
    assert (card.name, card.training["seed"], card.training["steps"]) == ("tiny", 5, 8)
    assert card.training["recipe"]["sigma"] == [10, 40]
    assert card.trained_on["pictures"] == len(list(samples.glob("*.png")))
    assert card.scores[0]["noise"] == "gaussian:25"


def test_a_card_says_that_patterns_were_validated_with(tiny_toml: Path, samples: Path) -> None:
    text = tiny_toml.read_text() + 'network = "upscaler"\nscale = 2\ndegradation = "bicubic"\n'
    tiny_toml.write_text(text + "patterned = 0.25\n")
    out = tiny_toml.with_name("out.safetensors")
    assert list(run_job(Job(str(tiny_toml), {}, samples, samples, out)))[-1] == out
    card = load_model(out).card
    assert card is not None
    assert "fine patterns in 0.25 of the pictures" in card.scores[0]["protocol"]


def test_validation_pictures_that_are_too_small_name_the_recipes_key(
    tiny: Recipe, samples: Path
) -> None:
    large = replace(tiny, validate_side=2048)
    with pytest.raises(TrainingError, match=r"or a smaller validate_side in the recipe$"):
        open_validation(large, samples)


def test_it_is_said_how_many_pictures_are_used_at_half_the_size(
    tiny_toml: Path, samples: Path
) -> None:
    tiny_toml.write_text(tiny_toml.read_text() + "halved = 0.5\n")
    job = Job(str(tiny_toml), {}, samples, None, tiny_toml.with_name("out.safetensors"))
    said = [str(event) for event in run_job(job)]
    count = len(list(samples.glob("*.png")))
    assert any(f"{count} of them are at least 48 pixels high and wide" in each for each in said)


def test_a_time_limit_is_said_and_can_be_resumed(tiny_toml: Path, samples: Path) -> None:
    out = tiny_toml.with_name("out.safetensors")
    stopped = list(run_job(Job(str(tiny_toml), {}, samples, samples, out), Limits(0.0)))
    assert any("the time is over at step 1 of 8; --resume" in str(event) for event in stopped)
    assert load_model(out).card.training["time_limit"] == 0.0  # type: ignore[union-attr]
    resumed = list(run_job(Job(str(tiny_toml), {}, samples, samples, out, resume=True)))
    assert len([e for e in resumed if hasattr(e, "loss")]) == 7
    training = load_model(out).card.training  # type: ignore[union-attr]
    assert training["steps"] == 8
    assert "time_limit" not in training


def test_weights_can_be_trained_further_and_the_card_says_so(
    tiny_toml: Path, samples: Path
) -> None:
    first, second = (tiny_toml.with_name(f"{name}.safetensors") for name in "ab")
    list(run_job(Job(str(tiny_toml), {}, samples, samples, first)))
    changes = {"steps": 1, "kernel_rate": 1e-9, "other_rate": 1e-9, "weight_decay": 0.0}
    list(run_job(Job(str(tiny_toml), changes, samples, samples, second, str(first))))
    before, after = load_model(first), load_model(second)
    for key, value in before.state_dict().items():
        assert torch.allclose(value, after.state_dict()[key], atol=1e-3)
    assert after.card is not None
    assert after.card.training["started_from"]["steps"] == 8
    other = Job("denoise-gaussian", {}, samples, output=tiny_toml.with_name("c.safetensors"))
    with pytest.raises(TrainingError, match="must agree"):
        next(run_job(replace(other, start_from=str(first))))


def test_outputs_are_not_replaced_unasked(tiny_toml: Path, samples: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"precious")
    with pytest.raises(TrainingError, match="--resume to go on or --overwrite"):
        next(run_job(Job(str(tiny_toml), {}, samples, output=out)))
    assert out.read_bytes() == b"precious"
    with pytest.raises(TrainingError, match=r"\.safetensors"):
        next(run_job(Job(str(tiny_toml), {}, samples, output=tmp_path / "out.pt")))
    with pytest.raises(TrainingError, match="no folder"):
        next(run_job(Job(str(tiny_toml), {}, samples, output=tmp_path / "x" / "o.safetensors")))
    with pytest.raises(TrainingError, match="no checkpoint"):
        next(run_job(Job(str(tiny_toml), {}, samples, output=out, resume=True)))


def test_sources_are_counted_from_the_table(tmp_path: Path, samples: Path) -> None:
    (tmp_path / "a.png").write_bytes((samples / "text.png").read_bytes())
    (tmp_path / "SOURCES.csv").write_text(
        "file,source_repo,licence\na.png,one/two,CC0\nb.png,one/two,MIT\nc.png,x/y,MIT\n"
    )
    found = describe_sources(tmp_path)
    assert found["licences"] == {"MIT": 2, "CC0": 1}
    assert found["sources"] == {"one/two": 2, "x/y": 1}
