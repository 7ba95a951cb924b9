"""Threads that each compute with one core, side by side.

torch divides each operation among the cores and waits for the slowest before the next one begins.
Where the work can be divided by columns, each core goes through many operations before it waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from types import TracebackType
from typing import TypeVar

import torch

Found = TypeVar("Found")


class Workers:
    """Threads with a core each, from their first use to the end of the `with` block."""

    def __init__(self, count: int | None = None) -> None:
        """count: None for as many as torch would use for one operation here."""
        self.count = torch.get_num_threads() if count is None else count
        self._pool: ThreadPoolExecutor | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Workers:
        """Nothing is started yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for them and end them."""
        self._stack.close()
        self._pool = None

    def run(self, tasks: Sequence[Callable[[], Found]]) -> list[Found]:
        """The results of the tasks, in order; the first error is raised once all have ended.

        A single task is done by the caller, with all cores that torch gives it.
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
        # each of them comes up only if all are waited for, and sets itself to one core
        barrier = Barrier(self.count)
        for waiting in [self._pool.submit(_alone, barrier) for _ in range(self.count)]:
            waiting.result()
        # The caller, too: what helps it in an operation would go on spinning on the workers' cores.
        self._stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
        return self._pool


def _alone(barrier: Barrier) -> None:
    torch.set_num_threads(1)
    barrier.wait()


def _infer(task: Callable[[], Found]) -> Found:
    with torch.inference_mode():  # a thread does not take it over from its maker
        return task()
