"""What a person sees of a training: an estimate, advice, a table and a picture."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from restore.training import record as recording
from restore.training import supervise as supervising
from restore.training.crops import PictureStore
from restore.training.degradations.pairs import ValidationSet
from restore.training.loop import Limits, Progress, Training, seconds_a_step
from restore.training.recipe import Recipe, make_recipe
from restore.training.record import paths_beside
from restore.training.sources import Degraded
from restore.training.supervise import (
    duration,
    estimate,
    expected_seconds,
    supervise,
)


def test_a_trial_step_changes_nothing(tiny: Recipe, store: PictureStore) -> None:
    training = Training(tiny, "cpu", "fp32")
    before = {key: value.clone() for key, value in training.network.state_dict().items()}
    each = seconds_a_step(training, Degraded(store, tiny))
    assert len(each) == 2 and min(each) > 0  # one for each stage
    assert training.step == 0 and training.loss != training.loss
    assert all((training.network.state_dict()[k] == v).all() for k, v in before.items())


def test_the_estimate_goes_by_what_is_left_of_each_stage(tiny: Recipe) -> None:
    training = Training(make_recipe({**tiny.to_dict(), "steps": 100}, "t"), "cpu")
    assert expected_seconds(training, [1.0, 3.0]) == pytest.approx(50 + 150)
    training.step = 80
    assert expected_seconds(training, [1.0, 3.0]) == pytest.approx(60)


def test_too_slow_a_machine_is_told_so(tiny: Recipe) -> None:
    training = Training(make_recipe({**tiny.to_dict(), "steps": 1000}, "t"), "cpu")
    (quick,) = estimate(training, 600, None)
    assert quick == "about 0.6 s a step; 1000 steps take about 10 min"
    slow = list(estimate(training, 5 * 24 * 3600, None))
    assert "too slow for the recipe: it will take 5 days 0 h" in slow[1]
    assert "--steps 200, which takes a day" in slow[1]
    short = list(estimate(training, 600, 150))
    assert "ends it near step 250 of 1000" in short[1] and "will have come down" in short[1]


@pytest.mark.parametrize(
    ("seconds", "words"), [(40, "40 s"), (1500, "25 min"), (12000, "3 h 20 min")]
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("each", "limit", "wanted"), [(100.0, None, True), (0.1, None, False), (100.0, 60.0, False)]
)
def test_it_compiles_where_that_pays(
    tiny: Recipe,
    store: PictureStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    each: float,
    limit: float | None,
    wanted: bool,
) -> None:
    compiled = []
    monkeypatch.setattr(supervising, "compiler_exists", lambda _: True)
    monkeypatch.setattr(
        supervising, "train", lambda *_, **more: iter(compiled.append(more["compiled"]) or ())
    )
    training = Training(make_recipe({**tiny.to_dict(), "steps": 60}, "t"), "cpu")
    work = supervise(
        training, Degraded(store, tiny), None, tmp_path / "t.safetensors", Limits(limit),
        each=[each, each],
    )  # fmt: skip
    list(work)
    assert compiled == [wanted]


def test_the_record_goes_on_where_a_training_does(
    tiny: Recipe, store: PictureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe({**tiny.to_dict(), "steps": 40, "validate_every": 15}, "t")
    weights = tmp_path / "t.safetensors"
    table, picture = paths_beside(weights)

    def run(training: Training, last: int) -> None:
        source, pairs = Degraded(store, recipe), ValidationSet(store, recipe)
        for event in supervise(training, source, pairs, weights, Limits(), each=[0.1, 0.1]):
            if isinstance(event, Progress) and event.step == last:
                return

    first = Training(recipe, "cpu", "fp32")
    monkeypatch.setattr(recording, "PAUSE", -1.0)
    run(first, 16)
    with Image.open(picture) as drawn:
        assert drawn.size == (1300, 700)
    monkeypatch.undo()
    first = Training(recipe, "cpu", "fp32")
    run(first, 32)
    second = Training(recipe, "cpu", "fp32")
    second.step = 20  # as from a checkpoint before the kill
    run(second, 40)
    with open(table, newline="") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["step"]) for line in lines] == [10, 15, 20, 30, 40]
    scores = [line["validation_psnr"] for line in lines]
    assert [bool(score) for score in scores] == [False, True, False, True, True]


def test_a_training_without_gain_ends(tiny: Recipe, store: PictureStore, tmp_path: Path) -> None:
    changes = {"steps": 40, "validate_every": 2, "kernel_rate": 1e-9, "other_rate": 1e-9}
    recipe = make_recipe({**tiny.to_dict(), **changes, "weight_decay": 0.0}, "t")
    training = Training(recipe, "cpu", "fp32")
    training.best = 99.0  # nothing is better
    limits = Limits(patience=3)
    source, pairs = Degraded(store, recipe), ValidationSet(store, recipe)
    events = list(supervise(training, source, pairs, tmp_path / "t.safetensors", limits))
    assert training.step == 6 and isinstance(events[-1], Progress)


def test_one_that_is_told_to_stop_saves(tiny: Recipe, store: PictureStore, tmp_path: Path) -> None:
    training = Training(tiny, "cpu", "fp32")
    limits = Limits(stop=lambda: training.step >= 3)
    weights, checkpoint = tmp_path / "t.safetensors", tmp_path / "t.checkpoint"
    source = Degraded(store, tiny)
    list(supervise(training, source, None, weights, limits, checkpoint=checkpoint))
    again = Training(tiny, "cpu", "fp32")
    again.resume(checkpoint)
    assert again.step == 3
