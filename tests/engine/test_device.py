"""Devices and precisions are detected; a wrong name is answered with the valid ones."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys

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
    with pytest.raises(InputError, match=r"this machine has .*cpu"):
        runtime.choose_device(name)


@pytest.mark.parametrize(("speedup", "dtype"), [(4.2, "bf16"), (2.0, "bf16"), (0.6, "fp32")])
def test_auto_precision_on_a_cpu_follows_the_measured_speed(
    monkeypatch: pytest.MonkeyPatch, speedup: float, dtype: str
) -> None:
    measured: list[float] = []
    monkeypatch.setattr(runtime, "_bf16_speedup", lambda: measured.append(speedup) or speedup)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    runtime.has_fast_bf16.cache_clear()
    try:
        chosen = [runtime.choose_precision("auto", CPU) for _ in range(3)]
    finally:
        runtime.has_fast_bf16.cache_clear()
    assert {runtime.precision_name(c) for c in chosen} == {dtype}
    assert len(measured) == 1  # once a process, so that it cannot change within a batch


def test_measuring_leaves_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    assert runtime._bf16_speedup() > 0
    assert torch.get_num_threads() == before


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="needs x86")
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
def test_a_cpu_that_emulates_bf16_takes_fp32() -> None:
    code = (
        "import torch; from restore.engine.device import choose_precision; "
        "print(choose_precision('auto', torch.device('cpu')))"
    )
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "torch.float32"


def test_precisions_by_name() -> None:
    assert runtime.choose_precision("fp32", CPU) == torch.float32
    assert runtime.precision_name(torch.bfloat16) == "bf16"
    with pytest.raises(InputError, match="auto, fp32, bf16, fp16"):
        runtime.choose_precision("int8", CPU)
    with pytest.raises(InputError, match="does not support fp16"):
        runtime.choose_precision("fp16", CPU)


def test_float32_on_cuda_keeps_all_its_bits() -> None:
    before = torch.backends.cudnn.allow_tf32
    with runtime.exact_float32(CPU):
        assert torch.backends.cudnn.allow_tf32 == before
    with pytest.raises(KeyError), runtime.exact_float32(torch.device("cuda")):
        assert not torch.backends.cudnn.allow_tf32
        raise KeyError
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize(
    ("device", "words"),
    [("cuda", "fp16"), ("mps", "every device"), ("cpu", r"\d\.\d times the speed|no fast bf16")],
)
def test_the_reason_for_a_precision_is_told(device: str, words: str) -> None:
    assert re.search(words, runtime.why_precision(torch.device(device)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_runs_in_half_precision() -> None:
    assert runtime.choose_precision("auto", torch.device("cuda")) == torch.float16
