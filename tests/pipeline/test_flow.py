"""The limits on what is in flight, and outcomes as values for JSON."""

from __future__ import annotations

import json
import queue
import threading
from pathlib import Path

import pytest

from restore.pipeline import flow
from restore.pipeline.flow import InFlight, Outcome, most_in_flight


def test_pixels_are_bounded_and_a_large_picture_is_never_locked_out() -> None:
    limit = InFlight(100, most_pictures=3)
    assert limit.enter(1000)  # alone, however large
    entered: queue.SimpleQueue[bool] = queue.SimpleQueue()
    threads = [threading.Thread(target=lambda: entered.put(limit.enter(60))) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert entered.empty()
    limit.leave(1000)
    assert entered.get(timeout=120)  # one of the two, as both have too many pixels
    assert limit.pixels == 60 and entered.empty()
    limit.close()
    for thread in threads:
        thread.join(120)
    assert not entered.get(timeout=120)  # the other may not start any more


def test_pictures_are_bounded_too() -> None:
    limit = InFlight(100, most_pictures=2)
    assert limit.enter(1) and limit.enter(1)
    entered: queue.SimpleQueue[bool] = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: entered.put(limit.enter(1)))
    thread.start()
    assert entered.empty()
    limit.leave(1)
    assert entered.get(timeout=120)
    thread.join(120)


def test_half_of_a_limit_of_memory_is_for_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    assert most_in_flight(1000 * flow.BYTES_PER_PIXEL) == 500
    assert most_in_flight(10**15) == flow.MOST_PIXELS
    assert flow.FEWEST_PIXELS <= most_in_flight() <= flow.MOST_PIXELS

    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr("os.sysconf", unknown, raising=False)
    assert most_in_flight() == flow.FEWEST_PIXELS


def test_an_outcome_goes_to_json_without_its_exception() -> None:
    failed = Outcome(Path("a.png"), None, "failed", "a.png: bad", error=ValueError("bad"))
    values = json.loads(json.dumps(failed.to_dict()))
    assert "error" not in values and values["target"] is None
    assert (values["source"], values["status"], values["reason"]) == (
        "a.png",
        "failed",
        "a.png: bad",
    )
    written = Outcome(Path("a.png"), Path("b.png"), "written", width=2000, height=1000)
    assert written.to_dict()["target"] == "b.png" and written.megapixels == pytest.approx(2.0)
