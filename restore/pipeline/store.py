"""Pictures in stores that have addresses: `s3://`, `gs://`, `file://` and whatever fsspec knows."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from restore.errors import InputError, ReadError, WriteError
from restore.image.find import CAMERA

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.I)


def is_address(place: object) -> bool:
    """Whether a place is an address of a store, and not a path of this machine."""
    return isinstance(place, str) and ADDRESS.match(place) is not None


def is_shared(place: object) -> bool:
    """Whether every machine sees the same there; what is in memory only this process sees."""
    return is_address(place) and not str(place).startswith("memory:")


@dataclass(frozen=True)
class Stored:
    """A picture in a store, and its folder relative to the given one."""

    address: str
    tree: str = ""


def list_store(address: str, recursive: bool) -> list[Stored]:
    """The pictures below an address, or the one at it, sorted. Raises ReadError without any."""
    system, path = _system(address)
    scheme = address.partition("://")[0]
    try:
        if system.isfile(path):
            return [Stored(address)]
        found = system.find(path) if recursive else system.ls(path, detail=False)
        names = sorted(str(name) for name in found)
        pictures = [n for n in names if posixpath.splitext(n)[1].lower() in CAMERA]
    except Exception as error:
        raise ReadError(f"{address} cannot be listed: {_words(error)}") from error
    if not pictures:
        more = "" if recursive else "; pass --recursive to look deeper"
        raise ReadError(f"{address} holds no pictures{more}")
    base = path.rstrip("/")
    return [
        Stored(f"{scheme}://{name}", posixpath.dirname(name.removeprefix(base).lstrip("/")))
        for name in pictures
    ]


def read_store(address: str) -> bytes:
    """The bytes at an address. Raises ReadError."""
    system, path = _system(address)
    try:
        data: bytes = system.cat_file(path)
        return data
    except Exception as error:
        raise ReadError(f"{address} cannot be read: {_words(error)}") from error


def write_store(address: str, data: bytes) -> None:
    """Write or replace what is at an address. Raises WriteError.

    An object store shows an object only once it is whole. A file system gets the file under a
    hidden name first, which is then renamed.
    """
    system, path = _system(address)
    try:
        if "file" in _protocols(system):
            aside = posixpath.join(
                posixpath.dirname(path), f".restore-{posixpath.basename(path)}.part"
            )
            system.makedirs(posixpath.dirname(path), exist_ok=True)
            system.pipe_file(aside, data)
            system.mv(aside, path)
        else:
            system.pipe_file(path, data)
    except Exception as error:
        raise WriteError(f"{address} cannot be written: {_words(error)}") from error


def modified(address: str) -> datetime | None:
    """When what is at an address was written; None where there is nothing."""
    system, path = _system(address)
    try:
        if not system.exists(path):
            return None
        when: datetime = system.modified(path)
        return when
    except Exception as error:
        raise ReadError(f"{address} cannot be looked at: {_words(error)}") from error


def _system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it. Raises InputError."""
    try:
        import fsspec
    except ImportError:
        raise InputError(
            f"{address} is in a store, for which fsspec is missing; pip install fsspec, and for "
            "s3:// also s3fs, for gs:// also gcsfs"
        ) from None
    try:
        system, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise InputError(f"{address} is in a store that cannot be opened: {error}") from None
    return system, str(path)


def _protocols(system: Any) -> tuple[str, ...]:
    names = system.protocol
    return (names,) if isinstance(names, str) else tuple(names)


def _words(error: Exception) -> str:
    """One line of what a store says."""
    return " ".join(str(error).split()) or type(error).__name__
