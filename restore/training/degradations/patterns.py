"""Procedural patterns: what is fine and regular in pictures and no noise at all.

Mesh, cloth, print, lettering and lines, at a pitch of a few pixels and at any angle, as tensors and
from a seed, so that training, tests and benchmarks draw them alike. Each family is a function of
coordinates counted in pitches; it is evaluated on a grid three times as fine as the pixels and
averaged over each pixel, which is what a sensor or a good renderer does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from restore.training.degradations.camera import bayer_sites, demosaic

FINE = 3  # samples across a pixel, each way
EM = 32  # pixels of the sheet of letters for one pitch
SHEET = 1024  # its side
EDGE = 0.12  # of a pitch: half the ramp between the two tones of smooth-edged families

# coordinates across and along in pitches, the pitch in pixels, a number in [0, 1] that varies the
# shape; all (N, 1, H, W) or (N, 1, 1, 1) -> coverage (N, 1, H, W) in [0, 1]
Family = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def _step(x: Tensor) -> Tensor:
    """1 where x is above 0, with a short ramp."""
    return (x / (2 * EDGE) + 0.5).clamp(0, 1)


def _near(x: Tensor) -> Tensor:
    """The distance to the nearest whole number: 0 to 0.5."""
    return (x - x.round()).abs()


def _odd(x: Tensor) -> Tensor:
    """1 in every second unit cell."""
    return x.floor().remainder(2)


def mesh(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Round holes in staggered rows, as in the back of an office chair."""
    row = v * 1.155  # rows of a hexagonal grid are closer by sqrt(3) / 2
    across = _near(u + 0.5 * _odd(row + 0.5))
    return _step(torch.hypot(across, _near(row) / 1.155) - (0.25 + 0.15 * knob))


def weave(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Threads that pass over and under each other, round in their shading."""
    over = (u.floor() + v.floor()).remainder(2)
    warp, weft = (math.pi * u).sin().abs(), (math.pi * v).sin().abs()
    return torch.where(over > 0, warp, (1 - 0.5 * knob) * weft)


def twill(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Diagonal ribs broken by their threads, as in denim."""
    rib = 0.5 + 0.5 * (2 * math.pi * (u + v / 2)).sin()
    return rib * (1 - knob * (0.5 - 0.5 * (4 * math.pi * v).cos()))


def knit(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Columns of stitches, each a V."""
    rise = v - (0.6 + 0.6 * knob) * (2 * _near(u) - 0.5)
    return (math.pi * rise).sin().abs() * (0.4 + 0.6 * (2 * math.pi * u).sin().abs())


def grille(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Parallel bars."""
    return (_near(u) < 0.15 + 0.2 * knob).to(u)


def grating(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Parallel bars without edges."""
    return 0.5 + 0.5 * (2 * math.pi * u).cos()


def screen(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Crossed wires, as of a fly screen or on squared paper."""
    width = 0.08 + 0.17 * knob
    return ((_near(u) < width) | (_near(v) < width)).to(u)


def halftone(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Dots of print, whose size follows a slowly changing tone."""
    spot = (2 * math.pi * u).cos() + (2 * math.pi * v).cos()
    tone = 1.6 * knob - 0.8 + 0.8 * (u * 0.13 + v * 0.07).sin()
    return ((spot - tone) / (4 * EDGE) + 0.5).clamp(0, 1)


def brick(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Courses of bricks, twice as wide as high, with joints between them."""
    joint = 0.08 + 0.1 * knob
    across = u / 2 + 0.5 * _odd(v)
    return ((_near(v) > joint) & (2 * _near(across) > joint)).to(u)


def lettering(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Lines of text; the pitch is the size of the letters."""
    sheet = letters().to(u.device)
    row, column = ((c * EM).long().remainder(SHEET) for c in (v, u))
    return sheet[row, column]


def hair(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Lines of 0.5 to 1.5 pixels, three pitches apart, some of them curved."""
    place = u / 3 + 0.4 * (knob > 0.5) * (v / 5).sin()
    return (_near(place) * 3 * pitch < 0.25 + 0.5 * knob).to(u)


def zone_plate(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Rings that become finer outwards, down to the pitch at 64 pixels from their centre."""
    squared = (u * u + v * v) * pitch
    return 0.5 + 0.5 * (math.pi * squared / 64).cos()


def checkerboard(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Squares of half a pitch."""
    return ((2 * u).floor() + (2 * v).floor()).remainder(2)


def dots(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Dotted lines, two pitches apart."""
    return _step(0.3 - torch.hypot(_near(u), 2 * _near(v / 2)))


def dashes(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Dashed lines of a pixel or a little more, two pitches apart."""
    return ((_near(u / 2) < 0.1 + 0.25 * knob) & (2 * _near(v / 2) * pitch < 0.6)).to(u)


def scales(u: Tensor, v: Tensor, pitch: Tensor, knob: Tensor) -> Tensor:
    """Overlapping round scales, dark at their rims, as of a fish or of roof tiles."""
    row = v * 2
    down = row - row.floor()
    across = 2 * _near(u + 0.5 * _odd(row))
    return (1 - torch.hypot(across, down) * (0.8 + 0.2 * knob)).clamp(min=0) ** 0.5


FAMILIES: dict[str, Family] = {
    "mesh": mesh,
    "weave": weave,
    "twill": twill,
    "knit": knit,
    "grille": grille,
    "grating": grating,
    "screen": screen,
    "halftone": halftone,
    "brick": brick,
    "lettering": lettering,
    "hair": hair,
    "zone-plate": zone_plate,
    "checkerboard": checkerboard,
    "dots": dots,
    "dashes": dashes,
    "scales": scales,
}
NAMES = tuple(FAMILIES)
LEAST_LETTERS = 6.0  # pixels: smaller ones are no letters any more
LETTERS = 0.2  # the share of lettering: it has no order, so it is the hardest to tell from noise


@functools.cache
def letters() -> Tensor:
    """A sheet of random words that wraps around: float32 (SHEET, SHEET), 1 where there is ink."""
    generator = np.random.default_rng(0)
    font = ImageFont.load_default(EM)
    image = Image.new("L", (SHEET, SHEET))
    drawing = ImageDraw.Draw(image)
    signs = "eeeettaaooiinnsshhrrddllccuummwwffggyyppbbvvkkxjqzEATSRMNLBCDGPKWZ0123456789.,;:!?()%"
    for top in range(0, SHEET, SHEET // 25):
        lengths = generator.integers(1, 10, 40)
        words = ("".join(generator.choice(list(signs), length)) for length in lengths)
        drawing.text((int(generator.integers(-EM, 0)), top), " ".join(words), 255, font)
    return torch.from_numpy(np.array(image, np.float32) / 255)


@dataclass(frozen=True)
class Designs:
    """One pattern for each of N pictures; all (N,) but for `shift`.

    family: index into NAMES
    pitch:  pixels
    angle:  radians
    knob:   in [0, 1], what varies within a family
    shift:  (N, 2), the first pixel's place in pitches
    bend:   pixels by which the pattern swings around its place, as cloth does; 0 none
    smooth: whether pixels are averaged over their area, or take the value of their middle
    """

    family: Tensor
    pitch: Tensor
    angle: Tensor
    knob: Tensor
    shift: Tensor
    bend: Tensor
    smooth: Tensor


def draw_designs(count: int, generator: torch.Generator, zoom: float = 1.0) -> Designs:
    """Random patterns: all families alike, pitch 2 to 12, a third of them along the axes.

    zoom: what pitches and bends are multiplied by
    """
    device = generator.device
    draws = torch.rand(10, count, generator=generator, device=device)
    family = torch.randint(0, len(NAMES), (count,), generator=generator, device=device)
    family = torch.where(draws[9] < LETTERS, NAMES.index("lettering"), family)
    pitch = 2 * 6 ** draws[0]  # as many between 2 and 3 as between 8 and 12
    whole = draws[1] < 0.3
    pitch = torch.where(whole, pitch.round(), pitch)
    pitch = torch.where(family == NAMES.index("lettering"), pitch.clamp(min=LEAST_LETTERS), pitch)
    bend = 6 * draws[2] * (draws[3] < 0.3)
    angle = torch.where(draws[4] < 0.35, (4 * draws[5]).floor() / 2, 2 * draws[5]) * math.pi
    smooth = draws[6] < 0.85
    shift = 32 * torch.rand(count, 2, generator=generator, device=device)
    return Designs(family, zoom * pitch, angle, draws[7], shift, zoom * bend, smooth)


def coverage(designs: Designs, height: int, width: int) -> Tensor:
    """The patterns as shares of their lighter tone: float32 (N, 1, height, width) in [0, 1]."""
    found = torch.empty(len(designs.pitch), 1, height, width, device=designs.pitch.device)
    for index, name in enumerate(NAMES):
        chosen = (designs.family == index).nonzero().view(-1)
        if not len(chosen):
            continue
        pitch, knob = (x[chosen].view(-1, 1, 1, 1) for x in (designs.pitch, designs.knob))
        u, v = _coordinates(designs, chosen, height, width)
        fine = FAMILIES[name](u, v, pitch, knob)
        smooth = designs.smooth[chosen].view(-1, 1, 1, 1)
        middle = fine[..., FINE // 2 :: FINE, FINE // 2 :: FINE]
        found[chosen] = torch.where(smooth, F.avg_pool2d(fine, FINE), middle)
    return found


def _coordinates(
    designs: Designs, chosen: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Across and along in pitches, (n, 1, FINE height, FINE width) each."""
    device = chosen.device
    rows = (torch.arange(FINE * height, device=device) + 0.5).view(1, 1, -1, 1) / FINE
    columns = (torch.arange(FINE * width, device=device) + 0.5).view(1, 1, 1, -1) / FINE
    pitch, angle, bend = (
        x[chosen].view(-1, 1, 1, 1) for x in (designs.pitch, designs.angle, designs.bend)
    )
    shift = designs.shift[chosen].view(-1, 2, 1, 1)
    across = columns * angle.cos() + rows * angle.sin()
    along = rows * angle.cos() - columns * angle.sin()
    swing = bend * (along / 17 + shift[:, :1]).sin()
    return (across + swing) / pitch + shift[:, :1], along / pitch + shift[:, 1:]


def demosaiced(pictures: Tensor) -> Tensor:
    """As a camera's demosaicing leaves them: each pixel measured in one colour, two filled in.

    float32 (N, 3, H, W) in [0, 1], H and W even, at least 4 -> the same. An RGGB sensor, bilinear.
    """
    sites = bayer_sites(pictures.shape[-2], pictures.shape[-1]).to(pictures)
    return demosaic(pictures * sites).clamp(0, 1)


def coloured(share: Tensor, contrast: Tensor, generator: torch.Generator) -> Tensor:
    """Coverage (N, 1, H, W) in two random colours, (N,) contrast apart: (N, 3, H, W) in [0, 1].

    Half of the pairs differ in brightness alone, the others in any direction of colour.
    """
    count, device = len(share), share.device
    draws = torch.rand(3, count, 3, generator=generator, device=device)
    grey = torch.rand(2, count, 1, generator=generator, device=device)
    tint = torch.where(grey[0] < 0.5, torch.ones_like(draws[0]), 2 * draws[0] - 1)
    tint = tint / tint.abs().amax(1, keepdim=True).clamp(min=0.1)
    reach = contrast.view(-1, 1) * tint
    low = (-reach).clamp(min=0)  # so that both colours lie in [0, 1]
    room = 1 - reach.abs()
    base = torch.where(grey[1] < 0.5, draws[1][:, :1], draws[1])
    first = low + base * room
    return (first[..., None, None] + share * reach[..., None, None]).clamp(0, 1)


def draw_patterns(count: int, side: int, generator: torch.Generator, zoom: float = 1.0) -> Tensor:
    """Random patterns in random colours: float32 (count, 3, side, side) in [0, 1], of 8 bits.

    Pitches of 2 to 12 pixels, times `zoom`; contrast 0.15 to 0.9; half under a slow change of
    light; a quarter as demosaicing leaves them.
    """
    device = generator.device
    draws = torch.rand(5, count, generator=generator, device=device)
    share = coverage(draw_designs(count, generator, zoom), side, side)
    pictures = coloured(share, 0.15 + 0.75 * draws[0], generator)
    ramp = torch.linspace(-0.5, 0.5, side, device=device)
    light = (draws[1] - 0.5).view(-1, 1, 1, 1) * ramp.view(1, 1, 1, -1)
    light = light + (draws[2] - 0.5).view(-1, 1, 1, 1) * ramp.view(1, 1, -1, 1)
    pictures = torch.where((draws[3] < 0.5).view(-1, 1, 1, 1), pictures * (1 + light), pictures)
    mosaic = (draws[4] < 0.25).view(-1, 1, 1, 1)
    pictures = torch.where(mosaic, demosaiced(pictures.clamp(0, 1)), pictures)
    return (pictures.clamp(0, 1) * 255).round() / 255


def patterned(photographs: Tensor, generator: torch.Generator) -> Tensor:
    """Photographs (N, 3, H, W) with a pattern in a part of each, as cloth and grilles are in them.

    The pattern lightens and darkens what is there, in a region with a soft or a sharp rim.
    """
    count, _, height, width = photographs.shape
    device = photographs.device
    draws = torch.rand(6, count, 1, 1, 1, generator=generator, device=device)
    share = coverage(draw_designs(count, generator), height, width)
    rows = torch.linspace(-1, 1, height, device=device).view(1, 1, -1, 1)
    columns = torch.linspace(-1, 1, width, device=device).view(1, 1, 1, -1)
    angle = 2 * math.pi * draws[0]
    beyond = columns * angle.cos() + rows * angle.sin() + draws[1] - 0.3
    region = (beyond * (2 + 30 * draws[2])).clamp(0, 1)
    smooth = F.avg_pool2d(photographs, 9, 1, 4, count_include_pad=False)
    ground = torch.where(draws[3] < 0.5, smooth, photographs)
    cloth = ground * (1 + (0.15 + 0.75 * draws[4]) * (share - 0.5))
    return (photographs + region * (cloth - photographs)).clamp(0, 1)


def one_pattern(
    family: str,
    side: int,
    pitch: float,
    angle: float = 0.0,
    contrast: float = 0.5,
    *,
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0),
    knob: float = 0.5,
) -> Tensor:
    """One pattern of a family, around mid-grey, antialiased: float32 (1, 3, side, side), 8 bits.

    angle: degrees; contrast: between the two tones, 0 to 1; colour: the direction of it, at most 1
    """
    designs = Designs(
        family=torch.tensor([NAMES.index(family)]),
        pitch=torch.tensor([float(pitch)]),
        angle=torch.tensor([math.radians(angle)]),
        knob=torch.tensor([float(knob)]),
        shift=torch.tensor([[0.3, 0.4]]),
        bend=torch.zeros(1),
        smooth=torch.ones(1, dtype=torch.bool),
    )
    share = coverage(designs, side, side) - 0.5
    picture = 0.5 + contrast * share * torch.tensor(colour).view(1, 3, 1, 1)
    return (picture.clamp(0, 1) * 255).round() / 255
