"""What the results in a folder were made of: a hidden journal beside them, a line for each result.

Times alone cannot tell whether a result is that of a picture: a picture moved or copied here may
be older than the result of the one it replaces. So a batch notes the file of each result, the file
that it was made of, and the settings, and a later batch compares all of them for equality.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore.image.atomic import Note

JOURNAL = ".restore-results"
HEAD = 2**16  # bytes at the beginning of a picture's file that are compared
LARGEST = 2**28  # bytes of a journal that is read: a million results

File = tuple[int, int]  # size in bytes, and time of the last change in nanoseconds
Made = tuple[File, str, str]  # the picture's file, the hash of its head, the settings


def file_of(status: os.stat_result) -> File:
    """What tells a file from another one of the same name."""
    return status.st_size, status.st_mtime_ns


def made_of(picture: Path, settings: str) -> Made:
    """What a result of this picture is made of now. Raises OSError."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(picture, flags), "rb") as file:
        status = os.fstat(file.fileno())
        head = file.read(HEAD) if stat.S_ISREG(status.st_mode) else b""
    return file_of(status), hash_of(head), settings


def hash_of(head: bytes) -> str:
    """The hash of the first `HEAD` bytes."""
    return hashlib.sha256(head[:HEAD]).hexdigest()[:32]


def noting(result: Path, made: Made) -> Note:
    """A function that notes what a result was made of, from its file's status."""

    def note(status: os.stat_result) -> None:
        line = json.dumps([result.name, file_of(status), *made]) + "\n"
        # Without it a later batch judges by times; and never through a link.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        with contextlib.suppress(OSError):
            handle = os.open(result.parent / JOURNAL, flags, 0o666)
            try:
                found = os.fstat(handle)
                if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                    os.write(handle, line.encode())  # one call: lines of others do not mix with it
            finally:
                os.close(handle)

    return note


class Journals:
    """The journals of folders as they were when each was first asked for."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._lock = threading.Lock()
        self._read: dict[Path, dict[tuple[str, File], Made]] = {}

    def made(self, result: Path) -> Made | None:
        """What the file of a result was made of; None where that was not noted."""
        try:
            found = file_of(os.lstat(result))
        except OSError:
            return None
        with self._lock:
            if result.parent not in self._read:
                self._read[result.parent] = dict(_lines(result.parent / JOURNAL))
            return self._read[result.parent].get((result.name, found))


def _lines(journal: Path) -> list[tuple[tuple[str, File], Made]]:
    """The lines of a journal; none of what is not one, and without what is damaged."""
    with contextlib.suppress(OSError):
        if not stat.S_ISREG(os.lstat(journal).st_mode) or journal.stat().st_size > LARGEST:
            return []
        found = []
        for line in journal.read_bytes().splitlines():
            with contextlib.suppress(ValueError, TypeError, RecursionError):
                name, result, picture, head, settings = json.loads(line)
                made = (int(picture[0]), int(picture[1])), str(head), str(settings)
                found.append(((str(name), (int(result[0]), int(result[1]))), made))
        return found
    return []


def settings_of(*values: Any) -> str:
    """A hash of a task and of how its results are saved."""
    words = json.dumps([plain(value) for value in values], sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def plain(value: Any) -> Any:
    """A value as JSON can hold it: networks as a hash of their weights."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f.name for f in dataclasses.fields(value) if f.init]
        return {"kind": type(value).__name__} | {n: plain(getattr(value, n)) for n in fields}
    if hasattr(value, "state_dict"):
        return fingerprint(value)
    if isinstance(value, Path):  # of a weights file
        with contextlib.suppress(OSError):
            return hashlib.sha256(value.read_bytes()).hexdigest()[:16]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return type(value).__name__ if callable(value) else str(value)


def fingerprint(network: Any) -> str:
    """A hash of a network's class and weights."""
    digest = hashlib.sha256(type(network).__name__.encode())
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
