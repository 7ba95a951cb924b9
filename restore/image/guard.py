"""Errors of decoders as one sentence of ours, and their warnings suppressed."""

from __future__ import annotations

import contextlib
import re
import threading
import warnings
from collections.abc import Iterator

from PIL import Image

from restore.errors import ReadError, RestoreError

# `warnings.catch_warnings` changes a global: two of our threads must not undo each other's change.
_WARNINGS = threading.Lock()
_UNSUPPORTED = re.compile(r"unsupported|not supported|not implemented|cannot handle", re.IGNORECASE)


@contextlib.contextmanager
def reporting(name: str) -> Iterator[None]:
    """Whatever a decoder raises for a damaged file, as ReadError; `name` is the file's."""
    try:
        yield
    except RestoreError:
        raise
    except MemoryError as error:
        raise ReadError(f"{name} does not fit into memory; cut it into parts") from error
    except Image.DecompressionBombError as error:  # its WebP plugin checks where we cannot reach
        raise ReadError(
            f"{name} is larger than Pillow allows; raise its MAX_IMAGE_PIXELS"
        ) from error
    except Exception as error:  # decoders raise nearly every type for damaged files
        words = first_line(error)
        if isinstance(error, NotImplementedError) or _UNSUPPORTED.search(words):
            raise ReadError(
                f"{name} is stored in a way that is not read ({words}); save it as PNG or TIFF"
            ) from error
        raise ReadError(f"{name} is damaged or truncated: {words}") from error


@contextlib.contextmanager
def quietly(name: str) -> Iterator[None]:
    """As `reporting`, without warnings, one thread at a time: for headers, not for pixels.

    A damaged EXIF block is no reason to bother anyone.
    """
    with reporting(name), _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def first_line(error: BaseException) -> str:
    """An error's first line, without the object addresses that some hold."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0].split(" <")[0]
