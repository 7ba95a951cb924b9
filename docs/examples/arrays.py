"""Arrays in, arrays out: restore the frames of a video, or anything else that is not a file.

python docs/examples/arrays.py
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import restore

Frame = npt.NDArray[np.uint8]


def frames(count: int) -> list[Frame]:
    """Noisy frames of a moving square; put your own here."""
    rng = np.random.default_rng(0)
    found = []
    for step in range(count):
        clean = np.full((64, 96, 3), 90.0)
        clean[20:44, 10 + 8 * step : 34 + 8 * step] = (200, 120, 60)
        noisy = clean + rng.normal(0, 20, clean.shape)
        found.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return found


def main() -> None:
    """Denoise each frame, then make it twice as large."""
    network = restore.load_model("denoise-gaussian")  # loaded once, used for all
    for number, frame in enumerate(frames(3)):
        clean = restore.denoise(frame, network).image
        large = restore.upscale(clean, 2).image
        print(number, frame.shape, "->", large.shape, large.dtype)


if __name__ == "__main__":
    main()
