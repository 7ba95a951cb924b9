"""Devices and precisions are found out, and wrong names answered with the right ones."""

from __future__ import annotations

import pytest
import torch

from restore.engine import device as runtime
from restore.errors import InputError

CPU = torch.device("cpu")


def test_auto_takes_what_is_there() -> None:
    assert runtime.choose_device("auto").type == runtime.available_devices()[0]
    assert runtime.available_devices()[-1] == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "", "tpu", "meta"])
def test_devices_that_are_not_there_are_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(InputError, match=r"here are: .*cpu"):
        runtime.choose_device(name)


@pytest.mark.parametrize("units", [True, False])
def test_auto_precision_on_a_cpu_follows_its_matrix_units(
    monkeypatch: pytest.MonkeyPatch, units: bool
) -> None:
    monkeypatch.setattr(runtime, "has_bf16_matrix_units", lambda: units)
    assert runtime.choose_precision("auto", CPU) == (torch.bfloat16 if units else torch.float32)


def test_precisions_by_name() -> None:
    assert runtime.choose_precision("fp32", CPU) == torch.float32
    assert runtime.precision_name(torch.bfloat16) == "bf16"
    with pytest.raises(InputError, match="auto, fp32, bf16, fp16"):
        runtime.choose_precision("int8", CPU)
    with pytest.raises(InputError, match="not for the CPU"):
        runtime.choose_precision("fp16", CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_runs_in_half_precision() -> None:
    assert runtime.choose_precision("auto", torch.device("cuda")) == torch.float16
