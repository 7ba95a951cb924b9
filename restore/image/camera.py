"""Files of cameras and phones: raw files and HEIC, read by optional libraries.

Both libraries apply the orientation themselves.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np

from restore.errors import ReadError
from restore.image import color, exif, icc
from restore.image import xmp as xmp_module
from restore.image.boxes import primary_properties
from restore.image.picture import Picture

HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
# First bytes of raw files that are not quite TIFFs: Fujifilm, Olympus, Panasonic.
RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")
# Tags of a raw file that say how its own samples are to be developed (DNG 1.7, TIFF/EP).
DEVELOPING = {33421, 33422, 37398, *range(50_706, 51_200), *range(52_525, 52_600)}


def is_heif(data: bytes) -> bool:
    """Whether a file declares pictures coded in HEVC."""
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return any(brand in brands for brand in HEIF_BRANDS) and b"avif" not in brands


def is_raw(data: bytes) -> bool:
    """Whether a file begins like a raw file that is not a TIFF."""
    return data.startswith(RAW_STARTS) or data[4:12] == b"ftypcrx "


def decode_heif(data: bytes, name: str, max_pixels: int) -> Picture:
    """The main picture of a HEIC file. Raises ReadError; other errors are the library's."""
    try:
        import pi_heif
    except ImportError:
        raise ReadError(
            f"{name} is a HEIC file; pip install 'restore[heif]' to read it, or save it as JPEG"
        ) from None
    file = pi_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    _check(file.size[1], file.size[0], max_pixels, name)
    samples, info = np.array(file), file.info
    if samples.dtype == np.uint16 and info.get("bit_depth", 16) < 16:
        samples |= samples >> info["bit_depth"]  # the library only shifts: white must be 65535
    block = (info.get("exif") or b"").removeprefix(b"Exif\0\0") or None
    xmp = info.get("xmp") or None
    source: dict[str, Any] = {"mode": file.mode}
    for box in primary_properties(data):
        if box.type == b"colr" and (codes := icc.codes_of_nclx(box.body)):
            source["cicp"] = codes
    return Picture(
        *color.split(samples[:, :, np.newaxis] if samples.ndim == 2 else samples),
        icc=info.get("icc_profile") or None,
        exif=exif.without_rotation(block) if block else None,
        xmp=xmp_module.without_rotation(xmp) if xmp else None,
        format="HEIF",
        source=source,
    )


def decode_raw(data: bytes, name: str, max_pixels: int) -> Picture:
    """A raw file developed: 16 bits of sRGB with the camera's white balance, not brightened.

    Raises ReadError; other errors are the library's.
    """
    try:
        import rawpy
    except ImportError:
        raise ReadError(
            f"{name} is a camera's raw file; pip install 'restore[raw]' to read it, or develop it "
            "first, for example to a 16-bit TIFF"
        ) from None
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            _check(raw.sizes.raw_height, raw.sizes.raw_width, max_pixels, name)
            samples = raw.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                output_bps=16,
                output_color=rawpy.ColorSpace.sRGB,
                gamma=(2.4, 12.92),  # of sRGB, IEC 61966-2-1
            )
    except rawpy.LibRawError as error:
        words = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise ReadError(
            f"{name} begins like a camera's raw file, but cannot be developed: {words}"
        ) from None
    return Picture(
        *color.split(samples), exif=_raw_exif(data), format="RAW", source={"mode": "RAW"}
    )


def _raw_exif(data: bytes) -> bytes | None:
    """The EXIF of a raw file that is built like a TIFF, without the tags for its own samples."""
    try:
        layout, offset = exif.header(data)
        directory = exif.parse_directory(data, offset, layout)
    except (ValueError, struct.error):
        return None
    kept: dict[int, Any] = {n: t for n, t in directory.tags.items() if n not in DEVELOPING}
    return exif.build_exif(exif.Directory(kept, directory.below), layout.order)


def _check(height: int, width: int, max_pixels: int, name: str) -> None:
    if height * width > max_pixels:
        raise ReadError(
            f"{name} is {width} x {height} pixels, beyond the limit of {max_pixels}; "
            "raise max_pixels or cut it into parts"
        )
