"""What is asked of the machine, resolved in one place or refused in words."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
import torch

from restore.engine.compute import Compute
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
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(asked: Compute, words: str) -> None:
    with pytest.raises(InputError, match=words):
        asked.resolve()
