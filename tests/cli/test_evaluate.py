"""`restore evaluate`: the worst pictures beside the means, each protocol once, cards kept up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from restore.cli import app, evaluate
from restore.errors import InputError
from restore.evaluation.benchmark import SetScore


def run(*words: object) -> str:
    result = CliRunner().invoke(app, ["evaluate", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def folder(samples: Path, tmp_path: Path) -> Path:
    for name in ("text-clean.png", "fur-clean.png"):
        (tmp_path / name).write_bytes((samples / name).read_bytes())
    return tmp_path


def set_score(**changes: Any) -> SetScore:
    values = {
        "data": "d",
        "noise": "gaussian:25",
        "pictures": 2,
        "noisy_psnr": 20.0,
        "psnr": 30.0,
        "ssim": 0.9,
        "min_psnr": 25.125,
        "worst": "a.png",
        "min_gain": -0.25,
        "least_gained": "b.png",
        "megapixels_per_second": 1.0,
        "protocol": "first",
        "precision": "fp32",
    }
    return SetScore(**{**values, **changes})


def test_the_worst_pictures_stand_beside_the_means(folder: Path) -> None:
    words = ("bicubic", "--data", folder, "--scale", 4)
    (scored,) = json.loads(run(*words, "--json"))["means"]
    pictures = {p["picture"]: p["psnr"] for p in json.loads(run(*words, "--json"))["pictures"]}
    assert scored["worst"] == min(pictures, key=lambda name: pictures[name])
    assert scored["min_psnr"] == pictures[scored["worst"]] < scored["psnr"]
    table = run(*words)
    assert f"{scored['min_psnr']:.3f} ({scored['worst']})" in table


def test_rows_name_both_and_each_protocol_is_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    unchanged = set_score(noisy_psnr=None, psnr=float("inf"), min_gain=None, least_gained=None)
    evaluate.show([set_score(), set_score(protocol="second", sigma="auto"), unchanged])
    out = capsys.readouterr().out
    assert out.count("25.125 (a.png)") == 3 and out.count("-0.250 dB (b.png)") == 2
    assert out.count("first") == out.count("second") == 1
    assert "noise level given to the model: auto" in out


def test_scores_of_older_cards_are_replaced_by_what_was_measured_alike() -> None:
    old = {"data": "d", "noise": "n", "precision": "fp32", "told": "auto"}
    new = {"data": "d", "noise": "n", "precision": "fp32", "sigma": "auto"}
    assert evaluate.identity(old) == evaluate.identity(new)
    assert evaluate.identity(old) != evaluate.identity({**new, "sigma": None})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["denoise-gaussian", "--pairs", "--noise", "none"], "leave one of them out"),
        (["upscale-x2", "--noise", "none"], "made small"),
        (["upscale-x2", "--sigma", "5"], "takes no noise level"),
        (["bicubic", "--scale", "2", "--record"], "no model card"),
        (["bicubic", "--scale", "2", "--ensemble"], "no network to average over"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    tmp_path: Path, words: list[str], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        run(*words, "--data", tmp_path)
