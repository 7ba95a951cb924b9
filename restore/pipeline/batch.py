"""Many picture files restored in one batch: `denoise_files` and `upscale_files`.

A file that fails is reported like any other outcome, and the batch continues.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.engine.compute import Compute
from restore.errors import InputError
from restore.image.find import find_unread, is_output_pattern
from restore.image.write import check_format, format_of
from restore.pipeline.cluster import ClusterBatch
from restore.pipeline.file import MARK, Saving
from restore.pipeline.flow import Flow, Outcome, Settings, Tiles
from restore.pipeline.journal import settings_of
from restore.pipeline.places import place_jobs
from restore.pipeline.plan import Job, plan_jobs
from restore.pipeline.processes import restore_in_processes
from restore.pipeline.store import is_address
from restore.pipeline.timed import TimedBatch
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
    detail: float | None = None,
    ensemble: bool = False,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    memory: int | str | None = None,
    engine: str = "auto",
    report: Tiles | None = None,
    cluster: str | None = None,
) -> Batch | ClusterBatch:
    """Denoise picture files; they are restored while the returned `Batch` is iterated over.

    inputs:    files, folders and patterns such as `photos/**/*.jpg`, or one of them
    output:    None (`NAME-restored` beside each), a folder, or a pattern such as
               `{stem}-clean{ext}`, of the fields {stem} {ext} {name} {parent} {tree} {number}
    recursive: include subfolders, and mirror them below an output folder
    skip_existing: skip a picture that has a result, of whatever it was made. By default a picture
               is skipped if its result was made of it with these settings (so a killed run can be
               continued), and fails if it has another one, unless `overwrite` replaces every
               result. What results were made of is noted in a hidden file in their folder
    in_place:  replace the pictures themselves; requires `backup`, which keeps each as `NAME.orig`
    quality:   of the results in JPEG, WebP or AVIF
    device:    also several, such as "cuda:0,cuda:1", or "all": each has a process and a share of
               the files
    report:    called with (picture, tiles done, tiles in total) from another thread
    cluster:   the address of a Ray cluster that does the work, such as "ray://host:10001", or
               "auto" for the one that this machine is part of. Inputs and output may then also be
               in stores such as s3://bucket/photos

    Other arguments as for `denoise` and `denoise_file`. Raises InputError, ReadError, WriteError,
    UnknownModelError or WeightsError, all before any picture is read.
    """
    saving = _checked(Saving(file_format, quality, overwrite, strip_metadata, in_place), backup)
    compute = Compute(device, precision, tile, memory, engine)
    task = denoising(model, strength, ensemble, sigma, detail)
    files = _Files(_listed(inputs), output, recursive, skip_existing)
    return _batch(files, task, saving, compute, report, cluster)


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
    engine: str = "auto",
    report: Tiles | None = None,
    cluster: str | None = None,
) -> Batch | ClusterBatch:
    """Upscale picture files; they are restored while the returned `Batch` is iterated over.

    The size and the model are given as for `upscale`, the other arguments as for `denoise_files`;
    without an output each result is `NAME-upscaled` beside its picture. A picture that already has
    the size fails, and the batch continues.
    """
    size = make_size(scale, width, height, fit)
    saving = Saving(file_format, quality, overwrite, strip_metadata, in_place, MARK)
    saving, compute = _checked(saving, backup), Compute(device, precision, tile, memory, engine)
    task = upscaling(size, model, back_projection, ensemble, strength)
    files = _Files(_listed(inputs), output, recursive, skip_existing)
    return _batch(files, task, saving, compute, report, cluster)


@dataclass(frozen=True)
class _Files:
    """Which pictures are restored, and where their results go, as for `denoise_files`."""

    inputs: list[str | os.PathLike[str]]
    output: str | os.PathLike[str] | None
    recursive: bool
    skip_existing: bool


def _batch(
    files: _Files,
    task: Task,
    saving: Saving,
    compute: Compute,
    report: Tiles | None,
    cluster: str | None,
) -> Batch | ClusterBatch:
    """A batch of any task, here or on a cluster; names are checked before any picture is read."""
    inputs, output, recursive = files.inputs, files.output, files.recursive
    batch: Batch | ClusterBatch
    if cluster is not None:
        placed = place_jobs(inputs, output, saving, recursive)
        batch = ClusterBatch(cluster, placed, (task, compute, saving), files.skip_existing)
    else:
        jobs = plan_jobs(inputs, output, saving, recursive=recursive)
        devices = _for_each_device(task, compute, saving, files.skip_existing)
        batch = Batch(jobs, devices[0], report, devices if len(devices) > 1 else ())
    folder = None
    if output is not None and not is_address(output) and not is_output_pattern(output):
        folder = Path(output)
    paths = [given for given in inputs if not is_address(given)]
    batch.unread = find_unread(paths, recursive=recursive, leave_out=folder)
    return batch


def _for_each_device(
    task: Task, compute: Compute, saving: Saving, skip_existing: bool
) -> list[Settings]:
    """The settings of each device that was asked for."""
    return [
        Settings(
            task,
            dataclasses.replace(compute, device=str(each.device), memory=each.memory),
            each,
            saving,
            skip_existing,
            settings_of(task, saving.file_format, saving.quality, saving.strip_metadata),
        )
        for each in compute.resolve_each()
    ]


def _listed(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> list[str | os.PathLike[str]]:
    return [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)


def _checked(saving: Saving, backup: bool) -> Saving:
    """The settings; raises InputError if they are not valid together."""
    if saving.in_place != backup:
        raise InputError(
            "in place and backup need each other; give both (--in-place --backup), or neither"
        )
    if saving.in_place and saving.overwrite:
        raise InputError("in place, pictures are replaced and nothing else; leave overwrite out")
    if saving.in_place and saving.file_format is not None:
        raise InputError("a picture restored in place keeps its format; leave out the format")
    check_format("JPEG", None, quality=saving.quality)
    if saving.file_format is not None:
        format_of(Path("result"), saving.file_format)
    return saving


class Batch(TimedBatch[Job]):
    """The pictures of a batch that are restored on this machine."""

    def __init__(
        self,
        jobs: list[Job],
        settings: Settings,
        report: Tiles | None = None,
        devices: Sequence[Settings] = (),
    ) -> None:
        """`devices`: the settings for each device, if there are several."""
        super().__init__(jobs)
        self.settings, self.report, self.devices = settings, report, list(devices)
        self.networks = max(1, len(self.devices))

    def _restore(self) -> Iterator[Outcome]:
        return self._in_processes() if self.devices else self._in_threads()

    def _in_threads(self) -> Iterator[Outcome]:
        """Restore the pictures in this process."""
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

    def _in_processes(self) -> Iterator[Outcome]:
        """Restore the pictures with a process for each device."""
        outcomes = restore_in_processes(self.jobs, self.devices, self.report)
        try:
            for outcome, self.network_seconds in outcomes:
                yield outcome
        finally:
            outcomes.close()
