"""Threads that each compute on one core, in parallel.

torch divides each operation among the cores, and waits for the slowest before the next operation.
If the work is divided by columns instead, each core does many operations before it waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from types import TracebackType
from typing import TypeVar

import torch

from restore.engine.cores import use_threads

Found = TypeVar("Found")


class Workers:
    """Threads for one core each, from the first `run` to the end of the `with` block."""

    def __init__(self, count: int | None = None) -> None:
        """count: None: as many as torch uses for one operation."""
        self.count = torch.get_num_threads() if count is None else count
        self._pool: ThreadPoolExecutor | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Workers:
        """Threads are started by the first `run`."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the threads."""
        self._stack.close()
        self._pool = None

    def run(self, tasks: Sequence[Callable[[], Found]]) -> list[Found]:
        """Run tasks in parallel; returns their results in order.

        The first error is raised once all tasks have ended. A single task runs on the calling
        thread, with all cores of torch.
        """
        if self.count == 1 or len(tasks) == 1:
            return [task() for task in tasks]
        pool = self._pool or self._start()
        waiting = [pool.submit(_infer, task) for task in tasks]
        failed = [error for error in (w.exception() for w in waiting) if error is not None]
        if failed:
            raise failed[0]
        return [w.result() for w in waiting]

    def _start(self) -> ThreadPoolExecutor:
        self._pool = self._stack.enter_context(ThreadPoolExecutor(self.count))
        # all wait at the barrier, so that each thread is started once and sets itself to one core
        barrier = Barrier(self.count)
        for waiting in [self._pool.submit(_alone, barrier) for _ in range(self.count)]:
            waiting.result()
        # The caller too: the threads that help it would keep spinning on the workers' cores.
        self._stack.callback(use_threads, use_threads(1))
        return self._pool


def _alone(barrier: Barrier) -> None:
    use_threads(1)
    barrier.wait()


def _infer(task: Callable[[], Found]) -> Found:
    with torch.inference_mode():  # not inherited from the thread that started this one
        return task()
