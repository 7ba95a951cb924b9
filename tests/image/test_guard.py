"""What decoders raise becomes one sentence, which says "damaged" of what is damaged only."""

from __future__ import annotations

import struct
import warnings

import pytest
from PIL import Image

from restore.errors import InputError, ReadError
from restore.image.guard import quietly, reporting

CASES = [
    (OSError("broken data stream"), r"^a is damaged or truncated: broken data stream$"),
    (ValueError("first\nsecond"), r"^a is damaged or truncated: first$"),
    (struct.error(), r"^a is damaged or truncated: error$"),
    (OSError("at <object 0x7f>"), r"^a is damaged or truncated: at$"),
    (NotImplementedError("tables"), r"^a is stored in a way that is not read \(tables\)"),
    (OSError("Unsupported BMP compression (7)"), r"^a is stored in a way that is not read"),
    (SyntaxError("cannot handle 12-bit layers"), r"^a is stored in a way that is not read"),
    (MemoryError(), r"^a does not fit into memory"),
    (Image.DecompressionBombError("big"), r"^a is larger than Pillow allows"),
]


@pytest.mark.parametrize(("error", "words"), CASES, ids=repr)
def test_every_error_is_a_sentence(error: Exception, words: str) -> None:
    with pytest.raises(ReadError, match=words), reporting("a"):
        raise error


def test_our_own_errors_and_interruptions_pass() -> None:
    with pytest.raises(InputError, match="ours"), reporting("a"):
        raise InputError("ours")
    with pytest.raises(KeyboardInterrupt), quietly("a"):
        raise KeyboardInterrupt


def test_warnings_are_not_shown() -> None:
    with quietly("a"):
        warnings.warn("of a damaged block", stacklevel=1)
