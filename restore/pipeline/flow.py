"""The threads of a batch: several read and decode, one runs the network, several encode and write.

The pixels in flight are limited, so that memory does not grow with the number of files. Small
pictures of one size that wait at the same time run through the network as one batch.
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
from restore.pipeline.file import (
    Opened,
    Saving,
    fitting,
    open_picture,
    read_source,
    restore_by_rows,
    save_result,
    target_by_rows,
)
from restore.pipeline.journal import Journals, made_of, noting
from restore.pipeline.large import check_fits
from restore.pipeline.picture import run_passes
from restore.pipeline.plan import Job, make_folder, why_skipped, why_skipped_in_place
from restore.tasks.task import PictureTask, Task, model_name

if TYPE_CHECKING:
    from restore.image.picture import Pixels

# A decoded picture, its result and both files take about 40 bytes for each pixel.
BYTES_PER_PIXEL = 40
MOST_PIXELS, FEWEST_PIXELS = 128_000_000, 32_000_000
MOST_PICTURES = 64  # in flight at once
MOST_THREADS = 8  # for decoding, and as many for encoding
Status = Literal["written", "skipped", "failed"]
Tiles = Callable[[Path, int, int], None]  # the picture, its tiles done, its tiles in total


@dataclass(frozen=True)
class Outcome:
    """The outcome of one picture of a batch.

    source:  a path of this machine, or an address of a store
    target:  the file of the result; None if it was never known
    reason:  one sentence on why it failed or was skipped
    error:   the exception, if it failed
    width, height: of the result in pixels
    seconds: for which the network ran; an equal share, if several pictures ran as one batch
    model:   the name of the network; "" if none was needed or known
    sigma, unchanged: as for `Result`
    notes:   what was left out when the file was read, a sentence each
    """

    source: Path | str
    target: Path | str | None
    status: Status
    reason: str = ""
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    model: str = ""
    sigma: float | None = None
    unchanged: bool = False
    notes: tuple[str, ...] = ()
    error: Exception | None = dataclasses.field(default=None, repr=False)

    @property
    def megapixels(self) -> float:
        """Megapixels of the result; 0 if nothing was restored."""
        return self.width * self.height / 1e6

    def to_dict(self) -> dict[str, Any]:
        """The outcome as values for JSON, without the exception."""
        values = dataclasses.asdict(dataclasses.replace(self, error=None))
        values.pop("error")
        values["source"] = os.fspath(self.source)
        values["target"] = None if self.target is None else os.fspath(self.target)
        return values


def failure(source: Path | str, target: Path | str, error: Exception) -> Outcome:
    """The outcome of a picture that failed."""
    reason = str(error)
    if not isinstance(error, RestoreError):  # a bug, which must not stop the other pictures
        reason = f"unexpected {type(error).__name__}: {error}"
    if str(source) not in reason:
        reason = f"{source}: {reason}"
    return Outcome(source, target, "failed", reason, error=error)


@dataclass(frozen=True)
class Settings:
    """What is done with each picture of a batch on one device."""

    task: Task
    compute: Compute
    resources: Resources
    saving: Saving
    skip_existing: bool
    key: str  # a hash of the task and of `saving`, for the journal of results


class InFlight:
    """The limit on pixels and pictures in flight; one picture is always let in."""

    def __init__(self, most_pixels: int, most_pictures: int = MOST_PICTURES) -> None:
        """Start with nothing in flight."""
        self.most_pixels, self.most_pictures = most_pixels, most_pictures
        self.pixels = self.pictures = 0
        self.closed = False
        self.changed = threading.Condition()

    def enter(self, pixels: int) -> bool:
        """Wait until a picture of so many pixels fits; False if the batch was stopped."""
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
        """Release the pixels of a picture that is done."""
        with self.changed:
            self.pixels -= pixels
            self.pictures -= 1
            self.changed.notify_all()

    def close(self) -> None:
        """Stop: end all waiting, and let no more pictures in."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


def most_in_flight(memory: int | None = None) -> int:
    """The most pixels in flight: those a quarter of the machine's memory holds, within limits.

    memory: limit in bytes; half of it is for pictures, the rest for the network
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
    """A picture in flight; `opened` is None for a file that is restored by rows."""

    job: Job
    opened: Opened | None
    pixels: int  # that count as in flight
    task: PictureTask | None = None
    output: Pixels | None = None
    seconds: float = 0.0
    removed: float | None = None  # the noise level of a task before the main one
    notes: tuple[str, ...] = ()  # about its tiles


class _StoppedError(Exception):
    """The batch was stopped."""


class Flow:
    """One run over the jobs; `outcomes` receives the outcome of each, and None at the end."""

    def __init__(self, jobs: list[Job], settings: Settings, report: Tiles | None = None) -> None:
        """Prepare a run; `start` starts it."""
        self.settings, self.report = settings, report
        self.network_seconds = 0.0
        self.in_flight = InFlight(most_in_flight(settings.resources.memory))
        self.outcomes: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()
        self._jobs, self._journals = iter(jobs), Journals()
        self._lock = threading.Lock()
        self._opened: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._restored: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._count = max(2, min(MOST_THREADS, len(jobs), (os.cpu_count() or 2) // 2))
        self._reading = self._writing = self._count
        self._pool = ThreadPoolExecutor(2 * self._count + 1, "restore")

    def start(self) -> None:
        """Start the threads."""
        for loop in [self._read, self._write] * self._count + [self._restore]:
            self._pool.submit(loop).add_done_callback(self._check)

    def _check(self, done: Future[None]) -> None:
        """Pass an unexpected error of a thread to the caller, who would otherwise wait forever."""
        error = done.exception()
        if error is not None and not isinstance(error, _StoppedError):
            self.outcomes.put(error)

    def stop(self) -> None:
        """Stop at the next picture or tile; files that are being written are completed."""
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
        settings, pixels = self.settings, None
        try:
            if reason := self._why_skipped(job):
                self.outcomes.put(Outcome(job.source, job.target, "skipped", reason))
                return
            saving = fitting(settings.saving, job.target)
            task, compute = settings.task, settings.compute
            by_rows = target_by_rows(job.source, job.target, task, saving, compute)
            contents = (b"", (0, 0, 0, 0)) if by_rows else read_source(job.source)
            if not by_rows:
                check_fits(contents[0], str(job.source), compute)
            counted = 0 if by_rows else self._count_pixels(contents[0])
            if not self.in_flight.enter(counted):
                raise _StoppedError
            pixels = counted
            make_folder(job.target.parent)
            opened = None
            if not by_rows:
                opened = open_picture(job.source, job.target, saving, contents, task.result_size)
        except _StoppedError:
            raise
        except Exception as error:
            if pixels is not None:
                self.in_flight.leave(pixels)
            self._fail(job, error)
        else:
            self._opened.put(Item(job, opened, pixels))

    def _why_skipped(self, job: Job) -> str:
        settings = self.settings
        made = self._journals.made(job.target)
        if settings.saving.in_place:
            return why_skipped_in_place(job, settings.skip_existing, made, settings.key)
        return why_skipped(job, settings.saving, settings.skip_existing, made, settings.key)

    def _count_pixels(self, data: bytes) -> int:
        """Pixels of a picture or of its result, whichever has more."""
        height, width = promised_size(data)
        try:
            result = self.settings.task.result_size(height, width) if height and width else (0, 0)
        except RestoreError:  # raised again when the picture is opened
            result = (0, 0)
        return max(height * width, result[0] * result[1])

    def _fail(self, job: Job, error: Exception) -> None:
        self.outcomes.put(failure(job.source, job.target, error))

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
        """The first waiting picture, with others of its size that fit into one batch."""
        from restore.engine.memory import pixels_together

        resources = self.settings.resources
        alone = resources.tile is not None or not self.settings.task.uniform
        if not waiting or alone or waiting[0].opened is None:
            return waiting[:1]
        size = waiting[0].opened.picture.pixels.shape[:2]
        same_size = [
            item for item in waiting if item.opened and item.opened.picture.pixels.shape[:2] == size
        ]
        return same_size[: max(1, pixels_together(resources.device) // (size[0] * size[1]))]

    def _run(self, group: list[Item]) -> None:
        """Run the network over a group; if that fails, over each picture by itself."""
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
        """Run the network over pictures in memory; several have one size and share one task."""
        from restore.engine.run import run_together
        from restore.engine.seams import seam_notes

        task, resources = self.settings.task, self.settings.resources
        if task.first is not None:
            self._run_first(group[0], task.first)
        pictures = [item.opened.picture for item in group if item.opened]
        for item, picture in zip(group, pictures, strict=True):
            item.task = task.for_picture(picture)
        tasks = [item.task for item in group if item.task]
        if tasks[0].unchanged:  # then all are, because a group shares one task
            return
        network = tasks[0].network
        if len(group) > 1:
            inputs = [each.preprocess(p) for each, p in zip(tasks, pictures, strict=True)]
            outputs = run_together(network, inputs, resources)
        else:
            report = self._tiles(group[0].job)
            outputs = [run_passes(tasks[0], pictures[0], resources, report)]
        for item, output in zip(group, outputs, strict=True):
            item.output, item.notes = output.pixels, seam_notes(network, output.plan)

    def _run_first(self, item: Item, task: Task) -> None:
        """Do the task before the main one; its result replaces the picture."""
        assert item.opened is not None
        picture = item.opened.picture
        fitted = task.for_picture(picture)
        if not fitted.unchanged:
            output = run_passes(fitted, picture, self.settings.resources)
            picture = fitted.postprocess(picture, output.pixels)
            item.removed = fitted.sigma
        item.opened = dataclasses.replace(item.opened, picture=picture)

    def _run_by_rows(self, item: Item) -> None:
        """Restore a file that is larger than memory into another."""
        job, settings = item.job, self.settings
        note = noting(job.target, made_of(job.source, settings.key))
        result = restore_by_rows(
            job.source,
            job.target,
            settings.task,
            settings.saving,
            settings.compute,
            report=self._tiles(job),
            note=note,
        )
        self.in_flight.leave(item.pixels)
        size = result.width, result.height
        self.outcomes.put(
            Outcome(
                job.source,
                job.target,
                "written",
                "",
                *size,
                seconds=result.seconds,
                model=result.model,
                sigma=result.sigma,
                unchanged=result.unchanged,
                notes=result.notes,
            )
        )

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
            saving, key = fitting(self.settings.saving, job.target), self.settings.key
            written = save_result(opened, result, saving, task.unchanged, key)
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
                    model=model_name(task.network),
                    sigma=item.removed if task.sigma is None else task.sigma,
                    unchanged=task.unchanged,
                    notes=result.notes + item.notes,
                )
            )
        finally:
            self.in_flight.leave(item.pixels)
