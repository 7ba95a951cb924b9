"""What is sent to a device and back is what was there, and no stream runs ahead of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from restore.engine import transfer as module
from restore.engine.backend import ArraySink, ArraySource, OrderedSink
from restore.engine.compute import Resources
from restore.engine.memory import tile_bytes
from restore.engine.run import run
from restore.engine.transfer import Streams, Transfer, streams_of
from restore.image.picture import Pixels, dequantise

CPU, FP32 = torch.device("cpu"), torch.float32
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
    """A stream that does what it is given as late as it may, and notes what it is asked for."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls
        self.queue: list[Callable[[], object]] = []

    def wait_stream(self, other: FakeStream) -> None:
        self.calls.append(f"{self.name} waits for {other.name}")
        other.finish()

    def finish(self) -> None:
        """Do all that was given so far."""
        while self.queue:
            self.queue.pop(0)()


class FakeCuda:
    """The part of `torch.cuda` that transfers use. Copies wait in their stream; nothing else does.

    Memory that is filled by such a copy holds NaN until then.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.to, self.back, self.compute = (
            FakeStream(name, self.calls) for name in ("to", "back", "compute")
        )
        self.active = [self.compute]

    def replace(self, patch: pytest.MonkeyPatch) -> None:
        """Take the place of the real one, for any device."""
        streams = Streams.__new__(Streams)
        streams.to, streams.back = self.to, self.back  # type: ignore[assignment]
        patch.setattr(module, "streams_of", lambda device: streams)
        patch.setattr(module, "page_locked", lambda shape: torch.full(tuple(shape), torch.nan))
        patch.setattr(torch.cuda, "stream", self.within)
        patch.setattr(torch.cuda, "current_stream", lambda device: self.active[-1])
        patch.setattr(torch.cuda, "Event", lambda: FakeEvent(self.calls))
        kept = lambda tensor, stream: self.calls.append(f"kept for {stream.name}")  # noqa: E731
        patch.setattr(torch.Tensor, "record_stream", kept)
        real_to, real_copy = torch.Tensor.to, torch.Tensor.copy_

        def to(tensor: torch.Tensor, *given: Any, **more: Any) -> torch.Tensor:
            if not more.get("non_blocking"):
                return real_to(tensor, *given, **more)
            there = torch.full_like(tensor, torch.nan)
            self.give("sent", lambda: real_copy(there, tensor))
            return there

        def copy(tensor: torch.Tensor, other: torch.Tensor, **more: Any) -> torch.Tensor:
            if not more.get("non_blocking"):
                return real_copy(tensor, other)
            self.give("fetched", lambda: real_copy(tensor, other))
            return tensor

        patch.setattr(torch.Tensor, "to", to)
        patch.setattr(torch.Tensor, "copy_", copy)

    def give(self, words: str, copy: Callable[[], object]) -> None:
        """Leave a copy to the stream that is active."""
        self.calls.append(f"{words} in {self.active[-1].name}")
        self.active[-1].queue.append(copy)

    @contextmanager
    def within(self, stream: FakeStream) -> Iterator[None]:
        """As `torch.cuda.stream`."""
        self.active.append(stream)
        yield
        self.active.pop()


class FakeEvent:
    """An event that is over when its stream has done all that it was given."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def record(self, stream: FakeStream) -> None:
        self.calls.append(f"event in {stream.name}")
        self.stream = stream

    def synchronize(self) -> None:
        self.calls.append("wait for the event")
        self.stream.finish()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    fake.replace(monkeypatch)
    return fake


def test_each_stream_waits_for_the_one_whose_work_it_needs(cuda: FakeCuda) -> None:
    assert_windows_arrive(CPU)
    assert cuda.calls == [
        "sent in to",
        "compute waits for to",
        "kept for compute",
        "back waits for compute",
        "fetched in back",
        "kept for back",
        "event in back",
        "wait for the event",
    ]


@pytest.mark.parametrize("ordered", [False, True])
def test_a_run_uses_nothing_before_it_has_arrived(
    cuda: FakeCuda, identity: Any, ordered: bool
) -> None:
    """Several rows of tiles in several batches, each sent while the one before is computed."""
    network, pixels = identity(4, 4), PIXELS[:200]
    rows: list[Pixels] = []
    result = np.full(pixels.shape, np.nan, np.float32)
    sink = OrderedSink(40, lambda first, band: rows.append(band)) if ordered else ArraySink(result)
    memory = None if ordered else 2 * 24**2 * tile_bytes(network, FP32)
    resources = Resources(CPU, FP32, tile=24, memory=memory)
    plan = run(network, ArraySource(pixels), sink, resources)
    batches = len(network.shapes)
    assert plan.tiles > batches >= len(plan.rows) > 2 and (ordered or plan.batch == 2)
    assert np.array_equal(np.concatenate(rows) if ordered else result, pixels)
    sent = [call for call in cuda.calls if call in ("sent in to", "compute waits for to")]
    assert sent == ["sent in to", "compute waits for to"] * batches
    first = cuda.calls.index("wait for the event")
    assert cuda.calls[:first].count("sent in to") == 3  # two batches are done, one is on its way


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_windows_arrive_bit_for_bit() -> None:
    device = torch.device("cuda")
    assert streams_of(device) is streams_of(device)
    assert_windows_arrive(device)
