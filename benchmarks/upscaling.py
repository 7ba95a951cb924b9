"""Upscaling: PSNR and SSIM beside bicubic interpolation, speed, and whether colours stay.

    python benchmarks/upscaling.py Set5 Set14 [--json benchmarks/upscaling.json]
                                              [--figure benchmarks/upscaled.png]

Quality is that of `restore evaluate`: MATLAB's bicubic makes the pictures small, luma rounded to 8
bits is compared, a border of the scale shaved. Speed is in megapixels of the result, array to
array, the best of three, beside OpenCV's and Pillow's interpolations of the same picture. Colour is
the mean difference between a picture and its result shrunk back to its size, in levels of 255, the
largest over the channels and the pictures. The figure is made of the samples.

Speed and colour are measured in the precision that is chosen where none is given: it depends on the
machine and on the model's card, and is stored with them.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import cv2
import numpy as np
from PIL import Image

from restore.evaluation.benchmark import evaluate_scale, make_small
from restore.image.find import list_pictures
from restore.image.picture import Picture, quantise
from restore.image.read import load_image
from restore.image.resize import resize
from restore.models.folders import available_models
from restore.models.weights import read_card
from restore.pipeline.picture import upscale
from restore.tasks.upscale import shipped_upscalers

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
RESULT = (720, 1280)  # of the timed pictures: rows, columns
CROPS = {"fur": (70, 100), "text": (0, 20), "portrait-16bit": (40, 40), "cut-out": (60, 60)}
SIDE = 200


def models() -> list[tuple[str, int]]:
    """The shipped models for clean pictures, with their scales."""
    return [
        (name, read_card(name).scale)
        for name in available_models()
        if re.fullmatch(r"upscale-x\d(-fast)?", name)
    ]


def quality(folders: list[Path], precision: str) -> list[dict[str, Any]]:
    """Our networks and bicubic interpolation over each folder, at each scale."""
    rows = []
    for folder in folders:
        files = list_pictures(folder)
        for model, scale in models():
            found = list(evaluate_scale(files, model, scale, precision=precision))
            names = {"psnr": "psnr", "ssim": "ssim"}
            names |= {"bicubic_psnr": "noisy_psnr", "bicubic_ssim": "noisy_ssim"}
            mean = {n: round(fmean(getattr(s, f) for s in found), 4) for n, f in names.items()}
            about = {"data": folder.name, "model": model, "precision": precision}
            rows.append({**about, **mean})
            print(
                f"{folder.name:<8} {model:<16} {mean['psnr']:.3f} / {mean['ssim']:.4f}   "
                f"bicubic {mean['bicubic_psnr']:.3f} / {mean['bicubic_ssim']:.4f}",
                flush=True,
            )
    return rows


def speed(repeats: int = 3) -> dict[str, dict[str, Any]]:
    """Megapixels of the result per second by scale and method, and the network's precision."""
    sample = load_image(SAMPLES / "fur-clean.png").pixels
    table = {}
    for scale in sorted(shipped_upscalers()):
        height, width = (side // scale for side in RESULT)
        down, right = height - sample.shape[0], width - sample.shape[1]
        small = np.pad(sample, ((0, max(0, down)), (0, max(0, right)), (0, 0)), "symmetric")
        small = quantise(np.ascontiguousarray(small[:height, :width]), 8)
        found = {name: timed(go, repeats) for name, go in methods(small, scale).items()}
        used = upscale(small, scale, f"upscale-x{scale}").precision
        rounded = {name: round(value, 2) for name, value in found.items()}
        table[f"x{scale}"] = {"precision": used, **rounded}
        words = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
        print(f"x{scale} megapixels per second, the network in {used}: {words}", flush=True)
    return table


def methods(small: np.ndarray, scale: int) -> dict[str, Callable[[], np.ndarray]]:
    """Ways to make a picture larger; each returns the result."""
    size = (small.shape[1] * scale, small.shape[0] * scale)
    image = Image.fromarray(small)
    named = [model for model, of in models() if of == scale]
    return {
        **{model: lambda model=model: upscale(small, scale, model).image for model in named},
        "restore --model bicubic": lambda: upscale(small, scale, "bicubic").image,
        "OpenCV bicubic": lambda: cv2.resize(small, size, interpolation=cv2.INTER_CUBIC),
        "OpenCV Lanczos": lambda: cv2.resize(small, size, interpolation=cv2.INTER_LANCZOS4),
        "Pillow Lanczos": lambda: np.asarray(image.resize(size, Image.Resampling.LANCZOS)),
    }


def timed(go: Callable[[], np.ndarray], repeats: int) -> float:
    """Megapixels of the result per second, the best of some runs after one that is not counted."""
    result = go()
    time.sleep(0.5)  # threads of the method before may still be spinning for more work
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        go()
        seconds.append(time.perf_counter() - began)
    return result.shape[0] * result.shape[1] / 1e6 / min(seconds)


def colour(folders: list[Path]) -> dict[str, dict[str, Any]]:
    """By model, the largest mean difference of a channel after shrinking, in levels of 255."""
    pictures = [load_image(f) for folder in folders for f in list_pictures(folder)]
    table = {}
    for name in available_models():
        card = read_card(name)
        if card.task != "upscale":
            continue
        found = [shift(make_small(p, card.scale)[1], name, card.scale) for p in pictures]
        moved, used = max(m for m, _ in found), " and ".join(sorted({p for _, p in found}))
        table[name] = {"levels": round(moved, 3), "precision": used}
        print(
            f"{name}, {used}: the mean of a channel moves by at most {moved:.3f} levels", flush=True
        )
    return table


def shift(small: Picture, model: str, scale: int) -> tuple[float, str]:
    """How far the mean of a channel moves, and the network's precision."""
    done = upscale(small, scale, model)
    back = resize(done.picture.pixels, small.height, small.width)
    return float(np.abs((back - small.pixels).mean((0, 1))).max() * 255), done.precision


def figure(target: Path) -> None:
    """The samples made small and large again: bicubic above, the network for x4 below."""
    columns = []
    for name, (top, left) in CROPS.items():
        _, small = make_small(load_image(SAMPLES / f"{name}-clean.png").replace(alpha=None), 4)
        pair = [upscale(small, 4, model).picture.pixels for model in ("bicubic", "upscale-x4")]
        crops = [p[top : top + SIDE, left : left + SIDE] for p in pair]
        padded = np.ones((2, SIDE, SIDE, 3), np.float32)
        for row, crop in zip(padded, crops, strict=True):
            row[: crop.shape[0], : crop.shape[1]] = crop
        columns.append(quantise(np.concatenate(list(padded)), 8))
    Image.fromarray(np.concatenate(columns, axis=1)).save(target, optimize=True)


def main() -> None:
    """Print the tables and store them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="*")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    asked = parser.parse_args()
    found = {
        "quality": quality(asked.data, asked.precision),
        "colour": colour(asked.data) if asked.data else {},
        "speed": speed(),
    }
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")
    if asked.figure:
        figure(asked.figure)


if __name__ == "__main__":
    main()
