"""Thumbnails never stale, metadata gone on request, colours that look the same."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from restore.image.exif import parse_exif, without_thumbnail
from restore.image.metadata import resources, without_metadata, without_thumbnails
from restore.image.picture import Picture
from restore.image.read import decode_image, load_image
from restore.image.write import encode_image
from restore.pipeline.file import denoise_file

FP32: dict[str, Any] = {"device": "cpu", "precision": "fp32"}
SMALL = b"\xff\xd8 an old small picture \xff\xd9"


def exif_with_thumbnail(order: str, tail: bytes = b"") -> bytes:
    """A make in the first directory, a thumbnail in the second; `tail` lies behind it."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    make = struct.pack(order + "HHI4s", 0x010F, 2, 4, b"Mak\0")
    block = start + struct.pack(order + "IH", 8, 1) + make + struct.pack(order + "I", 26)
    at = 26 + 2 + 3 * 12 + 4
    second = struct.pack(order + "H", 3)
    second += struct.pack(order + "HHIHH", 0x0103, 3, 1, 6, 0)
    second += struct.pack(order + "HHII", 0x0201, 4, 1, at)
    second += struct.pack(order + "HHII", 0x0202, 4, 1, len(SMALL))
    return block + second + struct.pack(order + "I", 0) + SMALL + tail


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tail", [b"", b"a maker's own words"])
def test_the_thumbnail_and_its_bytes_are_gone(order: str, tail: bytes) -> None:
    block = exif_with_thumbnail(order, tail)
    assert struct.unpack_from(order + "I", block, 22) == (26,)  # where the second directory is
    after = without_thumbnail(block)
    assert b"small picture" not in after and (not tail or tail in after)
    seen = Image.Exif()
    seen.load(after)
    assert dict(seen) == {0x010F: "Mak"}
    assert struct.unpack_from(order + "I", after, 22) == (0,)
    assert without_thumbnail(after) == after


def test_a_damaged_block_loses_nothing_but_its_link() -> None:
    block = bytearray(exif_with_thumbnail("<"))
    block[26 + 2 + 12 + 8] = 8  # a thumbnail that claims to lie on the first directory
    after = without_thumbnail(bytes(block))
    assert len(after) == len(block) and parse_exif(after)[1].tags[0x010F].data == b"Mak\0"
    for cut in range(len(block)):
        without_thumbnail(bytes(block[:cut]))  # raises nothing


def test_thumbnails_of_editors_are_gone_and_their_words_stay() -> None:
    words = b"8BIM\x04\x04\0\0\0\0\0\x05\x1c\x02\x05\0\0\0"
    small = b"8BIM\x04\x0c\0\0" + struct.pack(">I", len(SMALL)) + SMALL + b"\0" * (len(SMALL) % 2)
    xmp = b"<x><xmp:Thumbnails><rdf:Alt>abc</rdf:Alt></xmp:Thumbnails><a/></x>"
    block = b"Photoshop 3.0\0" + small + words
    assert [n for n, _ in resources(block)] == [1036, 1028]
    before = Picture(np.zeros((4, 4, 3), np.float32), xmp=xmp, source={"app13": [block]})
    after = without_thumbnails(before)
    assert after.source["app13"] == [b"Photoshop 3.0\0" + words] and after.xmp == b"<x><a/></x>"
    assert before.source["app13"] == [block]


def test_a_restored_jpeg_has_no_old_thumbnail_and_an_untouched_one_has(
    tmp_path: Path, identity: Any, samples: Path
) -> None:
    source = tmp_path / "a.jpg"
    block = b"Exif\0\0" + exif_with_thumbnail("<")
    Image.open(samples / "fur.png").save(source, exif=block)
    _, written = denoise_file(source, model=identity(), **FP32)
    assert b"small picture" in source.read_bytes()
    assert b"small picture" not in written.read_bytes()
    with Image.open(written) as image:
        assert image.getexif()[0x010F] == "Mak"
    _, same = denoise_file(source, tmp_path / "b.jpg", strength=0, model=identity(), **FP32)
    assert same.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "JPEG2000"])
def test_stripped_files_say_nothing_of_people_and_keep_their_colours(kind: str) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tag = Image.Exif()
    tag[0x013B] = "an artist's name"
    tag[0x8825] = {1: "N", 2: (52.0, 31.0, 12.5)}
    picture = Picture(
        np.full((20, 20, 3), 0.5, np.float32),
        icc=icc,
        exif=tag.tobytes().removeprefix(b"Exif\0\0"),
        xmp=b"<x>an artist's name</x>",
        source={"comments": [b"an artist's name"], "app13": [b"Photoshop 3.0\0an artist's name"]},
    )
    assert b"an artist's name" in encode_image(picture, kind)
    data = encode_image(without_metadata(picture), kind)
    assert b"artist" not in data
    again = decode_image(data)
    assert (again.icc, again.exif, again.xmp) == (icc, None, None)


def test_strip_metadata_reaches_the_file(tmp_path: Path, identity: Any, samples: Path) -> None:
    source = tmp_path / "a.jpg"
    tag = Image.Exif()
    tag[0x8825] = {1: "N", 2: (52.0, 31.0, 12.5)}
    Image.open(samples / "fur.png").save(source, exif=tag, comment=b"words", icc_profile=b"p" * 50)
    for strength in (0, 1):  # even where the pixels stay
        _, written = denoise_file(
            source, overwrite=True, model=identity(), strip_metadata=True, strength=strength, **FP32
        )
        with Image.open(written) as image:
            assert not image.getexif() and "comment" not in image.info
            assert image.info["icc_profile"] == b"p" * 50


# ---- colours


def profile(tags: dict[bytes, bytes], space: bytes, pcs: bytes, kind: bytes) -> bytes:
    """An ICC profile of version 2 by hand (ICC.1:2001-04)."""
    at = 132 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    size = 128 + len(table) + len(body)
    white = struct.pack(">iii", 63190, 65536, 54061)  # D50
    head = struct.pack(
        ">I4sI4s4s4s12s4s", size, b"lcms", 0x02400000, kind, space, pcs, bytes(12), b"acsp"
    )
    head = head + bytes(128 - len(head) - 12 - 48) + white + bytes(48)
    return head + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(v * 65536) for v in values))


def matrix_profile(columns: Any, gamma: float) -> bytes:
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    words = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": words, b"wtpt": xyz(0.9642, 1, 0.8249)}
    for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True):
        tags[name] = xyz(*column)
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return profile(tags, b"RGB ", b"XYZ ", b"mntr")


# Adapted to D50: Adobe RGB (1998) and Display P3 (from their published chromaticities).
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))


def cmyk_profile() -> bytes:
    """Inks whose mixtures lie inside sRGB: a table of 2x2x2x2 colours in CIELAB."""
    clut = b""
    for corner in range(16):
        c, m, y, k = ((corner >> bit) & 1 for bit in (3, 2, 1, 0))
        light = (92 - 22 * c - 26 * m - 5 * y) * (1 - 0.7 * k)
        a = (-18 * c + 28 * m - 3 * y) * (1 - 0.8 * k)
        b = (-22 * c - 6 * m + 35 * y) * (1 - 0.8 * k)
        clut += bytes([round(light * 2.55), round(a) + 128, round(b) + 128])
    straight = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + straight * 4 + clut + straight * 3
    words = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": words, b"wtpt": xyz(0.9642, 1, 0.8249), b"A2B0": table}
    return profile(tags, b"CMYK", b"Lab ", b"prtr")


def lab(image: Image.Image, icc: bytes) -> np.ndarray:
    """CIELAB through littlecms, on its usual scales."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    exact = ImageCms.Flags.NOOPTIMIZE | ImageCms.Flags.NOCACHE
    found = ImageCms.profileToProfile(
        image, source, ImageCms.createProfile("LAB"), outputMode="LAB", flags=exact
    )
    assert found is not None
    # Pillow stores a and b as signed bytes.
    planes = np.asarray(found)
    signed = planes[..., 1:].view(np.int8).astype(float)
    return np.concatenate([planes[..., :1] / 2.55, signed], axis=2)


def lab_of_rgb(image: Image.Image, columns: Any, gamma: float = 2.2) -> np.ndarray:
    """CIELAB of a picture with such a matrix profile, in closed form (CIE 15:2004)."""
    linear = (np.asarray(image) / 255.0) ** (round(gamma * 256) / 256)
    ratio = linear @ np.array(columns) / (0.9642, 1, 0.8249)
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, 2, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=2)


def soft(channels: int) -> np.ndarray:
    """Every mixture of a few levels, away from the edges of the gamut."""
    levels = np.linspace(60, 200, 4).astype(np.uint8)
    grid = np.stack(np.meshgrid(*[levels] * channels, indexing="ij"), -1).reshape(-1, channels)
    return np.ascontiguousarray(grid.reshape(8, -1, channels))


@pytest.mark.parametrize("kind", ["png", "tif", "jpg", "webp", "avif", "jp2"])
@pytest.mark.parametrize("columns", [ADOBE, P3], ids=["Adobe RGB", "Display P3"])
def test_colours_of_wide_profiles_look_the_same(
    tmp_path: Path, identity: Any, kind: str, columns: Any
) -> None:
    icc = matrix_profile(columns, 2.2)
    flat = Image.fromarray(np.repeat(np.repeat(soft(3), 16, 0), 16, 1))
    first, second = tmp_path / "a.png", tmp_path / f"b.{kind}"
    flat.save(first, icc_profile=icc)
    quality = 100 if kind in ("jpg", "webp", "avif") else None
    denoise_file(first, second, quality=quality, model=identity(), **FP32)
    with Image.open(second) as image:
        kept = image.info.get("icc_profile") or load_image(second).icc
        after = image.convert("RGB")
    assert kept == icc
    middle = np.s_[8::16, 8::16]  # of each patch: coders blur the edges between them
    truth = lab_of_rgb(flat, columns)
    apart = np.linalg.norm(truth - lab_of_rgb(after, columns), axis=2)[middle]
    assert apart.mean() < 1
    if kind in ("png", "tif", "jp2"):
        assert apart.max() == 0
    # littlecms agrees with the closed form; without its profile the picture would look different.
    assert np.linalg.norm(truth - lab(flat, kept), axis=2).mean() < 1
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.linalg.norm(truth - lab(after, plain), axis=2)[middle].mean() > 1.5


def test_cmyk_looks_the_same_in_srgb(tmp_path: Path, identity: Any) -> None:
    icc = cmyk_profile()
    inks = Image.frombytes("CMYK", (32, 8), soft(4).tobytes())
    inks.save(tmp_path / "a.tif", icc_profile=icc)
    denoise_file(tmp_path / "a.tif", tmp_path / "b.tif", model=identity(), **FP32)
    with Image.open(tmp_path / "b.tif") as image:
        assert image.mode == "RGB" and "icc_profile" not in image.info
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        apart = np.linalg.norm(lab(inks, icc) - lab(image, srgb), axis=2)
    assert apart.mean() < 1
