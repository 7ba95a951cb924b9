"""Many picture files restored in one go: what is asked, what was planned, and what became of each.

A file that fails is an outcome like any other; the rest goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from restore.errors import InputError
from restore.image.aside import tidy
from restore.image.write import check_format, format_of
from restore.inference.files import Saving
from restore.inference.flow import Flow, Outcome, Settings, Tiles
from restore.inference.pipeline import DEFAULT_MODEL, check_strength, find_network
from restore.inference.targets import Job, plan_jobs

if TYPE_CHECKING:
    from restore.models.weights import Network


def denoise_files(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | Network = DEFAULT_MODEL,
    *,
    recursive: bool = False,
    skip_existing: bool = False,
    in_place: bool = False,
    backup: bool = False,
    file_format: str | None = None,
    quality: int | None = None,
    overwrite: bool = False,
    strip_metadata: bool = False,
    strength: float = 1.0,
    ensemble: bool = False,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    report: Tiles | None = None,
) -> Batch:
    """Denoise picture files; iterate over what is returned, and the work is done.

    inputs:    files, folders and patterns such as `photos/**/*.jpg`, or one of them
    output:    None (`NAME-restored` beside each), a folder, or a pattern: `{stem}-clean{ext}`, of
               the fields {stem} {ext} {name} {parent} {tree} {number}
    recursive: look into the folders of folders, and mirror them below an output folder
    skip_existing: leave out what has a result already, even one older than its picture. Without
               it, results newer than their pictures are left out (a run that was killed goes on),
               and older ones are failures, unless `overwrite` replaces them all
    in_place:  replace the pictures themselves; wants `backup`, which keeps each as `NAME.orig`
    quality:   of the JPEGs, WebPs and AVIFs among the results
    report:    called with (picture, tiles done, tiles in all) from another thread

    All else as for `denoise` and `denoise_file`. Raises what can be known before any picture is
    read: InputError, ReadError, WriteError, UnknownModelError, WeightsError.
    """
    from restore.inference.runtime import choose_device, choose_precision

    if in_place != backup:
        raise InputError(
            "replacing pictures and keeping their originals go together: pass both --in-place and "
            "--backup / in_place=True, backup=True, or neither"
        )
    if in_place and file_format is not None:
        raise InputError("a picture restored in place keeps its format; leave the format out")
    check_strength(strength)
    check_format("JPEG", None, quality=quality)
    if file_format is not None:
        format_of(Path("result"), file_format)
    saving = Saving(file_format, quality, overwrite, strip_metadata, in_place)
    listed = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    jobs = plan_jobs(listed, output, saving, recursive=recursive)
    chosen = choose_device(device)
    dtype = choose_precision(precision, chosen)
    network = find_network(model, ensemble)
    settings = Settings(network, strength, chosen, dtype, tile, saving, skip_existing)
    return Batch(jobs, settings, report)


class Batch:
    """The pictures of a batch; iterating restores them and gives each one's outcome when done.

    jobs:            what will be done, in order; outcomes come as they are ready
    network_seconds: the time that the network has run so far
    seconds:         the time since the first picture was begun
    """

    def __init__(self, jobs: list[Job], settings: Settings, report: Tiles | None = None) -> None:
        """Nothing is begun before the first iteration."""
        self.jobs = jobs
        self.settings = settings
        self.report = report
        self.network_seconds = 0.0
        self._began: float | None = None
        self._ended: float | None = None

    def __len__(self) -> int:
        """How many pictures there are, those to be skipped included."""
        return len(self.jobs)

    @property
    def seconds(self) -> float:
        """Seconds since the first picture was begun, until the last one was written."""
        if self._began is None:
            return 0.0
        return (self._ended or time.perf_counter()) - self._began

    @property
    def network_share(self) -> float:
        """The share of the time in which the network ran, 0 to 1."""
        return self.network_seconds / self.seconds if self.seconds else 0.0

    def __iter__(self) -> Iterator[Outcome]:
        """Restore the pictures. Leaving the loop early leaves nothing half-written."""
        for folder in {job.target.parent for job in self.jobs}:
            tidy(folder)
        self._began, self._ended, self.network_seconds = time.perf_counter(), None, 0.0
        flow = Flow(self.jobs, self.settings, self.report)
        flow.start()
        try:
            while (outcome := flow.outcomes.get()) is not None:
                if isinstance(outcome, BaseException):
                    raise outcome
                self.network_seconds = flow.network_seconds
                yield outcome
        finally:
            flow.stop()
            self.network_seconds = flow.network_seconds
            self._ended = time.perf_counter()
