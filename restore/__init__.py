"""Restore photographs with convolutional autoencoders.

    import restore
    result = restore.denoise("photo.jpg")
    restore.save_image(result.picture, "clean.jpg")

The public names are resolved when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore.errors import RestoreError as RestoreError
    from restore.evaluation.metrics import Scores as Scores
    from restore.evaluation.metrics import psnr as psnr
    from restore.evaluation.metrics import ssim as ssim
    from restore.image.image import Picture as Picture
    from restore.image.read import load_image as load_image
    from restore.image.write import save_image as save_image
    from restore.inference.batch import denoise_files as denoise_files
    from restore.inference.batch import upscale_files as upscale_files
    from restore.inference.huge import denoise_huge as denoise_huge
    from restore.inference.pipeline import Result as Result
    from restore.inference.pipeline import denoise as denoise
    from restore.inference.upscaling import upscale as upscale
    from restore.inference.windows import denoise_windows as denoise_windows
    from restore.models.weights import available_models as available_models
    from restore.models.weights import load_model as load_model

_HOMES = {
    "Picture": "restore.image.image",
    "RestoreError": "restore.errors",
    "Result": "restore.inference.pipeline",
    "Scores": "restore.evaluation.metrics",
    "available_models": "restore.models.weights",
    "denoise": "restore.inference.pipeline",
    "denoise_files": "restore.inference.batch",
    "denoise_huge": "restore.inference.huge",
    "denoise_windows": "restore.inference.windows",
    "load_image": "restore.image.read",
    "load_model": "restore.models.weights",
    "psnr": "restore.evaluation.metrics",
    "save_image": "restore.image.write",
    "ssim": "restore.evaluation.metrics",
    "upscale": "restore.inference.upscaling",
    "upscale_files": "restore.inference.batch",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("restore")
    if name not in _HOMES:
        raise AttributeError(f"module 'restore' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
