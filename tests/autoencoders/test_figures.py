"""Figures: what is drawn stands where it should, and files are neither lost nor misnamed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restore.autoencoders.figures import (
    draw_compressed,
    draw_curves,
    draw_grid,
    draw_heat,
    draw_rows,
    draw_scatter,
    filter_pictures,
    new_figure,
    picture_grid,
    save_figure,
)
from restore.errors import InputError, WriteError


def test_a_figure_is_written_and_replaced_only_if_wanted(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    figure = new_figure(2, 1)
    save_figure(figure, path)
    with Image.open(path) as image:
        assert image.format == "PNG" and image.width > image.height
    first = path.read_bytes()
    with pytest.raises(WriteError, match="exists"):
        save_figure(new_figure(3, 1), path)
    assert path.read_bytes() == first
    save_figure(new_figure(3, 1), path, overwrite=True)
    assert path.read_bytes() != first
    with pytest.raises(InputError, match=r"must end in \.png"):
        save_figure(figure, tmp_path / "a.jpg")
    with pytest.raises(WriteError, match="cannot be written"):
        save_figure(figure, tmp_path / "no" / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_grid_has_the_pictures_in_reading_order_with_white_gaps() -> None:
    pictures = torch.stack([torch.full((1, 3, 4), value) for value in (0.0, 0.2, 0.4)])
    grid = picture_grid(pictures, columns=2, gap=1)
    assert grid.shape == (2 * 4 + 1, 2 * 5 + 1, 1)
    np.testing.assert_allclose(grid[1:4, 1:5], 0)
    np.testing.assert_allclose(grid[1:4, 6:10], 0.2)
    np.testing.assert_allclose(grid[5:8, 1:5], 0.4)
    np.testing.assert_allclose(grid[5:8, 6:10], 1)  # there is no fourth picture
    np.testing.assert_allclose(grid[[0, 4, 8]], 1)


def test_the_strongest_filters_come_first_and_zero_is_grey() -> None:
    weights = torch.tensor([[0.1, 0, 0, 0], [0, -4.0, 2.0, 0], [1.0, 0, 0, 0]])
    found = filter_pictures(weights, (1, 2, 2), 2)
    torch.testing.assert_close(found[0], torch.tensor([[[0.5, 0.0], [0.75, 0.5]]]))
    torch.testing.assert_close(found[1], torch.tensor([[[1.0, 0.5], [0.5, 0.5]]]))


def test_rows_show_every_picture_beside_its_name() -> None:
    figure = draw_rows({"a": torch.zeros(3, 1, 4, 4), "b": torch.ones(2, 3, 4, 4)}, "title")
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 5
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert words == ["a", "b"]


def test_curves_are_logarithmic_where_they_can_be() -> None:
    figure = draw_curves({"training": [(1, 5.0), (2, 2.0)], "test": [(1, 6.0)]}, "loss")
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "test"]
    (axes,) = draw_curves({"training": [(1, 5.0), (2, -2.0)]}, "loss").axes
    assert axes.get_yscale() == "linear"


def test_a_scatter_has_a_colour_for_each_label(generator: torch.Generator) -> None:
    points = torch.rand(30, 2, generator=generator)
    (axes,) = draw_scatter(points, torch.arange(30) % 3, "codes", ("z0", "z1")).axes
    assert [len(part.get_offsets()) for part in axes.collections] == [10, 10, 10]
    assert len({tuple(part.get_facecolor()[0]) for part in axes.collections}) == 3
    (axes,) = draw_scatter(points, None, "codes", ("z0", "z1")).axes
    assert axes.get_legend() is None
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z0", "z1")


def test_heat_and_mask_are_drawn_beside_the_picture(rng: np.random.Generator) -> None:
    picture, heat = rng.random((6, 9, 3)), rng.random((6, 9))
    for mask, panels in ((None, 2), (heat > 0.5, 3)):
        figure = draw_heat(picture, heat, mask, "title")
        assert sum(bool(axes.images) for axes in figure.axes) == panels


def test_compressed_pictures_stand_under_their_names(rng: np.random.Generator) -> None:
    picture = rng.random((6, 9, 1)).astype(np.float32)
    figure = draw_compressed(picture, {f"{n} components": picture for n in (1, 5, 9)})
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == ["original", "1 components", "5 components", "9 components"]


def test_a_grid_figure_has_its_title() -> None:
    (axes,) = draw_grid(torch.zeros(4, 1, 3, 3), 2, "four").axes
    assert axes.get_title() == "four"
