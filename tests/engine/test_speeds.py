"""What was measured is kept for this machine, and auto takes what it promises to be faster."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from restore.engine import speeds as measured
from restore.engine.backend import ArraySource, PaddedRows
from restore.engine.compute import Resources
from restore.engine.run import choose_backend, plans_of
from restore.engine.speeds import Speed, choose, expected, layers_of, measure, read_speeds
from restore.engine.tiled import TileBackend
from restore.models.denoiser import Denoiser
from restore.models.ensemble import Ensemble

CPU, FP32 = torch.device("cpu"), torch.float32


@pytest.fixture(autouse=True)
def own_cache(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(measured, "_missed", {})


def speed(network: Denoiser, engine: str, rate: float, first: float = 0.0) -> Speed:
    return Speed("tiny", layers_of(network), "fp32", engine, rate, first, first)


def source_of(network: Denoiser, side: int) -> PaddedRows:
    blank = np.broadcast_to(np.float32(0), (side, side, 3))
    return PaddedRows(ArraySource(blank), network.multiple_of, network.border)


def engine_for(network: Denoiser, side: int, *speeds: Speed) -> str:
    """The engine that is chosen, where each of them has the plan of tiles."""
    found = {s.engine: s for s in speeds}
    plan = TileBackend().plan(
        network, source_of(network, side), Resources(CPU, FP32), ordered=False
    )
    return choose(network, dict.fromkeys(found, plan), found)


def test_what_was_measured_is_read_again(small_network: Denoiser) -> None:
    assert read_speeds() == []
    rows = [speed(small_network, "torch", 2.0), speed(small_network, "onnx", 3.0, 1.5)]
    assert measured.write_speeds(rows)
    assert read_speeds() == rows
    found = measured.speeds_of(Ensemble(small_network), Resources(CPU, FP32))
    assert found["onnx"].rate == 3
    assert measured.speeds_of(small_network, Resources(CPU, torch.bfloat16)) == {}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"machine": 1, "speeds": [{}]}'])
def test_a_file_that_is_damaged_or_of_another_machine_counts_as_none(
    small_network: Denoiser, content: str
) -> None:
    measured.write_speeds([speed(small_network, "torch", 2.0)])
    found = json.loads(measured.speeds_file().read_text())
    measured.speeds_file().write_text(json.dumps({**found, "machine": "another"}))
    assert read_speeds() == []
    measured.speeds_file().write_text(content)
    assert read_speeds() == []


def test_a_gain_below_a_twentieth_is_none(small_network: Denoiser) -> None:
    torchs = speed(small_network, "torch", 1.0)
    assert engine_for(small_network, 900, torchs, speed(small_network, "onnx", 1.04)) == "torch"
    assert engine_for(small_network, 900, torchs, speed(small_network, "onnx", 1.06)) == "onnx"
    assert engine_for(small_network, 900, torchs, speed(small_network, "onnx", 0.5)) == "torch"


def test_a_large_picture_pays_for_getting_ready_at_once(small_network: Denoiser) -> None:
    speeds = speed(small_network, "torch", 1.0), speed(small_network, "onnx", 2.0, 1.0)
    assert engine_for(small_network, 1000, *speeds) == "torch"  # saves half a second
    assert engine_for(small_network, 2000, *speeds) == "onnx"  # saves two


def test_small_pictures_pay_for_it_together(small_network: Denoiser) -> None:
    speeds = speed(small_network, "torch", 1.0), speed(small_network, "onnx", 2.0, 1.0)
    chosen = [engine_for(small_network, 800, *speeds) for _ in range(5)]  # 0.33 seconds each
    assert chosen == ["torch"] * 3 + ["onnx"] * 2


def test_nothing_measured_a_tile_or_a_limit_is_torch(small_network: Denoiser) -> None:
    source = source_of(small_network, 2000)
    nothing = choose_backend(small_network, Resources(CPU, FP32), source)
    rows = [speed(small_network, "torch", 1.0), speed(small_network, "openvino", 9.0)]
    measured.write_speeds(rows)
    for resources in (Resources(CPU, FP32, memory=10**9), Resources(CPU, FP32, tile=128)):
        chosen = choose_backend(small_network, resources, source)
        assert chosen is choose_backend(
            small_network, resources.__class__(CPU, FP32, resources.tile)
        )
    assert type(nothing).__name__ == "RowBackend"


def test_auto_takes_the_engine_that_was_measured_to_be_faster(small_network: Denoiser) -> None:
    pytest.importorskip("openvino", reason="pip install '.[openvino]'")
    rows = [speed(small_network, "torch", 1.0), speed(small_network, "openvino", 9.0)]
    measured.write_speeds(rows)
    source = source_of(small_network, 1000)
    backend = choose_backend(small_network, Resources(CPU, FP32), source)
    assert type(backend).__name__ == "OpenVinoBackend"
    asked = Resources(CPU, FP32, engine="torch")
    assert type(choose_backend(small_network, asked, source)).__name__ == "RowBackend"
    plans = plans_of(small_network, Resources(CPU, FP32), source, ["torch", "openvino"])
    seconds = expected(plans, {row.engine: row for row in rows})
    assert seconds["torch"] > 8 * seconds["openvino"]


def test_an_engine_is_measured_from_nothing_and_from_its_cache(small_network: Denoiser) -> None:
    plan = TileBackend().plan(
        small_network, source_of(small_network, 100), Resources(CPU, FP32), ordered=False
    )
    calls = []
    found = measure("tiny", small_network, "fp32", "onnx", lambda: calls.append(0) or plan)
    assert len(calls) == 4 and found.rate > 0
    assert min(found.first, found.again) >= 0
    assert measure("tiny", small_network, "fp32", "torch", lambda: plan).first == 0
