"""Ray's side of a cluster: the actors with the model, one for each GPU or group of cores.

Ray places the actors and notices when a machine is lost. Here is only what it cannot know: which
piece of work is next, how many may be on their way, and that one whose actor is lost is given to
another.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from restore.engine.compute import Compute
from restore.errors import InputError, installed_version
from restore.image import color
from restore.image.picture import Picture
from restore.image.read import decode_image
from restore.image.write import check_writable, format_of
from restore.pipeline.file import Saving, depth_lost, encode_result, fitting
from restore.pipeline.flow import Outcome
from restore.pipeline.large import check_fits
from restore.pipeline.picture import restore_picture
from restore.pipeline.places import PlacedJob, name_of, why_kept
from restore.pipeline.rows import as_samples
from restore.pipeline.store import is_shared, read_store, write_store
from restore.tasks.task import PictureTask, Task

CORES = 4  # of a worker without a GPU; more of them work better on several pictures
AHEAD, MOST_AHEAD = 2, 16  # pictures that a worker has at once: one is computed, others are read
TRIES = 3  # of a unit whose worker is lost
MOST_LOST = 5  # workers for each place: then something is wrong with the cluster
PATIENCE = 300.0  # seconds without any worker, after which the rest has failed


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
    """What runs on the machines of the cluster, one for each GPU or group of cores.

    Several pictures are read from stores and written to them at once. They are computed on no more
    cores than Ray has set aside for this worker, for others on the machine count on the rest.
    """

    def __init__(self, settings: tuple[Task, Compute, Saving], cores: int) -> None:
        """Take the model, and so many cores."""
        import cv2

        from restore.engine.cores import Cores

        cv2.setNumThreads(cores)
        self.task, self.compute, self.saving = settings
        self.cores = Cores(cores)

    def ready(self) -> str:
        """The version of the package, once the model is there."""
        return installed_version()

    def restore(
        self, job: PlacedJob, data: bytes | None, skip_existing: bool
    ) -> tuple[Outcome, bytes | None]:
        """Restore a picture; `data` are its bytes, or None to read them from its store.

        A result that belongs into a store that all machines see is written here, unless it is
        there already; another one is returned, as the bytes of its file.
        """
        stored = is_shared(job.source) and is_shared(job.target)
        if stored and (reason := why_kept(job, self.saving, skip_existing)):
            return Outcome(job.source, job.target, "skipped", reason), None
        content = read_store(str(job.source)) if data is None else data
        with self.cores.one():
            outcome, result = self._restored(job, content)
        if is_shared(job.target):
            write_store(str(job.target), result)
            return outcome, None
        return outcome, result

    def _restored(self, job: PlacedJob, content: bytes) -> tuple[Outcome, bytes]:
        """The outcome of a picture, and the file of its result; both from the bytes of its file."""
        check_fits(content, str(job.source), self.compute)
        picture = decode_image(content, name=str(job.source))
        name = name_of(job.target)
        saving = fitting(self.saving, name)
        check_writable(
            name,
            picture,
            size=self.task.result_size(picture.height, picture.width),
            format=saving.file_format,
            quality=saving.quality,
            overwrite=True,
        )
        kind = format_of(name, saving.file_format)
        picture = picture.replace(notes=picture.notes + depth_lost(picture, kind))
        turn = self.cores.turn()
        done = restore_picture(picture, self.task, self.compute, output="picture", turn=turn)
        same = done.unchanged and kind == picture.format
        outcome = Outcome(
            job.source,
            job.target,
            "written",
            width=done.picture.width,
            height=done.picture.height,
            seconds=turn.seconds,
            model=done.model,
            sigma=done.sigma,
            unchanged=done.unchanged,
            notes=done.notes,
        )
        return outcome, encode_result(done.picture, kind, saving, content if same else None)

    def restore_strip(self, strip: Strip) -> Any:
        """Restore rows of a picture: their samples, in the type of the file."""
        if strip.task.unchanged:
            return strip.samples[strip.inner][strip.keep]
        from restore.engine.run import run_array

        with self.cores.one():
            picture = Picture(*color.split(strip.samples))
            pixels = strip.task.preprocess(picture)
            with self.cores.turn():
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
        cores = max(1, int(options["num_cpus"]))
        actor = self.ray.remote(Worker).options(**options).remote(self.settings, cores)
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
