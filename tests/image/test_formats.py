"""The table of formats in the documentation: each of its cells, tried."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from restore.errors import RestoreError, UnknownFormatError
from restore.image import icc
from restore.image.picture import Picture
from restore.image.png import Chunk
from restore.image.read import decode_image
from restore.image.write import FORMATS, encode_image

ROOT = Path(__file__).resolve().parents[2]
HEADER = "| format | read | written | bits | alpha | grey | EXIF, GPS | XMP | IPTC | ICC | dpi |"
HEADER_OF_COLOURS = "| source | read as | PNG | TIFF | AVIF | JPEG | WebP | JPEG 2000 | BMP |"
NAMES = {"JPEG 2000": "JPEG2000", "WebP": "WEBP"}
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
IPTC = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x06\x1c\x02\x19\0\x01k"  # one keyword, "k"


def table(header: str) -> dict[str, dict[str, str]]:
    text = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    lines = text[text.index(header) :].split("\n\n")[0].splitlines()
    columns = [c.strip() for c in lines[0].strip("|").split("|")]
    rows = ([c.strip() for c in line.strip("|").split("|")] for line in lines[2:])
    return {row[0]: dict(zip(columns, row, strict=True)) for row in rows}


TABLE, COLOURS = table(HEADER), table(HEADER_OF_COLOURS)
WRITTEN = [name for name, row in TABLE.items() if row["written"] == "yes"]


def kind_of(name: str) -> str:
    return NAMES.get(name, name)


def exif() -> bytes:
    tags = Image.Exif()
    tags[0x010F], tags[0x8825] = "Maker", {1: "N", 2: (52.0, 31.0, 12.5)}
    return tags.tobytes().removeprefix(b"Exif\0\0")


def full(channels: int = 3, alpha: bool = False) -> Picture:
    """A picture that says all that any format can hold."""
    rng = np.random.default_rng(0)
    values = rng.random((16, 20, channels)).astype(np.float32)
    profile = b"zTXt", b"Raw profile type iptc\0\0" + b"x" * 9
    return Picture(
        values,
        np.full((16, 20), 0.5, np.float32) if alpha else None,
        icc=ICC,
        exif=exif(),
        xmp=XMP,
        source={"dpi": (240.0, 240.0), "app13": [IPTC], "chunks": [Chunk(*profile)]},
    )


def test_the_table_names_every_format_that_is_written() -> None:
    assert {kind_of(name) for name in WRITTEN} == set(FORMATS)


@pytest.mark.parametrize("name", WRITTEN)
def test_bits(name: str) -> None:
    kind, held = kind_of(name), TABLE[name]["bits"]
    for depth in (8, 16, "float"):
        for channels in (1, 3):
            said = str(depth) in held
            if said:
                data = encode_image(full(channels), kind, depth=depth)  # type: ignore[arg-type]
                assert decode_image(data).depth == depth
            else:
                with pytest.raises(RestoreError, match="holds samples of"):
                    encode_image(full(channels), kind, depth=depth)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", WRITTEN)
def test_alpha_and_grey(name: str) -> None:
    kind, row = kind_of(name), TABLE[name]
    if row["alpha"] == "yes":
        again = decode_image(encode_image(full(alpha=True), kind))
        assert again.alpha is not None and np.abs(again.alpha - 0.5).max() < 0.02
    else:
        with pytest.raises(RestoreError, match="transparency"):
            encode_image(full(alpha=True), kind)
    again = decode_image(encode_image(full(1), kind))
    assert again.channels == (1 if row["grey"] == "yes" else 3)
    assert np.ptp(again.pixels, axis=2).max() < 0.03


@pytest.mark.parametrize("column", ["EXIF, GPS", "XMP", "IPTC", "ICC", "dpi"])
@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_said_beside_the_pixels(name: str, column: str) -> None:
    """Written, read, and written again: what the table promises is there, and nothing else."""
    kind = kind_of(name)
    first = full()
    if kind == "TIFF":  # its IPTC is a tag of its own, which Pillow writes
        memory = io.BytesIO()
        Image.new("RGB", (20, 16)).save(memory, "TIFF", tiffinfo={33723: b"\x1c\x02\x19\0\x01k"})
        said = decode_image(memory.getvalue()).exif
        first = first.replace(exif=said) if column == "IPTC" else first
    again = decode_image(encode_image(decode_image(encode_image(first, kind)), kind))
    tags = Image.Exif()
    tags.load(again.exif or b"")
    found: dict[str, Any] = {
        "EXIF, GPS": tags.get(0x010F) == "Maker" and tags.get_ifd(0x8825).get(1) == "N",
        "XMP": again.xmp == XMP,
        "IPTC": bool(
            again.source.get("app13") == [IPTC]
            or [c for c in again.source.get("chunks", []) if b"iptc" in c.data]
            or tags.get(33723)
        ),
        "ICC": again.icc == ICC,
        "dpi": again.source.get("dpi") is not None
        and np.allclose(again.source["dpi"], 240, atol=0.1),
    }
    assert bool(found[column]) == (TABLE[name][column] == "yes")


@pytest.mark.parametrize("name", [n for n, row in TABLE.items() if row["written"] != "yes"])
def test_what_is_only_read(name: str) -> None:
    """HEIC and raw files are read in test_camera."""
    kinds = {"GIF": "GIF", "PPM, PGM": "PPM"}
    if name == "JPEG XL":
        import imagecodecs

        data = imagecodecs.jpegxl_encode(np.zeros((16, 20, 3), np.uint8), lossless=True)
        assert decode_image(bytes(data)).channels == 3
    elif name in kinds:
        memory = io.BytesIO()
        Image.new("RGB", (20, 16), (200, 0, 0)).save(memory, kinds[name])
        assert decode_image(memory.getvalue()).channels == 3
        with pytest.raises(RestoreError):
            from restore.image.write import format_of

            format_of(Path(f"a.{kinds[name].lower()}"))
    else:
        assert TABLE[name]["read"].startswith("with `") or TABLE[name]["read"] == "no"


def source(row: str) -> bytes:
    """A file as a row of the table of colours names it."""
    import imagecodecs

    deep = np.random.default_rng(0).integers(0, 1024, (16, 20, 3), np.uint16)
    wide = icc.make_profile(icc.PRIMARIES[12], icc.SRGB_CURVE, grey=False)
    pixels = full().pixels
    files = {
        "AVIF of 10 bits": lambda: imagecodecs.avif_encode(deep, level=100, bitspersample=10),
        "AVIF of 12 bits": lambda: imagecodecs.avif_encode(deep, level=100, bitspersample=12),
        "JPEG 2000 of 12 bits": lambda: imagecodecs.jpeg2k_encode(deep, level=0, bitspersample=12),
        "JPEG of 12 bits": lambda: imagecodecs.jpeg8_encode(deep, lossless=True, bitspersample=12),
        "JPEG XL of 16 bits": lambda: imagecodecs.jpegxl_encode(deep, lossless=True),
        "wide gamut, by profile": lambda: encode_image(Picture(pixels, icc=wide), "PNG"),
        "OpenEXR": lambda: b"\x76\x2f\x31\x01\2\0\0\0channels\0chlist\0" + bytes(64),
    }
    codes = {
        "wide gamut, by code points (CICP)": (12, 13),
        "HDR, PQ by code points": (9, 16),
        "HDR, HLG by code points": (9, 18),
    }
    if row in codes:
        return encode_image(Picture(pixels, source={"cicp": codes[row]}), "AVIF")
    return bytes(files[row]())


def as_the_table_says(cell: str, found: Picture, first: Picture) -> bool:
    """Whether a picture is as a cell says."""
    if cell == "profile":
        return found.icc is not None and "cicp" not in found.source
    if cell == "code points":
        return bool(found.source.get("cicp") == first.source.get("cicp")) and found.icc is None
    return cell == f"{found.depth} bits"


@pytest.mark.parametrize("row", COLOURS)
def test_deep_samples_and_other_colours(row: str) -> None:
    cells = dict(COLOURS[row])
    data, read_as = source(cells.pop("source")), cells.pop("read as")
    if read_as == "refused":
        with pytest.raises(UnknownFormatError, match="OpenEXR"):
            decode_image(data)
        assert set(cells.values()) == {"\u2013"}
        return
    first = decode_image(data)
    assert as_the_table_says(read_as, first, first)
    assert {kind_of(name) for name in cells} == set(FORMATS)
    for name, cell in cells.items():
        if cell == "refused":
            with pytest.raises(RestoreError, match="is HDR"):
                encode_image(first, kind_of(name))
        else:
            again = decode_image(encode_image(first, kind_of(name)))
            assert as_the_table_says(cell, again, first), name
