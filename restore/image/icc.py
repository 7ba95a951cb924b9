"""Colour spaces that a file gives by numbers, and ICC profiles that say the same.

AVIF, HEIF and PNG name a colour space by code points (CICP: primaries and transfer function), older
PNGs by a gamma and chromaticities. A format without such numbers gets an ICC profile instead.
Sources: ITU-T H.273 (code points), ICC.1:2022 (profiles), PNG third edition.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from restore.errors import WriteError
from restore.image.picture import Picture

Cicp = tuple[int, int]  # code points of primaries and of the transfer function
Chromaticities = tuple[float, ...]  # x and y of white, red, green, blue

D65, ILLUMINANT_C, DCI = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
SRGB_PRIMARIES = (*D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB_PRIMARIES,  # BT.709 and sRGB
    2: SRGB_PRIMARIES,  # unspecified
    4: (*ILLUMINANT_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),  # BT.470 M
    5: (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),  # BT.601, 625 lines
    6: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # BT.601, 525 lines
    7: (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # SMPTE 240M
    8: (*ILLUMINANT_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),  # film
    9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (*DCI, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # DCI-P3
    12: (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
    22: (*D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),  # EBU 3213
}
# Parametric curves of ICC.1: type 0 (gamma) or type 3 (gamma, a, b, c, d).
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
CURVES: dict[int, tuple[float, ...]] = {
    1: BT709_CURVE,
    2: SRGB_CURVE,  # unspecified
    4: (2.2,),
    5: (2.8,),
    6: BT709_CURVE,
    7: (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4.0, 0.0913),
    8: (1.0,),
    11: BT709_CURVE,
    13: SRGB_CURVE,
    14: BT709_CURVE,
    15: BT709_CURVE,
    17: (2.6,),
}
HDR = {16: "PQ", 18: "HLG"}
SRGB_CODES = {(p, t) for p in (1, 2) for t in (2, 13)}
SRGB_GAMMA = 0.45455  # as PNG's gAMA has it
BRADFORD = np.array(
    ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
)
D50 = np.array((0.9642, 1.0, 0.8249))


def profile_of(picture: Picture, kind: str) -> bytes | None:
    """The ICC profile to write for a picture: its own, one for its code points, or None for sRGB.

    kind: the format that is written, for the message
    Raises WriteError where no profile describes the colours: HDR, and unknown code points.
    """
    if picture.icc:
        return picture.icc
    codes: Cicp | None = picture.source.get("cicp")
    if codes is not None:
        primaries, transfer = codes
        if transfer in HDR:
            raise WriteError(
                f"the picture is HDR ({HDR[transfer]}), which {kind} does not hold; "
                "write it as PNG or AVIF, or convert it to SDR first"
            )
        if primaries not in PRIMARIES or transfer not in CURVES:
            raise WriteError(
                f"the picture's colour space (code points {primaries}, {transfer}) is not one that "
                f"{kind} can hold; write it as PNG or AVIF"
            )
        return make_profile(PRIMARIES[primaries], CURVES[transfer], picture.channels == 1)
    gamma, chromaticities = picture.source.get("gamma"), picture.source.get("chromaticities")
    if gamma is None and chromaticities is None:
        return None
    curve = SRGB_CURVE if gamma is None else (1 / gamma,)
    return make_profile(chromaticities or SRGB_PRIMARIES, curve, picture.channels == 1)


def make_profile(points: Chromaticities, curve: tuple[float, ...], grey: bool) -> bytes:
    """A display profile of three primaries, or of grey, with one transfer curve.

    points: x and y of white, red, green, blue; curve: gamma, or gamma, a, b, c, d of
    y = (a x + b)^gamma from d on, else c x
    """
    numbers = struct.pack(f">{len(curve)}i", *(round(v * 65536) for v in curve))
    para = b"para\0\0\0\0" + struct.pack(">HH", 3 if len(curve) > 1 else 0, 0) + numbers
    tags = {b"desc": _text("colour space of the source"), b"cprt": _text("CC0"), b"wtpt": _xyz(D50)}
    if grey:
        tags[b"kTRC"] = para
    else:
        adaptation, columns = _adapted(points)
        tags[b"chad"] = b"sf32\0\0\0\0" + struct.pack(
            ">9i", *(round(v * 65536) for v in adaptation.ravel())
        )
        for letter, column in zip(b"rgb", columns.T, strict=True):
            tags[bytes([letter]) + b"XYZ"] = _xyz(column)
            tags[bytes([letter]) + b"TRC"] = para
    at, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += padded
    space = b"GRAY" if grey else b"RGB "
    head = struct.pack(">I4sI", at + len(body), bytes(4), 0x04300000) + b"mntr" + space + b"XYZ "
    date = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # a fixed one: the same bytes every time
    head += date + b"acsp" + bytes(28)
    head += _xyz(D50)[8:]
    return head.ljust(128, b"\0") + table + body


def _adapted(values: Chromaticities) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The adaptation from white to D50 (Bradford), and the adapted XYZ of the primaries."""
    white, *primaries = (
        np.array((x / y, 1.0, (1 - x - y) / y))
        for x, y in zip(values[::2], values[1::2], strict=True)
    )
    matrix = np.stack(primaries, axis=1)
    matrix = matrix * np.linalg.solve(matrix, white)
    gains = (BRADFORD @ D50) / (BRADFORD @ white)
    adaptation = np.linalg.solve(BRADFORD, gains[:, None] * BRADFORD)
    return adaptation, adaptation @ matrix


def _xyz(values: npt.NDArray[Any]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(v) * 65536) for v in values))


def _text(words: str) -> bytes:
    data = words.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(data), 28) + data


def codes_of_nclx(body: bytes) -> Cicp | None:
    """Primaries and transfer of the content of a `colr` box; None for sRGB, and for profiles."""
    if body[:4] != b"nclx" or len(body) < 8:
        return None
    codes: Cicp = struct.unpack(">HH", body[4:8])
    return None if codes in SRGB_CODES else codes


def colours_of_png(chunks: dict[bytes, bytes]) -> dict[str, Any]:
    """What `Picture.source` holds of a PNG's colour chunks: cicp, or gamma and chromaticities.

    cICP comes before a profile, that before sRGB, and all of them before gAMA and cHRM.
    """
    code = chunks.get(b"cICP", b"")
    if len(code) == 4 and code[2:] == b"\0\x01":  # RGB, full range
        codes = code[0], code[1]
        return {} if codes in SRGB_CODES else {"cicp": codes}
    found: dict[str, Any] = {}
    if b"iCCP" in chunks or b"sRGB" in chunks:
        return found
    gamma, points = chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")
    if len(gamma) == 4:
        value = int.from_bytes(gamma, "big") / 100_000
        if 0.01 < value < 10 and abs(value - SRGB_GAMMA) > 0.005:
            found["gamma"] = value
    if len(points) == 32:
        values = tuple(v / 100_000 for v in struct.unpack(">8I", points))
        if _are_sensible(values) and not np.allclose(values, SRGB_PRIMARIES, atol=0.002):
            found["chromaticities"] = values
    return found


def _are_sensible(values: Chromaticities) -> bool:
    """Whether chromaticities span colours, so that a profile can be made of them."""
    if not all(0 <= v <= 1 for v in values) or not all(v > 0.001 for v in values[1::2]):
        return False
    red, green, blue = (np.array(values[i : i + 2]) for i in (2, 4, 6))
    area = float(np.linalg.det(np.stack([green - red, blue - red])))
    return abs(area) > 0.001
