"""Many picture files restored in one go: what is asked, what was planned, and what became of each.

A file that fails is an outcome like any other; the rest goes on.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.engine.compute import Compute
from restore.errors import InputError
from restore.image.atomic import tidy
from restore.image.find import find_unread, is_output_pattern
from restore.image.write import check_format, format_of
from restore.pipeline.file import MARK, Saving
from restore.pipeline.flow import Flow, Outcome, Settings, Tiles
from restore.pipeline.plan import Job, plan_jobs
from restore.pipeline.processes import restore_in_processes
from restore.tasks.denoise import DEFAULT_MODEL, Sigma, denoising
from restore.tasks.target_size import make_size
from restore.tasks.task import Task
from restore.tasks.upscale import upscaling

if TYPE_CHECKING:
    from restore.models.network import Network


def denoise_files(  # noqa: PLR0913 (a public keyword API)
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
    sigma: Sigma = None,
    strength: float = 1.0,
    ensemble: bool = False,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    memory: int | str | None = None,
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
    device:    also several, as "cuda:0,cuda:1", or "all": a process for each, files shared out
    report:    called with (picture, tiles done, tiles in all) from another thread

    All else as for `denoise` and `denoise_file`. Raises what can be known before any picture is
    read: InputError, ReadError, WriteError, UnknownModelError, WeightsError.
    """
    saving = Saving(file_format, quality, overwrite, strip_metadata, in_place)
    return _batch(
        inputs,
        output,
        lambda: denoising(model, strength, ensemble, sigma),
        _checked(saving, backup),
        recursive=recursive,
        skip_existing=skip_existing,
        compute=Compute(device, precision, tile, memory),
        report=report,
    )


def upscale_files(  # noqa: PLR0913 (a public keyword API)
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    scale: Any = None,
    model: str | os.PathLike[str] | Network | None = None,
    *,
    width: Any = None,
    height: Any = None,
    fit: Any = None,
    back_projection: int = 0,
    ensemble: bool = False,
    strength: float = 1.0,
    recursive: bool = False,
    skip_existing: bool = False,
    in_place: bool = False,
    backup: bool = False,
    file_format: str | None = None,
    quality: int | None = None,
    overwrite: bool = False,
    strip_metadata: bool = False,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    memory: int | str | None = None,
    report: Tiles | None = None,
) -> Batch:
    """Upscale picture files; iterate over what is returned, and the work is done.

    The size and the model as for `upscale`, all else as for `denoise_files`; without an output
    each result is `NAME-upscaled` beside its picture. A picture that is as large as asked already
    is a failure like any other: the rest goes on.
    """
    size = make_size(scale, width, height, fit)
    saving = Saving(file_format, quality, overwrite, strip_metadata, in_place, MARK)
    return _batch(
        inputs,
        output,
        lambda: upscaling(size, model, back_projection, ensemble, strength),
        _checked(saving, backup),
        recursive=recursive,
        skip_existing=skip_existing,
        compute=Compute(device, precision, tile, memory),
        report=report,
    )


def _batch(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None,
    make_task: Callable[[], Task],
    saving: Saving,
    *,
    recursive: bool,
    skip_existing: bool,
    compute: Compute,
    report: Tiles | None,
) -> Batch:
    """A batch of any task; what can be refused before a picture is read is refused."""
    task = make_task()
    listed = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    jobs = plan_jobs(listed, output, saving, recursive=recursive)
    settings = [
        Settings(
            task,
            dataclasses.replace(compute, device=str(each.device), memory=each.memory),
            each,
            saving,
            skip_existing,
        )
        for each in compute.resolve_each()
    ]
    batch = Batch(jobs, settings[0], report, settings if len(settings) > 1 else ())
    folder = Path(output) if output is not None and not is_output_pattern(output) else None
    batch.unread = find_unread(listed, recursive=recursive, leave_out=folder)
    return batch


def _checked(saving: Saving, backup: bool) -> Saving:
    """The settings, or InputError where they contradict each other."""
    if saving.in_place != backup:
        raise InputError(
            "replacing pictures and keeping their originals go together: pass both --in-place and "
            "--backup / in_place=True, backup=True, or neither"
        )
    if saving.in_place and saving.file_format is not None:
        raise InputError("a picture restored in place keeps its format; leave the format out")
    check_format("JPEG", None, quality=saving.quality)
    if saving.file_format is not None:
        format_of(Path("result"), saving.file_format)
    return saving


class Batch:
    """The pictures of a batch; iterating restores them and gives each one's outcome when done.

    jobs:            what will be done, in order; outcomes come as they are ready
    network_seconds: the time that the network has run so far
    seconds:         the time since the first picture was begun
    unread:          files in the folders given that are pictures of kinds that are not read
    """

    def __init__(
        self,
        jobs: list[Job],
        settings: Settings,
        report: Tiles | None = None,
        devices: Sequence[Settings] = (),
    ) -> None:
        """Nothing is begun before the first iteration.

        devices: where there are several, the settings for each
        """
        self.devices = list(devices)
        self.unread: list[Path] = []
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
        networks = self.seconds * max(1, len(self.devices))
        return self.network_seconds / networks if networks else 0.0

    def __iter__(self) -> Iterator[Outcome]:
        """Restore the pictures. Leaving the loop early leaves nothing half-written."""
        if self.devices:
            yield from self._in_processes()
            return
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

    def _in_processes(self) -> Iterator[Outcome]:
        """A process for each device."""
        self._began, self._ended, self.network_seconds = time.perf_counter(), None, 0.0
        outcomes = restore_in_processes(self.jobs, self.devices, self.report)
        try:
            for outcome, self.network_seconds in outcomes:
                yield outcome
        finally:
            outcomes.close()
            self._ended = time.perf_counter()
