"""What a denoiser does to pictures that need none of it: the worst case, and where it is.

    python benchmarks/harm.py --val VAL --pairs CC15 [--json benchmarks/harm.json]
    python benchmarks/harm.py --val VAL --pairs CC15 --model EARLIER.safetensors
    python benchmarks/harm.py --val VAL --pairs CC15 --only figure --figure benchmarks/harm.png

Everything goes through `restore.denoise` with no setting. Five parts, chosen with --only:

patterns  procedural patterns of every family, clean and under three kinds of noise
clean     photographs, screenshots, drawings, icons, scanned text, manga-like screens, all clean
pairs     real pairs of noisy and clean pictures (CC15)
even      even greys and colours, and white lettering on orange
strength  validation photographs under camera noise of four strengths: the gain
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean, median
from typing import Any

import made_pictures as made
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from restore.evaluation.testsets import PAIRS, clean_files, make_case
from restore.image.color import as_rgb
from restore.image.picture import Picture, Pixels, quantise
from restore.image.read import load_image
from restore.pipeline.picture import denoise
from restore.training.degradations import patterns
from restore.training.degradations.camera import Cameras, add_camera_noise, draw_cameras
from restore.training.degradations.jpeg import jpeg
from restore.training.degradations.noise import add_gaussian_noise, spread_noise

SIDE = 128  # pixels of a pattern
PITCHES = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
ANGLES = (0.0, 20.0)  # degrees
CONTRASTS = (0.15, 0.5, 0.9)
SIGMAS = (5.0, 15.0)  # of 255, of the noise over patterns
SHOTS = (0.0002, 0.001, 0.004, 0.012)  # of the sensor's shot noise, weak to strong
CROP = 384  # pixels, of a clean photograph's middle
BLOCK = 32  # pixels
SHOWN = 120  # pixels of a picture in the figure
PATTERNS = {"mesh": 4.0, "knit": 6.0, "halftone": 4.0}  # in the figure, with their pitches
BEST = 99.0  # dB: what counts for no difference at all

Restorer = Callable[[Picture], Pixels]
Report = dict[str, Any]


@dataclass(frozen=True)
class Score:
    """One picture: its name, and how near the result is to the truth, in dB (0-255, 8 bits)."""

    name: str
    before: float
    after: float
    block: float  # the worst block of the result

    @property
    def gain(self) -> float:
        """What restoring brought."""
        return self.after - self.before


def psnr(a: Pixels, b: Pixels) -> float:
    """Of two pictures rounded to 8 bits; BEST where they agree."""
    return _decibels(_squares(a, b).mean())


def worst_block(a: Pixels, b: Pixels) -> float:
    """The PSNR of the worst whole block of 32 x 32."""
    squares = _squares(a, b).mean(2)
    rows, columns = (side // BLOCK * BLOCK for side in squares.shape)
    blocks = squares[:rows, :columns].reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    return _decibels(blocks.mean((1, 3)).max())


def _squares(a: Pixels, b: Pixels) -> NDArray[np.float64]:
    difference = quantise(a, 8).astype(np.float64) - quantise(b, 8)
    squares: NDArray[np.float64] = np.square(difference)
    return squares


def _decibels(square: float) -> float:
    return BEST if square == 0 else min(BEST, float(10 * np.log10(255**2 / square)))


def scored(
    name: str, truth: Pixels, given: Pixels, restorer: Restorer, alpha: Pixels | None = None
) -> Score:
    """The result's score and the given picture's."""
    result = restorer(Picture(given, alpha))
    return Score(name, psnr(given, truth), psnr(result, truth), worst_block(result, truth))


def as_pixels(picture: Tensor) -> Pixels:
    """(1, C, H, W) -> `(H, W, C)`, of 8 bits."""
    found: Pixels = picture[0].clamp(0, 1).mul(255).round().div(255).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(found)


def all_patterns() -> Iterator[tuple[str, Tensor]]:
    """Every family, pitch, angle and contrast, antialiased and as demosaicing leaves it."""
    for family, pitch in product(patterns.FAMILIES, PITCHES):
        if family == "lettering" and pitch < patterns.LEAST_LETTERS:
            continue
        for angle, contrast in product(ANGLES, CONTRASTS):
            picture = patterns.one_pattern(family, SIDE, pitch, angle, contrast)
            name = f"{family} {pitch:g} px, {angle:g} degrees, contrast {contrast:g}"
            yield name, picture
            yield f"{name}, demosaiced", patterns.demosaiced(picture)


def clean_patterns(restorer: Restorer) -> Report:
    """Patterns without noise: how near the result is to the input."""
    scores = [
        scored(name, pixels, pixels, restorer)
        for name, pixels in ((name, as_pixels(p)) for name, p in all_patterns())
    ]
    return faithfulness(scores)


def faithfulness(scores: list[Score]) -> Report:
    """Minimum, median and the worst pictures by name."""
    ranked = sorted(scores, key=lambda score: score.after)
    return {
        "pictures": len(scores),
        "min_psnr": round(ranked[0].after, 2),
        "median_psnr": round(median(s.after for s in scores), 2),
        "below_40_dB": sum(s.after < 40 for s in scores),
        "unchanged": sum(s.after == BEST for s in scores),
        "min_block_psnr": round(min(s.block for s in scores), 2),
        "worst": {s.name: [round(s.after, 2), round(s.block, 2)] for s in ranked[:8]},
    }


def gains(scores: list[Score]) -> Report:
    """Mean and smallest gain, the worst pictures by name."""
    ranked = sorted(scores, key=lambda score: score.gain)
    return {
        "pictures": len(scores),
        "mean_before": round(fmean(s.before for s in scores), 2),
        "mean_after": round(fmean(s.after for s in scores), 2),
        "mean_gain": round(fmean(s.gain for s in scores), 2),
        "min_gain": round(ranked[0].gain, 2),
        "worse_by_0.1_dB": sum(s.gain < -0.1 for s in scores),
        "worst": {s.name: [round(s.before, 2), round(s.after, 2)] for s in ranked[:5]},
    }


def white(picture: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """White Gaussian noise."""
    return add_gaussian_noise(picture, sigma, generator)


def coarse(picture: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Noise smoothed over a pixel in brightness and two in colour, as strong as before."""
    noise = torch.randn(picture.shape, generator=generator)
    noise = spread_noise(noise, torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([0.3]))
    return picture + noise / noise.std() * (sigma / 255)


def camera(picture: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """A sensor's noise, demosaiced and saved as JPEG 92."""
    noisy = add_camera_noise(picture, one_camera(0.0005 if sigma < 10 else 0.004), generator)
    return jpeg(noisy, torch.tensor([92.0]))


NOISES = {"white": white, "coarse": coarse, "camera": camera}


@functools.cache
def one_camera(shot: float) -> Cameras:
    """One fixed camera with this shot noise and the read noise that goes with it."""
    drawn = draw_cameras(1, torch.Generator().manual_seed(5))
    read = np.exp(2.18 * np.log(shot) + 1.20)
    return Cameras(
        drawn.to_camera,
        drawn.gains,
        torch.full((1, 1, 1, 1), shot),
        torch.full((1, 1, 1, 1), float(read)),
        torch.full((1, 1, 1, 1), 1.5),
        torch.full((1, 1, 1, 1), 0.5),
    )


def noisy_patterns(restorer: Restorer) -> Report:
    """Each family and pitch at 15 degrees and contrast 0.5 under noise: what is gained."""
    report = {}
    for kind, sigma in product(NOISES, SIGMAS):
        generator = torch.Generator().manual_seed(0)
        scores = []
        for family, pitch, contrast in product(patterns.FAMILIES, PITCHES, (0.5,)):
            if family == "lettering" and pitch < patterns.LEAST_LETTERS:
                continue
            clean = patterns.one_pattern(family, SIDE, pitch, 15, contrast)
            noisy = NOISES[kind](clean, sigma, generator)
            name = f"{family} {pitch:g} px, contrast {contrast:g}"
            scores.append(scored(name, as_pixels(clean), as_pixels(noisy), restorer))
        report[f"{kind} {sigma:g}"] = gains(scores)
    return report


def clean_pictures(restorer: Restorer, photographs: Path) -> Report:
    """Pictures of all kinds without noise, as they come and as restored."""
    kinds = {name: list(make()) for name, make in made.KINDS.items()}
    kinds["photograph"] = [
        (path.stem, middle(as_rgb(load_image(path).pixels), CROP), None)
        for path in sorted(photographs.iterdir())
        if path.suffix in (".avif", ".png", ".webp", ".jpg")
    ]
    return {
        kind: faithfulness([scored(name, p, p, restorer, a) for name, p, a in pictures])
        for kind, pictures in kinds.items()
    }


def middle(pixels: Pixels, side: int) -> Pixels:
    """The middle of a picture, at most this large."""
    rows, columns = (max(0, (length - side) // 2) for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[rows : rows + side, columns : columns + side])


def real_pairs(restorer: Restorer, folder: Path) -> Report:
    """Real noisy pictures: each one's gain."""
    scores = []
    for path in clean_files(folder, PAIRS):
        case = make_case(path, PAIRS)
        scores.append(scored(case.name, case.clean.pixels, case.degraded.pixels, restorer))
    each = {s.name: [round(s.before, 2), round(s.after, 2)] for s in scores}
    return {**gains(scores), "each": each}


def even_colours(restorer: Restorer) -> Report:
    """By how many of 255 levels even greys and colours move; white beside orange too."""
    moved = {}
    for name, pixels in made.even():
        change = np.abs(quantise(restorer(Picture(pixels)), 8).astype(int) - quantise(pixels, 8))
        moved[name] = int(change.max())
    worst = max(moved, key=moved.__getitem__)
    return {"pictures": len(moved), "max_levels": moved[worst], "worst": worst}


def strengths(restorer: Restorer, photographs: Path) -> Report:
    """The gain on photographs under camera noise of four strengths, saved as JPEG 95."""
    report = {}
    paths = [p for p in sorted(photographs.iterdir()) if p.suffix in (".avif", ".png")]
    for shot in SHOTS:
        generator = torch.Generator().manual_seed(0)
        scores = []
        for path in paths[::2]:
            clean = middle(as_rgb(load_image(path).pixels), 256)
            batch = torch.from_numpy(clean).permute(2, 0, 1).unsqueeze(0)
            noisy = jpeg(add_camera_noise(batch, one_camera(shot), generator), torch.tensor([95.0]))
            scores.append(scored(path.stem, clean, as_pixels(noisy), restorer))
        report[f"shot {shot:g}"] = gains(scores)
    return report


def figure(restorer: Restorer) -> Image.Image:
    """Patterns and a screenshot at 100 %: without noise, restored, with a camera's, restored."""
    clean = [patterns.one_pattern(name, SHOWN, pitch, 20, 0.5) for name, pitch in PATTERNS.items()]
    screenshot = next(made.screenshots())[1]
    clean.append(torch.from_numpy(middle(screenshot, SHOWN)).permute(2, 0, 1).unsqueeze(0))
    columns = []
    for picture in clean:
        noisy = camera(picture, max(SIGMAS), torch.Generator().manual_seed(0))
        given = [as_pixels(picture), as_pixels(noisy)]
        shown = [part for pixels in given for part in (pixels, restorer(Picture(pixels)))]
        columns.append(np.concatenate([quantise(pixels, 8) for pixels in shown]))
    return Image.fromarray(np.concatenate(columns, 1))


def main() -> None:
    """Measure, print, and store as JSON where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--val", type=Path, required=True, help="clean photographs")
    parser.add_argument("--pairs", type=Path, required=True, help="a folder with noisy and gt")
    parser.add_argument("--model", default="denoise-photo")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path, help="patterns before and after, at 100 %%")
    asked = parser.parse_args()

    def restorer(picture: Picture) -> Pixels:
        restored: Picture = denoise(picture, asked.model, output="picture").image
        return restored.pixels

    parts: dict[str, Callable[[], Report]] = {
        "patterns": lambda: clean_patterns(restorer),
        "noisy patterns": lambda: noisy_patterns(restorer),
        "clean": lambda: clean_pictures(restorer, asked.val),
        "pairs": lambda: real_pairs(restorer, asked.pairs),
        "even": lambda: even_colours(restorer),
        "strength": lambda: strengths(restorer, asked.val),
    }
    found: Report = {"model": Path(asked.model).stem}
    for name, measure in parts.items():
        if not asked.only or name in asked.only:
            found[name] = measure()
            print(name, json.dumps(found[name], indent=1), flush=True)
    if asked.figure:
        figure(restorer).save(asked.figure, optimize=True)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
