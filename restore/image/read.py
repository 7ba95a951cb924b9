"""Picture files read whole or refused: every pixel at its depth, upright, with its metadata.

Pillow decodes 8 bits. `png` and `tiff` decode 16 bits and floats, which Pillow would cut to 8
silently; imagecodecs decodes AVIF, JPEG and JPEG 2000 of more than 8 bits. Of a phone's
multi-picture JPEG only the picture itself is read.
"""

from __future__ import annotations

import importlib
import io
import math
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from restore.errors import InputError, ReadError, UnknownFormatError
from restore.image import bmp, camera, color, exif, gif, icc, jp2, jpeg, jxl, png, tiff, tiff_header
from restore.image import xmp as xmp_module
from restore.image.atomic import stamp
from restore.image.boxes import image_extent, primary_properties
from restore.image.guard import first_line, quietly, reporting
from restore.image.metadata import block_of_iptc
from restore.image.picture import Picture, Pixels, check_range
from restore.image.sizes import coded_size

MAX_PIXELS = 1_000_000_000
HEAD = 2**20  # bytes of a file that tell its size, at most
MOST_BYTES_OF_A_PIXEL, MOST_BYTES_BESIDE_PIXELS = 16, 2**29
READS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # of Pillow, by channels
# Formats of which Pillow decodes 8 bits: how many a file has, and what decodes more.
DEEP: dict[str, tuple[Callable[[bytes], int], Callable[[bytes, str], npt.NDArray[np.uint16]]]] = {
    "JPEG": (jpeg.bits_of_samples, jpeg.decode_deep),
    "JPEG2000": (jp2.deepest, jp2.decode_deep),
}
MONOCHROME, TWELVE_BITS, HIGH_BIT_DEPTH = 0x10, 0x20, 0x40  # in an AV1 configuration
EXR_START = b"\x76\x2f\x31\x01"
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PLUGINS = {"JPEG2000": "Jpeg2KImagePlugin", "WEBP": "WebPImagePlugin"}
_PLUGINS |= {k: f"{k.capitalize()}ImagePlugin" for k in READS if k not in _PLUGINS}


def load_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in a file.

    JPEG, PNG, WebP, TIFF, BMP, AVIF, JPEG 2000, JPEG XL, PPM, a GIF of one frame, and with the
    extras `heif` and `raw` HEIC and cameras' raw files. The depth comes from the file's header,
    never from its pixels. The EXIF orientation is applied, and taken out of the
    kept EXIF. CMYK becomes sRGB. `max_pixels` is checked before anything is decoded.

    Raises ReadError for a file that is missing, not a picture, damaged, truncated, too large, or
    that holds several pages or frames.
    """
    place = Path(path)
    data = read_bytes(place)
    return decode_image(data, name=str(place), max_pixels=max_pixels).replace(path=place)


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises ReadError where it cannot be read, or is no regular file."""
    try:
        # Without waiting for the other end of a pipe: what is opened is looked at first.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            before = os.fstat(file.fileno())
            if stat.S_ISDIR(before.st_mode):
                raise ReadError(f"{path} is a folder; give a picture file")
            if not stat.S_ISREG(before.st_mode):
                raise ReadError(f"{path} is not a regular file; give a picture file")
            _check_bytes(file.read(HEAD), before.st_size, path)
            file.seek(0)
            data = file.read()
            after = os.fstat(file.fileno())
        now = path.stat()
    except IsADirectoryError:
        raise ReadError(f"{path} is a folder; give a picture file") from None
    except FileNotFoundError:
        raise ReadError(f"{path} does not exist; give the name of a picture file") from None
    except PermissionError:
        raise ReadError(f"{path} may not be read; give yourself permission to read it") from None
    except (OSError, ValueError) as error:
        raise ReadError(f"{path} cannot be read: {first_line(error)}") from error
    if not stamp(before) == stamp(after) == stamp(now) or len(data) != after.st_size:
        raise ReadError(f"{path} changed while it was read; run again when it is written")
    return data


def _check_bytes(start: bytes, length: int, path: Path) -> None:
    """ReadError for a file of far more bytes than its pixels and its metadata can take.

    A TIFF is not checked: its header may be anywhere.
    """
    if length <= MOST_BYTES_BESIDE_PIXELS or start[:4] in TIFF_STARTS:
        return
    height, width = promised_size(start)
    if length > MOST_BYTES_BESIDE_PIXELS + MOST_BYTES_OF_A_PIXEL * height * width:
        raise ReadError(f"{path} is damaged: {length} bytes are too many for what its header says")


def count_pixels(data: bytes) -> int:
    """Pixels according to the header of a picture file; 0 where it is unreadable."""
    return math.prod(promised_size(data))


def promised_size(data: bytes) -> tuple[int, int]:
    """Height and width as stored, from a picture file's header; (0, 0) where it is unreadable.

    The first bytes of a file suffice, except for TIFF and most raw files.
    """
    try:
        if coded := coded_size(data):
            return coded
        if data[:4] in TIFF_STARTS:
            page = tiff_header.read_header(data, "picture")
            return camera.raw_size(data) if tiff_header.is_raw(data, page) else page.size
        if camera.is_raw(data):
            return camera.raw_size(data)
        if data[4:8] == b"ftyp":
            return image_extent(data)
        with _open(data, _kind(data, "picture"), "picture") as image:
            return image.height, image.width
    except ReadError:
        return 0, 0


def decode_image(data: bytes, *, name: str = "picture", max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in the bytes of a file, as `load_image` has it; `name` is for error messages."""
    check_format_read(data, name)
    if data[:4] in TIFF_STARTS:
        return _decode_tiff(data, name, max_pixels)
    if camera.is_heif(data) or camera.is_raw(data):
        decode = camera.decode_heif if camera.is_heif(data) else camera.decode_raw
        return _from_camera(decode, data, name, max_pixels)
    if jxl.is_jpeg_xl(data):
        _check_size(*(coded_size(data) or (0, 0)), max_pixels, name)
        with reporting(name):
            return jxl.decode(data, name)
    kind = _kind(data, name)
    with reporting(name):  # Pillow reads much only when it is first used, and raises then
        if kind == "PNG":
            return _decode_png(data, name, max_pixels)
        return _decode_by_pillow(data, kind, name, max_pixels)


def check_format_read(data: bytes, name: str) -> None:
    """UnknownFormatError unless a file starts like one of a format that is read.

    ReadError for an empty file. The first bytes of a file suffice.
    """
    if not data:
        raise ReadError(f"{name} is empty; give a picture file")
    if data[:4] == EXR_START:
        raise UnknownFormatError(
            f"{name} is an OpenEXR file, of linear light without a known white; "
            "save it as a TIFF of floats in [0, 1], or of 16 bits"
        )
    known = (camera.is_heif, camera.is_raw, jxl.is_jpeg_xl)
    if data[:4] not in TIFF_STARTS and not any(is_known(data) for is_known in known):
        _kind(data, name)


def _decode_png(data: bytes, name: str, max_pixels: int) -> Picture:
    parts = png.chunks(data, name)
    width, height, bits = struct.unpack(">IIB", parts[0].data[:9])
    _check_size(height, width, max_pixels, name)
    if png.frames(parts) > 1:
        raise ReadError(_several(name, png.frames(parts), "frames"))
    about = png.read_metadata(parts, name)
    plain = png.without_metadata(data)
    png.check_pixels(plain, name)
    if bits == 16:
        planes, mode = color.split(png.decode16(plain, parts, name)), "I;16"
    else:
        with _open(plain, "PNG", name) as image:
            if "transparency" in image.info:
                image.info["transparency"] = _scaled_key(image.info["transparency"], parts[0].data)
            image.load()
            planes, mode = _checked(lambda: color.planes(image), name), image.mode
    source = {"mode": mode, **about.source}
    found = Picture(*planes, icc=about.icc, format="PNG", source=source)
    return _upright(found, about.exif, about.xmp)


def _decode_by_pillow(data: bytes, kind: str, name: str, max_pixels: int) -> Picture:
    if not _whole(data, kind):
        raise ReadError(f"{name} is truncated: its end is missing; copy it again")
    if kind == "BMP" and bmp.has_bit_fields(data):
        return _decode_bit_fields(data, name, max_pixels)
    deep = kind in DEEP and DEEP[kind][0](data) > 8
    with _open(jpeg.as_of_8_bits(data) if deep and kind == "JPEG" else data, kind, name) as image:
        _check_size(image.height, image.width, max_pixels, name)
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise ReadError(_several(name, image.n_frames, "frames"))
        _check_depth(data, kind, image.mode, name, deep)
        if deep:
            planes = color.split(DEEP[kind][1](data, name))
        else:
            image.load()
            planes = _checked(lambda: color.planes(image), name)
        info, source = dict(image.info), _source(image, kind, data)
    notes: tuple[str, ...] = ()
    if kind == "AVIF":
        planes = _with_depth_of_avif(planes, data, source)
    elif kind == "JPEG":
        segments = jpeg.read_metadata(data)
        source |= {"comments": segments.comments, "app13": segments.app13}
        info |= {"exif": segments.exif, "xmp": segments.xmp}
        notes = segments.notes
    elif kind == "JPEG2000":
        planes = _up_to_white(planes, data)
        found = jp2.read_metadata(data)
        info |= {"icc_profile": found.icc, "exif": found.exif, "xmp": found.xmp}
        source |= {"app13": [block_of_iptc(found.iptc)]} if found.iptc else {}
    elif kind == "GIF":
        info |= dict(zip(("icc_profile", "xmp"), gif.read_metadata(data), strict=True))
    elif kind == "BMP":
        info["icc_profile"] = bmp.profile(data)
    profile = None if source["mode"] in ("CMYK", "LAB") else info.get("icc_profile") or None
    picture = Picture(*planes, icc=profile, format=kind, source=source, notes=notes)
    return _upright(picture, _exif_of(info), _xmp_of(info))


def _up_to_white(planes: color.Planes, data: bytes) -> color.Planes:
    """The samples of a JPEG 2000 with white at 1, whatever their number of bits up to 8."""
    channels, alpha = planes.pixels.shape[2], planes.alpha
    factors = np.array(jp2.up_to_white(data, channels + (alpha is not None)), np.float32)
    return planes._replace(
        pixels=planes.pixels * factors[:channels],
        alpha=None if alpha is None else alpha * factors[-1],
    )


def _decode_bit_fields(data: bytes, name: str, max_pixels: int) -> Picture:
    _check_size(*bmp.size(data), max_pixels, name)
    samples = bmp.decode_bit_fields(data, name)
    source: dict[str, Any] = {"mode": MODES[samples.shape[2]]}
    across, down = struct.unpack_from("<ii", data, 38)
    if across > 0 and down > 0:
        source["dpi"] = (across * 0.0254, down * 0.0254)
    planes = color.split(samples)
    return Picture(*planes, icc=bmp.profile(data), format="BMP", source=source)


def _with_depth_of_avif(planes: color.Planes, data: bytes, source: dict[str, Any]) -> color.Planes:
    """What Pillow leaves out of an AVIF: samples of 10 and 12 bits, and that it is grey.

    The code points of its colours go into `source`. Source: AV1 in ISOBMFF, section 2.3.3.
    """
    properties = primary_properties(data)
    flags = next((b.body[2] for b in properties if b.type == b"av1C" and len(b.body) > 2), 0)
    for box in properties:
        if box.type == b"colr" and (codes := icc.codes_of_nclx(box.body)):
            source["cicp"] = codes
    if flags & HIGH_BIT_DEPTH:
        import imagecodecs

        samples = np.asarray(imagecodecs.avif_decode(data))
        samples = samples[:, :, np.newaxis] if samples.ndim == 2 else samples
        planes = color.split(color.as_16_bits(samples, 12 if flags & TWELVE_BITS else 10))
    if flags & MONOCHROME:  # which is spread over three channels
        planes = planes._replace(pixels=np.ascontiguousarray(planes.pixels[:, :, :1]))
    return planes


def _from_camera(
    decode: Callable[[bytes, str, int], Picture], data: bytes, name: str, max_pixels: int
) -> Picture:
    with reporting(name):
        found = decode(data, name, max_pixels)
    if not found.pixels.size:
        raise ReadError(f"{name} is damaged: its header gives no size")
    return found


def _decode_tiff(data: bytes, name: str, max_pixels: int) -> Picture:
    page = tiff_header.read_header(data, name)
    if tiff_header.is_raw(data, page):
        return _from_camera(camera.decode_raw, data, name, max_pixels)
    _check_size(*page.size, max_pixels, name)
    if page.pages > 1:
        raise ReadError(_several(name, page.pages, "pages"))
    tiff_header.check(page, len(data), name)
    with reporting(name):  # also where the memory does not suffice
        samples = tiff.decode(data, page, name)
    planes = _checked(lambda: color.split(samples), name)
    about = tiff.metadata(page)
    about.source["mode"] = {8: MODES[samples.shape[2]], 16: "I;16", "float": "F"}[page.depth]
    found = about.replace(**planes._asdict())
    return _turned(found, page.orientation)


def _kind(data: bytes, name: str) -> str:
    for kind in READS:
        importlib.import_module(f"PIL.{_PLUGINS[kind]}")
        _, accept = Image.OPEN[kind]
        if accept is None or accept(data[:16]) is True:
            return kind
    raise UnknownFormatError(
        f"{name} is not a picture of a known kind; known are {', '.join(READS)}"
    )


def _open(data: bytes, kind: str, name: str) -> ImageFile.ImageFile:
    """The picture with its header read; its pixels are not decoded yet.

    Pillow's plugin is called directly, not through `Image.open`: its limit of pixels is a global
    of the host program's, smaller than ours, and it warns.
    """
    importlib.import_module(f"PIL.{_PLUGINS[kind]}")
    factory, _ = Image.OPEN[kind]
    with quietly(name):
        return factory(io.BytesIO(data), b"")


def _check_size(height: int, width: int, max_pixels: int, name: str) -> None:
    if height * width > max_pixels:
        raise ReadError(
            f"{name} is {width} x {height} pixels, beyond the limit of {max_pixels}; "
            "raise max_pixels or cut it into parts"
        )
    if height * width == 0:
        raise ReadError(f"{name} is damaged: its header gives no size")


def _several(name: str, count: int, what: str) -> str:
    return f"{name} holds {count} {what}; save the one to restore as a picture of its own"


def _whole(data: bytes, kind: str) -> bool:
    """Whether a file has its end, according to its own marks: some decoders do not check."""
    if kind == "JPEG":
        return data.find(b"\xff\xd9", jpeg.start_of_scan(data)) > 0
    if kind == "WEBP":
        return len(data) >= 12 and struct.unpack("<I", data[4:8])[0] + 8 <= len(data)
    return True


def _scaled_key(key: Any, header: bytes) -> Any:
    """The transparent grey of a PNG of 2 or 4 bits, scaled as Pillow scales the pixels only."""
    bits, colour = header[8], header[9]
    return key * (255 // (2**bits - 1)) if colour == 0 and bits in (2, 4) else key


def _check_depth(data: bytes, kind: str, mode: str, name: str, deep: bool) -> None:
    """ReadError for samples of more than 8 bits of which 8 would be left.

    mode: in which Pillow would decode them; deep: whether another decoder is to do it, which knows
    grey, RGB and alpha
    """
    cut = deep and mode not in ("I;16", *MODES.values())
    if kind == "PPM" and data[:2] in (b"P3", b"P6"):
        words = b" ".join(line.split(b"#")[0] for line in data[:4096].split(b"\n")).split()
        cut = int(words[3]) > 255
    elif kind == "JPEG2000":
        bits = jp2.bits_of_samples(data)
        if mode in ("P", "PA") and bits and bits[0] < 8:  # Pillow shifts places in the palette
            raise ReadError(
                f"{name} is a JPEG2000 with a palette of less than 8 bits, which is not read; "
                "save it as PNG or TIFF"
            )
    if cut:
        raise ReadError(
            f"{name} is a {kind} of more than 8 bits, which is not read; save it as PNG or TIFF"
        )


def _checked(planes: Callable[[], color.Planes], name: str) -> color.Planes:
    """Planes whose values have a known range, or ReadError."""
    try:
        with reporting(name):
            found = planes()
            check_range(found.pixels, "a float picture")
            if found.alpha is not None:
                check_range(found.alpha, "the alpha of a float picture")
            return found
    except InputError as error:
        raise ReadError(f"{name} cannot be used: {error}") from None


def _source(image: Image.Image, kind: str, data: bytes) -> dict[str, Any]:
    """`Picture.source` of a file: what is needed to write a similar one."""
    source: dict[str, Any] = {"mode": image.mode}
    dpi = image.info.get("dpi")
    if dpi and all(np.isfinite(float(v)) and 0 < float(v) < 1e6 for v in dpi):
        source["dpi"] = (float(dpi[0]), float(dpi[1]))
    if kind == "WEBP":
        source["lossless"] = _webp_is_lossless(data)
    elif kind == "JPEG":
        from PIL.JpegImagePlugin import get_sampling

        source["qtables"] = dict(getattr(image, "quantization", {}))
        source["subsampling"] = get_sampling(image)
        source["progressive"] = bool(image.info.get("progressive"))
    return source


def _webp_is_lossless(data: bytes) -> bool:
    """Whether the pixels lie in a VP8L chunk (WebP container specification, Google)."""
    at = 12
    while at + 8 <= len(data) and data[at : at + 4] not in (b"VP8 ", b"VP8L"):
        length = struct.unpack_from("<I", data, at + 4)[0]
        at += 8 + length + length % 2
    return data[at : at + 4] == b"VP8L"


def _exif_of(info: dict[Any, Any]) -> bytes | None:
    block = info.get("exif")
    return block.removeprefix(b"Exif\0\0") or None if isinstance(block, bytes) else None


def _xmp_of(info: dict[Any, Any]) -> bytes | None:
    packet = info.get("xmp")
    return (packet.encode() if isinstance(packet, str) else packet) or None


def _upright(picture: Picture, block: bytes | None, xmp: bytes | None) -> Picture:
    """The picture turned as its metadata asks, with metadata that is true of it alone."""
    turned = exif.orientation(block)
    alone = xmp_module.without_second_pictures(xmp) if xmp else None
    notes = picture.notes if alone == xmp else (*picture.notes, xmp_module.SECOND_PICTURE)
    upright = picture.replace(
        exif=exif.without_rotation(block) if block else None,
        xmp=xmp_module.without_rotation(alone) if alone else None,
        notes=notes,
    )
    return _turned(upright, xmp_module.orientation(xmp) if turned is None else turned)


def _turned(picture: Picture, orientation: int) -> Picture:
    alpha = picture.alpha
    alpha = turn(alpha[:, :, np.newaxis], orientation)[:, :, 0] if alpha is not None else None
    source = dict(picture.source)
    for key in ("dpi", "pixels_per_unit") if orientation >= 5 else ():
        if source.get(key):
            source[key] = source[key][::-1]
    return picture.replace(pixels=turn(picture.pixels, orientation), alpha=alpha, source=source)


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Pixels stored with an EXIF orientation 1..8, turned upright (EXIF 3.0, tag 274)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
