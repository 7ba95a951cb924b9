"""A batch over several devices: one process for each, files handed out as each becomes free.

A process of its own for each device, because Python runs one thread at a time, and a fault of one
device must not end the others. They talk in pickled messages over their standard streams.
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

AHEAD = 6  # pictures that a process has to read and write while its device is busy
# A worker finds its modules where its parent does, never in the folder that it happens to run in.
ENTRY = (
    "import sys; sys.path[:] = {paths!r}; "
    "from restore.pipeline.processes import run_worker; run_worker()"
)


def restore_in_processes(
    jobs: list[Job], settings: list[Settings], report: Any = None
) -> Generator[tuple[Outcome, float], None, None]:
    """What became of each job, as it is known, and the seconds that networks have run in all.

    settings: for each process its own, which differ in device and precision only
    Leaving early ends the processes; what they were writing is whole or absent.
    """
    for folder in {job.target.parent for job in jobs}:
        tidy(folder)
    came: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()
    left = iter(jobs)
    cores = os.cpu_count() or 1
    on_cpu = sum(one.resources.device.type == "cpu" for one in settings)
    threads = max(1, cores // max(1, on_cpu))
    workers = [_Worker(one, threads, came) for one in settings]
    seconds = dict.fromkeys(range(len(workers)), 0.0)
    try:
        for worker in [w for _ in range(AHEAD) for w in workers]:
            worker.give(next(left, None))
        running = len(workers)
        while running:
            worker, message = came.get()
            if message is None:
                running -= 1
                for job in worker.lost():
                    yield _abandoned(job, worker), sum(seconds.values())
                for job in left if not running else ():  # nobody is left to do them
                    yield _abandoned(job, worker), sum(seconds.values())
                continue
            kind, content = message
            if kind == "tiles":
                if report is not None:
                    report(*content)
                continue
            outcome, seconds[workers.index(worker)] = content
            worker.took(outcome)
            worker.give(next(left, None))
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
        self, settings: Settings, threads: int, came: queue.SimpleQueue[tuple[_Worker, Any]]
    ) -> None:
        self.settings = settings
        self.given: list[Job] = []
        self.closed = False
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", ENTRY.format(paths=_module_paths())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._send((settings, threads))
        self._listener = threading.Thread(target=self._listen, args=(came,), daemon=True)
        self._listener.start()

    def _listen(self, came: queue.SimpleQueue[tuple[_Worker, Any]]) -> None:
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while (message := pickle.load(cast("IO[bytes]", self.process.stdout))) is not None:
                came.put((self, message))
        self.process.wait()
        came.put((self, None))

    def _send(self, message: Any) -> None:
        stream = cast("IO[bytes]", self.process.stdin)
        with contextlib.suppress(OSError):  # it has ended, which its listener will tell
            stream.write(pickle.dumps(message))
            stream.flush()

    def give(self, job: Job | None) -> None:
        """Another job, or None: there are no more."""
        if job is not None:
            self.given.append(job)
        elif not self.closed:
            self.closed = True
        else:
            return
        self._send(job)

    def took(self, outcome: Outcome) -> None:
        """One of its jobs is done."""
        self.given = [job for job in self.given if job.source != outcome.source]

    def lost(self) -> list[Job]:
        """What it was given and has not answered for."""
        return self.given

    def end(self) -> None:
        """No process is left behind."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        self._listener.join()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                cast("IO[bytes]", stream).close()


def _module_paths() -> list[str]:
    """Where this process finds modules, and where this package lies."""
    package = str(Path(__file__).resolve().parents[2])
    paths = [os.path.abspath(path) for path in sys.path if path]
    return paths if package in paths else [*paths, package]


class _JobStream:
    """The jobs that come over standard input; how many is not known before."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def __len__(self) -> int:
        return AHEAD

    def __iter__(self) -> Iterator[Job]:
        with contextlib.suppress(EOFError):
            while (job := pickle.load(self.stream)) is not None:
                yield job


def run_worker() -> None:
    """The process for one device: settings and jobs from standard input, outcomes to its output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up between the messages
    given = sys.stdin.buffer
    settings, threads = pickle.load(given)
    import torch

    if settings.resources.device.type == "cpu":
        torch.set_num_threads(threads)
    lock = threading.Lock()

    def answer(message: Any) -> None:
        with lock:
            answers.write(pickle.dumps(message))
            answers.flush()

    last = [0.0]

    def tiles(*said: Any) -> None:
        if time.monotonic() - last[0] > 0.2:  # a person cannot read faster
            last[0] = time.monotonic()
            answer(("tiles", said))

    flow = Flow(cast("list[Job]", _JobStream(given)), settings, tiles)
    flow.start()
    try:
        while (outcome := flow.outcomes.get()) is not None:
            if isinstance(outcome, BaseException):
                raise outcome
            plain = dataclasses.replace(outcome, error=_plain(outcome.error))
            answer(("outcome", (plain, flow.network_seconds)))
        answer(None)
    finally:
        flow.stop()


def _plain(error: Exception | None) -> Exception | None:
    """An error that can be sent: some carry what cannot."""
    try:
        return cast("Exception | None", pickle.loads(pickle.dumps(error)))
    except Exception:
        return RuntimeError(str(error))
