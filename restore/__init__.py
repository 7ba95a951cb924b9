"""Restore photographs with convolutional autoencoders.

    import restore
    result = restore.denoise("photo.jpg")
    restore.save_image(result.picture, "clean.jpg")

Each public name is imported when it is first used, so that `import restore` is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from restore.errors import RestoreError as RestoreError
    from restore.image.metrics import Scores as Scores
    from restore.image.metrics import psnr as psnr
    from restore.image.metrics import ssim as ssim
    from restore.image.picture import Picture as Picture
    from restore.image.read import load_image as load_image
    from restore.image.write import save_image as save_image
    from restore.models.folders import available_models as available_models
    from restore.models.weights import load_model as load_model
    from restore.pipeline.batch import denoise_files as denoise_files
    from restore.pipeline.batch import upscale_files as upscale_files
    from restore.pipeline.file import denoise_huge as denoise_huge
    from restore.pipeline.large import denoise_windows as denoise_windows
    from restore.pipeline.picture import denoise as denoise
    from restore.pipeline.picture import upscale as upscale
    from restore.pipeline.result import Result as Result

_MODULES = {
    "Picture": "restore.image.picture",
    "RestoreError": "restore.errors",
    "Result": "restore.pipeline.result",
    "Scores": "restore.image.metrics",
    "available_models": "restore.models.folders",
    "denoise": "restore.pipeline.picture",
    "denoise_files": "restore.pipeline.batch",
    "denoise_huge": "restore.pipeline.file",
    "denoise_windows": "restore.pipeline.large",
    "load_image": "restore.image.read",
    "load_model": "restore.models.weights",
    "psnr": "restore.image.metrics",
    "save_image": "restore.image.write",
    "ssim": "restore.image.metrics",
    "upscale": "restore.pipeline.picture",
    "upscale_files": "restore.pipeline.batch",
}

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from restore.errors import installed_version

        return installed_version()
    if name not in _MODULES:
        raise AttributeError(f"module 'restore' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
