"""Which picture becomes which result where either may be in a store, and which one is kept."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from restore.errors import InputError, WriteError
from restore.image.find import find_pictures
from restore.pipeline.file import Saving, result_suffix, same_file
from restore.pipeline.plan import Job, plan_jobs, why_skipped
from restore.pipeline.store import is_address, list_store, modified

Place = Path | str


@dataclass(frozen=True)
class PlacedJob:
    """A picture and its result, each a path of this machine or an address of a store."""

    source: Place
    target: Place


def name_of(place: Place) -> Path:
    """The name of a picture, without where it is."""
    return Path(posixpath.basename(place) if isinstance(place, str) else place.name)


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
        path = name_of(source)
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
