"""Real camera noise: our networks beside classical denoisers, on pairs that none of them has seen.

    python benchmarks/camera.py CC15 [--json benchmarks/camera.json] [--only denoise-photo]

CC15 is a folder with `noisy` and `gt`: 15 squares of 512x512 of Nam et al. (CVPR 2016), where the
reference is the mean of 500 shots. The networks get no setting at all; then each, and non-local
means and BM3D (where `bm3d` is installed), get several settings, and the best one for the whole set
counts, chosen with the references at hand, which flatters it.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import cv2
import numpy as np

from restore.evaluation.testsets import PAIRS, Case, cases_of
from restore.image.metrics import compare
from restore.image.picture import Picture, dequantise, quantise
from restore.models.folders import available_models
from restore.pipeline.picture import denoise

Method = Callable[[Picture], Picture]
NLM_STRENGTHS = (3, 4, 5, 6, 8)
SIGMAS = (4, 6, 8, 11, 15, 20, 25, 30)
BM3D_SIGMAS = (8, 11, 14, 17, 20)


def non_local_means(strength: float) -> Method:
    """OpenCV's, for colour; the same strength for luma and colour."""

    def run(picture: Picture) -> Picture:
        bgr = np.ascontiguousarray(quantise(picture.pixels, 8)[..., ::-1])
        result = cv2.fastNlMeansDenoisingColored(bgr, None, strength, strength, 7, 21)
        return picture.replace(pixels=dequantise(result[..., ::-1]))

    return run


def bm3d_at(sigma: float) -> Method:
    """BM3D of its authors' package, for colour."""

    def run(picture: Picture) -> Picture:
        import bm3d

        result = bm3d.bm3d_rgb(picture.pixels.astype(np.float64), sigma / 255)
        return picture.replace(pixels=result.clip(0, 1).astype(np.float32))

    return run


def network(name: str, **settings: Any) -> Method:
    """One of ours, through the whole pipeline."""
    return lambda picture: denoise(picture, name, **settings).picture


def told_network(name: str, sigma: float) -> Method:
    """One of ours with a noise level to take away."""
    return network(name, sigma=sigma)


def score(cases: list[Case], method: Method) -> dict[str, float]:
    """Mean PSNR and SSIM of the 8-bit results, and seconds for all of them."""
    began = time.perf_counter()
    results = [method(case.degraded) for case in cases]
    seconds = time.perf_counter() - began
    found = [compare(r, case.clean) for r, case in zip(results, cases, strict=True)]
    return {
        "psnr": round(fmean(s.psnr for s in found), 3),
        "ssim": round(fmean(s.ssim for s in found), 4),
        "seconds": round(seconds, 2),
    }


def best(cases: list[Case], make: Callable[[float], Method], values: tuple[int, ...]) -> Any:
    """The best of several settings for the whole set."""
    found = [{"setting": v, **score(cases, make(v))} for v in values]
    return max(found, key=lambda f: f["psnr"])


def rows(cases: list[Case], only: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each method and its scores, as they are ready; only: names of models begin with this."""
    yield "noisy", score(cases, lambda picture: picture)
    for name in available_models():
        if name.startswith(only or "denoise"):
            yield name, score(cases, network(name))
            yield f"{name}, ensemble of 8", score(cases, network(name, ensemble=True))
            told = functools.partial(told_network, name)
            yield f"{name}, best sigma", best(cases, told, SIGMAS)
    if only is not None:
        return
    yield "OpenCV non-local means, best", best(cases, non_local_means, NLM_STRENGTHS)
    if importlib.util.find_spec("bm3d"):
        yield "BM3D, best sigma", best(cases, bm3d_at, BM3D_SIGMAS)


def main() -> None:
    """Print the table and store it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", help="measure these models anew, keep the other stored rows")
    asked = parser.parse_args()
    cases = list(cases_of(asked.data, PAIRS))
    table = {}
    if asked.only and asked.json and asked.json.exists():
        table = json.loads(asked.json.read_text())["methods"]
    for name, found in rows(cases, asked.only):
        table[name] = found
        setting = f"  (at {found['setting']})" if "setting" in found else ""
        print(f"{name:<38} {found['psnr']:7.3f} {found['ssim']:.4f}{setting}", flush=True)
    if asked.json:
        words = f"{len(cases)} pairs, RGB, 8 bit, no border, mean over pictures"
        asked.json.write_text(json.dumps({"protocol": words, "methods": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
