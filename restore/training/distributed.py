"""Several processes that train one network: which one this is, and what they must agree on.

`torchrun` starts them and tells each its place in the environment. Each computes the gradients of
its own part of every batch, `DistributedDataParallel` averages them, and so all processes have the
same weights after every step. One process is the same code, with nobody to ask.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

# What the connections of a process say when another has ended; torch has no exception for it.
LOST = ("connection", "broken pipe", "read timeout", "peer", "timed out", "gloo")


@dataclass(frozen=True)
class Processes:
    """The place of this process among those that train together.

    rank:  its number, from 0
    count: how many there are
    local: its number on its machine, and that of its GPU
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device of this process, where `name` leaves the number open."""
        if self.count > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{self.local}"
        return name

    def wrapped(self, network: nn.Module) -> nn.Module:
        """The network, whose gradients become the mean over all processes."""
        if self.count == 1:
            return network
        return DistributedDataParallel(network)

    def gradients_kept(self, network: nn.Module) -> AbstractContextManager[None]:
        """Within this the gradients stay in this process, until a later pass is exchanged."""
        if isinstance(network, DistributedDataParallel):
            return network.no_sync()
        return nullcontext()

    def total(self, values: Tensor) -> Tensor:
        """The sum of these values over all processes."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def most(self, value: float) -> float:
        """The largest of the processes' values; all get the same."""
        if self.count == 1:
            return value
        # on the CPU, so that no GPU is waited for
        found = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return float(found)

    def any(self, flag: bool) -> bool:
        """Whether it holds for any process; all get the same answer."""
        return self.most(float(flag)) > 0

    def lost_one(self, error: Exception) -> bool:
        """Whether an error means that another process has ended."""
        words = str(error).lower()
        return self.count > 1 and any(word in words for word in LOST)


@contextmanager
def joined() -> Iterator[Processes]:
    """The place that `torchrun` gave this process; alone without it."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or "RANK" not in os.environ:
        yield Processes()
        return
    # An optimiser imports this; where that comes after the group, torch (2.14) keeps the group and
    # its threads to the end, and these now and then abort a process that has done its work.
    importlib.import_module("torch._dynamo")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(local)
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
    try:
        yield Processes(int(os.environ["RANK"]), count, local)
    finally:
        dist.destroy_process_group()
