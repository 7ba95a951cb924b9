"""What an earlier run of a batch has done already, told by the files that it left."""

from __future__ import annotations

import os
from pathlib import Path

from restore.errors import WriteError
from restore.image.atomic import backup_of
from restore.pipeline.file import Saving, same_file
from restore.pipeline.plan import Job


def why_skipped(job: Job, saving: Saving, skip_existing: bool) -> str:
    """Why a picture need not be restored again, or ""; WriteError where that cannot be told."""
    if saving.in_place:
        return _why_skipped_in_place(job)
    if saving.overwrite or not os.path.lexists(job.target):
        return ""
    if skip_existing:
        return f"{job.target} exists"
    if not job.source.exists():
        return ""  # to read it will tell
    source, target = job.source.stat(), job.target.stat()
    # A copied picture may bear a time to come; when it came here is its ctime.
    if target.st_mtime_ns >= min(source.st_mtime_ns, source.st_ctime_ns):
        return f"{job.target} exists and is newer than its picture"
    raise WriteError(
        f"{job.target} exists and is older than {job.source}; pass --overwrite to make it anew, "
        "or --skip-existing to leave it"
    )


def _why_skipped_in_place(job: Job) -> str:
    """A backup that differs from its picture says that an earlier run has replaced the picture."""
    backup = backup_of(job.source)
    if not os.path.lexists(backup) or same_file(job.source, backup) or not job.source.exists():
        return ""
    if backup.is_file() and backup.read_bytes() == job.source.read_bytes():
        return ""
    return f"{job.source} was restored before; its original is {backup}"


def make_folder(folder: Path) -> None:
    """The folder of a result, with those above it; WriteError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"the folder {folder} cannot be made: {error.strerror}") from error
