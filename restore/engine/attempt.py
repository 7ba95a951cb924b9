"""A computation that may run out of memory or of a number format's range, tried."""

from __future__ import annotations

from collections.abc import Callable

import torch

from restore.engine.rows.stream import NotFiniteError
from restore.image.picture import Pixels

# How Apple's MPS, torch's allocator on the CPU, oneDNN and C++ say it, as plain RuntimeErrors.
OUT_OF_MEMORY = (
    "MPS backend out of memory",
    "DefaultCPUAllocator: can't allocate",
    "could not create a primitive",
    "could not create a memory",
    "std::bad_alloc",
)


def attempt(compute: Callable[[], Pixels], device: torch.device) -> Pixels | str:
    """What it gives, or why it could not be computed: "out of memory" or "not finite".

    The failure is returned and not handled here: inside `except` the traceback would keep the
    failed tensors alive, so that a smaller try could fail for the memory of the larger one.
    """
    try:
        return compute()
    except NotFiniteError:
        failure = "not finite"
    except (torch.OutOfMemoryError, MemoryError):
        failure = "out of memory"
    except RuntimeError as error:
        if not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        failure = "out of memory"
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return failure
