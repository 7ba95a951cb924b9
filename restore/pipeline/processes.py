"""A batch on several devices: one process for each, given files as it becomes free.

Each device has its own process, because Python runs one thread at a time, and a failure of one
device must not stop the others. Processes exchange pickled messages over their standard streams.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any, cast

from restore.image.atomic import tidy
from restore.pipeline.flow import Flow, Outcome, Settings
from restore.pipeline.plan import Job

AHEAD = 6  # pictures given to a process at once, to read and write while its device is busy
# A worker imports modules from its parent's paths, never from the current folder.
ENTRY = (
    "import sys; sys.path[:] = {paths!r}; "
    "from restore.pipeline.processes import run_worker; run_worker()"
)


def restore_in_processes(
    jobs: list[Job], settings: list[Settings], report: Any = None
) -> Generator[tuple[Outcome, float], None, None]:
    """Yield the outcome of each job, and the seconds for which networks have run in total.

    settings: for each process; they differ only in device and precision
    Leaving early ends the processes; a file they were writing is complete or absent.
    """
    for folder in {job.target.parent for job in jobs}:
        tidy(folder)
    messages: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()
    remaining = iter(jobs)
    cores = os.cpu_count() or 1
    on_cpu = sum(one.resources.device.type == "cpu" for one in settings)
    threads = max(1, cores // max(1, on_cpu))
    workers = [_Worker(one, threads, messages) for one in settings]
    seconds = dict.fromkeys(range(len(workers)), 0.0)
    try:
        for worker in [w for _ in range(AHEAD) for w in workers]:
            worker.give(next(remaining, None))
        running = len(workers)
        while running:
            worker, message = messages.get()
            if message is None:
                running -= 1
                for job in worker.given:
                    yield _abandoned(job, worker), sum(seconds.values())
                for job in remaining if not running else ():  # no process is left for them
                    yield _abandoned(job, worker), sum(seconds.values())
                continue
            kind, content = message
            if kind == "tiles":
                if report is not None:
                    report(*content)
                continue
            outcome, seconds[workers.index(worker)] = content
            worker.done(outcome)
            worker.give(next(remaining, None))
            yield outcome, sum(seconds.values())
    finally:
        for worker in workers:
            worker.end()


def _abandoned(job: Job, worker: _Worker) -> Outcome:
    device, code = worker.settings.resources.device, worker.process.poll()
    reason = f"{job.source}: the process for {device} ended with code {code}; run again"
    return Outcome(job.source, job.target, "failed", reason)


class _Worker:
    """A process for one device, seen from the parent."""

    def __init__(
        self, settings: Settings, threads: int, messages: queue.SimpleQueue[tuple[_Worker, Any]]
    ) -> None:
        self.settings = settings
        self.given: list[Job] = []  # without an outcome yet
        self.closed = False
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", ENTRY.format(paths=_module_paths())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._send((settings, threads))
        self._listener = threading.Thread(target=self._listen, args=(messages,), daemon=True)
        self._listener.start()

    def _listen(self, messages: queue.SimpleQueue[tuple[_Worker, Any]]) -> None:
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while (message := pickle.load(cast("IO[bytes]", self.process.stdout))) is not None:
                messages.put((self, message))
        self.process.wait()
        messages.put((self, None))

    def _send(self, message: Any) -> None:
        stream = cast("IO[bytes]", self.process.stdin)
        with contextlib.suppress(OSError):  # it has ended, which `_listen` reports
            stream.write(pickle.dumps(message))
            stream.flush()

    def give(self, job: Job | None) -> None:
        """Send another job, or None if there are no more."""
        if job is not None:
            self.given.append(job)
        elif not self.closed:
            self.closed = True
        else:
            return
        self._send(job)

    def done(self, outcome: Outcome) -> None:
        """Note that one of its jobs is done."""
        self.given = [job for job in self.given if job.source != outcome.source]

    def end(self) -> None:
        """End the process, and wait for it."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        self._listener.join()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                cast("IO[bytes]", stream).close()


def _module_paths() -> list[str]:
    """The paths from which this process imports modules, and that of this package."""
    package = str(Path(__file__).resolve().parents[2])
    paths = [os.path.abspath(path) for path in sys.path if path]
    return paths if package in paths else [*paths, package]


class _JobStream:
    """The jobs that arrive over standard input, a number that is not known in advance.

    The stream ends only with the parent: then this process ends at once, whatever it is doing.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                self.jobs.put(pickle.load(self.stream))
        os._exit(1)  # what is being written is left hidden, and swept by the next run

    def __len__(self) -> int:
        return AHEAD

    def __iter__(self) -> Iterator[Job]:
        while (job := self.jobs.get()) is not None:
            yield job


def run_worker() -> None:
    """Run the process for one device: settings and jobs from stdin, outcomes to stdout."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps what a library prints out of the messages
    stdin = os.fdopen(os.dup(0), "rb")  # its reader waits until the end, which locks the stream
    settings, threads = pickle.load(stdin)
    import torch

    if settings.resources.device.type == "cpu":
        torch.set_num_threads(threads)
    lock = threading.Lock()

    def send(message: Any) -> None:
        with lock:
            output.write(pickle.dumps(message))
            output.flush()

    last = [0.0]

    def report(*progress: Any) -> None:
        if time.monotonic() - last[0] > 0.2:  # nobody can read faster
            last[0] = time.monotonic()
            send(("tiles", progress))

    flow = Flow(cast("list[Job]", _JobStream(stdin)), settings, report)
    flow.start()
    try:
        while (outcome := flow.outcomes.get()) is not None:
            if isinstance(outcome, BaseException):
                raise outcome
            sendable = dataclasses.replace(outcome, error=_sendable(outcome.error))
            send(("outcome", (sendable, flow.network_seconds)))
        send(None)
    finally:
        flow.stop()


def _sendable(error: Exception | None) -> Exception | None:
    """The error, or one with its message if it cannot be pickled."""
    try:
        return cast("Exception | None", pickle.loads(pickle.dumps(error)))
    except Exception:
        return RuntimeError(str(error))
