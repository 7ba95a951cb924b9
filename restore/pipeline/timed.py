"""What every batch is, wherever it is restored: outcomes as they come, and how long they take."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from restore.image.atomic import tidy
from restore.pipeline.flow import Outcome
from restore.pipeline.places import PlacedJob
from restore.pipeline.plan import Job

AnyJob = TypeVar("AnyJob", Job, PlacedJob)


class TimedBatch(ABC, Generic[AnyJob]):
    """The pictures of a batch; iterating restores them and yields each one's outcome when done.

    jobs:            the pictures and their results; the order of outcomes may differ
    networks:        how many networks run at once
    network_seconds: the seconds for which they have run so far, all together
    unread:          pictures in the given folders whose format cannot be read
    """

    def __init__(self, jobs: Sequence[AnyJob]) -> None:
        """Nothing is started before the first iteration."""
        self.jobs: list[AnyJob] = list(jobs)
        self.unread: list[Path] = []
        self.networks = 1
        self.network_seconds = 0.0
        self._began: float | None = None
        self._ended: float | None = None

    def __len__(self) -> int:
        """The number of pictures, including those that will be skipped."""
        return len(self.jobs)

    @property
    def seconds(self) -> float:
        """Seconds from the start of the first picture to now, or to the end of the last one."""
        if self._began is None:
            return 0.0
        return (self._ended or time.perf_counter()) - self._began

    @property
    def network_share(self) -> float:
        """The share of the time for which the networks ran, 0 to 1."""
        whole = self.seconds * self.networks
        return min(1.0, self.network_seconds / whole) if whole else 0.0

    def __iter__(self) -> Iterator[Outcome]:
        """Restore the pictures. Leaving the loop early leaves no file half-written."""
        for folder in {job.target.parent for job in self.jobs if isinstance(job.target, Path)}:
            tidy(folder)
        self._began, self._ended, self.network_seconds = time.perf_counter(), None, 0.0
        try:
            yield from self._restore()
        finally:
            self._ended = time.perf_counter()

    @abstractmethod
    def _restore(self) -> Iterator[Outcome]:
        """Restore the pictures, and count the seconds of the networks."""
