"""The threads of a batch: several read and decode, one runs the network, several encode and write.

How much is under way at once is bounded by its pixels, so that memory does not grow with the number
of files. Small pictures of one size that wait together go through the network together.
"""

from __future__ import annotations

import dataclasses
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from restore.engine.compute import Compute, Resources
from restore.errors import RestoreError
from restore.image.read import promised_size
from restore.image.write import FORMATS, format_of
from restore.pipeline.file import (
    Opened,
    Saving,
    open_picture,
    read_source,
    restore_by_rows,
    save_result,
    target_by_rows,
)
from restore.pipeline.picture import run_passes
from restore.pipeline.plan import Job, make_folder, why_skipped
from restore.tasks.task import PictureTask, Task

if TYPE_CHECKING:
    from restore.engine.prepare import CachedNetwork
    from restore.image.picture import Pixels
    from restore.models.network import Network

# A decoded picture, its result and both files take about 40 bytes for each pixel.
BYTES_PER_PIXEL = 40
MOST_PIXELS, FEWEST_PIXELS = 128_000_000, 32_000_000
MOST_CACHED = 4  # networks that stay prepared
MOST_PICTURES = 64  # under way at once
MOST_THREADS = 8  # that decode, and as many that encode
Status = Literal["written", "skipped", "failed"]
Tiles = Callable[[Path, int, int], None]  # the picture, its tiles done, its tiles in all


@dataclass(frozen=True)
class Outcome:
    """What became of one picture of a batch.

    target:  the file that holds the result; None where it was never known
    reason:  one sentence: why it failed or was skipped
    error:   the exception of a failure
    width, height: of the result in pixels
    seconds: of the network; of pictures that went through it together, each one's share
    notes:   what was left out when the file was read, a sentence each
    """

    source: Path
    target: Path | None
    status: Status
    reason: str = ""
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: Exception | None = dataclasses.field(default=None, repr=False)

    @property
    def megapixels(self) -> float:
        """Millions of pixels; 0 where nothing was restored."""
        return self.width * self.height / 1e6

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        found = dataclasses.asdict(dataclasses.replace(self, error=None))
        found.pop("error")
        found["source"] = os.fspath(self.source)
        found["target"] = None if self.target is None else os.fspath(self.target)
        return found


@dataclass(frozen=True)
class Settings:
    """What a batch does with each of its pictures, on one device."""

    task: Task
    compute: Compute
    resources: Resources
    saving: Saving
    skip_existing: bool


class InFlight:
    """The bound on what is under way: pixels and pictures, and always at least one picture."""

    def __init__(self, most_pixels: int, most_pictures: int = MOST_PICTURES) -> None:
        """Nothing is under way."""
        self.most_pixels, self.most_pictures = most_pixels, most_pictures
        self.pixels = self.pictures = 0
        self.closed = False
        self.changed = threading.Condition()

    def enter(self, pixels: int) -> bool:
        """Wait until a picture of so many pixels may begin; False where the batch was stopped."""
        with self.changed:
            self.changed.wait_for(lambda: self.closed or self._fits(pixels))
            self.pixels += pixels
            self.pictures += 1
            return not self.closed

    def _fits(self, pixels: int) -> bool:
        return self.pictures == 0 or (
            self.pictures < self.most_pictures and self.pixels + pixels <= self.most_pixels
        )

    def leave(self, pixels: int) -> None:
        """A picture is done."""
        with self.changed:
            self.pixels -= pixels
            self.pictures -= 1
            self.changed.notify_all()

    def close(self) -> None:
        """Stop: nobody waits any longer, and nobody may begin."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


def most_in_flight(memory: int | None = None) -> int:
    """Pixels under way: what a quarter of the machine's memory holds, within limits.

    memory: bytes; half of it is for pictures, the rest for the network.
    """
    if memory is not None:
        return min(MOST_PIXELS, memory // 2 // BYTES_PER_PIXEL)
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return FEWEST_PIXELS
    return max(FEWEST_PIXELS, min(MOST_PIXELS, memory // 4 // BYTES_PER_PIXEL))


@dataclass(eq=False)
class Item:
    """A picture under way; `opened` is None for a file that is restored by rows."""

    job: Job
    opened: Opened | None
    pixels: int  # as they are counted in flight
    task: PictureTask | None = None
    output: Pixels | None = None
    seconds: float = 0.0


class _StoppedError(Exception):
    """The batch was stopped."""


class Flow:
    """One run over the jobs; `outcomes` gives what became of each, then None."""

    def __init__(self, jobs: list[Job], settings: Settings, report: Tiles | None = None) -> None:
        """Nothing runs yet."""
        self.settings, self.report = settings, report
        self._cached: dict[int, CachedNetwork] = {}
        self.network_seconds = 0.0
        self.in_flight = InFlight(most_in_flight(settings.resources.memory))
        self.outcomes: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()
        self._jobs = iter(jobs)
        self._lock = threading.Lock()
        self._opened: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._restored: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._count = max(2, min(MOST_THREADS, len(jobs), (os.cpu_count() or 2) // 2))
        self._reading = self._writing = self._count
        self._pool = ThreadPoolExecutor(2 * self._count + 1, "restore")

    def start(self) -> None:
        """Begin."""
        for work in [self._read, self._write] * self._count + [self._restore]:
            self._pool.submit(work).add_done_callback(self._check)

    def _check(self, done: Future[None]) -> None:
        """A defect of ours in a thread: the caller shall see it, not wait."""
        error = done.exception()
        if error is not None and not isinstance(error, _StoppedError):
            self.outcomes.put(error)

    def stop(self) -> None:
        """End, at the next picture or tile; what is being written is written to its end."""
        self.in_flight.close()
        self._opened.put(None)
        for _ in range(self._count):
            self._restored.put(None)
        self._pool.shutdown()

    # ---- reading

    def _read(self) -> None:
        while (job := self._next()) is not None and not self.in_flight.closed:
            self._read_one(job)
        with self._lock:
            self._reading -= 1
            if not self._reading:
                self._opened.put(None)

    def _next(self) -> Job | None:
        with self._lock:
            return next(self._jobs, None)

    def _read_one(self, job: Job) -> None:
        asked, pixels = self.settings, None
        try:
            if reason := why_skipped(job, asked.saving, asked.skip_existing):
                self.outcomes.put(Outcome(job.source, job.target, "skipped", reason))
                return
            saving = self._saving(job)
            by_rows = target_by_rows(job.source, job.target, asked.task, saving, asked.compute)
            contents = (b"", (0, 0, 0, 0)) if by_rows else read_source(job.source)
            size = 0 if by_rows else self._counted(contents[0])
            if not self.in_flight.enter(size):
                raise _StoppedError
            pixels = size
            make_folder(job.target.parent)
            opened = None
            if not by_rows:
                sizes = asked.task.result_size
                opened = open_picture(job.source, job.target, saving, contents, sizes)
        except _StoppedError:
            raise
        except Exception as error:
            if pixels is not None:
                self.in_flight.leave(pixels)
            self._fail(job, error)
        else:
            self._opened.put(Item(job, opened, pixels))

    def _counted(self, data: bytes) -> int:
        """Pixels of a picture or of its result, whichever has more."""
        height, width = promised_size(data)
        try:
            result = self.settings.task.result_size(height, width) if height and width else (0, 0)
        except RestoreError:  # opening it will tell
            result = (0, 0)
        return max(height * width, result[0] * result[1])

    def _saving(self, job: Job) -> Saving:
        """Quality concerns only formats that have one; a mixed batch may hold others."""
        saving = self.settings.saving
        lossy = FORMATS[format_of(job.target, saving.file_format)].lossy
        return saving if lossy else dataclasses.replace(saving, quality=None)

    def _fail(self, job: Job, error: Exception) -> None:
        reason = str(error)
        if not isinstance(error, RestoreError):  # no reason to stop the other pictures
            reason = f"unexpected {type(error).__name__}: {error}"
        if str(job.source) not in reason:
            reason = f"{job.source}: {reason}"
        self.outcomes.put(Outcome(job.source, job.target, "failed", reason, error=error))

    # ---- the network

    def _restore(self) -> None:
        waiting: list[Item] = []
        ended = False
        while waiting or not ended:
            while not ended:
                try:
                    item = self._opened.get(block=not waiting)
                except queue.Empty:
                    break
                if item is None:
                    ended = True
                else:
                    waiting.append(item)
            self._check_stopped()
            group = self._group(waiting)
            waiting = [item for item in waiting if item not in group]
            self._run(group)
        for _ in range(self._count):
            self._restored.put(None)

    def _check_stopped(self) -> None:
        if self.in_flight.closed:
            raise _StoppedError

    def _group(self, waiting: list[Item]) -> list[Item]:
        """The first that waits, with others of its size as long as all fit into one batch."""
        from restore.engine.memory import pixels_together

        asked = self.settings
        alone = asked.resources.tile is not None or not asked.task.uniform
        if not waiting or alone or waiting[0].opened is None:
            return waiting[:1]
        size = waiting[0].opened.picture.pixels.shape[:2]
        alike = [
            item for item in waiting if item.opened and item.opened.picture.pixels.shape[:2] == size
        ]
        return alike[: max(1, pixels_together(asked.resources.device) // (size[0] * size[1]))]

    def _run(self, group: list[Item]) -> None:
        """The network over a group; where that fails, over each of it, so that one fails alone."""
        began = time.perf_counter()
        try:
            if len(group) == 1 and group[0].opened is None:
                self._run_by_rows(group[0])
                return
            if group:
                self._run_whole(group)
        except _StoppedError:
            raise
        except Exception as error:
            for item in group if len(group) > 1 else ():
                self._run([item])
            if len(group) == 1:
                self.in_flight.leave(group[0].pixels)
                self._fail(group[0].job, error)
            return
        finally:
            self.network_seconds += time.perf_counter() - began
        for item in group:
            item.seconds = (time.perf_counter() - began) / len(group)
            self._restored.put(item)

    def _run_whole(self, group: list[Item]) -> None:
        """Pictures in memory, of one size where there are several."""
        from restore.engine.run import run_together

        asked = self.settings
        if asked.task.first is not None:
            self._run_first(group[0], asked.task.first)
        pictures = [item.opened.picture for item in group if item.opened]
        for item, picture in zip(group, pictures, strict=True):
            item.task = asked.task.for_picture(picture)
        tasks = [item.task for item in group if item.task]
        if tasks[0].unchanged:  # of a group all are, for its pictures share one task
            return
        network = self._cache(tasks[0].network)
        if len(group) > 1:
            inputs = [task.preprocess(p) for task, p in zip(tasks, pictures, strict=True)]
            outputs = run_together(network, inputs, asked.resources)
        else:
            report = self._tiles(group[0].job)
            outputs = [run_passes(network, tasks[0], pictures[0], asked.resources, report)]
        for item, output in zip(group, outputs, strict=True):
            item.output = output.pixels

    def _run_first(self, item: Item, task: Task) -> None:
        """The task before: its result takes the place of the picture."""
        assert item.opened is not None
        picture = item.opened.picture
        fitted = task.for_picture(picture)
        if not fitted.unchanged:
            output = run_passes(fitted.network, fitted, picture, self.settings.resources)
            picture = fitted.postprocess(picture, output.pixels)
        item.opened = dataclasses.replace(item.opened, picture=picture)

    def _run_by_rows(self, item: Item) -> None:
        """A file that is larger than memory, from file to file."""
        job, asked = item.job, self.settings
        done = restore_by_rows(
            job.source, job.target, asked.task, asked.saving, asked.compute, report=self._tiles(job)
        )
        self.in_flight.leave(item.pixels)
        size = done.width, done.height
        self.outcomes.put(
            Outcome(job.source, job.target, "written", "", *size, seconds=done.seconds)
        )

    def _cache(self, network: Network) -> CachedNetwork:
        """The network, kept ready for the next picture that wants it."""
        from restore.engine.prepare import CachedNetwork

        cached = self._cached.pop(id(network), None) or CachedNetwork(network)
        self._cached[id(network)] = cached  # the latest is the last
        if len(self._cached) > MOST_CACHED:
            self._cached.pop(next(iter(self._cached)))
        return cached

    def _tiles(self, job: Job) -> Callable[[int, int], None]:
        def report(done: int, total: int) -> None:
            self._check_stopped()
            if self.report is not None:
                self.report(job.source, done, total)

        return report

    # ---- writing

    def _write(self) -> None:
        while (item := self._restored.get()) is not None:
            self._write_one(item)
        with self._lock:
            self._writing -= 1
            if not self._writing:
                self.outcomes.put(None)

    def _write_one(self, item: Item) -> None:
        job, opened, task = item.job, item.opened, item.task
        assert opened is not None and task is not None
        try:
            result = opened.picture
            if item.output is not None:
                result = task.postprocess(result, item.output)
            item.output = None
            written = save_result(opened, result, self._saving(job), task.unchanged)
        except Exception as error:
            self._fail(job, error)
        else:
            size = result.width, result.height
            self.outcomes.put(
                Outcome(
                    job.source,
                    written,
                    "written",
                    "",
                    *size,
                    seconds=item.seconds,
                    notes=result.notes,
                )
            )
        finally:
            self.in_flight.leave(item.pixels)
