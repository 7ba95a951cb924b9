"""A recorded step leaves the gradients of the step that was recorded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from restore.training import graph, loop
from restore.training.crops import PictureStore
from restore.training.degradations.pairs import Pair
from restore.training.graph import GradientGraph
from restore.training.loop import Training, recordable, seconds_a_step, train
from restore.training.losses import Loss, l1, mse
from restore.training.recipe import Recipe, make_recipe
from restore.training.sources import Degraded


def repeating(run: Callable[[], None]) -> Callable[[], None]:
    """In place of `recording`, where there is no GPU: a replay does all of it again."""
    run()
    return run


def trained(recipe: Recipe, store: PictureStore, device: str) -> Training:
    training = Training(recipe, device, "fp32")
    for _ in train(training, Degraded(store, recipe)):
        pass
    return training


@pytest.mark.parametrize("changes", [{}, {"conditioned": 0.7}, {"loss": ["l1", "mse"]}])
def test_a_training_of_recorded_steps_is_the_same(
    tiny: Recipe, store: PictureStore, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    """In both stages, whose pairs differ in number and size."""
    recipe = make_recipe({**tiny.to_dict(), **changes}, "t")
    plain = trained(recipe, store, "cpu")
    recorded = []

    def record(run: Callable[[], None]) -> Callable[[], None]:
        recorded.append(run)
        return repeating(run)

    monkeypatch.setattr(graph, "recording", record)
    monkeypatch.setattr(loop, "recordable", lambda training: True)
    other = trained(recipe, store, "cpu")
    assert len(recorded) == 2
    assert other.loss == pytest.approx(plain.loss)
    for name, value in plain.network.state_dict().items():
        torch.testing.assert_close(other.network.state_dict()[name], value)


def test_what_gets_no_gradient_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "recording", repeating)
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))

    def differentiate(pair: Pair, loss: Loss) -> Tensor:
        found = loss(pair.degraded * used, pair.clean)
        found.backward()
        return found.detach()

    step = GradientGraph(differentiate, [used, unused])
    for loss, expected in ((mse, 1.0), (l1, 0.5), (l1, 0.5)):
        assert float(step(Pair(torch.zeros(3, 2), torch.ones(3, 2)), loss)) == 1
        assert unused.grad is None
        assert used.grad is not None
        assert used.grad.tolist() == [expected] * 2  # and not the sum of several steps


def test_what_cannot_be_recorded_is_computed(
    tiny: Recipe,
    store: PictureStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plain = trained(tiny, store, "cpu")

    def fail(run: Callable[[], None]) -> Callable[[], None]:
        run()
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(graph, "recording", fail)
    monkeypatch.setattr(loop, "recordable", lambda training: True)
    other = trained(tiny, store, "cpu")
    assert caplog.text.count("could not be recorded: operation not permitted") == 2
    for name, value in plain.network.state_dict().items():
        torch.testing.assert_close(other.network.state_dict()[name], value)


def test_what_is_shared_or_cut_is_not_recorded(tiny: Recipe) -> None:
    assert not recordable(Training(tiny, "cpu"))
    training = Training(tiny, "cpu", accumulate=1)
    training.device = torch.device("cuda")
    assert recordable(training)
    training.accumulate = 2
    assert not recordable(training)


def test_the_estimate_is_of_steps_in_as_many_passes(
    tiny: Recipe, store: PictureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such steps are not recorded, so those that are timed are not, either."""
    recorded: list[Callable[[], None]] = []

    def record(run: Callable[[], None]) -> Callable[[], None]:
        recorded.append(run)
        return repeating(run)

    monkeypatch.setattr(graph, "recording", record)
    monkeypatch.setattr(loop, "recordable", lambda training: training.accumulate == 1)
    recipe = make_recipe({**tiny.to_dict(), "batch": [4, 2]}, "t")
    for accumulate, expected in ((2, 0), (1, 2)):
        training = Training(recipe, "cpu", "fp32", accumulate=accumulate)
        assert len(seconds_a_step(training, Degraded(store, recipe))) == 2
        assert len(recorded) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`")  # torch's compiler, of itself
@pytest.mark.parametrize("compiled", [False, True])
def test_a_gpu_computes_the_same_from_a_recording(
    tiny: Recipe, store: PictureStore, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    training = Training(tiny, "cuda", "fp32")
    recorded = loop._steps(training, Degraded(store, tiny), None, compiled, True).differentiate
    assert isinstance(recorded, GradientGraph)
    parameters = list(training.network.parameters())
    for seed in range(3):
        generator = torch.Generator("cuda").manual_seed(seed)
        pair = Degraded(store, tiny).to(training.device).pairs(2, 16, generator)
        recorded(pair, l1)
        found = [parameter.grad for parameter in parameters]
        training.network.zero_grad()
        recorded.differentiate(pair, l1)
        for parameter, gradient in zip(parameters, found, strict=True):
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-5)
