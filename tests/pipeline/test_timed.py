"""What every batch tells about its time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from restore.pipeline.flow import Outcome
from restore.pipeline.places import PlacedJob
from restore.pipeline.timed import TimedBatch


class Instant(TimedBatch[PlacedJob]):
    """Done at once; its networks say that they ran for an hour."""

    def _restore(self) -> Iterator[Outcome]:
        for job in self.jobs:
            self.network_seconds += 3600
            yield Outcome(job.source, job.target, "written", "")


def test_the_clock_runs_from_the_first_picture_to_the_last(tmp_path: Path) -> None:
    jobs = [PlacedJob(tmp_path / name, tmp_path / f"out-{name}") for name in ("a", "b")]
    batch = Instant(jobs)
    assert (len(batch), batch.seconds, batch.network_share) == (2, 0.0, 0.0)
    assert [outcome.source for outcome in batch] == [job.source for job in jobs]
    seconds = batch.seconds
    assert seconds > 0 and batch.seconds == seconds  # it has stopped
    assert batch.network_share == 1.0  # never more, whatever the networks say


def test_the_clock_stops_where_the_loop_is_left(tmp_path: Path) -> None:
    batch = Instant([PlacedJob(tmp_path / "a", "memory://b")] * 3)
    outcomes = iter(batch)
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert batch.seconds == batch.seconds > 0
    assert batch.network_seconds == pytest.approx(3600)
