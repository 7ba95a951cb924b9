"""TIFF files of every layout, compared with tifffile: read whole, and in rows.

The run in the tests takes every 19th layout; all of them: `TIFF_LAYOUTS=all pytest
tests/image/test_tiff_layouts.py`.
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from restore.image.picture import quantise
from restore.image.read import decode_image
from restore.image.tiff import TiffRows

Array = npt.NDArray[Any]
HEIGHT, WIDTH = 45, 37  # no multiple of a tile or a strip
LAYOUTS: list[dict[str, Any]] = [
    {"tile": (16, 32)},
    {"tile": (32, 16)},
    {"tile": (64, 48)},  # larger than the picture
    {"rowsperstrip": 7},
    {"rowsperstrip": 45},
]
DTYPES = ("uint8", "uint16", "float16", "float32", "float64")
PACKINGS = ("none", "deflate", "lzw", "packbits", "zstd", "lzma")
CHANNELS = (1, 2, 3, 4)
CELL_LENGTH, FILL_ORDER = 265, 266


def kinds() -> Iterator[dict[str, Any]]:
    """Layout x type x packing x predictor x channels x planes x byte order x fill order."""
    axes = LAYOUTS, DTYPES, PACKINGS, (False, True), CHANNELS, (1, 2), "<>", (1, 2), (False, True)
    for layout, dtype, packing, predictor, channels, planes, order, fill, big in itertools.product(
        *axes
    ):
        if planes == 2 and channels < 3:
            continue  # tifffile writes planes of colour only
        yield {
            "layout": layout, "dtype": dtype, "packing": packing, "predictor": predictor,
            "channels": channels, "planes": planes, "order": order, "fill": fill, "big": big,
        }  # fmt: skip


def made(kind: dict[str, Any], seed: int) -> tuple[bytes, Array]:
    """A file of the kind, and its samples `(height, width, channels)`."""
    rng = np.random.default_rng(seed)
    dtype, channels = np.dtype(kind["dtype"]), kind["channels"]
    shape = HEIGHT, WIDTH, channels
    if dtype.kind == "u":
        samples = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    else:
        samples = rng.random(shape).astype(dtype)
    stored = samples.transpose(2, 0, 1) if kind["planes"] == 2 else samples
    memory = io.BytesIO()
    with tifffile.TiffWriter(memory, byteorder=kind["order"], bigtiff=kind["big"]) as writer:
        writer.write(
            stored if channels > 1 else stored[:, :, 0],
            photometric="rgb" if channels > 2 else "minisblack",
            planarconfig=kind["planes"] if channels > 1 else None,
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            compression=None if kind["packing"] == "none" else kind["packing"],
            predictor=kind["predictor"] and kind["packing"] != "none",
            extratags=[(CELL_LENGTH, 3, 1, kind["fill"], True)],  # tifffile refuses FillOrder
            **kind["layout"],
        )
    data = memory.getvalue()
    return (with_reversed_bits(data, kind["order"]) if kind["fill"] == 2 else data), samples


def with_reversed_bits(data: bytes, order: str) -> bytes:
    """The file with the bits of each byte of its parts in reverse, as FillOrder 2 says."""
    reversed_bits = np.array([int(f"{v:08b}"[::-1], 2) for v in range(256)], np.uint8)
    changed = np.frombuffer(data, np.uint8).copy()
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        entry = page.tags[CELL_LENGTH].offset
        changed[entry : entry + 2] = np.array([FILL_ORDER], f"{order}u2").view(np.uint8)
        for at, size in zip(page.dataoffsets, page.databytecounts, strict=True):
            changed[at : at + size] = reversed_bits[changed[at : at + size]]
    return changed.tobytes()


def by_tifffile(data: bytes, fill: int) -> Array:
    """What tifffile reads, `(height, width, channels)`."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage) and page.fillorder == fill
        samples = page.asarray()
        planes = page.planarconfig == 2 and samples.ndim == 3
    return (samples.transpose(1, 2, 0) if planes else samples).reshape(HEIGHT, WIDTH, -1)


def test_every_layout_is_read_as_tifffile_reads_it_whole_and_in_rows(tmp_path: Path) -> None:
    every = 1 if os.environ.get("TIFF_LAYOUTS") == "all" else 19
    chosen = list(kinds())[::every]
    assert len(chosen) >= 640
    for seed, kind in enumerate(chosen):
        data, samples = made(kind, seed)
        truth = by_tifffile(data, kind["fill"])
        np.testing.assert_array_equal(truth, samples, err_msg=str(kind))
        picture = decode_image(data)
        alpha = [] if picture.alpha is None else [picture.alpha[:, :, None]]
        whole = quantise(np.concatenate([picture.pixels, *alpha], axis=2), picture.depth)
        expected = truth.astype(np.float32) if truth.dtype.kind == "f" else truth
        np.testing.assert_array_equal(whole, expected, err_msg=f"whole: {kind}")
        path = tmp_path / "a.tif"
        path.write_bytes(data)
        rows = TiffRows(path)
        for first, last in ((0, 20), (20, 21), (21, HEIGHT)):
            np.testing.assert_array_equal(
                rows[first:last], truth[first:last], err_msg=f"rows: {kind}"
            )
        assert rows[0:1].dtype == truth.dtype.newbyteorder("=")
        rows.close()
