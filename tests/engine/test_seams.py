"""Blended tiles: weights that sum up to 1, no seam, every row written once; sizes, precisions."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from restore.engine.backend import ArraySource, OrderedSink, Plan
from restore.engine.compute import Resources
from restore.engine.run import run, run_array, run_together
from restore.engine.seams import overlapping, seam_notes
from restore.engine.tiling import split_axis
from restore.image.picture import Pixels
from restore.models.ensemble import Ensemble
from restore.models.network import BaseNetwork

CPU, FP32 = torch.device("cpu"), torch.float32


def picture(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).random((height, width, 3), np.float32)


class Mean(BaseNetwork):
    """Adds the mean of its whole input: no halo is enough."""

    channels, scale, multiple_of, halo, blend = 3, 1, 4, 16, 8

    def __call__(self, x: Tensor) -> Tensor:
        return x + x.mean(dim=(2, 3), keepdim=True)


def test_the_weights_of_each_pixel_sum_up_to_one() -> None:
    draw = random.Random(0)
    for _ in range(300):
        multiple, blend, scale = draw.choice([1, 4, 8]), draw.randint(1, 12), draw.choice([1, 2, 3])
        halo = -(-(blend + draw.randint(0, 20)) // multiple) * multiple
        length = multiple * draw.randint(20, 100)
        window = 2 * halo + multiple * draw.randint(1, 12)
        total = np.zeros(scale * length)
        for part in overlapping(split_axis(length, window, halo, multiple), blend, scale):
            assert part.span.first >= part.span.start
            assert part.span.last <= part.span.start + part.span.window
            assert len(part.weights) == scale * (part.span.last - part.span.first)
            total[part.span.write(scale)] += part.weights
        np.testing.assert_allclose(total, 1, atol=1e-5)


def test_the_identity_is_the_identity_blended_too(identity: Any) -> None:
    draw = random.Random(1)
    for case in range(100):
        multiple = draw.choice([1, 2, 8])
        network = identity(draw.randint(6, 14), multiple)
        network.blend = draw.randint(1, 6)
        network.border = multiple * draw.randint(0, 2)
        pixels = picture(draw.randint(1, 90), draw.randint(1, 90), case)
        tile = 2 * (network.halo + multiple) + 16 + draw.randint(0, 30)
        output = run_array(network, pixels, Resources(CPU, FP32, tile=tile))
        np.testing.assert_allclose(output.pixels, pixels, atol=1e-6)


def test_a_network_that_sees_everything_leaves_no_step_at_the_edges_of_tiles() -> None:
    pixels = np.full((40, 160, 3), 0.1, np.float32)
    pixels[:, 80:] = 0.9
    network = Mean()

    def steps(blend: int) -> float:
        network.blend = blend
        output = run_array(network, pixels, Resources(CPU, FP32, tile=64))
        assert output.plan.tiles > 1
        return float(np.abs(np.diff(output.pixels - pixels, axis=1)).max())

    assert steps(8) < 0.1 * steps(0)


@pytest.mark.parametrize("start", [0, 44])
def test_rows_are_delivered_once_and_in_order(start: int) -> None:
    network, pixels, bands = Mean(), picture(120, 70), []
    whole = run_array(network, pixels, Resources(CPU, FP32, tile=48)).pixels
    sink = OrderedSink(70, lambda first, rows: bands.append((first, rows)), start)
    run(network, ArraySource(pixels), sink, Resources(CPU, FP32, tile=48), start=start)
    assert bands[0][0] == start
    delivered = np.concatenate([rows for _, rows in bands])
    np.testing.assert_allclose(delivered, whole[start:], atol=1e-6)


def test_one_tile_is_the_whole_and_needs_no_note() -> None:
    network, pixels = Mean(), picture(60, 50)
    whole = run_array(network, pixels, Resources(CPU, FP32))
    tiled = run_array(network, pixels, Resources(CPU, FP32, tile=48))
    assert whole.plan.tiles == 1 < tiled.plan.tiles
    assert seam_notes(network, whole.plan) == ()
    (note,) = seam_notes(network, tiled.plan)
    assert "cannot equal" in note and f"{tiled.plan.tiles} tiles" in note


def sized(identity: Any, **declared: Any) -> Any:
    network = identity(2, 4)
    for name, value in declared.items():
        setattr(network, name, value)
    return network


@pytest.mark.parametrize("size", [(1, 1), (30, 200), (200, 30), (90, 90)])
def test_no_window_is_smaller_than_the_minimum(identity: Any, size: tuple[int, int]) -> None:
    for tile in (None, 64, 40):
        network = sized(identity, minimum=40)
        output = run_array(network, picture(*size), Resources(CPU, FP32, tile=tile))
        assert min(min(shape[2:]) for shape in network.shapes) >= 40
        np.testing.assert_array_equal(output.pixels, picture(*size))


@pytest.mark.parametrize("size", [(1, 1), (30, 200), (200, 30), (90, 120)])
def test_windows_are_square_for_networks_that_need_it(identity: Any, size: tuple[int, int]) -> None:
    for tile in (None, 64, 24):
        network = sized(identity, minimum=16, square=True)
        pixels = picture(*size)
        output = run_array(network, pixels, Resources(CPU, FP32, tile=tile))
        assert all(shape[2] == shape[3] for shape in network.shapes)
        np.testing.assert_array_equal(output.pixels, pixels)
        run_together(network, [pixels, pixels], Resources(CPU, FP32))
        assert all(shape[2] == shape[3] for shape in network.shapes)


def test_a_precision_that_a_network_cannot_run_in_is_float32(identity: Any) -> None:
    half = Resources(CPU, torch.bfloat16)
    assert half.fitting(identity()) is half
    network = sized(identity, precisions=("fp32", "fp16"))
    assert half.fitting(network).dtype == FP32
    assert run_array(network, picture(20, 20), half).plan.dtype == FP32


def test_a_measured_footprint_makes_tiles_smaller(identity: Any) -> None:
    def plan(footprint: int) -> Plan:
        network = sized(identity, footprint=footprint)
        memory = Resources(CPU, FP32, memory=12_000_000)
        return run_array(network, picture(300, 300), memory).plan

    assert plan(10).tiles == 1 < plan(100).tiles < plan(400).tiles
    assert plan(400).memory <= 12_000_000


def test_an_ensemble_declares_what_its_network_does() -> None:
    network = Mean()
    network.minimum, network.square, network.precisions = 8, True, ("fp32",)
    around = Ensemble(network)
    assert (around.blend, around.minimum, around.square) == (8, 8, True)
    assert around.precisions == ("fp32",)
