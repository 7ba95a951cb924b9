"""Files written whole or not at all: under a hidden name in the same folder, synced, renamed.

A reader sees no file, the old file, or the whole new one. A killed process leaves a hidden `.part`
file behind, which is not listed as a picture and which `tidy` removes.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from restore.errors import WriteError

try:
    import fcntl
except ImportError:  # Windows, where a file that is open in another process cannot be removed
    fcntl = None  # type: ignore[assignment]  # mypy does not let a module's name be None

PREFIX, SUFFIX = ".restore-", ".part"
BACKUP = ".orig"  # no picture's suffix, so that a backup is never taken for one


def write_aside(
    path: Path, content: bytes | Callable[[IO[bytes]], object], overwrite: bool
) -> None:
    """Write a file, all at once. Raises WriteError, and then nothing has changed.

    content: the file's bytes, or a function that writes them to an open file
    overwrite: whether an existing file is replaced; its permissions then stay
    """
    target = path.resolve() if overwrite else path  # a link stays a link
    aside = None
    try:
        handle, aside = open_aside(target.parent)
        with os.fdopen(handle, "wb") as file:
            if overwrite and target.is_file() and hasattr(os, "fchmod"):
                os.fchmod(handle, target.stat().st_mode & 0o777)  # a private picture stays private
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        publish(aside, target, overwrite)
    except FileExistsError:
        raise WriteError(exists_words(path)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WriteError(f"{path} cannot be written: {reason}") from error
    finally:
        if aside is not None:
            with contextlib.suppress(OSError, ValueError):
                aside.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write or replace a JSON file, one value a line, as `write_aside` does it."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_aside(path, text.encode(), overwrite=True)


def exists_words(path: Path) -> str:
    """The message for a file that exists already."""
    return f"{path} exists; pass --overwrite / overwrite=True or another name"


def open_aside(folder: Path) -> tuple[int, Path]:
    """A new hidden file and its handle, locked as long as this process lives: `tidy` spares it."""
    # Not `tempfile`: its files are private, and this one's mode should follow the umask.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        aside = folder / f"{PREFIX}{secrets.token_hex(6)}{SUFFIX}"
        handle = os.open(aside, flags, 0o666)
        lock(handle)
        if fcntl is None or os.fstat(handle).st_nlink:
            return handle, aside
        os.close(handle)  # another process tidied up between the two calls


def lock(handle: int, wait: bool = False) -> bool:
    """Lock an open file or folder until it is closed; False where another process has the lock.

    Where the system has no locks: True, and nothing is locked.
    """
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
    return True


def publish(aside: Path, target: Path, overwrite: bool) -> None:
    """Give a finished file, written under another name of the same folder, its own name.

    Raises OSError; without `overwrite`, FileExistsError where a file of that name has appeared.
    """
    if overwrite:
        os.replace(aside, target)
    else:
        _rename_exclusively(aside, target)
    with contextlib.suppress(OSError), _folder(target.parent) as handle:
        os.fsync(handle)  # the new name, too; where folders cannot be synced, the system does it


def _rename_exclusively(aside: Path, target: Path) -> None:
    try:
        os.link(aside, target)  # unlike a rename, fails where a file has appeared meanwhile
        return
    except FileExistsError:
        raise
    except (OSError, NotImplementedError, AttributeError):  # a file system without hard links
        pass
    if fcntl is None:
        os.rename(aside, target)  # which never replaces a file on Windows
        return
    with _folder(target.parent) as handle:
        lock(handle, wait=True)  # two of our processes cannot both find the name free
        if os.path.lexists(target):
            raise FileExistsError(str(target))
        os.replace(aside, target)


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def tidy(folder: Path) -> int:
    """Remove what killed processes left in a folder; returns how many files those were.

    A file that a running process is writing is locked, and stays.
    """
    removed = 0
    with contextlib.suppress(OSError):
        for part in folder.glob(f"{PREFIX}*{SUFFIX}"):
            with contextlib.suppress(OSError):
                removed += _remove_if_left(part)
    return removed


def _remove_if_left(part: Path) -> bool:
    if fcntl is None:
        part.unlink()
        return True
    # Never through a link, and without waiting for a reader of a pipe of that name.
    handle = os.open(part, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        left = stat.S_ISREG(os.fstat(handle).st_mode) and lock(handle)
        if left:
            part.unlink()
    finally:
        os.close(handle)
    return left


def backup_of(path: Path) -> Path:
    """Where the original goes before a picture is replaced: `a.jpg.orig` beside it."""
    return path.with_name(path.name + BACKUP)


def keep_original(path: Path, data: bytes) -> Path:
    """Back up a file whose bytes are `data`, before it is replaced; returns the backup's name.

    The backup is the old file itself under a second name, with its times and permissions, where the
    file system allows that. A backup that already holds the data stays: a killed run made it.
    Raises WriteError where another file has that name.
    """
    backup = backup_of(path)
    if not os.path.lexists(backup):
        try:
            os.link(path.resolve(), backup)
        except (OSError, NotImplementedError, AttributeError):  # a file system without hard links
            write_aside(backup, data, overwrite=False)
    elif not backup.is_file() or backup.read_bytes() != data:
        raise WriteError(f"{backup} exists and is not a copy of {path.name}; move it away first")
    return backup
