"""What measures in pixels is true of a picture of another size, and stays where none was made."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import tifffile

from restore.image.metadata import with_size
from restore.image.picture import Picture
from restore.image.read import decode_image
from restore.image.tiff import TEXTS_LEFT_OUT
from restore.image.write import encode_image

SAMPLES = np.random.default_rng(0).integers(0, 65536, (48, 64), np.uint16)


def written(samples: Any = SAMPLES, **options: Any) -> bytes:
    memory = io.BytesIO()
    tifffile.imwrite(memory, samples, **options)
    return memory.getvalue()


def doubled(data: bytes) -> tifffile.TiffPage:
    """The page of the file with twice the height and four times the width."""
    first = decode_image(data)
    larger = first.pixels.repeat(2, 0).repeat(4, 1)
    about = with_size(first, *larger.shape[:2])
    return page(encode_image(about.replace(pixels=larger), "TIFF"))


def page(data: bytes) -> tifffile.TiffPage:
    found = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    assert isinstance(found, tifffile.TiffPage)
    return found


def descriptions(found: tifffile.TiffPage) -> list[str]:
    return [tag.value for tag in found.tags.getall(270) or ()]


def ratio(found: tifffile.TiffPage, tag: int) -> float:
    over, under = found.tags[tag].value
    return float(over / under)


@pytest.mark.parametrize("per_unit", [2.0, 1 / 0.0645, 12345.678, 0.001])
def test_pixels_to_a_unit_that_the_description_names_are_kept(per_unit: float) -> None:
    """ImageJ's micrometres: ResolutionUnit "none" was dropped, and with it the scale."""
    data = written(imagej=True, resolution=(per_unit, per_unit), metadata={"unit": "um"})
    same = page(encode_image(decode_image(data), "TIFF"))
    assert same.tags[296].value == 1 and "unit=um" in str(same.description)
    assert ratio(same, 282) == pytest.approx(per_unit, rel=1e-6)
    larger = doubled(data)
    assert larger.tags[296].value == 1
    assert ratio(larger, 282) == pytest.approx(4 * per_unit, rel=1e-6)
    assert ratio(larger, 283) == pytest.approx(2 * per_unit, rel=1e-6)


@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_description_stays_beside_which_tifffile_has_written_the_shape(bigtiff: bool) -> None:
    """The second one of the same number, of nothing but a shape, had replaced it."""
    data = written(description="a leaf, 20x", bigtiff=bigtiff)
    assert len(descriptions(page(data))) == 2
    first = decode_image(data)
    assert not first.notes
    for found in (page(encode_image(first, "TIFF")), doubled(data)):
        assert descriptions(found) == ["a leaf, 20x"]


def test_descriptions_after_the_first_are_left_out_with_a_word() -> None:
    data = written(description="a leaf", metadata={"axes": "YX", "stain": "iodine"})
    first = decode_image(data)
    assert first.notes == (TEXTS_LEFT_OUT,)
    assert descriptions(page(encode_image(first, "TIFF"))) == ["a leaf"]
    assert not decode_image(written(metadata={"stain": "iodine"})).notes


@pytest.mark.parametrize("point", [False, True])
def test_a_geotiff_lies_where_it_lay(point: bool) -> None:
    """Each corner of the picture keeps its coordinates, told either way."""
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 1025, 0, 1, 2 if point else 1)
    scale, tie = (10.0, 5.0, 0.0), (3.0, 4.0, 0.0, 500_000.0, 4_000_000.0, 0.0)
    matrix = (10.0, 1.0, 0.0, 500.0, 2.0, -5.0, 0.0, 900.0, *[0.0] * 7, 1.0)
    extra = [(33550, 12, 3, scale, True), (33922, 12, 6, tie, True),
             (34264, 12, 16, matrix, True), (34735, 3, len(keys), keys, True)]  # fmt: skip
    before, after = page(written(extratags=extra)), doubled(written(extratags=extra))

    def places(found: tifffile.TiffPage, height: int, width: int) -> list[Any]:
        """The corners of the picture's area, by scale and tie point, and by the transformation."""
        scale, tie, matrix = (np.array(found.tags[t].value) for t in (33550, 33922, 34264))
        shift = 0.5 if point else 0.0
        corners = np.array([(0, 0), (width, height), (width, 0)]) - shift
        by_scale = tie[3:5] + (corners - tie[:2]) * scale[:2] * (1, -1)
        by_matrix = corners @ matrix.reshape(4, 4)[:2, :2].T + matrix.reshape(4, 4)[:2, 3]
        return [by_scale, by_matrix]

    for one, other in zip(places(before, 48, 64), places(after, 96, 256), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_the_size_that_ome_tells_is_that_of_the_picture() -> None:
    axes = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "um", "PhysicalSizeY": 0.25}
    data = written(ome=True, metadata=axes)
    first = page(encode_image(decode_image(data), "TIFF"))
    assert first.description == page(data).description
    text = str(doubled(data).description)
    assert 'SizeX="256"' in text and 'SizeY="96"' in text and 'SizeC="1"' in text
    assert 'PhysicalSizeX="0.125"' in text and 'PhysicalSizeY="0.125"' in text
    assert 'PhysicalSizeXUnit="um"' in text


def test_the_shape_that_tifffile_tells_is_that_of_the_picture() -> None:
    found = json.loads(str(doubled(written(metadata={"note": "words"})).description))
    assert found["shape"] == [96, 256] and found["note"] == "words"


@pytest.mark.parametrize(
    "text", ['{"shape":', '{"shape": 5}', "<OME", '<OME><Pixels SizeX="9.9.9">']
)
def test_other_descriptions_stay_as_they_are(text: str) -> None:
    assert doubled(written(description=text, metadata=None)).description == text


def test_a_resolution_too_large_to_write_is_left_out() -> None:
    """It raised struct.error after the network had run."""
    data = written(resolution=(1, 1), resolutionunit=3)
    at = page(data).tags[282].valueoffset
    huge = data[:at] + (2**32 - 1).to_bytes(4, "little") + data[at + 4 :]
    assert decode_image(encode_image(decode_image(huge), "TIFF")).source["dpi"] is None


def test_a_picture_without_metadata_is_as_before() -> None:
    plain = Picture(np.zeros((4, 5, 3), np.float32))
    assert with_size(plain, 8, 10).exif is None
