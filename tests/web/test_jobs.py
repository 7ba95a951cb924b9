"""One line for each device, places that become free, and memory that stays within its limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from restore.engine.backend import Report
from restore.engine.compute import Compute
from restore.errors import InputError, OutOfMemoryError, UnknownFormatError
from restore.web.jobs import Job, Jobs, Limits, RefusedError, problem_of


@dataclass
class Block:
    nbytes: int


class Gate:
    """Work that goes on tile by tile until it is let through, or cancelled."""

    def __init__(self) -> None:
        self.open, self.at_once, self.most = threading.Event(), 0, 0
        self.devices: set[str] = set()
        self.lock = threading.Lock()

    def __call__(self, compute: Compute, report: Report) -> Block:
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            self.devices.add(str(compute.device))
        try:
            while not self.open.wait(0.005):
                report(1, 2)
        finally:
            with self.lock:
                self.at_once -= 1
        return Block(100)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def make() -> Iterator[Callable[..., Jobs[Block]]]:
    made: list[Jobs[Block]] = []

    def one(devices: int = 1, **limits: float) -> Jobs[Block]:
        each = [Compute(f"cpu:{number}") for number in range(devices)]
        made.append(Jobs(each, Limits(**limits)))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for jobs in made:
        jobs.close()


def entered(jobs: Jobs[Block], work: Gate, client: str = "a", size: int = 10) -> Job[Block]:
    job = jobs.admit(client, "denoise", size)
    jobs.start(job, work, size)
    return job


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.parametrize("devices", [1, 2])
def test_each_device_does_one_job_at_a_time(
    make: Callable[..., Jobs[Block]], gate: Gate, devices: int
) -> None:
    jobs = make(devices)
    line = [entered(jobs, gate) for _ in range(6)]
    until(lambda: gate.at_once == devices)
    assert [jobs.position(job) for job in line[devices:]] == list(range(6 - devices))
    gate.open.set()
    for job in line:
        job.ended.result(30)
    assert gate.most == devices and len(gate.devices) == devices
    assert {job.state for job in line} == {"done"} and jobs.counts()["bytes"] == 600


def test_a_cancelled_job_frees_its_place_running_or_waiting(
    make: Callable[..., Jobs[Block]], gate: Gate
) -> None:
    jobs = make(waiting=2, each=2)
    running, waiting = entered(jobs, gate), entered(jobs, gate)
    until(lambda: running.progress == (1, 2))
    with pytest.raises(RefusedError, match="are waiting"):
        jobs.admit("a", "denoise", 1)
    jobs.drop(waiting)
    third = entered(jobs, gate)
    jobs.drop(running)
    until(lambda: third.state == "running")  # the network of the first one has stopped
    assert running.state == waiting.state == "cancelled"
    with pytest.raises(RefusedError, match="no such job"):
        jobs.find(running.id)
    gate.open.set()
    third.ended.result(30)


def test_limits_have_their_statuses(make: Callable[..., Jobs[Block]], gate: Gate) -> None:
    jobs = make(bytes=100, waiting=3, each=2, held=250)

    def status(client: str, size: int) -> int:
        with pytest.raises(RefusedError) as refused:
            jobs.admit(client, "denoise", size)
        return refused.value.status

    assert status("a", 101) == 413
    entered(jobs, gate, "a", 100), entered(jobs, gate, "a", 100)
    assert status("a", 1) == 429
    assert status("b", 100) == 503, "the bytes of all pictures together"
    entered(jobs, gate, "b", 10)
    assert status("b", 1) == 503, "the places of all clients together"


def test_the_oldest_results_make_room(make: Callable[..., Jobs[Block]], gate: Gate) -> None:
    jobs = make(held=250, each=9)
    gate.open.set()
    made = []
    for _ in range(4):
        made.append(entered(jobs, gate))
        made[-1].ended.result(30)
    assert [job.result is not None for job in made] == [False, False, True, True]
    assert jobs.counts()["bytes"] == 200


def test_jobs_that_nobody_asks_about_are_dropped(
    make: Callable[..., Jobs[Block]], gate: Gate
) -> None:
    jobs = make(patience=-1.0, kept=-1.0)
    followed = entered(jobs, gate)
    with followed.watched():
        left = entered(jobs, gate)
        until(lambda: followed.state == "running")
        jobs.tidy()
        assert followed.state == "running" and left.state == "cancelled"
        gate.open.set()
        followed.ended.result(30)
        jobs.tidy()
        assert followed.result is not None
    jobs.tidy()
    assert jobs.counts() == {"waiting": 0, "running": 0, "jobs": 0, "bytes": 0}


def test_patience_begins_when_the_last_one_stops_watching(
    make: Callable[..., Jobs[Block]], gate: Gate
) -> None:
    """A browser opens a broken stream of events again after some seconds."""
    jobs = make(patience=60.0)
    job = entered(jobs, gate)
    with job.watched():
        job.seen -= 1000
        jobs.tidy()
    jobs.tidy()
    assert not job.finished


def test_the_end_of_the_server_ends_all_jobs(make: Callable[..., Jobs[Block]], gate: Gate) -> None:
    jobs = make()
    line = [entered(jobs, gate) for _ in range(3)]
    jobs.close()
    assert {job.state for job in line} == {"cancelled"}
    with pytest.raises(RefusedError, match="shutting down"):
        jobs.admit("a", "denoise", 1)


def test_a_defect_is_told_as_one_and_the_device_goes_on(
    make: Callable[..., Jobs[Block]], gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = make()

    def broken(compute: Compute, report: Report) -> Block:
        raise KeyError("secret")

    job = jobs.admit("a", "denoise", 1)
    jobs.start(job, broken, 1)
    job.ended.result(30)
    assert job.problem is not None and job.problem.status == 500
    assert "secret" not in job.problem.sentence and "secret" in caplog.text
    gate.open.set()
    entered(jobs, gate).ended.result(30)


def test_errors_have_statuses() -> None:
    errors = [
        UnknownFormatError("x"),
        InputError("x"),
        OutOfMemoryError("x"),
        RefusedError(413, "x"),
    ]
    assert [problem_of(error).status for error in errors] == [415, 422, 503, 413]
