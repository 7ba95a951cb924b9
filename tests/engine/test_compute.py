"""What is asked of the machine, resolved in one place or refused in words."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from restore.engine import compute
from restore.engine.compute import Compute, check_engine, parse_bytes
from restore.engine.run import run_array, run_together
from restore.errors import InputError
from restore.models.card import ModelCard
from restore.models.denoiser import Denoiser
from restore.models.upscaler import Upscaler


def test_it_resolves_names_and_sizes() -> None:
    found = Compute("cpu", "fp32", 64, "2MB").resolve()
    assert (found.device.type, found.dtype) == ("cpu", torch.float32)
    assert (found.tile, found.memory) == (64, 2_000_000)
    assert Compute(torch.device("cpu")).resolve().device == torch.device("cpu")


@pytest.mark.parametrize(
    ("text", "count"),
    [("2GB", 2 * 10**9), ("1.5 gib", 3 * 2**29), ("800M", 8 * 10**8), ("7", 7), (5, 5)],
)
def test_sizes_are_read_as_people_write_them(text: str | int, count: int) -> None:
    assert parse_bytes(text) == count
    assert parse_bytes(None) is None


@pytest.mark.parametrize("text", ["", "2 GBs", "-1", "much", "0", 0, "1e9"])
def test_other_words_are_refused_with_one_that_works(text: str | int) -> None:
    with pytest.raises(InputError, match="write it like"):
        parse_bytes(text)


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
        (Compute(precision=["fp32"]), "not a precision"),  # type: ignore[arg-type]
        (Compute(memory="9" * 5000 + "GB"), "not an amount of memory"),
        (Compute(memory=1.5), "not an amount of memory"),  # type: ignore[arg-type]
        (Compute(tile="a"), "whole number"),  # type: ignore[arg-type]
        (Compute(device=None), "not a device"),  # type: ignore[arg-type]
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


def test_numbers_of_numpy_are_numbers() -> None:
    found = Compute("cpu", "fp32", np.int64(64), np.int64(10**9)).resolve()  # type: ignore[arg-type]
    assert (found.tile, found.memory) == (64, 10**9)
    assert type(found.tile) is type(found.memory) is int


def test_a_bf16_that_was_chosen_gives_way_to_float32_for_upscalers_that_are_not_close(
    monkeypatch: pytest.MonkeyPatch, small_network: Denoiser
) -> None:
    monkeypatch.setattr("restore.engine.device.has_fast_bf16", lambda: True)
    upscaler = Upscaler(2, 3, (4, 8), (1, 1))
    chosen, asked = Compute("cpu").resolve(), Compute("cpu", "bf16").resolve()
    assert chosen.fitting(small_network).dtype == torch.bfloat16
    assert chosen.fitting(upscaler).dtype == torch.float32
    assert asked.fitting(upscaler).dtype == torch.bfloat16
    near = Upscaler(2, 3, (4, 8), (1, 1))
    near.card = ModelCard("u", "upscale", "Upscaler", near.arguments, scale=2, close=["bf16"])
    assert chosen.fitting(near).dtype == torch.bfloat16
    pixels = np.zeros((8, 8, 3), np.float32)
    assert run_array(upscaler, pixels, chosen).plan.dtype == torch.float32
    assert run_together(upscaler, [pixels] * 2, chosen)[0].plan.dtype == torch.float32


def test_an_engine_that_is_missing_is_refused_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compute, "installed_engines", lambda: ["torch"])
    for name, needed in (("openvino", "openvino"), ("onnx", "onnx onnxscript onnxruntime")):
        with pytest.raises(InputError, match=rf"`pip install {needed}`"):
            check_engine(name)
    check_engine("torch", "cuda")


def test_other_engines_run_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "installed_engines", lambda: ["torch", "onnx"])
    monkeypatch.setattr("restore.engine.device.available_devices", lambda: ["cuda", "cpu"])
    assert Compute(engine="onnx").resolve().device.type == "cpu"
    with pytest.raises(InputError, match="runs on the CPU"):
        check_engine("onnx", "cuda")
