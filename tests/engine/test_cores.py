"""Threads of torch that are counted by thread, and the cores that several pictures share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from restore.engine.cores import Cores, use_threads


def in_a_new_thread(call: Callable[[], object]) -> object:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def test_a_number_of_threads_holds_though_another_is_set_elsewhere_before_the_first_operation() -> (
    None
):
    before = torch.get_num_threads()

    def own() -> int:
        use_threads(3)
        in_a_new_thread(lambda: torch.set_num_threads(1))
        torch.ones(4, 4) @ torch.ones(4, 4)
        return torch.get_num_threads()

    assert in_a_new_thread(own) == 3
    assert torch.get_num_threads() == before
    in_a_new_thread(lambda: torch.set_num_threads(before))  # for the threads to come


def test_the_network_has_all_cores_and_all_else_one() -> None:
    cores, meeting = Cores(2), threading.Barrier(2, timeout=30)
    seen: list[tuple[int, ...]] = []
    inside = 0

    def picture() -> float:
        nonlocal inside
        turn = cores.turn()
        with cores.one():
            meeting.wait()  # passes only if both are computed at once
            outside = torch.get_num_threads()
            for _ in range(2):
                with turn:
                    inside += 1
                    time.sleep(0.01)
                    seen.append((outside, torch.get_num_threads(), inside))
                    inside -= 1
            seen.append((torch.get_num_threads(), 2, 1))
        return turn.seconds

    with ThreadPoolExecutor(2) as pool:
        spent = [each.result() for each in [pool.submit(picture) for _ in range(2)]]
    assert seen == [(1, 2, 1)] * 6 and min(spent) >= 0.02


def test_one_core_computes_one_picture_at_a_time() -> None:
    cores, at_once = Cores(1), []
    count = 0

    def picture() -> None:
        nonlocal count
        with cores.one():
            count += 1
            time.sleep(0.01)
            at_once.append(count)
            count -= 1

    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(picture) for _ in range(4)]:
            each.result()
    assert at_once == [1] * 4
