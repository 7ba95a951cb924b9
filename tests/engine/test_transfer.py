"""What is sent to a device and back is what was there, and no stream runs ahead of another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from restore.engine import transfer as module
from restore.engine.transfer import Streams, Transfer, streams_of
from restore.image.picture import dequantise

CPU = torch.device("cpu")
PIXELS = dequantise(np.random.default_rng(0).integers(0, 256, (300, 40, 3), np.uint8))
COLUMNS = [slice(0, 16), slice(12, 28), slice(24, 40)]


def assert_windows_arrive(device: torch.device) -> None:
    transfer = Transfer(PIXELS, device)
    x = transfer.ready(transfer.load(COLUMNS))
    assert x.shape == (3, 3, 300, 16)
    back = transfer.unload(x).arrived()
    for span, window in zip(COLUMNS, back, strict=True):
        assert np.array_equal(window, PIXELS[:, span])


def test_windows_arrive_bit_for_bit() -> None:
    assert streams_of(CPU) is None
    assert_windows_arrive(CPU)


class FakeStream:
    """A stream that notes what it is asked for."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    def wait_stream(self, other: FakeStream) -> None:
        self.calls.append(f"{self.name} waits for {other.name}")


def test_each_stream_waits_for_the_one_whose_work_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The code for CUDA, with streams that only take notes and copies that are made at once."""
    calls: list[str] = []
    streams, active = Streams.__new__(Streams), ["compute"]
    streams.to, streams.back = FakeStream("to", calls), FakeStream("back", calls)  # type: ignore[assignment]

    @contextmanager
    def within(stream: FakeStream) -> Iterator[None]:
        active.append(stream.name)
        yield
        active.pop()

    class Event:
        def record(self, stream: FakeStream) -> None:
            calls.append(f"event in {stream.name}")

        def synchronize(self) -> None:
            calls.append("wait for the event")

    def note(words: str) -> Any:
        return lambda tensor, *a, **k: calls.append(f"{words} in {active[-1]}")

    monkeypatch.setattr(module, "streams_of", lambda device: streams)
    monkeypatch.setattr(module, "page_locked", lambda shape: torch.empty(*shape))
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda d: FakeStream("compute", calls))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda t, s: calls.append(f"kept for {s.name}")
    )
    real_to, real_copy = torch.Tensor.to, torch.Tensor.copy_
    monkeypatch.setattr(torch.Tensor, "to", lambda t, *a, **k: note("sent")(t) or real_to(t, CPU))
    monkeypatch.setattr(
        torch.Tensor, "copy_", lambda t, o, **k: note("fetched")(t) or real_copy(t, o)
    )
    assert_windows_arrive(CPU)
    assert calls == [
        "sent in to",
        "compute waits for to",
        "kept for compute",
        "back waits for compute",
        "fetched in back",
        "kept for back",
        "event in back",
        "wait for the event",
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_windows_arrive_bit_for_bit() -> None:
    device = torch.device("cuda")
    assert streams_of(device) is streams_of(device)
    assert_windows_arrive(device)
