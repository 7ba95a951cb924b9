"""Each recipe of an upscaler trains, and its file is one that upscales."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from restore.errors import TrainingError
from restore.models.upscaler import Upscaler
from restore.models.weights import load_model, read_card
from restore.training.crops import PictureStore
from restore.training.degradations.pairs import Pair, ValidationSet
from restore.training.job import Job, run_job
from restore.training.loop import Training, compile_step, train
from restore.training.recipe import Recipe, load_recipe, make_recipe, shipped_recipes
from restore.training.sources import Degraded

TINY = {"widths": [4, 8], "blocks": [1, 1], "batch": [2, 2], "patch": [8, 12], "steps": 2}
NAMES = sorted(name for name in shipped_recipes() if name.startswith("upscale"))


def tiny_recipe(name: str = "upscale-x2", **changes: object) -> Recipe:
    side = 36 if "x3" in name else 48
    return load_recipe(name, **{**TINY, "validate_side": side, **changes})


@pytest.mark.parametrize("name", NAMES)
def test_each_recipe_trains_and_its_file_says_so(name: str, samples: Path, tmp_path: Path) -> None:
    out = tmp_path / "w.safetensors"
    changes = {**TINY, "validate_side": tiny_recipe(name).validate_side, "validate_every": 2}
    *events, written = run_job(Job(name, changes, samples, samples, out, device="cpu"))
    assert written == out and sum(hasattr(event, "psnr") for event in events) == 2
    card, network = read_card(out), load_model(out)
    assert isinstance(network, Upscaler)
    assert (card.task, card.scale, card.name) == ("upscale", network.scale, name)
    assert card.scores[0]["noise"].endswith(f":{card.scale}") and card.limits
    assert network(torch.zeros(1, 3, 4, 6)).shape == (1, 3, 4 * card.scale, 6 * card.scale)


def test_the_recipes_fit_together() -> None:
    faithful = [f"upscale-x{scale}{end}" for scale in (2, 3, 4) for end in ("", "-fast")]
    assert ["upscale-photo-x4", *faithful] == NAMES
    bytes_in_all = 0
    for name in NAMES:
        recipe = load_recipe(name)
        network = Upscaler(recipe.scale, 3, recipe.widths, recipe.blocks, seed=None)
        bytes_in_all += 2 * sum(p.numel() for p in network.parameters())
        assert name.removesuffix("-fast").endswith(str(recipe.scale))
    assert bytes_in_all < 19e6  # as float16


def test_it_learns(store: PictureStore) -> None:
    changes = {"steps": 60, "batch": [8, 8], "validate_every": 20, "ema": 0.8, "warmup": 5}
    training = Training(tiny_recipe("upscale-x2", **changes), "cpu", "fp32")
    scores = [
        e.psnr
        for e in train(
            training, Degraded(store, training.recipe), ValidationSet(store, training.recipe)
        )
        if e.psnr is not None
    ]
    fresh = Training(tiny_recipe("upscale-x2", steps=1, other_rate=1e-9, kernel_rate=1e-9), "cpu")
    (before,) = train(fresh, Degraded(store, fresh.recipe), ValidationSet(store, fresh.recipe))
    assert before.psnr is not None and scores[-1] > before.psnr + 0.2


def test_another_scale_may_be_the_start() -> None:
    two, four = Training(tiny_recipe("upscale-x2")), Training(tiny_recipe("upscale-x4", seed=3))
    tail = four.network.tail.weight.detach().clone()
    four.start_from(two.best_network())
    assert torch.equal(four.network.head.weight, two.network.head.weight)
    assert torch.equal(four.network.tail.weight, tail)
    with pytest.raises(TrainingError, match="must agree"):
        four.start_from(Upscaler(4, 3, (4, 8), (2, 1)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scale": 5}, "scale 2, 3 or 4"),
        ({"network": "denoiser"}, "scale 2, 3 or 4"),
        ({"degradation": "gaussian"}, "degradations are bicubic"),
        ({"network": "denoiser", "scale": 1}, "degradations are bicubic"),
        ({"validate_side": 50}, "validate_side over scale"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(TrainingError, match=words):
        make_recipe({**tiny_recipe().to_dict(), **changes}, "t")


@torch.no_grad()
def test_the_pooling_is_left_out_of_what_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled, it takes more time on a CPU than all the rest; see `compile_step`."""
    compiled: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., object]:
        compiled.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    network, x = Upscaler(2, 3, (4,), (1,), seed=2), torch.rand(1, 3, 8, 8)
    expected = network(x).mean()
    found = compile_step(lambda pair: network(pair.degraded).mean(), network)(Pair(x, x))
    torch.testing.assert_close(found, expected)
    assert any("conv2d" in name for name in compiled)
    assert not any("avg_pool2d" in name for name in compiled)
