"""Ten minutes of fine-tuning for one odd camera.

    python benchmarks/finetune.py --data VAL [--time-limit 10m] [--json benchmarks/finetune.json]

Twenty photographs get the noise of a camera that nobody has trained for: rows that are brighter or
darker as a whole, columns that always are (every eighth by four levels), a pattern that is fixed to
the sensor, coarse noise of colour, and a little white noise. `restore finetune denoise-photo`
learns from sixteen of these pairs; the gain is that on the four that it holds out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from restore.cli.console import parse_seconds
from restore.engine.device import choose_device, device_name
from restore.image.find import list_pictures
from restore.image.picture import Picture
from restore.image.read import load_image
from restore.image.write import save_image
from restore.models.weights import read_card
from restore.training.finetune import FineTuning, Gain, finetune
from restore.training.loop import Limits, Progress

PICTURES, SIDE = 20, 640  # how many, and pixels of the middle of each
ROWS, COLUMN, FIXED, CHROMA, WHITE = 5.0, 4.0, 4.0, 14.0, 4.0  # standard deviations, of 255


def camera(clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the camera makes of a clean picture, (height, width, 3) in [0, 1]."""
    height, width, _ = clean.shape
    sensor = np.random.default_rng(1234)  # of the camera, the same in every picture
    fixed = sensor.normal(0, FIXED, (SIDE, SIDE, 1))[:height, :width]
    columns = np.where(np.arange(width) % 8 == 0, COLUMN, 0.0)[None, :, None]
    rows = rng.normal(0, ROWS, (height, 1, 1))
    colour = rng.normal(0, 1, (height, width, 3))
    colour = cv2.GaussianBlur(colour, (0, 0), 2.0)
    colour = (colour - colour.mean(2, keepdims=True)) / colour.std() * CHROMA
    white = rng.normal(0, WHITE, clean.shape)
    return (clean + (rows + columns + fixed + colour + white) / 255).clip(0, 1)


def shoot(source: Path, folder: Path) -> None:
    """Twenty pairs of the camera, in `noisy/` and `clean/`."""
    files = list_pictures(source)
    for place in ("noisy", "clean"):
        (folder / place).mkdir(parents=True)
    for number, file in enumerate(files[:: max(1, len(files) // PICTURES)][:PICTURES]):
        pixels = load_image(file).pixels
        top, left = (max(0, side - SIDE) // 2 for side in pixels.shape[:2])
        clean = pixels[top : top + SIDE, left : left + SIDE]
        noisy = camera(clean, np.random.default_rng(number)).astype(np.float32)
        for place, picture in (("clean", clean), ("noisy", noisy)):
            save_image(Picture(np.ascontiguousarray(picture)), folder / place / f"{number:02}.png")


def main() -> None:
    """Shoot, fine-tune, print, and store where a file is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--time-limit", default="10m")
    parser.add_argument("--model", default="denoise-photo")
    parser.add_argument("--keep", type=Path, help="a folder for the pairs and the weights")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.keep or Path(scratch)
        shoot(asked.data, folder / "pairs")
        weights, started = folder / "own.safetensors", time.monotonic()
        job = FineTuning(asked.model, folder / "pairs", weights)
        result: dict[str, object] = {"device": device_name(choose_device())}
        for event in finetune(job, Limits(parse_seconds(asked.time_limit))):
            if isinstance(event, Progress):
                if event.psnr is not None:
                    print(event, flush=True)
            elif isinstance(event, tuple):
                name, gain = event
                assert isinstance(gain, Gain)
                known = {k: v for k, v in dataclasses.asdict(gain).items() if v == v}
                result[name] = {k: round(v, 2) for k, v in known.items()}
                print(name, gain, flush=True)
            else:
                print(event, flush=True)
        result["minutes"] = round((time.monotonic() - started) / 60, 1)
        result["steps"] = read_card(weights).training["steps"]
    print(json.dumps(result, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
