"""The plan of a batch: the result file of each picture, and which pictures can be skipped."""

from __future__ import annotations

import os
import string
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from restore.errors import InputError, WriteError
from restore.image.atomic import backup_of
from restore.image.find import Found, find_pictures, is_output_pattern
from restore.image.write import target_format
from restore.pipeline.file import (
    WRITTEN,
    Saving,
    default_name,
    default_target,
    result_suffix,
    same_file,
)
from restore.pipeline.journal import Made, made_of

LONGEST_NAME = 255  # characters, on most file systems
FIELDS = {
    "stem": "the name without its suffix",
    "ext": "the suffix of the result, with its dot",
    "name": "the name with its suffix",
    "parent": "the folder of the picture",
    "tree": "that folder, relative to the input folder",
    "number": "1, 2, 3 ... in the order of the batch",
}


@dataclass(frozen=True)
class Job:
    """A picture file to restore, and the file of its result."""

    source: Path
    target: Path


def plan_jobs(
    inputs: Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None,
    saving: Saving,
    *,
    recursive: bool = False,
) -> list[Job]:
    """The jobs for files, folders and patterns, each picture once.

    output: None (beside each source, as `NAME-restored`); a folder (created if missing, with the
            tree of a recursive batch mirrored below it), in which results keep the names of their
            sources; or a pattern of `FIELDS` such as `{stem}-clean.png`, which means beside each
            source unless it names a folder

    Results of an earlier run are not sources. Raises InputError, ReadError or WriteError for a
    pattern that is not valid, if there is no picture, if two pictures have the same result, and if
    a result would replace a picture of the batch.
    """
    folder = None if output is None or is_output_pattern(output) else Path(output)
    found = find_pictures(inputs, recursive=recursive, leave_out=folder)
    if saving.in_place:
        if output is not None:
            raise InputError(
                "a picture restored in place has no other output; give either an output or in place"
            )
        return [Job(f.path, f.path) for f in found]
    if folder is not None and not folder.is_dir():
        _check_new_folder(folder, len(found), f"{{stem}}-{saving.mark}{{ext}}")
    if output is not None and folder is None:
        pattern = os.fspath(output)
        check_pattern(pattern, saving.file_format)
        return _checked(
            [Job(f.path, _by_pattern(f, pattern, n, saving)) for n, f in enumerate(found, 1)]
        )
    jobs = [Job(f.path, _target(f, folder, saving)) for f in found]
    jobs = _with_own_names(_without_results(jobs, saving))
    return _checked(jobs)


def check_pattern(pattern: str, file_format: str | None = None) -> None:
    """Raises InputError for unmatched braces and unknown fields, WriteError for a wrong suffix.

    file_format: of the results, if one is asked for
    """
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise InputError(f"the pattern {pattern!r} is not valid: {error}") from None
    fields = [name for _, name, _, _ in parts if name is not None]
    for name in fields:
        if name not in FIELDS:
            known = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise InputError(
                f"the pattern {pattern!r} has an unknown field {{{name}}}; there are {known}"
            )
    end, last = parts[-1][:2]
    if last in ("ext", "name"):  # the picture's own suffix, or that of the format
        return
    example = Path(f"result{end}")
    if last is not None or (not example.suffix and file_format is None):
        raise InputError(f"the pattern {pattern!r} has no suffix; end it with {{ext}}, or .png")
    target_format(example, file_format)


def _check_new_folder(folder: Path, count: int, pattern: str) -> None:
    if folder.suffix.lower() in WRITTEN and count == 1:
        return  # the name of the result
    if folder.suffix.lower() in WRITTEN:
        raise WriteError(
            f"{folder} is one file for {count} pictures; give a folder, or a pattern such as "
            f"'{pattern}'"
        )
    if os.path.lexists(folder):
        raise WriteError(f"{folder} is a file; give a folder for the results")


def _target(found: Found, folder: Path | None, saving: Saving) -> Path:
    if folder is None:
        return default_target(found.path, None, saving)
    if folder.suffix.lower() in WRITTEN and not folder.is_dir():
        return folder  # the name for the result of a single picture
    place = folder / found.tree
    return place / default_name(found.path, place, saving)


def _by_pattern(found: Found, pattern: str, number: int, saving: Saving) -> Path:
    source = found.path
    values = {
        "stem": source.stem,
        "ext": result_suffix(source, saving),
        "name": source.name,
        "parent": os.fspath(source.parent),
        "tree": found.tree or os.curdir,
        "number": number,
    }
    try:
        name = pattern.format(**values)
    except (ValueError, IndexError, KeyError, AttributeError) as error:
        raise InputError(f"the pattern {pattern!r} is not valid: {error}") from None
    if len(os.path.basename(name)) > LONGEST_NAME:
        raise InputError(
            f"the pattern {pattern!r} makes a name of {len(os.path.basename(name))} characters; "
            f"a name has at most {LONGEST_NAME}"
        )
    beside = os.path.dirname(pattern) == ""
    return source.parent / name if beside else Path(os.path.normpath(name))


def _without_results(jobs: list[Job], saving: Saving) -> list[Job]:
    """Leave out the pictures that an earlier run made from others of the batch, beside them."""
    beside = [Job(job.source, default_target(job.source, None, saving)) for job in jobs]
    results = {_key(job.target) for job in _with_own_names(beside)}
    return [job for job in jobs if _key(job.source) not in results]


def _with_own_names(jobs: list[Job]) -> list[Job]:
    """The jobs, those of one folder that would have one result named after their formats as well.

    A camera's folder holds a.NEF beside a.tif, and both would become a-restored.tif: the raw file
    becomes a-nef-restored.tif, the one whose format stays keeps the short name.
    """
    shared: dict[str, list[Job]] = {}
    for job in jobs:
        shared.setdefault(_key(job.target), []).append(job)
    found = []
    for job in jobs:
        others = [other for other in shared[_key(job.target)] if other is not job]
        beside = any(other.source.parent == job.source.parent for other in others)
        stem, suffix = job.source.stem, job.source.suffix
        if beside and suffix.lower() != job.target.suffix.lower():
            name = f"{stem}-{suffix[1:].lower()}{job.target.name[len(stem) :]}"
            job = Job(job.source, job.target.with_name(name))
        found.append(job)
    return found


def _checked(jobs: list[Job]) -> list[Job]:
    """The jobs; raises WriteError if two have one result, or a result is a picture of the batch."""
    sources = {_key(job.source): job.source for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        key = _key(job.target)
        if key in taken:
            raise WriteError(
                f"{taken[key]} and {job.source} would both become {job.target}; "
                "give a pattern that keeps them apart, such as '{parent}/{stem}-restored{ext}'"
            )
        if same_file(job.source, job.target):
            raise WriteError(
                f"{job.target} is the picture itself; give another name, or --in-place --backup"
            )
        if key in sources:
            raise WriteError(
                f"the result of {job.source} would be {job.target}, which is another picture of "
                "this batch; give another folder or pattern"
            )
        taken[key] = job.source
    return jobs


def _key(path: Path) -> str:
    """The same string for every path to the same file."""
    return os.path.normcase(os.path.join(os.path.realpath(path.parent), path.name))


def why_skipped(
    job: Job, saving: Saving, skip_existing: bool, made: Made | None, settings: str
) -> str:
    """Why a picture is skipped, or ""; WriteError if its result is another picture's.

    made: what was noted of the result, compared with the picture and these settings; where nothing
          was noted, as by a run of a single picture, the times of both files decide
    """
    if saving.overwrite or not os.path.lexists(job.target):
        return ""
    if skip_existing:
        return f"{job.target} exists"
    if not job.source.exists():
        return ""  # reading it raises the error
    advice = "pass --overwrite to replace it, or --skip-existing to keep it"
    if made is not None:
        try:
            found = made_of(job.source, settings)
        except OSError:
            return ""  # reading it raises the error
        if made == found:
            return f"{job.target} exists and was made of it"
        what = "the picture as it was before" if made[2] == found[2] else "it with other settings"
        raise WriteError(f"{job.target} exists and was made of {what}; {advice}")
    source, target = job.source.stat(), os.lstat(job.target)
    # A picture may have a modification time in the future; its ctime says when it was copied here.
    if target.st_mtime_ns >= min(source.st_mtime_ns, source.st_ctime_ns):
        return f"{job.target} exists and is newer than its picture"
    raise WriteError(f"{job.target} exists and is older than {job.source}; {advice}")


def why_skipped_in_place(job: Job, skip_existing: bool, made: Made | None, settings: str) -> str:
    """Why a picture is not replaced, or ""; WriteError if its backup is another picture's.

    made: what was noted of the file that is there, if it is a result; WriteError if it was made
          with other settings, unless results are kept whatever their settings (`skip_existing`)
    """
    backup = backup_of(job.source)
    if made is not None:
        kept = f"; its original is {backup}" if os.path.lexists(backup) else ""
        if skip_existing or made[2] == settings:
            return f"{job.source} was restored before{kept}"
        back = f"move {backup} back to restore it anew, or " if kept else ""
        raise WriteError(
            f"{job.source} was restored before with other settings; {back}"
            "pass --skip-existing to keep it"
        )
    if not job.source.exists() or not os.path.lexists(backup) or same_file(job.source, backup):
        return ""
    if not backup.is_file() or backup.read_bytes() != job.source.read_bytes():
        raise WriteError(
            f"{backup} exists and is not a copy of {job.source}, which was changed or restored "
            "since; move the backup away to restore the picture that is there"
        )
    return ""


def make_folder(folder: Path) -> None:
    """Create the folder of a result and its parents; WriteError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"the folder {folder} cannot be created: {error.strerror}") from error
