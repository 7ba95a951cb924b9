"""Made pictures as on a screen: flat boxes, lines, icons and text, as tensors and from a seed.

What is drawn and never photographed has no noise at all: even colours, edges sharp to the pixel,
letters of a few pixels. A network that has seen photographs alone takes them for noise.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

LAYERS = 12  # shapes painted over each other
LINES = 3  # blocks of text on top
SIZES = (7, 8, 9, 10, 11, 12, 14, 16, 20)  # pixels, of the text
SHEET = 256  # pixels, side of a sheet of text
SIGNS = "eeeettaaooiinnsshhrrddllccuummwwffggyyppbbvvkkxjqzEATSRMNLBCDGPKWZ0123456789.,;:!?()%"


@functools.cache
def text_sheets() -> Tensor:
    """Text of each of SIZES as a font renderer draws it: float32 (sizes, SHEET, SHEET)."""
    generator = np.random.default_rng(1)
    sheets = []
    for size in SIZES:
        font = ImageFont.load_default(size)
        image = Image.new("L", (SHEET, SHEET))
        drawing = ImageDraw.Draw(image)
        for top in range(0, SHEET, round(1.35 * size)):
            lengths = generator.integers(1, 10, 24)
            words = ("".join(generator.choice(list(SIGNS), length)) for length in lengths)
            drawing.text((int(generator.integers(0, 8)), top), " ".join(words), 255, font)
        sheets.append(np.array(image, np.float32) / 255)
    return torch.from_numpy(np.stack(sheets))


def draw_graphics(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Random made pictures: float32 (count, 3, side, side) in [0, 1], of 8 bits.

    A ground, none to twelve boxes, discs, rings and lines over it, blocks of text on top.
    """
    picture = _colours(count, generator).expand(-1, -1, side, side).clone()
    crowd = torch.rand(count, 1, 1, 1, generator=generator, device=generator.device)
    for _ in range(LAYERS):
        there = torch.rand(crowd.shape, generator=generator, device=generator.device) < crowd
        share = _shape(count, side, generator) * there
        picture = picture + share * (_paint(count, side, generator) - picture)
    for _ in range(LINES):
        share = _text(count, side, generator)
        picture = picture + share * (_colours(count, generator) - picture)
    return (picture.clamp(0, 1) * 255).round() / 255


def _colours(count: int, generator: torch.Generator) -> Tensor:
    """One colour for each picture, (count, 3, 1, 1): grey, white or black in half of them."""
    device = generator.device
    draws = torch.rand(3, count, 3, 1, 1, generator=generator, device=device)
    kind = torch.rand(count, 1, 1, 1, generator=generator, device=device)
    grey = draws[1][:, :1].expand(-1, 3, -1, -1)
    vivid = (1.6 * draws[0] - 0.3).clamp(0, 1)
    colour = torch.where(kind < 0.5, vivid, grey)
    colour = torch.where(kind > 0.75, (grey > 0.4).float(), colour)
    return (colour * 255).round() / 255


def _paint(count: int, side: int, generator: torch.Generator) -> Tensor:
    """An even colour, or in a fifth a ramp from one colour to another: (count, 3, side, side)."""
    first, second = _colours(count, generator), _colours(count, generator)
    draws = torch.rand(2, count, 1, 1, 1, generator=generator, device=generator.device)
    ramp = torch.linspace(0, 1, side, device=generator.device)
    place = torch.where(draws[0] < 0.5, ramp.view(1, 1, 1, -1), ramp.view(1, 1, -1, 1))
    return first + (draws[1] < 0.2) * place * (second - first)


def _shape(count: int, side: int, generator: torch.Generator) -> Tensor:
    """What one shape covers of each picture: (count, 1, side, side) in [0, 1].

    A box with square or round corners, its frame, a disc or ring, or a straight line of any slope.
    """
    device = generator.device
    draws = torch.rand(8, count, 1, 1, 1, generator=generator, device=device)
    rows = (torch.arange(side, device=device) + 0.5).view(1, 1, -1, 1)
    columns = (torch.arange(side, device=device) + 0.5).view(1, 1, 1, -1)
    kind = draws[0]
    # boxes lie on whole pixels, as on a screen, in two of three
    whole = draws[1] < 0.67
    middle = [(side * 1.2 * d - 0.1 * side) for d in draws[2:4]]
    half = [0.5 + side * 0.45 * d**3 for d in draws[4:6]]
    middle = [torch.where(whole, m.round(), m) for m in middle]
    half = [torch.where(whole, h.round().clamp(min=0.5), h) for h in half]
    down, across = rows - middle[0], columns - middle[1]
    box = _box(down, across, half, torch.where(draws[6] < 0.5, 0.0, 6 * draws[6]))
    disc = torch.hypot(down, across) - half[0]
    angle = 2 * torch.pi * draws[7]
    line = (down * angle.cos() + across * angle.sin()).abs() - (0.4 + draws[6])
    width = 0.5 + (2 * draws[7]).floor() * draws[6]
    frame = box.abs() - width
    ring = disc.abs() - width
    distance = torch.where(kind < 0.45, box, frame)
    distance = torch.where(kind > 0.65, disc, distance)
    distance = torch.where(kind > 0.75, ring, distance)
    distance = torch.where(kind > 0.85, line, distance)
    return (0.5 - distance).clamp(0, 1)


def _box(down: Tensor, across: Tensor, half: list[Tensor], corner: Tensor) -> Tensor:
    """The signed distance in pixels to a box of these half sides and this radius of its corners."""
    corner = torch.minimum(corner, torch.minimum(half[0], half[1]))
    beyond = [d.abs() - h + corner for d, h in zip((down, across), half, strict=True)]
    outside = torch.hypot(beyond[0].clamp(min=0), beyond[1].clamp(min=0))
    return outside + torch.maximum(*beyond).clamp(max=0) - corner


def _text(count: int, side: int, generator: torch.Generator) -> Tensor:
    """What a block of text covers of each picture, (count, 1, side, side); of a fifth nothing."""
    device = generator.device
    draws = torch.rand(7, count, generator=generator, device=device)
    sheets = text_sheets().to(device)
    size = (draws[0] * len(sheets)).long()
    top, left = ((d * (SHEET - 16)).long().view(-1, 1, 1) for d in draws[1:3])
    ramp = torch.arange(side, device=device)
    rows = (top + ramp.view(1, -1, 1)) % SHEET
    columns = (left + ramp.view(1, 1, -1)) % SHEET
    ink = sheets[size.view(-1, 1, 1), rows, columns]
    first, last = (d.view(-1, 1, 1) for d in (0.6 * draws[3], 0.4 + 0.6 * draws[4]))
    place = (ramp.view(1, -1, 1) + 0.5) / side
    inside = (first <= place) & (place < last) & (draws[5].view(-1, 1, 1) < 0.8)
    begin = draws[6].view(-1, 1, 1) * 0.5
    inside = inside & ((ramp.view(1, 1, -1) + 0.5) / side > begin)
    return (ink * inside).unsqueeze(1)
