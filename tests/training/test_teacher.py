"""A network that learns what another one answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from restore.errors import TrainingError
from restore.models.denoiser import Denoiser
from restore.models.weights import load_model
from restore.training.crops import PictureStore
from restore.training.degradations.pairs import Pair, ValidationSet
from restore.training.job import Job, run_job
from restore.training.loop import Training, score, train
from restore.training.recipe import Recipe, make_recipe
from restore.training.sources import Degraded
from restore.training.teacher import Teacher

CPU = torch.device("cpu")


def pair(told: bool) -> Pair:
    draws = torch.rand(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return Pair(draws[0], draws[1], torch.tensor([0.0, 20.0, 0.0, 5.0]) if told else None)


@torch.no_grad()
def test_its_answer_takes_the_place_of_the_clean_picture(
    small_network: Denoiser, generator: torch.Generator
) -> None:
    given = pair(told=False)
    plain = Teacher(small_network, 0, CPU, torch.float32).taught(given, generator)
    torch.testing.assert_close(plain.clean, small_network(given.degraded))
    assert plain.degraded is given.degraded
    state = generator.get_state()
    masked = Teacher(small_network, 30, CPU, torch.float32).taught(given, generator)
    generator.set_state(state)
    noise = torch.randn(given.degraded.shape, generator=generator) * (30 / 255)
    views = [small_network(given.degraded + noise), small_network(given.degraded - noise)]
    torch.testing.assert_close(masked.clean, (views[0] + views[1]) / 2)
    assert not torch.allclose(masked.clean, plain.clean, atol=1e-4)


@torch.no_grad()
def test_pictures_that_come_with_their_noise_level_keep_their_clean_one(
    small_network: Denoiser, generator: torch.Generator
) -> None:
    given = pair(told=True)
    taught = Teacher(small_network, 10, CPU, torch.float32).taught(given, generator)
    for index, told in enumerate([False, True, False, True]):
        assert torch.equal(taught.clean[index], given.clean[index]) == told


def test_a_network_comes_closer_to_its_teacher(tiny: Recipe, store: PictureStore) -> None:
    changes = {"steps": 60, "validate_every": 20, "ema": 0.5, "other_rate": 0.01}
    training = Training(make_recipe({**tiny.to_dict(), **changes}, "t"), "cpu", "fp32")
    training.learn_from(Denoiser(widths=(4, 8), blocks=(1, 1), seed=7))
    events = list(
        train(training, Degraded(store, training.recipe), ValidationSet(store, training.recipe))
    )
    scores = [event.psnr for event in events if event.psnr is not None]
    assert scores[-1] > scores[0] + 1


def test_a_teacher_may_teach_a_part_of_the_training(tiny: Recipe, store: PictureStore) -> None:
    """Then the clean pictures are the target, and the validation is against them throughout."""
    recipe = make_recipe({**tiny.to_dict(), "taught": 0.5}, "t")
    training = Training(recipe, "cpu", "fp32")
    training.learn_from(Training(make_recipe({**tiny.to_dict(), "seed": 9}, "t")).best_network())
    given = next(iter(ValidationSet(store, recipe)))
    changed = []
    for step in range(recipe.steps):
        training.step = step
        target = training.targets(given, torch.Generator().manual_seed(0)).clean
        changed.append(not torch.equal(target, given.clean))
    assert changed == [True] * 4 + [False] * 4
    against_the_pictures = score(training, [given])
    training.teacher = None
    assert score(training, [given]) == against_the_pictures


def test_the_card_names_the_teacher(tiny_toml: Path, samples: Path) -> None:
    first, second = (tiny_toml.with_name(f"{name}.safetensors") for name in "ab")
    list(run_job(Job(str(tiny_toml), {}, samples, samples, first)))
    changes = {"antithetic": 5.0, "seed": 3}
    job = Job(str(tiny_toml), changes, samples, samples, second, teacher=str(first))
    list(run_job(job))
    card = load_model(second).card
    assert card is not None
    assert card.training["taught_by"]["steps"] == 8
    assert "teacher's answers" in card.scores[0]["protocol"]
    assert "started_from" not in card.training


def test_what_cannot_be_learned_is_refused(tiny_toml: Path, samples: Path, tiny: Recipe) -> None:
    job = Job(
        str(tiny_toml), {"antithetic": 5.0}, samples, output=tiny_toml.with_name("c.safetensors")
    )
    with pytest.raises(TrainingError, match="name one with --teacher"):
        next(run_job(job))
    with pytest.raises(TrainingError, match="the teacher is a network of 1 channels"):
        Training(tiny, "cpu", "fp32").learn_from(Denoiser(1, widths=(4,), blocks=(1,)))
    with pytest.raises(TrainingError, match="antithetic is between"):
        make_recipe({**tiny.to_dict(), "antithetic": -1.0}, "t")


class Halving(torch.nn.Module):
    """A teacher that moves everything halfway to grey, and keeps what it was told."""

    def __init__(self, noise_inputs: int) -> None:
        super().__init__()
        self.noise_inputs, self.told = noise_inputs, torch.zeros(0)

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        self.told = told
        return 0.5 + 0.2 * (x - 0.5)


@pytest.mark.parametrize("noise_inputs", [1, 3])
def test_where_several_numbers_tell_the_noise_the_teacher_is_asked_where_it_helps(
    noise_inputs: int, generator: torch.Generator
) -> None:
    clean = torch.full((3, 3, 16, 16), 0.5)
    clean[1, :, ::2] = 0.1  # a pattern, which the teacher would erase
    noise = 0.05 * torch.randn(clean.shape, generator=generator)
    noise[2] = 0  # a clean picture
    teacher = Halving(noise_inputs)
    asked = Teacher(teacher, 0.0, torch.device("cpu"), torch.float32)  # type: ignore[arg-type]
    given = Pair(clean, clean + noise, torch.ones(3, 3))
    aim = asked.taught(given, generator).clean
    torch.testing.assert_close(aim[0], 0.5 + 0.2 * noise[0])
    torch.testing.assert_close(aim[1:], clean[1:])
    assert teacher.told.shape == ((2,) if noise_inputs == 1 else (2, 3))
    assert float(teacher.told.flatten()[0]) > 5


def test_a_teacher_that_sees_added_noise_is_told_of_it(generator: torch.Generator) -> None:
    clean = torch.full((2, 3, 64, 64), 0.5)
    noise = 0.05 * torch.randn(clean.shape, generator=generator)
    teacher = Halving(3)
    asked = Teacher(teacher, 30.0, torch.device("cpu"), torch.float32)  # type: ignore[arg-type]
    aim = asked.taught(Pair(clean, clean + noise, torch.ones(2, 3)), generator).clean
    torch.testing.assert_close(aim, 0.5 + 0.2 * noise)  # the mean over both signs
    of_all = 0.668 * (30**2 + (0.05 * 255) ** 2) ** 0.5  # in brightness
    assert float(teacher.told[0, 0]) == pytest.approx(of_all, rel=0.1)
