"""Threads of one core each: the order of results, errors, and what they leave behind."""

from __future__ import annotations

import threading

import pytest
import torch

from restore.engine.rows.workers import Workers


@pytest.fixture
def two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_tasks_run_side_by_side_and_give_their_results_in_order() -> None:
    meeting = threading.Barrier(3, timeout=30)

    def task(number: int) -> tuple[int, int, bool]:
        meeting.wait()  # passes only if all three are at it
        return number, torch.get_num_threads(), torch.is_inference_mode_enabled()

    with Workers(3) as workers:
        for _ in range(2):
            found = workers.run([lambda n=n: task(n) for n in range(3)])
            assert found == [(n, 1, True) for n in range(3)]


def test_the_threads_of_torch_are_as_before(two_threads: None) -> None:
    with Workers() as workers:
        assert workers.count == 2
        workers.run([torch.get_num_threads] * 4)
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    seen: list[int] = []
    other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert seen == [2]


def test_a_single_task_has_all_cores_and_starts_no_thread(two_threads: None) -> None:
    before = threading.active_count()
    with Workers() as workers:
        assert workers.run([torch.get_num_threads]) == [2]
        assert threading.active_count() == before


def test_an_error_is_raised_after_all_have_ended() -> None:
    ended = threading.Event()

    def fails() -> None:
        raise MemoryError

    def slow() -> None:
        threading.Event().wait(0.2)
        ended.set()

    with Workers(2) as workers, pytest.raises(MemoryError):
        workers.run([fails, slow])
    assert ended.is_set()


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    with Workers(3) as workers:
        workers.run([int] * 3)
    assert threading.active_count() == before
