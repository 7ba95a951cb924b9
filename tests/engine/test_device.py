"""Devices and precisions are detected; a wrong name is answered with the valid ones."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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


@pytest.mark.parametrize(("count", "words"), [(1, "1 thread)"), (2, "2 threads)")])
def test_a_cpu_is_named_with_its_threads(
    monkeypatch: pytest.MonkeyPatch, count: int, words: str
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    assert runtime.device_name(CPU).endswith(words)


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


def tf32() -> set[str]:
    """What torch may round to TF32 on CUDA."""
    backends: Any = torch.backends
    if not hasattr(backends.cudnn, "conv"):  # before torch 2.9
        places, value = {"conv": backends.cudnn, "matmul": backends.cuda.matmul}, True
        return {name for name, place in places.items() if place.allow_tf32 == value}
    places = {"conv": backends.cudnn.conv, "matmul": backends.cuda.matmul}
    return {name for name, place in places.items() if place.fp32_precision == "tf32"}


SETTINGS = {
    "as it is": lambda: None,
    "the older name": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "matrix products": lambda: torch.set_float32_matmul_precision("high"),
    "for convolutions": lambda: setattr(torch.backends.cudnn.conv, "fp32_precision", "ieee"),
    "for all": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
}


@pytest.fixture
def settings() -> Iterator[None]:
    """Torch's settings for float32 are afterwards what they were."""
    yield
    backends: Any = torch.backends
    if hasattr(backends.cudnn, "conv"):
        backends.fp32_precision = backends.cuda.matmul.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = True


@pytest.mark.parametrize("setting", SETTINGS)
def test_float32_on_cuda_keeps_all_its_bits(setting: str, settings: None) -> None:
    """However a program has set torch, whose older and newer names for it do not mix."""
    if setting.startswith("for ") and not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("this torch has no such setting")
    SETTINGS[setting]()
    before = tf32()
    with runtime.exact_float32(CPU):
        assert tf32() == before
    with pytest.raises(KeyError), runtime.exact_float32(torch.device("cuda")):
        assert not tf32()
        raise KeyError
    assert tf32() == before


def test_float32_stays_exact_until_the_last_thread_is_done(settings: None) -> None:
    before, cuda = tf32(), torch.device("cuda")
    both, first_is_out = threading.Barrier(2, timeout=30), threading.Event()

    def first() -> None:
        with runtime.exact_float32(cuda):
            both.wait()
        first_is_out.set()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(first)
        with runtime.exact_float32(cuda):
            both.wait()
            assert first_is_out.wait(30)
            assert not tf32()
        running.result()
    assert tf32() == before


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("cuda", "tensor cores"),
        ("mps", "not been tried"),
        ("cpu", r"\d\.\d times the speed|no fast bf16"),
    ],
)
def test_the_reason_for_a_precision_is_told(device: str, words: str) -> None:
    assert re.search(words, runtime.why_precision(torch.device(device)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_runs_in_half_precision() -> None:
    assert runtime.choose_precision("auto", torch.device("cuda")) == torch.float16
