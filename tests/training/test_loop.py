"""Training learns, resumes as if nothing had happened, and stops when told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from restore.errors import TrainingError
from restore.training.checkpoint import load_checkpoint, save_checkpoint
from restore.training.crops import PictureStore, build_store
from restore.training.degradations.pairs import Pair, ValidationSet
from restore.training.loop import Limits, Progress, Training, train
from restore.training.recipe import Recipe, make_recipe
from restore.training.sources import Degraded


def run(training: Training, store: PictureStore, steps: int | None = None) -> list[Progress]:
    """All steps, or the first few of them, as a kill would leave it."""
    events = []
    pairs = ValidationSet(store, training.recipe)
    for progress in train(training, Degraded(store, training.recipe), pairs):
        events.append(progress)
        if progress.step == steps:
            break
    return events


def assert_equal_states(one: Training, other: Training) -> None:
    for mine, theirs in (
        (one.network, other.network),
        (one.average, other.average),
        (one.best_network(), other.best_network()),
    ):
        for key, value in mine.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[key]), key


@pytest.mark.parametrize("ahead", [1, 3])
@pytest.mark.parametrize("killed_at", [1, 4, 6])
def test_killed_and_resumed_equals_uninterrupted(
    tiny: Recipe,
    store: PictureStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed_at: int,
    ahead: int,
) -> None:
    """Also where the crops of several steps are drawn at once, as on a GPU."""
    monkeypatch.setattr(Training, "ahead", ahead)
    whole = Training(tiny, "cpu", "fp32")
    run(whole, store)
    first = Training(tiny, "cpu", "fp32")
    run(first, store, killed_at)
    save_checkpoint(first.state(), tmp_path / "c")
    second = Training(make_recipe(tiny.to_dict(), "t"), "cpu", "fp32")
    second.resume(tmp_path / "c")
    run(second, store)
    assert second.step == whole.step == tiny.steps
    assert second.best == whole.best
    assert_equal_states(second, whole)


def test_drawn_ahead_each_step_has_its_own_share_of_each_kind(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a picture that brightens by a level a row, and by two where it is halved: one of each."""
    monkeypatch.setattr(Training, "ahead", 4)
    rows = np.arange(96, dtype=np.uint8)[:, None, None]
    recipe = make_recipe({**tiny.to_dict(), "halved": 0.5, "grey": 0.0, "sigma": [0, 0]}, "t")
    training = Training(recipe, "cpu", "fp32")
    seen: list[Pair] = []

    def keep(pair: Pair, generator: torch.Generator) -> Pair:
        seen.append(pair)
        return pair

    monkeypatch.setattr(training, "targets", keep)
    source = Degraded(build_store([np.broadcast_to(rows, (96, 96, 3))]), recipe)
    for _ in train(training, source, None):
        pass
    assert [len(pair.clean) for pair in seen] == [2] * 4 + [1] * 4
    slopes = [
        sum((pair.clean[index] * 255).diff(dim=axis).abs().mean().round() for axis in (1, 2))
        for pair in seen[:4]
        for index in range(2)
    ]
    assert slopes == [1, 2] * 4
    assert len({float(pair.clean.sum()) for pair in seen}) > 4


def test_it_learns(tiny: Recipe, store: PictureStore) -> None:
    changes = {"steps": 250, "batch": [8, 8], "validate_every": 250, "ema": 0.9, "other_rate": 0.01}
    recipe = make_recipe({**tiny.to_dict(), **changes}, "t")
    training = Training(recipe, "cpu", "fp32")
    events = run(training, store)
    assert events[-1].psnr is not None
    assert events[-1].psnr > 20.2 + 4  # noise of sigma 25 alone leaves 20.2 dB
    assert events[-1].loss < 0.6 * events[0].loss


def test_the_best_validated_weights_are_kept(tiny: Recipe, store: PictureStore) -> None:
    training = Training(tiny, "cpu", "fp32")
    scores = [e.psnr for e in run(training, store) if e.psnr is not None]
    assert len(scores) == 2
    assert training.best == max(scores)


def test_the_same_seed_gives_the_same_network(tiny: Recipe, store: PictureStore) -> None:
    trainings = [Training(tiny, "cpu", "fp32") for _ in range(2)]
    for training in trainings:
        run(training, store)
    assert_equal_states(*trainings)
    other = Training(make_recipe({**tiny.to_dict(), "seed": 1}, "t"), "cpu", "fp32")
    assert not torch.equal(other.network.head.weight, Training(tiny).network.head.weight)


def test_a_time_limit_saves_and_stops(tiny: Recipe, store: PictureStore, tmp_path: Path) -> None:
    recipe = make_recipe({**tiny.to_dict(), "steps": 100_000}, "t")
    training = Training(recipe, "cpu", "fp32")
    path = tmp_path / "t.checkpoint"
    source, pairs = Degraded(store, recipe), ValidationSet(store, recipe)
    events = list(train(training, source, pairs, path, Limits(0.5)))
    assert 1 <= len(events) < 100_000
    assert events[-1].psnr is not None  # what was reached is validated
    assert load_checkpoint(path)["step"] == events[-1].step


def test_within_a_time_limit_the_whole_schedule_is_run(
    tiny: Recipe, store: PictureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds, of a clock that a step moves on by one; and ten more, from the checkpoint."""
    steps = 100
    changes = {"steps": steps, "warmup": 0, "decay": 1.0, "loss": ["l1", "log_mse"]}
    recipe = make_recipe({**tiny.to_dict(), **changes}, "t")
    training = Training(recipe, "cpu", "fp32")
    monkeypatch.setattr("restore.training.loop.time.monotonic", lambda: float(training.step))
    path = tmp_path / "t.checkpoint"

    def followed() -> list[tuple[int, float]]:
        """Crops and the factor on the rates, step by step."""
        found, batch = [], training.stage.batch
        for _ in train(training, Degraded(store, recipe), None, path, Limits(10.0)):
            found.append((batch, training.rate))
            batch = training.stage.batch if training.passed < 1 else 0
        return found

    first = followed()
    assert [batch for batch, _ in first] == [2] * 5 + [1] * 5
    assert [rate for _, rate in first] == pytest.approx([1 - step / 10 for step in range(10)])
    training = Training(recipe, "cpu", "fp32")
    training.resume(path)
    again = followed()  # a tenth of the steps has been made
    assert [rate for _, rate in again] == pytest.approx([0.9 * (1 - n / 10) for n in range(10)])
    assert training.step == 20
    training = Training(recipe, "cpu", "fp32")
    training.step = 99  # one step is left, and much time
    assert followed() == [(1, pytest.approx(0.01))]


def test_another_recipe_does_not_resume(tiny: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "c"
    save_checkpoint(Training(tiny).state(), path)
    other = Training(make_recipe({**tiny.to_dict(), "loss": "mse"}, "t"))
    with pytest.raises(TrainingError, match="loss differ"):
        other.resume(path)
    longer = Training(make_recipe({**tiny.to_dict(), "steps": 99}, "t"))
    longer.resume(path)


def test_checkpoints_that_are_not_whole_are_refused(tiny: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "c"
    with pytest.raises(TrainingError, match="no checkpoint"):
        load_checkpoint(path)
    save_checkpoint(Training(tiny).state(), path)
    data = path.read_bytes()
    for length in (0, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(TrainingError, match="not a complete checkpoint"):
            load_checkpoint(path)
    assert [p.name for p in tmp_path.iterdir()] == ["c"]  # nothing left aside


def test_a_loss_that_is_no_number_stops_in_words(tiny: Recipe, store: PictureStore) -> None:
    training = Training(tiny, "cpu", "fp32")
    training.network.tail.weight.data.fill_(float("nan"))
    with pytest.raises(TrainingError, match="lower the learning rates"):
        run(training, store)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_it_trains_on_a_gpu(tiny: Recipe, store: PictureStore) -> None:
    training = Training(tiny, "cuda")
    run(training, store)
    assert training.step == tiny.steps


def test_a_deeper_network_begins_with_what_the_other_could_do(tiny: Recipe) -> None:
    small = Training(tiny).best_network()
    deep = Training(make_recipe({**tiny.to_dict(), "blocks": [2, 3]}, "t"))
    deep.start_from(small)
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(deep.best_network()(x), small(x))
    assert len(deep.best_network().state_dict()) > len(small.state_dict())
    with pytest.raises(TrainingError, match="more blocks"):
        Training(tiny).start_from(deep.best_network())


def test_one_that_is_told_begins_as_the_blind_one_and_learns_to_listen(
    tiny: Recipe, store: PictureStore
) -> None:
    blind = Training(tiny).best_network()
    training = Training(make_recipe({**tiny.to_dict(), "conditioned": 0.7}, "t"), "cpu", "fp32")
    training.start_from(blind)
    x, sigma = torch.rand(1, 3, 16, 16), torch.tensor([25.0])
    with torch.no_grad():
        torch.testing.assert_close(training.best_network()(x, sigma), blind(x))
    run(training, store)
    listening = training.network.cpu()
    with torch.no_grad():
        assert not torch.equal(listening(x, sigma), listening(x))
    Training(tiny).start_from(training.best_network())  # and back: it forgets how to listen
