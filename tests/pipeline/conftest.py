"""What several tests of the pipeline need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from restore.image.picture import Picture
from restore.image.write import save_image


@pytest.fixture
def photos(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Six pictures, one of them in a sub-folder, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for number in range(6):
        pixels = rng.random((40, 48, 3), np.float32)
        place = folder / "deep" if number == 5 else folder
        save_image(Picture(pixels), place / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder
