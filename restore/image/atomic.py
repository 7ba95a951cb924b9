"""Bytes on the disk whole or not at all: written aside in the same folder, synced, renamed.

Whoever looks sees no file, the old file, or the whole new one. What a killed process left behind is
a hidden `.part` file, which nothing takes for a picture and `tidy` removes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from restore.errors import WriteError

try:
    import fcntl
except ImportError:  # Windows, where nobody can remove a file that another process has open
    fcntl = None  # type: ignore[assignment]  # to mypy a module's name is a module for good

PREFIX, SUFFIX = ".restore-", ".part"
BACKUP = ".orig"  # no picture's suffix, so that a backup is never taken for one


def write_aside(path: Path, data: bytes, overwrite: bool) -> None:
    """The bytes at `path`, all at once. Raises WriteError, and then nothing has changed."""
    target = path.resolve() if overwrite else path  # a link stays a link
    aside = None
    try:
        handle, aside = _open_aside(target.parent)
        with os.fdopen(handle, "wb") as file:
            if overwrite and target.is_file() and hasattr(os, "fchmod"):
                os.fchmod(handle, target.stat().st_mode & 0o777)  # private pictures stay private
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _rename(aside, target, overwrite)
        _sync_folder(target.parent)
    except FileExistsError:
        raise WriteError(exists_words(path)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WriteError(f"{path} cannot be written: {reason}") from error
    finally:
        if aside is not None:
            with contextlib.suppress(OSError, ValueError):
                aside.unlink()


def exists_words(path: Path) -> str:
    """The sentence for a file that is in the way."""
    return f"{path} exists; pass --overwrite / overwrite=True or another name"


def _open_aside(folder: Path) -> tuple[int, Path]:
    """A new file of ours, locked as long as this process lives, so that `tidy` leaves it alone."""
    # Not `tempfile`: its files are private, and this one's mode should follow the umask.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        aside = folder / f"{PREFIX}{secrets.token_hex(6)}{SUFFIX}"
        handle = os.open(aside, flags, 0o666)
        if fcntl is None:
            return handle, aside
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, aside
        os.close(handle)  # another process tidied up between the two calls


def _rename(aside: Path, target: Path, overwrite: bool) -> None:
    if overwrite:
        os.replace(aside, target)
        return
    try:
        os.link(aside, target)  # unlike a rename, fails where a file has appeared meanwhile
    except FileExistsError:
        raise
    except (OSError, NotImplementedError, AttributeError):  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(str(target)) from None
        os.replace(aside, target)


def _sync_folder(folder: Path) -> None:
    """The new name on the disk, too; where folders cannot be synced the system does it later."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def tidy(folder: Path) -> int:
    """Remove what killed processes left in a folder; returns how many files those were.

    A file that a living process is writing is locked, and stays.
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
    handle = os.open(part, os.O_WRONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError where its writer lives
        part.unlink()
    finally:
        os.close(handle)
    return True


def backup_of(path: Path) -> Path:
    """Where the original goes before a picture is replaced: `a.jpg.orig` beside it."""
    return path.with_name(path.name + BACKUP)


def keep_original(path: Path, data: bytes) -> Path:
    """A backup of a file whose bytes are `data`; returns its name.

    The backup is the old file itself under a second name, with its times and its mode, where the
    file system allows that. One that already holds the data is kept as it is: a killed run made
    it. Raises WriteError where another file has that name.
    """
    backup = backup_of(path)
    if not os.path.lexists(backup):
        try:
            os.link(path.resolve(), backup)
        except (OSError, NotImplementedError, AttributeError):  # a file system without hard links
            write_aside(backup, data, overwrite=False)
    elif not backup.is_file() or backup.read_bytes() != data:
        raise WriteError(f"{backup} exists and is no copy of {path.name}; move it away first")
    return backup
