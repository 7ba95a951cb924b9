"""A batch on a cluster: Ray starts an actor with the model for each GPU or group of cores.

Ray places the actors and notices when a machine is lost. Here is only what it cannot know: which
picture is next, how many may be on their way, and that a picture whose worker is lost is given to
another one. Pictures on this machine are read and written by this process and travel through Ray;
those in a store that all machines see are read and written by the workers themselves.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import posixpath
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from restore.engine.compute import Compute
from restore.errors import InputError, WriteError, installed_version
from restore.image import color
from restore.image.atomic import tidy, write_aside
from restore.image.find import find_pictures
from restore.image.picture import Picture
from restore.image.read import decode_image, read_bytes
from restore.image.write import check_writable, format_of
from restore.pipeline.file import (
    Saving,
    encode_result,
    fitting,
    result_suffix,
    same_file,
    target_by_rows,
)
from restore.pipeline.flow import Outcome, failure
from restore.pipeline.large import RowPicture, TiffWork, as_samples
from restore.pipeline.picture import restore_picture
from restore.pipeline.plan import Job, make_folder, plan_jobs, why_skipped
from restore.pipeline.store import (
    is_address,
    is_shared,
    list_store,
    modified,
    read_store,
    write_store,
)
from restore.tasks.task import PictureTask, Task

CORES = 4  # of a worker without a GPU; more of them work better on several pictures
AHEAD, MOST_AHEAD = 2, 16  # pictures that a worker has at once: one is computed, others are read
TRIES = 3  # of a unit whose worker is lost
MOST_LOST = 5  # workers for each place: then something is wrong with the cluster
PATIENCE = 300.0  # seconds without any worker, after which the rest has failed
STRIP_PIXELS = 8_000_000  # of a strip of a picture that is split
Place = Path | str


@dataclass(frozen=True)
class PlacedJob:
    """A picture and its result, each a path of this machine or an address of a store."""

    source: Place
    target: Place


@dataclass(eq=False)
class Unit:
    """A piece of work for one worker.

    method:    of `Worker`
    arguments: brought when it is given to a worker, and again if that one is lost
    job:       what it is a part of
    """

    method: str
    arguments: Callable[[], tuple[Any, ...]]
    job: PlacedJob
    place: int = 0
    tries: int = 0


@dataclass(frozen=True)
class Restored:
    """What a worker sends back.

    content: the file of the result; None where the worker has written it, or there was one
    reason:  why the picture was skipped, if it was
    The others are as for `Outcome`.
    """

    content: bytes | None
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    model: str = ""
    sigma: float | None = None
    unchanged: bool = False
    notes: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Strip:
    """Rows of a picture, for a worker.

    samples: (height, width, samples) in the type of the file, with the network's halo
    inner:   the rows of these whose output is right, with the task's context
    keep:    the rows of these that are wanted
    bounds:  lowest and highest value of the whole picture, if it is in floats
    """

    task: PictureTask
    samples: Any
    inner: slice
    keep: slice
    bounds: tuple[float, float] | None


class Worker:
    """What runs on the machines of the cluster, one for each GPU or group of cores."""

    def __init__(self, settings: tuple[Task, Compute, Saving], threads: int) -> None:
        """Take the model; `threads` for the convolutions on a CPU."""
        import torch

        torch.set_num_threads(threads)
        self.task, self.compute, self.saving = settings
        self.computing = threading.Lock()  # the network; all else is done for several at once

    def ready(self) -> str:
        """The version of the package, once the model is there."""
        return installed_version()

    def restore(
        self, source: str, target: str, data: bytes | None, skip_existing: bool
    ) -> Restored:
        """Restore a picture; `data` are its bytes, or None to read them from its store.

        A result that belongs into a store that all machines see is written here, unless it is
        there already.
        """
        stored = is_shared(source) and is_shared(target)
        job = PlacedJob(source, target)
        if stored and (reason := why_kept(job, self.saving, skip_existing)):
            return Restored(None, reason=reason)
        content = read_store(source) if data is None else data
        picture = decode_image(content, name=source)
        name = Path(posixpath.basename(target))
        saving = fitting(self.saving, name)
        check_writable(
            name,
            picture,
            size=self.task.result_size(picture.height, picture.width),
            format=saving.file_format,
            quality=saving.quality,
            overwrite=True,
        )
        done = restore_picture(
            picture, self.task, self.compute, output="picture", turn=self.computing
        )
        kind = format_of(name, saving.file_format)
        same = done.unchanged and kind == picture.format
        result = encode_result(done.picture, kind, saving, content if same else None)
        shared = is_shared(target)
        if shared:
            write_store(target, result)
        return Restored(
            None if shared else result,
            done.picture.width,
            done.picture.height,
            done.seconds,
            done.model,
            done.sigma,
            done.unchanged,
            picture.notes,
        )

    def restore_strip(self, strip: Strip) -> Any:
        """Restore rows of a picture: their samples, in the type of the file."""
        if strip.task.unchanged:
            return strip.samples[strip.inner][strip.keep]
        from restore.engine.run import run_array

        picture = Picture(*color.split(strip.samples))
        pixels = strip.task.preprocess(picture)
        with self.computing:
            output = run_array(strip.task.network, pixels, self.compute.resolve()).pixels
        inner = Picture(*color.split(strip.samples[strip.inner]))
        restored = strip.task.postprocess(inner, output[strip.inner], strip.bounds)
        return as_samples(restored, strip.samples.dtype)[strip.keep]


class Workers:
    """The actors of a cluster, and the units of work that they are given as they become free."""

    def __init__(self, address: str, settings: tuple[Task, Compute, Saving]) -> None:
        """Connect to a cluster and start an actor for each GPU or group of cores.

        Raises InputError where Ray is missing or there is no cluster at that address.
        """
        self.ray = _connect(address)
        self.settings = self.ray.put(settings)
        self.options: dict[Any, dict[str, Any]] = {}  # of every actor
        self.starting: dict[Any, Any] = {}  # the answer of each actor that is not ready yet
        self.given: dict[Any, tuple[Any, Unit]] = {}  # the answer of each unit: its actor and it
        self.load: dict[Any, int] = {}  # how many units each actor that is ready has
        self.lost = 0
        places = actor_places(self.ray.nodes())
        self.count = len(places)
        for options in places:
            self._start(options)

    def _start(self, options: dict[str, Any]) -> None:
        threads = max(1, int(options["num_cpus"]))
        actor = self.ray.remote(Worker).options(**options).remote(self.settings, threads)
        self.options[actor] = options
        self.starting[actor.ready.remote()] = actor

    def run(self, units: Iterable[Unit]) -> Generator[tuple[Unit, Any], None, None]:
        """Do the work; yields each unit with its result or its exception, in any order.

        No more are on their way, and no more are drawn, than the actors take at once. Closing the
        iterator forgets what is on its way.
        """
        try:
            yield from self._run(units)
        finally:
            for actor, _ in self.given.values():
                if actor in self.load:
                    self.load[actor] -= 1
            self.given.clear()

    def _run(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Any]]:
        coming, again = iter(units), deque[Unit]()
        over, since = False, time.monotonic()
        while True:
            while not (over and not again) and (actor := self._free()) is not None:
                unit = again.popleft() if again else next(coming, None)
                if unit is None:
                    over = True
                    break
                try:
                    self._give(actor, unit)
                except Exception as error:  # it could not even be read
                    yield unit, error
            if over and not self.given and not again:
                return
            done, _ = self.ray.wait([*self.given, *self.starting], num_returns=1, timeout=5.0)
            for ref in done:
                if ref in self.starting:
                    self._started(ref)
                    continue
                unit, result = self._taken(ref)
                if result is None:
                    again.append(unit)
                else:
                    yield unit, result
            since = time.monotonic() if self.load else since
            if time.monotonic() - since > PATIENCE:
                for unit in [*again, *coming]:
                    yield unit, InputError("no worker of the cluster is left; run again")
                return

    def _free(self) -> Any:
        """The actor with the least to do, unless all have enough."""

        def share(actor: Any) -> float:
            return float(self.load[actor] / self.options[actor]["max_concurrency"])

        actor = min(self.load, key=share, default=None)
        return actor if actor is not None and share(actor) < 1 else None

    def _give(self, actor: Any, unit: Unit) -> None:
        ref = getattr(actor, unit.method).remote(*unit.arguments())
        self.given[ref] = actor, unit
        self.load[actor] += 1

    def _started(self, ref: Any) -> None:
        actor = self.starting.pop(ref)
        try:
            version = self.ray.get(ref)
        except self.ray.exceptions.RayError as error:
            self._replace(actor, error)
            return
        if version != installed_version():
            raise InputError(
                f"a machine of the cluster has version {version} of this package, and this one "
                f"has {installed_version()}; install the same on all"
            )
        self.load[actor] = 0

    def _replace(self, actor: Any, error: Exception) -> None:
        """Another actor in place of one that is lost, on whatever machine there is or will be."""
        self.lost += 1
        if self.lost > MOST_LOST * self.count:
            raise InputError(f"the workers of the cluster do not stay alive: {error}") from error
        self.ray.kill(actor)  # which may only have been out of reach, and keeps its cores
        self._start(self.options.pop(actor))

    def _taken(self, ref: Any) -> tuple[Unit, Any]:
        """A unit and its result; None where its worker was lost, and another one must do it."""
        actor, unit = self.given.pop(ref)
        if actor in self.load:
            self.load[actor] -= 1
        try:
            return unit, self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as error:
            return unit, error.cause if isinstance(error.cause, Exception) else error
        except self.ray.exceptions.RayError as error:
            if self.load.pop(actor, None) is not None:
                self._replace(actor, error)
            unit.tries += 1
            if unit.tries < TRIES:
                return unit, None
            return unit, InputError(f"its worker was lost {TRIES} times; run again")

    def close(self) -> None:
        """End the actors and leave the cluster."""
        for actor in [*self.load, *self.starting.values()]:
            self.ray.kill(actor)
        self.ray.shutdown()


def _connect(address: str) -> Any:
    """Ray, connected to a cluster. Raises InputError."""
    try:
        import ray
    except ImportError:
        raise InputError(
            "--cluster needs Ray; pip install 'ray[default]' on every machine"
        ) from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"there is no Ray cluster at '{address}' ({' '.join(str(error).split())}); start one "
            "with `ray start --head`, or give its address such as ray://host:10001"
        ) from None
    return ray


def actor_places(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each actor asks of its machine: a GPU, or a group of cores. Raises InputError.

    A GPU's actor may read and write as many pictures at once as there are cores for it.
    """
    places: list[dict[str, Any]] = []
    for node in nodes:
        if not node["Alive"]:
            continue
        cores, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
        if gpus:
            own = max(1, cores // gpus)
            ahead = min(MOST_AHEAD, max(AHEAD, own))
            places += [
                {"num_gpus": 1, "num_cpus": min(cores, own), "max_concurrency": ahead}
            ] * gpus
        elif cores:
            count = max(1, cores // CORES)
            places += [{"num_cpus": cores // count, "max_concurrency": AHEAD}] * count
    if not places:
        raise InputError("the cluster has no machine with a core to work on")
    return places


class ClusterBatch:
    """The pictures of a batch; iterating restores them on the cluster, as `Batch` does it here.

    jobs, network_seconds, seconds, network_share, unread: as for `Batch`
    """

    def __init__(
        self,
        address: str,
        jobs: list[PlacedJob],
        settings: tuple[Task, Compute, Saving],
        skip_existing: bool,
    ) -> None:
        """Nothing is started before the first iteration."""
        self.address, self.jobs, self.settings = address, jobs, settings
        self.skip_existing = skip_existing
        self.report: Any = None  # tiles are not reported over the network
        self.unread: list[Path] = []
        self.network_seconds = 0.0
        self.workers = 0
        self._began: float | None = None
        self._ended: float | None = None

    def __len__(self) -> int:
        """The number of pictures, including those that will be skipped."""
        return len(self.jobs)

    @property
    def seconds(self) -> float:
        """Seconds from the start of the first picture to now, or to the end of the last one."""
        if self._began is None:
            return 0.0
        return (self._ended or time.perf_counter()) - self._began

    @property
    def network_share(self) -> float:
        """The share of the time for which the networks ran, 0 to 1."""
        whole = self.seconds * max(1, self.workers)
        return min(1.0, self.network_seconds / whole) if whole else 0.0

    def __iter__(self) -> Iterator[Outcome]:
        """Restore the pictures. Leaving the loop early leaves no file half-written."""
        for folder in {job.target.parent for job in self.jobs if isinstance(job.target, Path)}:
            tidy(folder)
        self._began, self._ended, self.network_seconds = time.perf_counter(), None, 0.0
        workers = Workers(self.address, self.settings)
        self.workers = workers.count
        try:
            yield from self._outcomes(workers)
        finally:
            workers.close()
            self._ended = time.perf_counter()

    def _outcomes(self, workers: Workers) -> Iterator[Outcome]:
        large: list[PlacedJob] = []
        ready: deque[Outcome] = deque()
        for unit, result in workers.run(self._units(large, ready)):
            while ready:
                yield ready.popleft()
            yield self._finished(unit.job, result)
        yield from ready
        for job in large:
            yield self._split(workers, job)

    def _units(self, large: list[PlacedJob], ready: deque[Outcome]) -> Iterator[Unit]:
        """A unit for each picture that must be restored; those to be split go to `large`."""
        task, compute, saving = self.settings
        for job in self.jobs:
            try:
                if is_shared(job.source) and is_shared(job.target):
                    pass  # the workers look, for asking a store takes long
                elif reason := why_kept(job, saving, self.skip_existing):
                    ready.append(Outcome(job.source, job.target, "skipped", reason))
                    continue
                if isinstance(job.source, Path) and isinstance(job.target, Path):
                    if target_by_rows(job.source, job.target, task, saving, compute):
                        large.append(job)
                        continue
                    make_folder(job.target.parent)
            except Exception as error:
                ready.append(failure(job.source, job.target, error))
                continue
            yield Unit("restore", functools.partial(_arguments, job, self.skip_existing), job)

    def _finished(self, job: PlacedJob, result: Any) -> Outcome:
        """The outcome of a picture; what came back is written."""
        saving = self.settings[2]
        try:
            if isinstance(result, Exception):
                raise result
            if result.reason:
                return Outcome(job.source, job.target, "skipped", result.reason)
            if result.content is not None:
                _write(job, result.content, saving)
        except Exception as error:
            return failure(job.source, job.target, error)
        self.network_seconds += result.seconds
        return Outcome(
            job.source,
            job.target,
            "written",
            "",
            result.width,
            result.height,
            seconds=result.seconds,
            model=result.model,
            sigma=result.sigma,
            unchanged=result.unchanged,
            notes=result.notes,
        )

    def _split(self, workers: Workers, job: PlacedJob) -> Outcome:
        """Restore a picture that is larger than memory: strips of it on all workers at once."""
        task, compute, saving = self.settings
        assert isinstance(job.source, Path) and isinstance(job.target, Path)
        began = time.perf_counter()
        try:
            make_folder(job.target.parent)
            work = TiffWork(
                job.source, job.target, task, compute, saving.overwrite, saving.strip_metadata
            )
            try:
                _restore_strips(workers, work, job)
                work.finish()
            finally:
                work.close()
        except Exception as error:
            return failure(job.source, job.target, error)
        height, width = work.rows.shape[:2]
        seconds = time.perf_counter() - began
        self.network_seconds += seconds * workers.count
        return Outcome(job.source, job.target, "written", "", width, height, seconds=seconds)


def _restore_strips(workers: Workers, work: TiffWork, job: PlacedJob) -> None:
    """Restore the strips of a picture in any order, and append them in theirs."""
    picture = work.picture
    bounds = picture.find_range()
    units = (
        Unit("restore_strip", functools.partial(_strip, picture, rows, bounds), job, rows[0])
        for rows in strips_of(picture, work.start)
    )
    waiting: dict[int, Any] = {}
    following = work.start
    with contextlib.closing(workers.run(units)) as results:
        for unit, result in results:
            if isinstance(result, Exception):
                raise result
            waiting[unit.place] = result
            while following in waiting:
                samples = waiting.pop(following)
                following += len(samples)
                work.strips.append(samples)


def strips_of(picture: RowPicture, start: int) -> Iterator[tuple[int, int]]:
    """First and last row of each strip, on the grid of the network and of the task's context."""
    grid = grid_of(picture)
    rows = max(grid, STRIP_PIXELS // picture.width // grid * grid)
    first = start
    while first < picture.height:
        last = min(picture.height, (first + rows) // grid * grid)
        yield first, last
        first = last


def grid_of(picture: RowPicture) -> int:
    """Rows on which both the network and the context of the task may begin."""
    return math.lcm(max(1, picture.task.context), picture.network.multiple_of)


def _strip(picture: RowPicture, rows: tuple[int, int], bounds: Any) -> tuple[Strip]:
    """Rows with all around them that their result depends on: so it is that of the whole picture.

    Around the rows lies the context of the task, and around that the halo of the network.
    """
    (first, last), grid, context = rows, grid_of(picture), picture.task.context
    begin = max(0, (first - context) // grid * grid)
    end = min(picture.height, last + context)
    halo = -(-picture.network.halo // grid) * grid
    above, below = max(0, begin - halo), min(picture.height, end + halo)
    inner, keep = slice(begin - above, end - above), slice(first - begin, last - begin)
    return (Strip(picture.task, picture.samples_of(above, below), inner, keep, bounds),)


def _arguments(job: PlacedJob, skip_existing: bool) -> tuple[str, str, bytes | None, bool]:
    """What a worker is given of a picture; its bytes, unless it can read them itself."""
    data = None
    if not is_shared(job.source):
        data = read_store(job.source) if isinstance(job.source, str) else read_bytes(job.source)
    return str(job.source), str(job.target), data, skip_existing


def _write(job: PlacedJob, content: bytes, saving: Saving) -> None:
    if isinstance(job.target, str):
        write_store(job.target, content)
    else:
        like = job.source if isinstance(job.source, Path) else None
        write_aside(job.target, content, saving.overwrite, like=like)


def why_kept(job: PlacedJob, saving: Saving, skip_existing: bool) -> str:
    """Why a picture is skipped, or ""; as `why_skipped` for files, by the same rules for stores."""
    source, target = job.source, job.target
    if isinstance(source, Path) and isinstance(target, Path):
        # what batches on one machine noted is not compared: the times of both files decide
        return why_skipped(Job(source, target), saving, skip_existing, None, "")
    if saving.overwrite or (written := changed(target)) is None:
        return ""
    if skip_existing:
        return f"{target} exists"
    before = changed(source)
    if before is None or written >= before:
        return f"{target} exists and is newer than its picture"
    raise WriteError(
        f"{target} exists and is older than {source}; pass --overwrite to replace it, "
        "or --skip-existing to keep it"
    )


def changed(place: Place) -> datetime | None:
    """When what is at a place was written; None where there is nothing."""
    if isinstance(place, str):
        return modified(place)
    if not place.exists():
        return None
    return datetime.fromtimestamp(place.stat().st_mtime, timezone.utc)


def place_jobs(
    given: Sequence[str | os.PathLike[str]],
    to: str | os.PathLike[str] | None,
    saving: Saving,
    recursive: bool,
) -> list[PlacedJob]:
    """The jobs for paths, patterns and addresses. Raises what `plan_jobs` raises.

    Where an address is among them, the output is a folder of either kind, and the results keep
    their names in it, in the tree of the inputs; beside their pictures they are `NAME-restored`.
    """
    inputs, output = [os.fspath(place) for place in given], None if to is None else os.fspath(to)
    if saving.in_place:
        raise InputError("pictures are not replaced in place on a cluster; give an output with -o")
    if not any(map(is_address, [*inputs, output])):
        return [
            PlacedJob(j.source, j.target)
            for j in plan_jobs(inputs, output, saving, recursive=recursive)
        ]
    if output is None:
        raise InputError(
            "pictures in a store need a place for their results; give a folder with -o"
        )
    folder = output.rstrip("/") if is_address(output) else Path(output)
    jobs: list[PlacedJob] = []
    taken: dict[Place, Place] = {}
    for source, tree in _sources(inputs, recursive):
        path = Path(posixpath.basename(source) if isinstance(source, str) else source.name)
        place: Place
        if isinstance(folder, str):
            place = posixpath.join(folder, tree.replace(os.sep, "/")).rstrip("/")
            beside = posixpath.dirname(str(source)) == place
        else:
            place = folder / tree
            beside = isinstance(source, Path) and same_file(source.parent, place)
        mark = f"-{saving.mark}" if beside else ""
        name = f"{path.stem}{mark}{result_suffix(path, saving)}"
        target: Place = f"{place}/{name}" if isinstance(place, str) else place / name
        if target in taken:
            raise WriteError(f"{taken[target]} and {source} would both become {target}")
        taken[target] = source
        jobs.append(PlacedJob(source, target))
    return jobs


def _sources(inputs: list[str], recursive: bool) -> Iterator[tuple[Place, str]]:
    for given in inputs:
        if is_address(given):
            for found in list_store(given, recursive):
                yield found.address, found.tree
        else:
            yield from find_pictures([given], recursive=recursive)
