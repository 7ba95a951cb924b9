"""Picture files written whole or not at all, similar to their source, with its metadata.

What a format cannot hold is refused before anything is written. PNG, TIFF and JPEG 2000 hold 16
bits, TIFF holds floats; the others hold 8 bits. BMP holds no metadata but its profile.
"""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from restore.errors import InputError, WriteError
from restore.image import bmp, color, exif, icc, jp2, jpeg, png, tiff_write
from restore.image.arrays import to_picture
from restore.image.atomic import exists_words, write_aside
from restore.image.boxes import primary_properties
from restore.image.metadata import iptc_of
from restore.image.picture import Depth, Picture

WEBP_QUALITY, JPEG_QUALITY, AVIF_QUALITY = 90, 95, 90


class Format(NamedTuple):
    """What a file format can hold."""

    suffixes: tuple[str, ...]
    depths: tuple[Depth, ...]
    alpha: bool
    lossy: bool
    largest: int  # pixels to a side; of JPEG the limit of libjpeg, a little below the format's


FORMATS = {
    "JPEG": Format((".jpg", ".jpeg", ".jpe", ".jfif"), (8,), False, True, 65_500),
    "PNG": Format((".png",), (8, 16), True, False, 2**31 - 1),
    "WEBP": Format((".webp",), (8,), True, True, 16_383),
    "TIFF": Format((".tif", ".tiff"), (8, 16, "float"), True, False, 2**31 - 1),
    "AVIF": Format((".avif",), (8,), True, True, 65_535),
    "JPEG2000": Format((".jp2", ".jpx"), (8, 16), True, False, 2**31 - 1),
    "BMP": Format((".bmp",), (8,), True, False, 2**31 - 1),
}


WITH_CODES = ("PNG", "AVIF")  # formats that name a colour space by code points


def save_image(
    picture: Any,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    quality: int | None = None,
    depth: Depth | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the picture to `path`, which must not exist unless `overwrite`; returns the path.

    picture: any kind of picture that `denoise` takes, or the result of `denoise` or `upscale`
    format:  JPEG, PNG, WebP, TIFF, AVIF, JPEG2000 or BMP; else the path's suffix says
    quality: 1..100, for JPEG, WebP and AVIF; else as the picture's source, or 95, 90 and 90
    depth:   8, 16 or "float"; else the picture's, or the deepest that the format can hold

    Raises WriteError for what the format cannot hold or the disk refuses, InputError for a quality
    or a picture that cannot be used. Then there is no new file, and an old one is unchanged.
    """
    place = Path(path)
    picture = to_picture(getattr(picture, "picture", picture))  # of a Result, its picture
    check_writable(place, picture, format=format, quality=quality, depth=depth, overwrite=overwrite)
    kind = target_format(place, format)
    data = encode_image(picture, kind, quality=quality, depth=depth)
    write_aside(place, data, overwrite, like=picture.path)
    return place


def check_writable(
    path: str | os.PathLike[str],
    picture: Picture | None = None,
    *,
    size: tuple[int, int] | None = None,
    format: str | None = None,
    quality: int | None = None,
    depth: Depth | None = None,
    overwrite: bool = False,
) -> None:
    """Raise now what `save_image` would raise later, after the network has run.

    size: (height, width) that the picture will have by then; None: its own
    The disk may still fill up, and a file of that name appear, in between.
    """
    place = Path(path)
    kind = target_format(place, format)
    check_place(place, overwrite)
    check_format(kind, picture, size=size, quality=quality, depth=depth, name=str(place))


def format_of(path: Path, format: str | None = None) -> str:
    """The format's name as Pillow spells it: from `format`, else from the path's suffix."""
    asked = path.suffix.lower() if format is None else f".{format.lower().lstrip('.')}"
    for kind, limits in FORMATS.items():
        if asked in limits.suffixes or asked == f".{kind.lower()}":
            return kind
    known = ", ".join(f"{k} ({' '.join(f.suffixes)})" for k, f in FORMATS.items())
    if format is not None:
        what = f"'{format}' names no format that can be written"
    elif asked:
        what = f"{path}: the suffix {asked!r} names no format that can be written"
    else:
        what = f"{path} has no suffix that names a format; give one, or the format"
    raise WriteError(f"{what}; known are {known}")


def target_format(path: Path, format: str | None = None) -> str:
    """As `format_of`; WriteError also for a path whose suffix names another format."""
    kind = format_of(path, format)
    for other, limits in FORMATS.items():
        if other != kind and path.suffix.lower() in limits.suffixes:
            raise WriteError(
                f"{path} is the name of a {other} file, and the format asked for is {kind}; give "
                f"it the suffix {FORMATS[kind].suffixes[0]}, or leave the format out"
            )
    return kind


def suffix_of(path: Path, format: str) -> str:
    """The suffix for a format: the path's own where it fits, else the format's first."""
    kind = format_of(path, format)
    suffixes = FORMATS[kind].suffixes
    return path.suffix if path.suffix.lower() in suffixes else suffixes[0]


def check_place(path: Path, overwrite: bool) -> None:
    """Raise WriteError where a file of that name cannot be written, whatever it holds."""
    try:
        if path.is_dir():
            raise WriteError(f"{path} is a folder; give the name of a file")
        if not path.parent.is_dir():
            raise WriteError(f"there is no folder {path.parent}; create it, or give another name")
        if os.path.lexists(path) and not overwrite:
            raise WriteError(exists_words(path))
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise WriteError(f"{path.parent} may not be written to; choose another folder")
    except (OSError, ValueError) as error:
        raise WriteError(f"{path} is not a valid file name: {error}") from error


def check_format(
    kind: str,
    picture: Picture | None,
    *,
    size: tuple[int, int] | None = None,
    quality: int | None = None,
    depth: Depth | None = None,
    name: str = "picture",
) -> None:
    """Raise WriteError or InputError where a format cannot hold a picture with these settings."""
    limits = FORMATS[kind]
    if quality is not None:
        if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
            raise InputError(f"quality is a whole number from 1 to 100, not {quality!r}")
        if not limits.lossy:
            raise InputError(f"{kind} is lossless and has no quality; leave quality out")
    if depth is not None and depth not in limits.depths:
        held = " or ".join(str(d) for d in limits.depths)
        raise WriteError(f"{name}: {kind} holds samples of {held} bits, not {depth!r}")
    if picture is None:
        return
    _check_picture(picture)
    if kind not in WITH_CODES:
        try:
            icc.profile_of(picture, kind)
        except WriteError as error:
            raise WriteError(f"{name}: {error}") from None
    if picture.alpha is not None and not limits.alpha:
        keep = ", ".join(k for k, f in FORMATS.items() if f.alpha)
        raise WriteError(f"{name}: {kind} has no transparency and the picture has; use {keep}")
    if kind == "JPEG":
        _check_jpeg_metadata(picture, name)
    height, width = size or (picture.height, picture.width)
    if max(height, width) > limits.largest:
        raise WriteError(
            f"{name}: {width} x {height} pixels are too many for {kind}, which ends at "
            f"{limits.largest} to a side; use PNG or TIFF"
        )


def _check_jpeg_metadata(picture: Picture, name: str) -> None:
    """WriteError for metadata that the segments of a JPEG do not hold."""
    # A restored picture is written without the thumbnail of its source.
    block = exif.without_thumbnail(picture.exif) if picture.exif else b""
    if len(block) > jpeg.LARGEST_EXIF:
        raise WriteError(
            f"{name}: EXIF of {len(block)} bytes is too long for JPEG, which holds "
            f"{jpeg.LARGEST_EXIF}; use PNG, TIFF or WebP, or leave metadata out"
        )
    try:
        jpeg.metadata_segments(
            picture.xmp, picture.source.get("app13", ()), picture.source.get("comments", ())
        )
    except ValueError as error:
        raise WriteError(f"{name}: {error}; use PNG or TIFF, or leave metadata out") from None


def _check_picture(picture: Picture) -> None:
    shape = picture.pixels.shape
    if len(shape) != 3 or shape[2] not in (1, 3) or 0 in shape:
        raise InputError(f"pixels have the shape (height, width, 1 or 3), not {shape}")
    if picture.alpha is not None and picture.alpha.shape != shape[:2]:
        raise InputError(f"alpha has the shape {picture.alpha.shape}, but the pixels have {shape}")


def encode_image(
    picture: Picture, kind: str, *, quality: int | None = None, depth: Depth | None = None
) -> bytes:
    """The bytes of a file of the format `kind` ("JPEG", "PNG" ...), as `save_image` writes them."""
    check_format(kind, picture, quality=quality, depth=depth)
    depths = FORMATS[kind].depths
    stored = depth or (picture.depth if picture.depth in depths else depths[-1])
    samples = color.join(picture.pixels, picture.alpha, stored)
    try:
        if kind == "PNG":
            return _encode_png(samples, picture)
        if kind == "TIFF":
            return _encode_tiff(samples, picture)
        if kind == "JPEG2000":
            iptc = iptc_of(picture.source.get("app13", ()))
            boxes = jp2.Metadata(icc.profile_of(picture, kind), picture.exif, picture.xmp, iptc)
            plain = jp2.encode_deep(samples) if stored == 16 else _encode(samples, kind, {})
            return jp2.with_metadata(plain, boxes, picture.source.get("dpi"))
        if kind == "BMP" and (picture.alpha is not None or icc.profile_of(picture, kind)):
            if samples.shape[2] == 2:  # alpha needs colour
                samples = samples[:, :, [0, 0, 0, 1]]
            return bmp.encode(samples, icc.profile_of(picture, kind), picture.source.get("dpi"))
        if kind == "AVIF" and samples.shape[2] < 3:  # Pillow writes grey as colour only
            samples = np.concatenate([samples[:, :, :1]] * 2 + [samples], axis=2)
        options = {"JPEG": _jpeg_options, "WEBP": _webp_options, "AVIF": _avif_options}.get(
            kind, _bmp_options
        )
        data = _encode(samples, kind, options(picture, quality))
        return _with_codes(data, picture) if kind == "AVIF" else data
    except (ValueError, OSError, OverflowError, struct.error) as error:
        raise WriteError(f"the picture cannot be written as {kind}: {error}") from error


def _encode(samples: npt.NDArray[Any], kind: str, options: dict[str, Any]) -> bytes:
    """A file of 8 bits as Pillow writes it."""
    plain = samples[:, :, 0] if samples.shape[2] == 1 else samples
    memory = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(plain)).save(memory, kind, **options)
    return memory.getvalue()


def _encode_png(samples: npt.NDArray[Any], picture: Picture) -> bytes:
    plain = png.encode16(samples) if samples.dtype == np.uint16 else _encode(samples, "PNG", {})
    chunks = png.metadata_chunks(
        picture.icc,
        picture.exif,
        picture.xmp,
        picture.source.get("dpi"),
        picture.source.get("chunks", ()),
        picture.source.get("cicp"),
        picture.source.get("app13", ()),
    )
    return png.with_chunks(plain, chunks)


def _encode_tiff(samples: npt.NDArray[Any], picture: Picture) -> bytes:
    return tiff_write.encode(
        samples,
        alpha=picture.alpha is not None,
        compression=picture.source.get("compression", "deflate"),
        icc=icc.profile_of(picture, "TIFF"),
        exif=picture.exif,
        xmp=picture.xmp,
        source=picture.source,
    )


def _metadata(picture: Picture, kind: str) -> dict[str, Any]:
    """Pillow's names for what JPEG and WebP hold beside pixels."""
    found = {"icc_profile": icc.profile_of(picture, kind), "xmp": picture.xmp}
    found["exif"] = b"Exif\0\0" + picture.exif if picture.exif else None
    return {k: v for k, v in found.items() if v}


def _jpeg_options(picture: Picture, quality: int | None) -> dict[str, Any]:
    """Pillow's options for a JPEG like the picture's source."""
    source, options = picture.source, _metadata(picture, "JPEG")
    subsampling = source.get("subsampling", 0)
    options["subsampling"] = subsampling if subsampling in (0, 1, 2) else 0
    options["progressive"] = source.get("progressive", False)
    if source.get("dpi"):
        options["dpi"] = source["dpi"]
    options["extra"] = jpeg.metadata_segments(
        options.pop("xmp", None), source.get("app13", ()), source.get("comments", ())
    )
    tables = source.get("qtables") if source.get("mode") in ("L", "RGB") else None
    if quality is None and tables and len(tables) >= min(2, picture.channels):
        options["qtables"] = tables
    else:
        options["quality"] = JPEG_QUALITY if quality is None else quality
    return options


def _webp_options(picture: Picture, quality: int | None) -> dict[str, Any]:
    lossless = quality is None and bool(picture.source.get("lossless"))
    options = {**_metadata(picture, "WEBP"), "lossless": lossless, "exact": lossless}
    # For lossless files Pillow reads quality as effort.
    options["quality"] = 80 if lossless else WEBP_QUALITY if quality is None else quality
    return options


def _avif_options(picture: Picture, quality: int | None) -> dict[str, Any]:
    """Without subsampling of colour, and grey as grey."""
    plain = picture.replace(source={}) if "cicp" in picture.source else picture
    options = {**_metadata(plain, "AVIF"), "quality": AVIF_QUALITY if quality is None else quality}
    options["subsampling"] = "4:0:0" if picture.channels == 1 else "4:4:4"
    return options


def _with_codes(data: bytes, picture: Picture) -> bytes:
    """An AVIF with the code points of the picture's colours in place of sRGB's."""
    codes = picture.source.get("cicp")
    if codes is None or picture.icc:
        return data
    changed = bytearray(data)
    for box in primary_properties(data):
        if box.type == b"colr" and box.body[:4] == b"nclx":
            struct.pack_into(">HH", changed, box.start + 4, *codes)
    return bytes(changed)


def _bmp_options(picture: Picture, quality: int | None) -> dict[str, Any]:
    dpi = picture.source.get("dpi")
    return {"dpi": dpi} if dpi else {}
