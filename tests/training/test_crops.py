"""Crops come from where they say, in all eight orientations, in proportion to area."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restore.errors import ReadError, TrainingError
from restore.training.crops import build_store, centre_crops, load_store


def numbered(height: int, width: int, first: int = 0) -> np.ndarray:
    """A picture whose red and green say row and column, and whose blue says which it is."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, first)], axis=2).astype(np.uint8)


def test_a_crop_is_a_connected_square_in_one_of_eight_orientations(
    generator: torch.Generator,
) -> None:
    store = build_store([numbered(40, 60), numbered(33, 17, 1)])
    crops = (store.crops(400, 16, generator) * 255).round().int()
    limits = {0: (40, 60), 1: (33, 17)}
    seen = set()
    for rows, columns, which in crops:
        height, width = limits[int(which[0, 0])]
        assert (which == which[0, 0]).all()
        assert rows.max() < height and columns.max() < width
        down, across = rows[1, 0] - rows[0, 0], rows[0, 1] - rows[0, 0]
        down_c, across_c = columns[1, 0] - columns[0, 0], columns[0, 1] - columns[0, 0]
        seen.add((int(down), int(across), int(down_c), int(across_c)))
        grid = torch.arange(16)
        assert torch.equal(rows, rows[0, 0] + down * grid[:, None] + across * grid[None])
        assert torch.equal(columns, columns[0, 0] + down_c * grid[:, None] + across_c * grid[None])
    assert len(seen) == 8


def test_crops_reach_every_corner(generator: torch.Generator) -> None:
    store = build_store([numbered(18, 19)])
    crops = (store.crops(500, 16, generator) * 255).round()
    assert crops[:, 0].max() == 17 and crops[:, 1].max() == 18
    assert crops[:, :2].min() == 0


def test_pictures_are_drawn_in_proportion_to_their_area(generator: torch.Generator) -> None:
    store = build_store([numbered(100, 100), numbered(20, 50, 1)])
    share = (store.crops(4000, 8, generator)[:, 2, 0, 0] > 0).float().mean()
    assert share.item() == pytest.approx(1000 / 11000, abs=0.02)


def test_of_several_candidates_the_most_detailed_is_taken(generator: torch.Generator) -> None:
    flat = np.full((64, 64, 3), 100, np.uint8)
    busy = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    store = build_store([flat, busy])
    share = [
        (store.crops(500, 16, generator, candidates)[:, 0].std((1, 2)) > 0.1).float().mean().item()
        for candidates in (1, 3)
    ]
    assert share[0] == pytest.approx(1 / 2, abs=0.08)
    assert share[1] == pytest.approx(1 - (1 / 2) ** 3, abs=0.06)


def test_crops_are_channels_last_in_memory(generator: torch.Generator) -> None:
    crops = build_store([numbered(40, 40)]).crops(2, 16, generator)
    assert crops.is_contiguous(memory_format=torch.channels_last)


def test_centre_crops_are_the_middle() -> None:
    crops = centre_crops(build_store([numbered(10, 20)]), 4) * 255
    assert crops[0, 0, :, 0].round().tolist() == [3, 4, 5, 6]
    assert crops[0, 1, 0].round().tolist() == [8, 9, 10, 11]


def test_a_folder_is_read_whole_and_small_pictures_left_out(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    Image.fromarray(numbered(40, 40)).save(tmp_path / "a.png")
    Image.fromarray(numbered(30, 40)[..., 0]).save(tmp_path / "below" / "grey.png")
    Image.fromarray(numbered(8, 40)).save(tmp_path / "small.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    store = load_store(tmp_path, 3, 16)
    assert store.heights.tolist() == [40, 30]
    assert torch.equal(store.samples[:1600], torch.from_numpy(numbered(40, 40)).view(-1, 3))
    assert load_store(tmp_path, 1, 16).samples.shape == (40 * 40 + 30 * 40, 1)


def test_folders_that_cannot_be_trained_on_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="not a folder"):
        load_store(tmp_path / "none", 3, 16)
    with pytest.raises(ReadError, match="no pictures"):
        load_store(tmp_path, 3, 16)
    Image.fromarray(numbered(8, 8)).save(tmp_path / "small.png")
    with pytest.raises(TrainingError, match=r"16 pixels .* or train with a smaller patch$"):
        load_store(tmp_path, 3, 16)
    with pytest.raises(TrainingError, match=r"give larger ones$"):
        load_store(tmp_path, 3, 16, or_else="")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ReadError, match=r"broken\.png"):
        load_store(tmp_path, 3, 8)
