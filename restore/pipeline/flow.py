"""The threads of a batch: several read and decode, one runs the network, several encode and write.

What is under way at once is bounded by its pixels, so that memory does not grow with the number of
files. Small pictures of one size that wait together go through the network together.
"""

from __future__ import annotations

import dataclasses
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from restore.errors import RestoreError
from restore.image.read import promised_size, read_bytes
from restore.image.write import FORMATS, format_of
from restore.pipeline.file import Opened, Saving, open_picture, save_result
from restore.pipeline.plan import Job
from restore.pipeline.resume import make_folder, why_skipped
from restore.tasks.task import Work

if TYPE_CHECKING:
    import torch

    from restore.engine.prepare import Kept
    from restore.image.picture import Pixels

# A decoded picture, its result and both files take about 40 bytes for each pixel.
BYTES_PER_PIXEL = 40
MOST_PIXELS, FEWEST_PIXELS = 128_000_000, 32_000_000
MOST_KEPT = 4  # networks that stay prepared
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
    """

    source: Path
    target: Path | None
    status: Status
    reason: str = ""
    width: int = 0
    height: int = 0
    seconds: float = 0.0
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
    """What a batch does with each of its pictures."""

    work: Work
    device: torch.device
    dtype: torch.dtype
    tile: int | None
    saving: Saving
    skip_existing: bool
    memory: int | None = None  # bytes that pictures and network may take together


class Room:
    """The bound on what is under way: pixels and pictures, and always at least one picture."""

    def __init__(self, most_pixels: int, most_pictures: int = MOST_PICTURES) -> None:
        """An empty room."""
        self.most_pixels, self.most_pictures = most_pixels, most_pictures
        self.pixels = self.pictures = 0
        self.closed = False
        self.changed = threading.Condition()

    def enter(self, pixels: int) -> bool:
        """Wait until there is room; False where the room was closed."""
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
        """Make room for others."""
        with self.changed:
            self.pixels -= pixels
            self.pictures -= 1
            self.changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


def default_room(memory: int | None = None) -> int:
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
    """A picture under way: as it was opened, and later what the network made of it."""

    job: Job
    opened: Opened
    room: int
    work: Work
    output: Pixels | None = None
    seconds: float = 0.0


class _StoppedError(Exception):
    """Nobody waits for the results any more."""


class Flow:
    """One run over the jobs; `outcomes` gives what became of each, then None."""

    def __init__(self, jobs: list[Job], settings: Settings, report: Tiles | None = None) -> None:
        """Threads that are not started yet."""
        self.settings, self.report = settings, report
        self._kept: dict[int, Kept] = {}
        self.network_seconds = 0.0
        self.room = Room(default_room(settings.memory))
        self.outcomes: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()
        self._jobs = iter(jobs)
        self._lock = threading.Lock()
        self._opened: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._restored: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        count = max(2, min(MOST_THREADS, len(jobs), (os.cpu_count() or 2) // 2))
        self._readers = [self._thread(self._read) for _ in range(count)]
        self._writers = [self._thread(self._write) for _ in range(count)]
        self._middle = self._thread(self._restore)
        self._threads = [*self._readers, self._middle, *self._writers]
        self._reading, self._writing = count, count

    def _thread(self, work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except _StoppedError:
                pass
            except BaseException as error:  # a defect of ours: the caller shall see it, not wait
                self.outcomes.put(error)

        return threading.Thread(target=run, daemon=True)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, at the next picture or tile; what is being written is written to its end."""
        self.room.close()
        self._opened.put(None)
        for _ in self._writers:
            self._restored.put(None)
        for thread in self._threads:
            thread.join()

    # ---- reading

    def _read(self) -> None:
        while (job := self._next()) is not None and not self.room.closed:
            self._read_one(job)
        with self._lock:
            self._reading -= 1
            if not self._reading:
                self._opened.put(None)

    def _next(self) -> Job | None:
        with self._lock:
            return next(self._jobs, None)

    def _read_one(self, job: Job) -> None:
        room = None
        try:
            if reason := why_skipped(job, self.settings.saving, self.settings.skip_existing):
                self.outcomes.put(Outcome(job.source, job.target, "skipped", reason))
                return
            data = read_bytes(job.source)
            pixels = self._size_in_room(data)
            if not self.room.enter(pixels):
                raise _StoppedError
            room = pixels
            make_folder(job.target.parent)
            saving, size = self._saving(job), self.settings.work.result_size
            opened = open_picture(job.source, job.target, saving, data, size)
        except _StoppedError:
            raise
        except Exception as error:
            if room is not None:
                self.room.leave(room)
            self._fail(job, error)
        else:
            self._opened.put(Item(job, opened, room, self.settings.work))

    def _size_in_room(self, data: bytes) -> int:
        """Pixels of a picture or of its result, whichever has more."""
        height, width = promised_size(data)
        try:
            result = self.settings.work.result_size(height, width) if height and width else (0, 0)
        except RestoreError:  # to open it will tell
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
        for _ in self._writers:
            self._restored.put(None)

    def _check_stopped(self) -> None:
        if self.room.closed:
            raise _StoppedError

    def _group(self, waiting: list[Item]) -> list[Item]:
        """The first that waits, with others of its size as long as all fit into one window."""
        from restore.engine.tiled import default_budget

        if self.settings.tile is not None or not self.settings.work.by_size:
            return waiting[:1]
        sizes = [item.opened.picture.pixels.shape[:2] for item in waiting]
        alike = [item for item, size in zip(waiting, sizes, strict=True) if size == sizes[0]]
        area = sizes[0][0] * sizes[0][1] if sizes else 1
        return alike[: max(1, default_budget(self.settings.device) // area)]

    def _run(self, group: list[Item]) -> None:
        """The network over a group; where that fails, over each of it, so that one fails alone."""
        try:
            outputs = self._timed(group)
        except _StoppedError:
            raise
        except Exception as error:
            for item in group if len(group) > 1 else ():
                self._run([item])
            if len(group) == 1:
                self.room.leave(group[0].room)
                self._fail(group[0].job, error)
            return
        for item, output in zip(group, outputs, strict=True):
            item.output = output
            self._restored.put(item)

    def _timed(self, group: list[Item]) -> list[Pixels]:
        from restore.engine.passes import run_views
        from restore.engine.tiled import run_together

        if not group:
            return []
        asked, first = self.settings, group[0]
        began = time.perf_counter()
        try:
            if len(group) > 1:
                network = self._network(first)
                seen = [asked.work.seen(item.opened.picture) for item in group]
                outputs = run_together(network, seen, asked.device, asked.dtype)
                return [output.pixels for output in outputs]
            picture = first.opened.picture
            first.work = asked.work.fitted_to(picture)
            network = self._network(first)
            limits: dict[str, Any] = {"tile": asked.tile, "memory": asked.memory}
            limits["report"] = self._tiles(first.job)
            ran = run_views(network, first.work, picture, asked.device, asked.dtype, **limits)
            return [ran.pixels]
        finally:
            took = time.perf_counter() - began
            self.network_seconds += took
            for item in group:
                item.seconds = took / len(group)

    def _network(self, item: Item) -> Kept:
        """The network for a picture, kept ready for the next one that wants it."""
        from restore.engine.prepare import Kept

        network = item.work.network_for(item.opened.picture)
        kept = self._kept.pop(id(network), None) or Kept(network)
        self._kept[id(network)] = kept  # the latest is the last
        if len(self._kept) > MOST_KEPT:
            self._kept.pop(next(iter(self._kept)))
        return kept

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
        job, asked = item.job, self.settings
        try:
            assert item.output is not None
            result = item.work.put_back(item.opened.picture, item.output)
            item.output = None
            written = save_result(item.opened, result, self._saving(job), asked.work.untouched)
        except Exception as error:
            self._fail(job, error)
        else:
            size = result.width, result.height
            self.outcomes.put(
                Outcome(job.source, written, "written", "", *size, seconds=item.seconds)
            )
        finally:
            self.room.leave(item.room)
