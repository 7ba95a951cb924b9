"""A batch on a cluster: pictures as units of work, and one that is larger than memory as strips.

Pictures on this machine are read and written by this process and travel through Ray; those in a
store that all machines see are read and written by the workers themselves.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from restore.engine.compute import Compute
from restore.image.atomic import write_aside
from restore.image.read import read_bytes
from restore.pipeline.actors import Strip, Unit, Workers
from restore.pipeline.file import Saving, target_by_rows
from restore.pipeline.flow import Outcome, failure
from restore.pipeline.large import TiffWork
from restore.pipeline.places import PlacedJob, why_kept
from restore.pipeline.plan import make_folder
from restore.pipeline.rows import RowPicture
from restore.pipeline.store import is_shared, read_store, write_store
from restore.pipeline.timed import TimedBatch
from restore.tasks.task import Task

STRIP_PIXELS = 8_000_000  # of a strip of a picture that is split


class ClusterBatch(TimedBatch[PlacedJob]):
    """The pictures of a batch that are restored on a cluster, as `Batch` does it here."""

    report = None  # tiles are not reported over the network

    def __init__(
        self,
        address: str,
        jobs: list[PlacedJob],
        settings: tuple[Task, Compute, Saving],
        skip_existing: bool,
    ) -> None:
        """Nothing is started before the first iteration."""
        super().__init__(jobs)
        self.address, self.settings, self.skip_existing = address, settings, skip_existing

    def _restore(self) -> Iterator[Outcome]:
        workers = Workers(self.address, self.settings)
        self.networks = workers.count
        try:
            yield from self._outcomes(workers)
        finally:
            workers.close()

    def _outcomes(self, workers: Workers) -> Iterator[Outcome]:
        large: list[PlacedJob] = []
        ready: deque[Outcome] = deque()
        for unit, result in workers.run(self._units(large, ready)):
            while ready:
                yield ready.popleft()
            yield self._finished(unit.job, result)
        yield from ready
        for job in large:
            yield self._split(workers, job)

    def _units(self, large: list[PlacedJob], ready: deque[Outcome]) -> Iterator[Unit]:
        """A unit for each picture that must be restored; those to be split go to `large`."""
        task, compute, saving = self.settings
        for job in self.jobs:
            try:
                if is_shared(job.source) and is_shared(job.target):
                    pass  # the workers look, for asking a store takes long
                elif reason := why_kept(job, saving, self.skip_existing):
                    ready.append(Outcome(job.source, job.target, "skipped", reason))
                    continue
                if isinstance(job.source, Path) and isinstance(job.target, Path):
                    if target_by_rows(job.source, job.target, task, saving, compute):
                        large.append(job)
                        continue
                    make_folder(job.target.parent)
            except Exception as error:
                ready.append(failure(job.source, job.target, error))
                continue
            yield Unit("restore", functools.partial(_arguments, job, self.skip_existing), job)

    def _finished(self, job: PlacedJob, result: Any) -> Outcome:
        """The outcome of a picture; what came back is written."""
        try:
            if isinstance(result, Exception):
                raise result
            outcome: Outcome
            outcome, content = result
            if content is not None:
                _write(job, content, self.settings[2])
        except Exception as error:
            return failure(job.source, job.target, error)
        self.network_seconds += outcome.seconds
        return outcome

    def _split(self, workers: Workers, job: PlacedJob) -> Outcome:
        """Restore a picture that is larger than memory: strips of it on all workers at once."""
        task, compute, saving = self.settings
        assert isinstance(job.source, Path) and isinstance(job.target, Path)
        began = time.perf_counter()
        try:
            make_folder(job.target.parent)
            work = TiffWork(
                job.source, job.target, task, compute, saving.overwrite, saving.strip_metadata
            )
            try:
                _restore_strips(workers, work, job)
                work.finish()
            finally:
                work.close()
        except Exception as error:
            return failure(job.source, job.target, error)
        height, width = work.rows.shape[:2]
        seconds = time.perf_counter() - began
        self.network_seconds += seconds * workers.count
        return Outcome(job.source, job.target, "written", "", width, height, seconds=seconds)


def _restore_strips(workers: Workers, work: TiffWork, job: PlacedJob) -> None:
    """Restore the strips of a picture in any order, and append them in theirs."""
    picture = work.picture
    bounds = picture.find_range()
    units = (
        Unit("restore_strip", functools.partial(_strip, picture, rows, bounds), job, rows[0])
        for rows in strips_of(picture, work.start)
    )
    waiting: dict[int, Any] = {}
    following = work.start
    with contextlib.closing(workers.run(units)) as results:
        for unit, result in results:
            if isinstance(result, Exception):
                raise result
            waiting[unit.place] = result
            while following in waiting:
                samples = waiting.pop(following)
                following += len(samples)
                work.strips.append(samples)


def strips_of(picture: RowPicture, start: int) -> Iterator[tuple[int, int]]:
    """First and last row of each strip, on the grid of the network and of the task's context."""
    grid = grid_of(picture)
    rows = max(grid, STRIP_PIXELS // picture.width // grid * grid)
    first = start
    while first < picture.height:
        last = min(picture.height, (first + rows) // grid * grid)
        yield first, last
        first = last


def grid_of(picture: RowPicture) -> int:
    """Rows on which both the network and the context of the task may begin."""
    return math.lcm(max(1, picture.task.context), picture.network.multiple_of)


def _strip(picture: RowPicture, rows: tuple[int, int], bounds: Any) -> tuple[Strip]:
    """Rows with all around them that their result depends on: so it is that of the whole picture.

    Around the rows lies the context of the task, and around that the halo of the network.
    """
    (first, last), grid, context = rows, grid_of(picture), picture.task.context
    begin = max(0, (first - context) // grid * grid)
    end = min(picture.height, last + context)
    halo = -(-picture.network.halo // grid) * grid
    above, below = max(0, begin - halo), min(picture.height, end + halo)
    inner, keep = slice(begin - above, end - above), slice(first - begin, last - begin)
    return (Strip(picture.task, picture.samples_of(above, below), inner, keep, bounds),)


def _arguments(job: PlacedJob, skip_existing: bool) -> tuple[PlacedJob, bytes | None, bool]:
    """What a worker is given of a picture; its bytes, unless it can read them itself."""
    data = None
    if not is_shared(job.source):
        data = read_store(job.source) if isinstance(job.source, str) else read_bytes(job.source)
    return job, data, skip_existing


def _write(job: PlacedJob, content: bytes, saving: Saving) -> None:
    if isinstance(job.target, str):
        write_store(job.target, content)
    else:
        like = job.source if isinstance(job.source, Path) else None
        write_aside(job.target, content, saving.overwrite, like=like)
