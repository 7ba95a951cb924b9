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
Content = bytes | Callable[[IO[bytes]], object]
Stamp = tuple[int, int, int, int]  # device, number, bytes and time of change of a file
Note = Callable[[os.stat_result], object]
UNFINISHED, JOURNAL = ".restore-unfinished", ".restore-journal"  # of a result written by rows


def write_aside(
    path: Path,
    content: Content,
    overwrite: bool,
    *,
    like: Path | None = None,
    note: Note | None = None,
) -> None:
    """Write a file, all at once. Raises WriteError, and then nothing has changed.

    content: the file's bytes, or a function that writes them to an open file
    overwrite: whether an existing file is replaced, as `publish` does it
    like: a file whose result this is: what others may not do with it, they may not do with this
    note: called with the file's status just before it gets its name
    """
    with _reporting(path), _written_aside(path, content, private_as(like)) as aside:
        publish(aside, path, overwrite, note)


def replace_in_place(
    path: Path, content: Content, original: bytes, expected: Stamp, note: Note | None = None
) -> Path:
    """Replace a file by its result; the original goes to `NAME.orig`, whose name is returned.

    original, expected: the bytes that were read of it, and its stamp from before that
    note: as for `write_aside`
    What somebody wrote to the file meanwhile is never lost: the result is written and synced first,
    and the file is compared last. Raises WriteError, and then nothing has changed.
    """
    check_no_link(path)
    with _reporting(path), _written_aside(path, content, 0o600) as aside:
        _check_stamp(path, expected)
        _keep_attributes(path, aside)
        if note is not None:
            note(aside.stat())
        _check_stamp(path, expected)
        backup = keep_original(path, original)
        os.replace(aside, path)
        _sync_folder(path.parent)
    return backup


def _check_stamp(path: Path, expected: Stamp) -> None:
    if stamp(os.lstat(path)) != expected:
        raise WriteError(f"{path} changed while it was restored; run again")


def check_no_link(path: Path) -> None:
    """WriteError for a link where a file is to be replaced by its result."""
    if path.is_symlink():
        raise WriteError(f"{path} is a link to {path.resolve()}; give that file itself")


def private_as(path: Path | None) -> int:
    """The mode of a new file, before the umask, that nobody may use who may not use `path`."""
    with contextlib.suppress(OSError):
        if path is not None:
            return path.stat().st_mode & 0o666 | 0o600
    return 0o666


def stamp(status: os.stat_result) -> Stamp:
    """What differs when a file has been written to or replaced."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise WriteError(exists_words(path)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WriteError(f"{path} cannot be written: {reason}") from error


@contextlib.contextmanager
def _written_aside(target: Path, content: Content, mode: int) -> Iterator[Path]:
    """A hidden file beside the target, written and synced; removed at the end if still there."""
    handle, aside = open_aside(target.parent, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is not None:
                yield aside  # while the lock is held: `tidy` spares it
        if fcntl is None:  # Windows renames closed files only
            yield aside
    finally:
        with contextlib.suppress(OSError, ValueError):
            aside.unlink()


def _keep_attributes(old: Path, new: Path) -> None:
    """Owner, permissions and extended attributes of the old file for the new one."""
    status = old.stat()
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):  # only the superuser may give files away
            os.chown(new, status.st_uid, status.st_gid)
    if hasattr(os, "fchmod"):
        os.chmod(new, status.st_mode & 0o777)
    names: list[str] = []
    with contextlib.suppress(OSError, AttributeError):  # a system or a file system without them
        names = os.listxattr(old)
    for name in names:
        with contextlib.suppress(OSError):
            os.setxattr(new, name, os.getxattr(old, name))


def write_json(path: Path, value: Any) -> None:
    """Write or replace a JSON file, one value a line, as `write_aside` does it."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_aside(path, text.encode(), overwrite=True)


def exists_words(path: Path) -> str:
    """The message for a file that exists already."""
    return f"{path} exists; give --overwrite (in Python overwrite=True), or another name"


def open_aside(folder: Path, mode: int = 0o666) -> tuple[int, Path]:
    """A new hidden file and its handle, locked as long as this process lives: `tidy` spares it.

    mode: its permissions, of which the umask takes some
    """
    # Not `tempfile`: its files are private, and this one's mode should follow the umask.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        aside = folder / f"{PREFIX}{secrets.token_hex(6)}{SUFFIX}"
        handle = os.open(aside, flags, mode)
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


def publish(aside: Path, target: Path, overwrite: bool, note: Note | None = None) -> None:
    """Give a finished file, written under another name of the same folder, its own name.

    overwrite: an existing file is replaced; its owner, permissions and extended attributes stay, as
               far as the system allows it. Of a link the link is replaced, never what it points to
    note:      called with the file's status just before
    Raises OSError; without `overwrite`, FileExistsError where a file of that name has appeared;
    WriteError where anything but a file or a link would be replaced.
    """
    if overwrite and os.path.lexists(target):
        mode = os.lstat(target).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
            raise WriteError(f"{target} is not a regular file; give another name for the result")
        if stat.S_ISREG(mode):
            _keep_attributes(target, aside)
    if note is not None:
        note(aside.stat())
    if overwrite:
        os.replace(aside, target)
    else:
        _rename_exclusively(aside, target)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """The new name on the disk, too; where folders cannot be synced the system does it later."""
    with contextlib.suppress(OSError), _folder(folder) as handle:
        os.fsync(handle)


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
        for part in folder.glob(f".*{UNFINISHED}"):  # begun ones stay: they are continued
            with contextlib.suppress(OSError):
                removed += os.lstat(part).st_nlink > 1 and _remove_if_left(part)
        for journal in folder.glob(f".*{JOURNAL}"):
            begun = journal.with_name(journal.name.removesuffix(JOURNAL) + UNFINISHED)
            with contextlib.suppress(OSError):
                removed += not os.path.lexists(begun) and _remove_if_left(journal)
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
            os.link(path, backup)
        except (OSError, NotImplementedError, AttributeError):  # a file system without hard links
            write_aside(backup, data, overwrite=False, like=path)
    elif not stat.S_ISREG(os.lstat(backup).st_mode) or backup.read_bytes() != data:
        raise WriteError(f"{backup} exists and is not a copy of {path.name}; move it away first")
    return backup
