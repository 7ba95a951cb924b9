"""Clean pictures of every kind but photographs, drawn here with Pillow from a seed.

All are float32 `(256, 256, 3)` in [0, 1], of 8 bits; icons come with their alpha.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from restore.image.picture import Pixels

SIDE = 256
COUNT = 8  # pictures of each kind
TEXT = (
    "The quick brown fox jumps over the lazy dog while 1,234 readers (of 56) wait; File Edit View "
    "Search Terminal Help. Settings: noise 0.5, strength 80 %. Illegible? No! 7 x 8 = 56."
)
Made = tuple[str, Pixels, Pixels | None]  # name, pixels, alpha


def screenshots() -> Iterator[Made]:
    """Windows with menus, text of 8 to 13 pixels, buttons, dotted and one-pixel lines."""
    for seed in range(COUNT):
        draw = np.random.default_rng(seed)
        dark = seed % 2 == 1
        paper, ink = ((30, 32, 38), (222, 222, 222)) if dark else ((255, 255, 255), (20, 20, 20))
        image = Image.new("RGB", (SIDE, SIDE), paper)
        pen = ImageDraw.Draw(image)
        pen.rectangle((0, 0, SIDE, 22), _colour(draw))
        pen.text((6, 4), "restore 1.0 - settings", (255, 255, 255), ImageFont.load_default(12))
        for line in range(14):
            font = ImageFont.load_default(8 + (seed + line) % 6)
            colour = ink if line % 4 else _colour(draw)
            pen.text((8, 28 + 14 * line), _words(draw, 7), colour, font)
        for _ in range(4):
            left, top = (int(x) for x in draw.integers(20, 200, 2))
            box = (left, top, left + 48, top + 18)
            pen.rounded_rectangle(box, 4, _colour(draw), outline=ink)
            pen.text((left + 6, top + 3), "Apply", paper, ImageFont.load_default(11))
        for x in range(0, SIDE, 2):
            pen.point((x, 240), ink)
        pen.line((0, 246, SIDE, 246), (128, 128, 128))
        yield f"screenshot {seed}", _pixels(image), None


def drawings() -> Iterator[Made]:
    """Line drawings: outlines, hatching, flat fills."""
    for seed in range(COUNT):
        draw = np.random.default_rng(100 + seed)
        image = Image.new("RGB", (4 * SIDE, 4 * SIDE), _pale(draw))
        pen = ImageDraw.Draw(image)
        for _ in range(7):
            x, y, size = (int(v) for v in draw.integers(100, 900, 3))
            box = (x - size // 3, y - size // 4, x + size // 3, y + size // 4)
            pen.ellipse(box, _pale(draw), outline=(10, 10, 10), width=5)
            step = int(draw.integers(9, 30))
            for k in range(0, size // 2, step):
                pen.line((x + k, y - size // 6, x + k - 60, y + size // 6), (20, 20, 40), width=3)
        yield f"drawing {seed}", _pixels(image.resize((SIDE, SIDE), Image.Resampling.BOX)), None


def icons() -> Iterator[Made]:
    """Saturated shapes with smooth rims, transparent around; colour goes on under the alpha."""
    for seed in range(COUNT):
        draw = np.random.default_rng(200 + seed)
        colour = Image.new("RGB", (SIDE, SIDE), _colour(draw))
        mask = Image.new("L", (4 * SIDE, 4 * SIDE))
        ImageDraw.Draw(mask).ellipse((120, 120, 900, 900), 255)
        shape = Image.new("L", mask.size)
        points = [
            (512 + r * math.cos(a), 512 + r * math.sin(a))
            for a, r in ((math.pi * k / (3 + seed), (170, 360)[k % 2]) for k in range(6 + 2 * seed))
        ]
        ImageDraw.Draw(shape).polygon(points, 255)
        small = [m.resize((SIDE, SIDE), Image.Resampling.LANCZOS) for m in (mask, shape)]
        colour.paste(_colour(draw), (0, 0), small[1])
        yield f"icon {seed}", _pixels(colour), np.asarray(small[0], np.float32) / np.float32(255)


def scanned_text() -> Iterator[Made]:
    """Printed text as a clean scan has it: tinted paper, slightly blurred, slightly turned."""
    for seed in range(COUNT):
        draw = np.random.default_rng(300 + seed)
        image = Image.new("RGB", (2 * SIDE, 2 * SIDE), _pale(draw))
        pen = ImageDraw.Draw(image)
        size = 18 + 3 * (seed % 4)
        for line in range(-2, 2 * SIDE // size):
            font = ImageFont.load_default(size)
            pen.text((10, round(1.3 * size * line)), _words(draw, 12), (35, 30, 30), font)
        turned = image.rotate(seed - 4, Image.Resampling.BICUBIC, fillcolor=(240, 236, 226))
        small = turned.resize((SIDE, SIDE), Image.Resampling.BOX)
        blurred = small.filter(ImageFilter.GaussianBlur(0.2 * (seed % 4)))
        yield f"scanned text {seed}", _pixels(blurred), None


def manga() -> Iterator[Made]:
    """Black ink over screens of dots of several pitches and tones."""
    for seed in range(COUNT):
        draw = np.random.default_rng(400 + seed)
        rows, columns = np.mgrid[0 : 4 * SIDE, 0 : 4 * SIDE]
        pitch, angle = 4 * (3 + seed % 5), math.radians(45 if seed % 2 else 15 * seed)
        u = (columns * math.cos(angle) + rows * math.sin(angle)) * 2 * math.pi / pitch
        v = (rows * math.cos(angle) - columns * math.sin(angle)) * 2 * math.pi / pitch
        tone = -1.2 + 2.4 * (rows // 340) / 2 + 0.3 * np.sin(columns / 150)
        dots = (np.cos(u) + np.cos(v) > tone).astype(np.uint8) * 255
        image = Image.fromarray(dots).convert("RGB")
        pen = ImageDraw.Draw(image)
        for _ in range(6):
            points = [tuple(int(p) for p in draw.integers(0, 1000, 2)) for _ in range(3)]
            pen.line(points, (0, 0, 0), width=int(draw.integers(4, 16)), joint="curve")
        pen.ellipse((540, 60, 960, 300), (255, 255, 255), outline=(0, 0, 0), width=6)
        pen.text((600, 130), _words(draw, 3), (0, 0, 0), ImageFont.load_default(48))
        yield f"manga {seed}", _pixels(image.resize((SIDE, SIDE), Image.Resampling.BOX)), None


def even() -> Iterator[tuple[str, Pixels]]:
    """Even greys and colours, and white lettering on orange."""
    for level in (0, 1, 16, 64, 100, 128, 200, 254, 255):
        yield f"grey {level}", np.full((96, 96, 3), level / 255, np.float32)
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 140, 0), (250, 240, 230)):
        yield f"colour {colour}", np.full((96, 96, 3), np.array(colour) / 255, np.float32)
    for size in (9, 14, 24, 48):
        image = Image.new("RGB", (160, 96), (255, 120, 0))
        text = "white\non orange"
        ImageDraw.Draw(image).text((8, 8), text, (255, 255, 255), ImageFont.load_default(size))
        yield f"lettering {size}", _pixels(image)


KINDS: dict[str, Callable[[], Iterator[Made]]] = {
    "screenshot": screenshots,
    "drawing": drawings,
    "icon": icons,
    "scanned text": scanned_text,
    "manga": manga,
}


def _pixels(image: Image.Image) -> Pixels:
    pixels: Pixels = np.asarray(image, np.float32) / np.float32(255)
    return pixels


def _colour(draw: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(x) for x in draw.integers(0, 256, 3))
    return red, green, blue


def _pale(draw: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(x) for x in draw.integers(200, 256, 3))
    return red, green, blue


def _words(draw: np.random.Generator, count: int) -> str:
    return " ".join(str(word) for word in draw.choice(TEXT.split(), count))
