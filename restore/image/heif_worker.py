"""The decoder of HEIC in a process of its own, whose crash on a damaged file is one file's failure.

    python heif_worker.py SYS_PATH_AS_JSON < picture.heic > answer

The answer is a line of JSON, and the blocks that it gives the lengths of: samples, profile, EXIF,
XMP. Nothing of the package is imported here, so that it starts in a tenth of a second.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any


def decode(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """What pi_heif reads of a file: a description and the blocks."""
    import numpy as np
    import pi_heif

    file = pi_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    samples, info = np.ascontiguousarray(np.array(file)), file.info
    about = {
        "shape": samples.shape,
        "dtype": samples.dtype.str,
        "bits": info.get("bit_depth", 8 * samples.itemsize),
        "mode": file.mode,
    }
    names = ("icc_profile", "exif", "xmp")
    return about, [samples.tobytes(), *(bytes(info.get(n) or b"") for n in names)]


def main() -> None:
    """Read the file from standard input, and answer on standard output."""
    sys.path[:] = json.loads(sys.argv[1])  # not this folder, and not the current one
    try:
        about, blocks = decode(sys.stdin.buffer.read())
        about["lengths"] = [len(block) for block in blocks]
    except Exception as error:
        about, blocks = {"error": str(error) or type(error).__name__}, []
    sys.stdout.buffer.write(json.dumps(about).encode() + b"\n")
    for block in blocks:
        sys.stdout.buffer.write(block)


if __name__ == "__main__":
    main()
