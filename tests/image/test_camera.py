"""Raw files and HEIC: against colours that are known, and sentences where a library is missing."""

from __future__ import annotations

import base64
import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from restore.errors import ReadError, WriteError
from restore.image import camera, exif, icc
from restore.image.boxes import boxes, pack
from restore.image.read import decode_image
from restore.image.write import encode_image

# Made with libheif and x265: 96x64 pixels, red 2.5 x, green 3.5 y, blue 128; HEVC, quality 70, EXIF
# with orientation 6 and a maker; and the same with 10 bits, quality 90, without EXIF.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAaFtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAABxQABAAAAAAAAAR8AAgAAAAAC5AABAAAAAAAAADYAAAA4aWluZgAA"
    "AAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAAA4Glwcn"
    "AAAADAaXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroC"
    "QGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoDCBBZbqSSmubgIaAggAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2"
    "xybmNseAABAA0AAYAAAAAUaXNwZQAAAAAAAABgAAAAQAAAABBwaXhpAAAAAAMICAgAAAAJaXJvdAMAAAAYaXBtYQAA"
    "AAAAAAABAAEFgQIDBIUAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAV1tZGF0AAABGygBrw7g6EuGu6lhg6rFyo"
    "089f+q8oe9B7TH9Owm6QkdBW9R6aZr/1QdBKv9mmBPTnSHUJefe269+bFj3TU0fgCp0Q1ocrg7fbzzNalbLPN3+8fn"
    "Ku9lLk90v1GWvY9bAcyMC87LuvM4nTBgYqV0ZCe0gRrUy5dK0wE1i2H8Rir3ZgfLb1sPpUpzbht0BqhyUzBmrqV5aI"
    "27o9WBhQAAtjspWIURjg+wZyl5XsrQhYwPJzSlcIFGavxJAFmB9K/9xlyv1qiMWvFLnFsxuqWEMXuCyMl6EIT0jZtg"
    "7KEf4+DmUQsgRUB3iUY3VPoqt0BRNoUqht47vPzH+SkuwOMqyUUYiAiavPOFTGh6zLloXIxy24GVUG8oCkQZo7AAAA"
    "AGRXhpZgAATU0AKgAAAAgAAgEPAAIAAAAGAAAAJgESAAMAAAABAAYAAAAAAABNYWtlcgA="
)
HEIC10 = base64.b64decode(
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAVNtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABdwABAAAAAAAAAbwAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAAB"
    "AABodmMxAAAAAA5waXRtAAAAAAABAAAA02lwcnAAAAC0aXBjbwAAAHVodmNDAQQIAAAAnbgAAAAAHvAA/P36+gAADw"
    "NgAAEAF0ABDAH//wQIAAADAJ24AAADAAAeugJAYQABAClCAQEECAAAAwCduAAAAwAAHqAwgQTZbqSSmubgIaDAgAAA"
    "DIAAAAMAhGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABgAAAAQAAAABBwaXhpAA"
    "AAAAMKCgoAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAAcRtZGF0AAABuCgBrwY4rhydISwMK563477O6aU/GJFgr+cG"
    "a47U7oMobaABb96D/WOkfF27pry+98mBQo8d/XxDLpZw/UVn3USPD1S4dIr68kFYvSBYVrqyTXSzhjhfqsZKndxenZ"
    "DYwlWh5AP6zTnbYnioyPx1k0RnCyA+rtjIx5IHL3rLdF8zXmdLjdO23ge7KGWWiLU8sbXTJbyK3wo+QVqqcbdswoKe"
    "jpufjaLsl1criY0A0pz9F+yYsCj05cd/fx5XfP57GX8y/+sP/Pi7C7e7BftgMuvWcenotd+wrvkEx9cSvrfcth/y9L"
    "ccpDh5L5qeFEVylM8bS9zj4/7VlIErBh2YyPBmqKZ4kts7/ziCVTKZ4OZexj2+oZ6treEy7zOLjzmgwGhOajcOMLxn"
    "N/mh5thw9LGrBcAFXdAh9e5Hiu5wYnWa24sBsP0/ytE//TS4918yXhO1sLMWaHaVjOp2m4UjLDyihGvXwtvfJ1NZO8"
    "Sy/Imgi7ShoWCi4hzpgJ/JVWkB3kuN1bkx+BfKald2EO52GZOZ6x3AFkVbzJ0/9BGPumuw1eKJGQSUT+cJ+3pfc+Pc"
    "0WlXtWbZso+4"
)


def ramp() -> np.ndarray:
    y, x = np.mgrid[0:64, 0:96]
    return np.stack([x * 2.5, y * 3.5, 128 + 0 * x], 2).astype(np.uint8) / np.float32(255)


def dng(orientation: int = 1) -> tuple[bytes, np.ndarray]:
    """A Bayer file of 16 bits of two flat colours, and their linear sRGB.

    Its colour matrix is that of sRGB, so that the camera's colours are the screen's; its white is
    (0.5, 1, 0.8), so that without the camera's white balance the colours would be far off.
    """
    rgb = np.zeros((64, 96, 3))
    rgb[:, :48], rgb[:, 48:] = (0.5, 0.25, 0.125), (0.1, 0.4, 0.2)
    seen = rgb * (0.5, 1.0, 0.8)
    mosaic = np.empty((64, 96), np.uint16)
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] = np.round(seen[y::2, x::2, channel] * 65535)
    matrix = (32406, -15372, -4986, -9689, 18758, 415, 557, -2040, 10570)
    tags = [
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, bytes([0, 1, 1, 2]), True),
        (50706, 1, 4, bytes([1, 4, 0, 0]), True),
        (50707, 1, 4, bytes([1, 1, 0, 0]), True),
        (50708, 2, 0, "Test Camera", True),
        (50721, 10, 9, [v for m in matrix for v in (m, 10000)], True),
        (50728, 5, 3, [5, 10, 10, 10, 8, 10], True),
        (50717, 4, 1, 65535, True),
        (50778, 3, 1, 21, True),
        (271, 2, 0, "Maker", True),
        (272, 2, 0, "Model", True),
        (274, 3, 1, orientation, True),
    ]
    memory = io.BytesIO()
    tifffile.imwrite(memory, mosaic, photometric=32803, extratags=tags, metadata=None)
    return memory.getvalue(), rgb


def srgb(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_a_raw_file_is_developed_to_the_colours_that_were_there() -> None:
    pytest.importorskip("rawpy")
    data, rgb = dng()
    picture = decode_image(data)
    assert (picture.depth, picture.format) == (16, "RAW") and picture.pixels.shape == (64, 96, 3)
    for x in (24, 72):
        np.testing.assert_allclose(picture.pixels[32, x], srgb(rgb[32, x]), atol=2e-4)
    tags = Image.Exif()
    tags.load(picture.exif or b"")
    assert tags[271] == "Maker" and tags[272] == "Model"
    assert 50706 not in tags and 274 not in tags


def test_a_raw_file_is_turned_exactly_once() -> None:
    pytest.importorskip("rawpy")
    upright, turned = decode_image(dng(1)[0]), decode_image(dng(6)[0])
    assert np.array_equal(turned.pixels, np.rot90(upright.pixels, -1))


def test_a_raw_file_beyond_the_limit_is_refused() -> None:
    pytest.importorskip("rawpy")
    with pytest.raises(ReadError, match="beyond the limit"):
        decode_image(dng()[0], max_pixels=6000)


def test_heic_is_read_upright_with_its_words() -> None:
    pytest.importorskip("pi_heif")
    picture = decode_image(HEIC)
    assert (picture.depth, picture.format) == (8, "HEIF")
    truth = np.rot90(ramp(), -1)
    assert picture.pixels.shape == truth.shape
    assert np.abs(picture.pixels - truth).mean() < 0.01
    tags = Image.Exif()
    tags.load(picture.exif or b"")
    assert tags[271] == "Maker" and tags.get(274, 1) == 1


def test_heic_of_10_bits_is_16_bit_and_white_stays_white() -> None:
    pytest.importorskip("pi_heif")
    picture = decode_image(HEIC10)
    assert picture.depth == 16
    assert np.abs(picture.pixels - ramp()).mean() < 0.01
    samples = np.unique(np.rint(picture.pixels * 65535).astype(np.uint16))
    assert len(samples) > 256
    assert np.array_equal(samples & 63, samples >> 10)  # 10 bits, repeated below


@pytest.mark.parametrize(("module", "package"), [("rawpy", "rawpy"), ("pi_heif", "pi-heif")])
def test_without_the_library_the_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ReadError, match=rf"pip install {package} "):
        decode_image(dng()[0] if module == "rawpy" else HEIC)


def test_openexr_is_refused_in_words() -> None:
    with pytest.raises(ReadError, match=r"OpenEXR.*save it as a TIFF"):
        decode_image(b"\x76\x2f\x31\x01" + bytes(100))


@pytest.mark.parametrize("cut", [40, 200, 500])
def test_cut_files_are_refused(cut: int) -> None:
    for module, data in (("pi_heif", HEIC), ("rawpy", dng()[0])):
        pytest.importorskip(module)
        with pytest.raises(ReadError):
            decode_image(data[:cut])


def test_a_raw_file_without_its_samples_is_refused() -> None:
    """LibRaw develops black of what is missing."""
    data, _ = dng()
    camera.check_raw_is_whole(data, "a.dng")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        start = page.dataoffsets[0]
    for length in (start, start + 10, len(data) - 1):
        with pytest.raises(ReadError, match="truncated: its samples lie beyond its end"):
            camera.check_raw_is_whole(data[:length], "a.dng")
    pytest.importorskip("rawpy")
    with pytest.raises(ReadError, match="truncated"):
        decode_image(data[: start + 10])


def test_samples_in_a_directory_below_count_and_a_cut_preview_does_not() -> None:
    layout = exif.Layout("<")

    def page(kind: int, place: int) -> exif.Directory:
        numbers = {254: kind, 256: 8, 257: 8, 273: place, 279: 64}
        return exif.Directory({n: exif.integers_tag(4, [v], layout) for n, v in numbers.items()})

    for kinds, whole in (((0, 1), False), ((1, 1), True)):
        above, below = page(kinds[1], 900), page(kinds[0], 900)
        above.tags[330] = exif.integers_tag(4, [500], layout)
        head = exif.file_header(layout, 8) + exif.build_directory(above, 8, layout)
        data = head.ljust(500, b"\0") + exif.build_directory(below, 500, layout)
        data = data.ljust(930, b"\0")
        if whole:
            camera.check_raw_is_whole(data, "a.nef")
        else:
            with pytest.raises(ReadError, match="truncated"):
                camera.check_raw_is_whole(data, "a.nef")


def camera_exif(order: str = "<") -> bytes:
    tags = Image.Exif()
    tags[271], tags[0x8825] = "Maker", {1: "N", 2: (52.0, 31.0, 12.5)}
    tags[0x8769] = {0x829A: 1 / 125, 0xA002: 160, 0xA003: 120}
    return tags.tobytes().removeprefix(b"Exif\0\0")


def with_preview() -> bytes:
    memory = io.BytesIO()
    Image.new("RGB", (16, 12)).save(memory, "JPEG", exif=b"Exif\0\0" + camera_exif())
    return memory.getvalue()


def raw_files() -> dict[str, bytes]:
    """What matters to the EXIF of each kind of raw file, around the same tags."""
    block, preview, layout = camera_exif(), with_preview(), exif.Layout("<")
    assert block[:4] == b"MM\0*"
    _, whole = exif.parse_exif(block)
    exif_alone, gps_alone = whole.below[exif.EXIF], whole.below[exif.GPS]

    def tiff(directory: exif.Directory) -> bytes:
        big = exif.Layout(">")
        return exif.file_header(big, 8) + exif.build_directory(directory, 8, big)

    pana = exif.Directory({
        0x0002: exif.integers_tag(3, [4000], layout), 0x011A: exif.integers_tag(3, [7], layout),
        0x002E: exif.Tag(7, preview),
    })  # fmt: skip
    parts = [(b"CMT1", tiff(exif.Directory(whole.tags))), (b"CMT2", tiff(exif_alone)),
             (b"CMT4", tiff(gps_alone))]  # fmt: skip
    canon = pack(b"uuid", camera.CANON + b"".join(pack(k, b) for k, b in parts))
    raf = b"FUJIFILMCCD-RAW ".ljust(84, b"\0") + struct.pack(">II", 200, len(preview))
    return {
        "ORF": b"MMOR" + block[4:],
        "RW2": b"IIU\0" + exif.file_header(layout, 8)[4:] + exif.build_directory(pana, 8, layout),
        "RAF": raf.ljust(200, b"\0") + preview,
        "CR3": pack(b"ftyp", b"crx \0\0\0\1crx isom") + pack(b"moov", canon),
        "NEF": block,
    }


@pytest.mark.parametrize("kind", ["ORF", "RW2", "RAF", "CR3", "NEF"])
def test_the_exif_of_every_kind_of_raw_file_is_found(kind: str) -> None:
    data = raw_files()[kind]
    assert kind == "NEF" or camera.is_raw(data)
    tags = Image.Exif()
    tags.load(camera.raw_exif(data) or b"")
    assert tags[271] == "Maker" and tags.get_ifd(0x8825)[1] == "N"
    assert tags.get_ifd(0x8769)[0x829A] == pytest.approx(1 / 125)
    assert 0x011A not in tags and 0x0002 not in tags
    for cut in range(0, len(data), 5):
        camera.raw_exif(data[:cut])  # raises nothing


def test_canons_newest_and_fujifilms_files_are_checked_for_their_end() -> None:
    crx = pack(b"ftyp", b"crx \0\0\0\1crx isom") + pack(b"mdat", bytes(500))
    raf = b"FUJIFILMCCD-RAW ".ljust(100, b"\0") + struct.pack(">II", 200, 300) + bytes(392)
    for data in (crx, raf):
        camera.check_raw_is_whole(data, "a")
        with pytest.raises(ReadError, match="truncated"):
            camera.check_raw_is_whole(data[:-1], "a")


def test_the_code_points_of_a_heic_are_kept() -> None:
    """A picture in PQ became a PNG that says nothing of it."""
    pytest.importorskip("pi_heif")
    assert HEIC10.count(b"nclx\0\1\0\x0d") == 1
    hdr = decode_image(HEIC10.replace(b"nclx\0\1\0\x0d", b"nclx\0\x09\0\x10"))
    assert hdr.source["cicp"] == (9, 16)
    again = decode_image(encode_image(hdr, "PNG"))
    assert again.source["cicp"] == (9, 16) and again.depth == 16
    with pytest.raises(WriteError, match="is HDR"):
        encode_image(hdr, "TIFF")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_file_at_which_the_decoder_crashes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took the whole batch with it."""
    pytest.importorskip("pi_heif")
    worker = tmp_path / "worker.py"
    worker.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(camera, "WORKER", worker)
    with pytest.raises(ReadError, match="its decoder crashed"):
        decode_image(HEIC)


def test_the_worker_imports_neither_from_the_current_folder_nor_from_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pi_heif")
    for name in ("pi_heif", "numpy", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    assert decode_image(HEIC).format == "HEIF"


def with_a_profile_of_another_item(data: bytes, own: bytes, other: bytes) -> bytes:
    """The file with two profiles: first one of no item that is shown, then the primary item's."""
    outer = {box.type: box for box in boxes(data)}
    meta = outer[b"meta"]
    inside = list(boxes(data, meta.start + 4, meta.start + len(meta.body)))
    listed = next(box for box in inside if box.type == b"iprp")
    parts = {box.type: box for box in boxes(listed.body)}
    properties = [pack(b"colr", b"prof" + other)]
    for box in boxes(parts[b"ipco"].body):
        is_codes = box.type == b"colr" and box.body[:4] == b"nclx"
        properties.append(pack(box.type, b"prof" + own if is_codes else box.body))
    associations = bytearray(parts[b"ipma"].body)
    at = 8
    for _ in range(struct.unpack_from(">I", associations, 4)[0]):
        for place in range(at + 3, at + 3 + associations[at + 2]):
            associations[place] += 1
        at += 3 + associations[at + 2]
    renewed = pack(b"ipco", b"".join(properties)) + pack(b"ipma", bytes(associations))
    moved = len(renewed) - len(listed.body)
    bodies = {box.type: box.body for box in inside} | {b"iprp": renewed}
    places = bytearray(bodies[b"iloc"])
    base = places[5] >> 4  # bytes of a base offset, 0 or 4; offsets and lengths have 4
    assert places[4] == 0x44 and base in (0, 4)
    at = 8
    for _ in range(struct.unpack_from(">H", places, 6)[0]):
        (extents,) = struct.unpack_from(">H", places, at + 4 + base)
        for extent in range(extents):
            place = at + 6 + base + 8 * extent
            (offset,) = struct.unpack_from(">I", places, place)
            struct.pack_into(">I", places, place, offset + moved)
        at += 6 + base + 8 * extents
    bodies[b"iloc"] = bytes(places)
    whole = meta.body[:4] + b"".join(pack(kind, body) for kind, body in bodies.items())
    return b"".join(
        pack(kind, whole if kind == b"meta" else box.body) for kind, box in outer.items()
    )


@pytest.mark.parametrize("kind", ["AVIF", "HEIC"])
def test_a_profile_is_that_of_the_primary_item(kind: str) -> None:
    """Gain maps, thumbnails and second eyes have profiles of their own in the file."""
    if kind == "HEIC":
        pytest.importorskip("pi_heif", reason="pip install pi-heif")
    memory = io.BytesIO()
    Image.new("RGB", (16, 12), (200, 40, 150)).save(memory, "AVIF")
    data = memory.getvalue() if kind == "AVIF" else HEIC
    own, other = (
        icc.make_profile(icc.PRIMARIES[number], icc.SRGB_CURVE, grey=False) for number in (12, 9)
    )
    changed = with_a_profile_of_another_item(data, own, other)
    assert changed.index(other) < changed.index(own)
    picture = decode_image(changed)
    assert picture.icc == own
    np.testing.assert_array_equal(picture.pixels, decode_image(data).pixels)


def test_a_heic_that_libheif_does_not_support_is_not_called_damaged() -> None:
    pytest.importorskip("pi_heif", reason="pip install pi-heif")
    at = HEIC.index(b"meta") + 4
    with pytest.raises(ReadError, match="stored in a way that is not read"):
        decode_image(HEIC[:at] + b"\x20" + HEIC[at + 1 :])  # a version of the box to come
