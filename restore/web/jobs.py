"""Jobs: requests that wait for a device, run on it one by one, and are held until they are fetched.

Nothing here knows of pictures or of HTTP. All is in memory, and within the limits.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, Literal, Protocol, TypeVar

from restore.engine.backend import Report
from restore.engine.compute import Compute
from restore.errors import OutOfMemoryError, RestoreError, UnknownFormatError

log = logging.getLogger(__name__)
State = Literal["receiving", "waiting", "running", "done", "failed", "cancelled"]
UNFINISHED: tuple[State, ...] = ("receiving", "waiting", "running")


@dataclass(frozen=True)
class Limits:
    """What a server takes on.

    bytes:    of one request
    pixels:   of a picture, and of its result
    waiting:  jobs that are not finished, of all clients; each: of one client
    held:     bytes of all pictures sent and results kept together; pictures that are being restored
              take memory besides
    patience: seconds after which an unfinished job is cancelled that nobody asks about, and after
              which a request is given up that sends nothing
    kept:     seconds for which a result is kept that nobody asks about
    """

    bytes: int = 100_000_000
    pixels: int = 100_000_000
    waiting: int = 64
    each: int = 32
    held: int = 2 * 2**30
    patience: float = 30.0
    kept: float = 1800.0


class RefusedError(Exception):
    """A request that is refused: an HTTP status and a sentence.

    wait: seconds after which the same request may succeed; None: never
    """

    def __init__(self, status: int, sentence: str, wait: int | None = None) -> None:
        """status: of HTTP, from 400 on."""
        super().__init__(sentence)
        self.status, self.sentence, self.wait = status, sentence, wait


class Held(Protocol):
    """What a job makes."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""


Made = TypeVar("Made", bound=Held)
Work = Callable[[Compute, Report], Made]


class _CancelledError(Exception):
    """The job was cancelled while its network ran."""


class Job(Generic[Made]):
    """One request. `result` is there when it is done, `problem` when it has failed."""

    def __init__(self, client: str, task: str, size: int) -> None:
        """client: who asks; task: for what; size: bytes of the request."""
        self.id = secrets.token_urlsafe(16)  # it cannot be guessed: who knows it may fetch it
        self.client, self.task, self.held = client, task, size
        self.state: State = "receiving"
        self.progress = (0, 0)  # tiles done, and the total
        self.result: Made | None = None
        self.problem: RefusedError | None = None
        self.stopped = threading.Event()
        self.ended: Future[None] = Future()
        self.seen, self.watchers = time.monotonic(), 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While someone follows the job, it is not dropped; afterwards patience begins anew."""
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1
            self.seen = time.monotonic()

    @property
    def finished(self) -> bool:
        """Whether it is done, failed or cancelled."""
        return self.state not in UNFINISHED


class Jobs(Generic[Made]):
    """All jobs of a server. One line; each device takes the next job when it is free."""

    def __init__(self, devices: Sequence[Compute], limits: Limits) -> None:
        """devices: one setting for each device; threads are started by the first job."""
        self.limits = limits
        self._devices: SimpleQueue[Compute] = SimpleQueue()
        for device in devices:
            self._devices.put(device)
        self._pool = ThreadPoolExecutor(len(devices), "device")
        self._jobs: dict[str, Job[Made]] = {}
        self._lock = threading.RLock()
        self._closed = False

    def admit(self, client: str, task: str, size: int) -> Job[Made]:
        """A place for a request of so many bytes, before it is read.

        Raises RefusedError: 413 for too many bytes, 429 where this client has too many jobs, 503
        where all clients have, or where memory is short.
        """
        limits = self.limits
        if size > limits.bytes:
            raise RefusedError(
                413, f"a request may have {limits.bytes} bytes at most, this has {size}"
            )
        with self._lock:
            self.tidy()
            unfinished = [job for job in self._jobs.values() if not job.finished]
            if self._closed:
                raise RefusedError(503, "the server is shutting down; try again later", 30)
            if sum(job.client == client for job in unfinished) >= limits.each:
                raise RefusedError(
                    429, f"{limits.each} of your jobs are waiting; fetch those first", 5
                )
            taken = sum(job.held for job in unfinished)
            if len(unfinished) >= limits.waiting or taken + size > limits.held:
                raise RefusedError(503, "too many jobs are waiting; try again later", 10)
            job: Job[Made] = Job(client, task, size)
            self._jobs[job.id] = job
            self._make_room()
            return job

    def start(self, job: Job[Made], work: Work[Made], size: int) -> None:
        """Put an admitted job into the line.

        work: called on a device's thread with the device and a report, which raises where the job
              was cancelled; size: bytes that `work` holds
        """
        with self._lock:
            if job.finished or self._closed:
                raise RefusedError(503, "the job was cancelled while it was received", 1)
            job.held, job.state, job.seen = size, "waiting", time.monotonic()
            self._pool.submit(self._run, job, work)

    def find(self, name: str) -> Job[Made]:
        """The job of that id, which is seen to be wanted. Raises RefusedError 404."""
        with self._lock:
            job = self._jobs.get(name)
            if job is None:
                raise RefusedError(
                    404, "there is no such job, or its result is not kept any longer"
                )
            job.seen = time.monotonic()
            return job

    def position(self, job: Job[Made]) -> int:
        """How many jobs are before this one in the line."""
        with self._lock:
            line = [other.id for other in self._jobs.values() if other.state == "waiting"]
            return line.index(job.id) if job.id in line else 0

    def drop(self, job: Job[Made]) -> None:
        """Cancel a job where it is not finished, and forget it."""
        with self._lock:
            self._jobs.pop(job.id, None)
            job.stopped.set()
            if not job.finished:
                self._end(job, "cancelled")
            job.result, job.held = None, 0

    def tidy(self) -> None:
        """Drop the jobs that nobody has asked about for too long."""
        now = time.monotonic()
        with self._lock:
            for job in list(self._jobs.values()):
                patience = self.limits.kept if job.finished else self.limits.patience
                reading = job.state == "receiving"  # which has a limit of its own
                if not job.watchers and not reading and now - job.seen > patience:
                    self.drop(job)

    def close(self) -> None:
        """Cancel and forget all jobs, and end the threads."""
        with self._lock:
            self._closed = True
            for job in list(self._jobs.values()):
                self.drop(job)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def counts(self) -> dict[str, int]:
        """How many jobs wait, run, and are held; and the bytes that they hold."""
        with self._lock:
            states = [job.state for job in self._jobs.values()]
            held = sum(job.held for job in self._jobs.values())
        running = states.count("running")
        return {
            "waiting": states.count("waiting") + states.count("receiving"),
            "running": running,
            "jobs": len(states),
            "bytes": held,
        }

    def _run(self, job: Job[Made], work: Work[Made]) -> None:
        """On a thread of the pool: do a job on a device that is free."""
        with self._lock:
            if job.finished:
                return
            job.state = "running"
        device = self._devices.get()
        try:
            result = work(device, lambda done, total: self._report(job, done, total))
        except _CancelledError:
            return
        except Exception as error:
            with self._lock:
                job.problem = problem_of(error)
                self._end(job, "failed")
            return
        finally:
            self._devices.put(device)
        with self._lock:
            if job.finished:
                return
            job.result, job.held, job.seen = result, result.nbytes, time.monotonic()
            self._end(job, "done")
            self._make_room(job)

    def _report(self, job: Job[Made], done: int, total: int) -> None:
        if job.stopped.is_set():
            raise _CancelledError
        job.progress = done, total

    def _end(self, job: Job[Made], state: State) -> None:
        job.state = state
        if state != "done":
            job.held = 0
        job.ended.set_result(None)

    def _make_room(self, spared: Job[Made] | None = None) -> None:
        """Drop the oldest results while more bytes are held than may be; not those waited for."""
        finished = [
            job
            for job in self._jobs.values()
            if job.finished and not job.watchers and job is not spared
        ]
        for job in sorted(finished, key=lambda job: job.seen):
            if sum(other.held for other in self._jobs.values()) <= self.limits.held:
                return
            self.drop(job)


def problem_of(error: Exception) -> RefusedError:
    """The HTTP status and the sentence for an error."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, UnknownFormatError):
        return RefusedError(415, str(error))
    if isinstance(error, OutOfMemoryError):
        return RefusedError(503, str(error))
    if isinstance(error, RestoreError):
        return RefusedError(422, str(error))
    log.error("a job failed by a defect", exc_info=error)
    return RefusedError(500, "the picture could not be restored, by a defect of this server")
