"""The kinds of picture that people hand over and want back, told apart without importing torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from restore.errors import InputError
from restore.image.arrays import (
    from_array,
    from_pil,
    from_tensor,
    to_array,
    to_pil,
    to_tensor,
)
from restore.image.picture import Picture
from restore.image.read import load_image

Array = npt.NDArray[Any]
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}

Kind = Literal["same", "picture", "array", "pil", "tensor"]


def to_picture(image: Any) -> Picture:
    """A Picture from any kind of picture; the input is neither modified nor kept."""
    if isinstance(image, Picture):
        return image
    if isinstance(image, (str, os.PathLike)):
        return load_image(Path(image))
    if isinstance(image, np.ndarray):
        return from_array(image)
    kind = _kind(image)
    if kind == "pil":
        return from_pil(image)
    if kind == "tensor":
        return from_tensor(image)
    raise InputError(
        f"a {type(image).__name__} is no picture; "
        "give a path, a NumPy array, a PIL image or a tensor"
    )


def _kind(image: Any) -> Kind:
    """What kind of picture this is, told by its class without importing that class's library."""
    modules = {parent.__module__.partition(".")[0] for parent in type(image).__mro__}
    if isinstance(image, np.ndarray):
        return "array"
    if "PIL" in modules:
        return "pil"
    return "tensor" if "torch" in modules else "picture"


def as_kind(picture: Picture, given: Any, output: Kind) -> Any:
    """The picture in the kind asked for; in the given one's own type where the kinds agree."""
    kind = _kind(given) if output == "same" else output
    if kind == "picture":
        return picture
    if kind not in ("array", "pil", "tensor"):
        raise InputError(f"output is same, picture, array, pil or tensor, not {output!r}")
    array = given if kind == _kind(given) == "array" else _natural_array(picture)
    if kind == "array":
        return to_array(picture, array)
    if kind == "pil":
        from PIL import Image

        bands = picture.channels + (picture.alpha is not None)
        return to_pil(picture, given if _kind(given) == "pil" else Image.new(MODES[bands], (1, 1)))
    import torch

    like = given if _kind(given) == "tensor" else torch.empty(array.shape[2], 1, 1)
    return to_tensor(picture, like)


def _natural_array(picture: Picture) -> Array:
    """An array of the type and the channels, alpha counted, that hold the picture as it is."""
    dtypes = {8: np.uint8, 16: np.uint16, "float": np.float32}
    channels = picture.channels + (picture.alpha is not None)
    return np.empty((1, 1, channels), dtypes[picture.depth])
