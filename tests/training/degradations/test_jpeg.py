"""JPEG by OpenCV and on tensors, against Pillow's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from restore.image.read import load_image
from restore.training.degradations.jpeg import TO_RGB, TO_YCC, by_opencv, jpeg, mix, on_tensors
from restore.training.degradations.noise import compress_jpeg


@pytest.fixture
def picture(samples: Path) -> Tensor:
    pixels = load_image(samples / "fur-clean.png").pixels[:160, :176]
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()


def differing(mine: Tensor, theirs: Tensor) -> float:
    """The share of values that differ: a coefficient may round the other way in another order."""
    return float(((mine - theirs).abs() > 1e-6).float().mean())


@pytest.mark.parametrize("compress", [by_opencv, on_tensors])
@pytest.mark.parametrize("quality", [10, 30, 50, 75, 90, 100])
def test_it_is_pillows_within_a_level(
    picture: Tensor, quality: int, compress: Callable[[Tensor, Tensor], Tensor]
) -> None:
    ours = compress((picture * 255).round(), torch.tensor([quality])) * 255
    pillow = compress_jpeg(picture, quality) * 255
    difference = (ours - pillow).abs()
    assert difference.mean() < 0.6
    assert (difference <= 2).float().mean() > 0.96
    if quality < 100:
        assert difference.mean() < 0.25 * (pillow - picture * 255).abs().mean()


def test_each_picture_has_its_quality(picture: Tensor) -> None:
    pair = jpeg(picture.repeat(2, 1, 1, 1), torch.tensor([10, 95]))
    for index, quality in enumerate((10, 95)):
        assert differing(pair[index], jpeg(picture, torch.tensor([quality]))[0]) < 0.01


def test_the_grid_of_blocks_moves_with_the_shift(picture: Tensor) -> None:
    quality = torch.tensor([20])
    moved = jpeg(picture[..., 5:, 3:], quality, (5, 3))
    whole = jpeg(picture, quality)[..., 5:, 3:]
    assert differing(moved[..., 12:, 14:], whole[..., 12:, 14:]) < 0.01
    assert differing(jpeg(picture[..., 5:, 3:], quality), whole) > 0.5


def test_any_size_and_only_levels(picture: Tensor) -> None:
    for height, width in ((1, 1), (7, 30), (33, 16)):
        result = jpeg(picture[..., :height, :width], torch.tensor([40]))
        assert result.shape == (1, 3, height, width)
        torch.testing.assert_close(result * 255, (result * 255).round(), atol=1e-4, rtol=0)


def test_the_two_colour_matrices_undo_each_other() -> None:
    planes = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(mix(mix(planes, TO_YCC), TO_RGB), planes, atol=1e-5, rtol=0)
