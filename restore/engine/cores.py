"""How many cores a thread computes with, and several pictures that share those of a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def use_threads(count: int) -> int:
    """Have torch do the work of this thread with so many threads; returns how many it had.

    Each thread has its own number. At its first operation it takes the one that was last set
    anywhere in the process, perhaps for another thread: so that is done here first.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    return before


class Cores:
    """The cores of a process that restores several pictures at once, a thread for each.

    The network takes all of them, for one picture at a time. Whatever else is computed takes one
    core for each picture, and no more pictures are computed than there are cores.
    """

    def __init__(self, count: int) -> None:
        """`count` of them, at least 1."""
        self.count = count
        self._free, self._network = threading.Semaphore(count), threading.Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        """A core for one picture, once there is one."""
        with self._free:
            before = use_threads(1)
            try:
                yield
            finally:
                use_threads(before)

    def turn(self) -> Turn:
        """For the network of one picture; entered, within `one`, while the network runs."""
        return Turn(self._network, self.count)


class Turn:
    """A picture's turn at the network, which may come more than once.

    seconds: that the network ran
    """

    def __init__(self, network: threading.Lock, cores: int) -> None:
        """`network` is held by the picture whose turn it is."""
        self.seconds = self._began = 0.0
        self._network, self._cores, self._before = network, cores, 1

    def __enter__(self) -> None:
        """Wait for the network."""
        self._network.acquire()
        self._before = use_threads(self._cores)
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        """Let the next one have it."""
        self.seconds += time.perf_counter() - self._began
        use_threads(self._before)
        self._network.release()
