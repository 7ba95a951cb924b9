"""A network over the views of a picture that its work asks for, and the mean of its answers."""

from __future__ import annotations

import numpy as np
import torch

from restore.engine.tiled import Output, Report, network_share, run
from restore.image.picture import Picture
from restore.models.network import Network
from restore.tasks.task import Work


def run_views(
    network: Network,
    work: Work,
    picture: Picture,
    device: torch.device,
    dtype: torch.dtype,
    *,
    tile: int | None = None,
    memory: int | None = None,
    report: Report | None = None,
) -> Output:
    """The network's answer to a picture, float32; arguments and errors as for `engine.run`.

    memory: bytes for all, the picture and its result included
    """
    count, ran = work.views, None
    for view in range(count):
        seen = work.seen(picture, view)
        left = network_share(network, memory, seen, device, dtype, count)
        shown = report if report is None or count == 1 else _part(report, view, count)
        answer = run(network, seen, device, dtype, tile=tile, memory=left, report=shown)
        if ran is not None:
            np.add(answer.pixels, ran.pixels, out=answer.pixels)
        ran = answer
    assert ran is not None
    if count > 1:
        np.divide(ran.pixels, np.float32(count), out=ran.pixels)
    return ran


def _part(report: Report, view: int, count: int) -> Report:
    """One report over all views."""
    return lambda done, total: report(view * total + done, count * total)
