"""What is asked of the machine, resolved in one place or refused in words."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
import torch

from restore.engine import compute
from restore.engine.compute import Compute, check_engine
from restore.errors import InputError


def test_it_resolves_names_and_sizes() -> None:
    found = Compute("cpu", "fp32", 64, "2MB").resolve()
    assert (found.device.type, found.dtype) == ("cpu", torch.float32)
    assert (found.tile, found.memory) == (64, 2_000_000)
    assert Compute(torch.device("cpu")).resolve().device == torch.device("cpu")


def test_several_devices_share_the_memory() -> None:
    found = Compute("cpu,cpu", "fp32", memory="3MB").resolve_each()
    assert [each.memory for each in found] == [1_500_000] * 2
    assert [each.memory for each in Compute("cpu,cpu").resolve_each()] == [None] * 2


def test_it_travels_between_processes_and_is_never_changed() -> None:
    asked = Compute("cpu", "bf16", 32, 5)
    assert pickle.loads(pickle.dumps(asked)) == asked
    with pytest.raises(dataclasses.FrozenInstanceError):
        asked.tile = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Compute("gpu"), "not a device"),
        (Compute(precision="int8"), "not a precision"),
        (Compute(tile=0), "above 0"),
        (Compute(tile="a"), "whole number of pixels"),  # type: ignore[arg-type]
        (Compute(memory="much"), "write it like"),
        (Compute(memory=1.5), "write it like"),  # type: ignore[arg-type]
        (Compute(memory=0), "write it like"),
        (Compute(None), "not a device"),  # type: ignore[arg-type]
        (Compute(engine="tensorrt"), "not an engine; choose auto, torch, openvino, onnx"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(asked: Compute, words: str) -> None:
    with pytest.raises(InputError, match=words):
        asked.resolve()


def test_an_engine_that_is_missing_is_refused_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compute, "installed_engines", lambda: ["torch"])
    for name in ("openvino", "onnx"):
        with pytest.raises(InputError, match=rf"pip install 'restore-images\[{name}\]'"):
            check_engine(name)
    check_engine("torch", "cuda")


def test_other_engines_run_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "installed_engines", lambda: ["torch", "onnx"])
    monkeypatch.setattr("restore.engine.device.available_devices", lambda: ["cuda", "cpu"])
    assert Compute(engine="onnx").resolve().device.type == "cpu"
    with pytest.raises(InputError, match="runs on the CPU"):
        check_engine("onnx", "cuda")
