"""Conversions between `Picture` and NumPy arrays, Pillow images and tensors.

The input is never changed, and a result shares no memory with it. A result has the type, layout,
range and device of `like`: `to_x(from_x(v), like=v)` equals v for every kind and type, except that
float64 is held in float32.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from restore.errors import InputError
from restore.image import color
from restore.image.picture import Depth, Picture, check_range, quantise
from restore.image.read import MAX_PIXELS, MODES, load_image

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]

Kind = Literal["same", "picture", "array", "pil", "tensor"]

TYPES = ("bool", "uint8", "uint16", "float16", "float32", "float64")
# Modes that Pillow can hold and that we can give back sample by sample.
EXACT_MODES = ("1", "L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def to_picture(image: Any) -> Picture:
    """A Picture from any kind of picture; the input is not changed."""
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
        f"a {type(image).__name__} is not a picture; "
        "give a path, a NumPy array, a PIL image or a tensor"
    )


def _kind(image: Any) -> Kind:
    """What kind of picture this is, by its class, without importing that class's library."""
    modules = {parent.__module__.partition(".")[0] for parent in type(image).__mro__}
    if isinstance(image, np.ndarray):
        return "array"
    if "PIL" in modules:
        return "pil"
    return "tensor" if "torch" in modules else "picture"


def as_kind(picture: Picture, given: Any, output: Kind) -> Any:
    """The picture as `output`; in the type of `given` where that is of the same kind."""
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


def from_array(array: Array) -> Picture:
    """A NumPy array as a picture: grey, grey and alpha, RGB, or RGB and alpha.

    `(height, width)` or `(height, width, 1..4)`; bool, uint8, uint16, or floats in [0, 1] (noise
    may reach a little beyond). Raises InputError for any other shape, type or range.
    """
    if not isinstance(array, np.ndarray):
        raise InputError(f"expected a NumPy array, not {type(array).__name__}")
    if isinstance(array, (np.matrix, np.ma.MaskedArray)):
        raise InputError(
            f"a {type(array).__name__} cannot be restored; give a plain array: numpy.asarray(...)"
        )
    return _from_samples(array, "a float array")


def _from_samples(array: Array, what: str, path: str = "(height, width[, 1..4])") -> Picture:
    if array.ndim not in (2, 3) or (array.ndim == 3 and not 1 <= array.shape[2] <= 4):
        raise InputError(f"a picture has the shape {path}; this one has {array.shape}")
    if array.size == 0:
        raise InputError(f"a picture has at least one pixel; this one has the shape {array.shape}")
    if array.dtype.name not in TYPES:
        raise InputError(_types_words(array.dtype))
    if array.shape[0] * array.shape[1] > MAX_PIXELS:  # a view can say so without the memory
        raise InputError(
            f"a picture of {array.shape[1]}x{array.shape[0]} is beyond the limit of {MAX_PIXELS} "
            "pixels; cut it into parts, or use denoise_windows"
        )
    check_range(array, what)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    planes = color.split(native[:, :, np.newaxis] if native.ndim == 2 else native)
    return Picture(*planes)


def _types_words(dtype: Any) -> str:
    return f"samples are {', '.join(TYPES)}; these are {dtype}"


def to_array(picture: Picture, like: Array) -> Array:
    """The picture as a new array with the type, channels and dimensions of `like`.

    Integers are clipped and rounded, floats stay as they are; bool is true from 0.5 on. Grey
    becomes RGB and back where `like` has the other. Raises InputError where alpha would get lost.
    """
    channels = 1 if like.ndim == 2 else like.shape[2]
    stored = _stored(_samples(picture, channels), like.dtype)
    return np.ascontiguousarray(stored[:, :, 0] if like.ndim == 2 else stored)


def _samples(picture: Picture, channels: int) -> Array:
    """Pixels and alpha as `(height, width, channels)`; may be the picture's own memory."""
    adapted = picture.pixels
    if picture.channels != (colours := 1 if channels in (1, 2) else 3):
        adapted = color.as_grey(adapted) if colours == 1 else color.as_rgb(adapted)
    if channels in (1, 3):
        if picture.alpha is not None:
            raise InputError("the picture has alpha; ask for 2 or 4 channels to keep it")
        return adapted
    opaque = np.ones(adapted.shape[:2], np.float32)
    return color.join(adapted, opaque if picture.alpha is None else picture.alpha, "float")


def _stored(samples: Array, dtype: np.dtype[Any]) -> Array:
    depths: dict[str, Depth] = {"uint8": 8, "uint16": 16}
    if dtype == np.bool_:
        return samples >= 0.5
    return quantise(samples, depths.get(dtype.name, "float")).astype(dtype, copy=False)


def from_pil(image: Image.Image) -> Picture:
    """A Pillow image of any mode as an upright picture, with its ICC profile, EXIF and XMP.

    CMYK becomes sRGB through its profile. Raises InputError for values without a known range, and
    for an image whose file is damaged.
    """
    try:
        image.load()
        turned = ImageOps.exif_transpose(image)
        planes = color.planes(turned)
    except InputError:
        raise
    except Exception as error:  # a lazy image is decoded now, and may be damaged in any way
        raise InputError(f"the image cannot be decoded: {error}") from error
    if not planes.pixels.size:
        raise InputError("a picture has at least one pixel; this image has none")
    check_range(planes.pixels, "a float image")
    info = turned.info
    block, xmp = info.get("exif"), info.get("xmp")
    return Picture(
        *planes,
        icc=None if image.mode in ("CMYK", "LAB") else info.get("icc_profile") or None,
        exif=block.removeprefix(b"Exif\0\0") or None if isinstance(block, bytes) else None,
        xmp=(xmp.encode() if isinstance(xmp, str) else xmp) or None,
        format=image.format,
        source={"mode": image.mode},
    )


def to_pil(picture: Picture, like: Image.Image) -> Image.Image:
    """The picture as a new Pillow image of `like`'s mode, with its metadata in `info`.

    A mode that cannot hold any picture (palette, CMYK and such) becomes L, LA, RGB or RGBA.
    """
    mode = like.mode
    channels = picture.channels + (picture.alpha is not None)
    if mode not in EXACT_MODES or (picture.alpha is not None and mode not in ("LA", "RGBA")):
        mode = MODES[channels]
    wanted = {"LA": 2, "RGB": 3, "RGBA": 4}.get(mode, 1)
    samples = _samples(picture, wanted)
    image = _image(samples[:, :, 0] if wanted == 1 else samples, mode)
    found = {"icc_profile": picture.icc, "xmp": picture.xmp}
    found["exif"] = b"Exif\0\0" + picture.exif if picture.exif else None
    image.info.update({k: v for k, v in found.items() if v})
    return image


def _image(samples: Array, mode: str) -> Image.Image:
    if mode == "F":
        return Image.fromarray(samples.astype(np.float32))
    if mode == "1":
        return Image.fromarray(samples >= 0.5)
    if mode == "I":
        return Image.fromarray(quantise(samples, 16).astype(np.int32))
    if mode.startswith("I;16"):
        order = ">u2" if mode == "I;16B" else "<u2"
        raw = quantise(samples, 16).astype(order).tobytes()
        size = samples.shape[1], samples.shape[0]
        return Image.frombytes("I;16B" if mode == "I;16B" else "I;16", size, raw)
    return Image.fromarray(quantise(samples, 8))


def from_tensor(tensor: torch.Tensor) -> Picture:
    """A tensor `(height, width)` or `([1,] 1..4, height, width)` as a picture.

    uint8, uint16, bool or floats in [0, 1], on any device. Raises InputError for any other.
    """
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise InputError(f"expected a tensor, not {type(tensor).__name__}")
    if tensor.is_nested or tensor.is_quantized or tensor.layout != torch.strided:
        raise InputError(
            "a nested, quantised or sparse tensor is not a picture; give a plain one, "
            "such as to_dense() or dequantize() returns"
        )
    if tensor.is_meta:
        raise InputError("a tensor on the device meta holds no values; give a picture")
    shape = tuple(tensor.shape)
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    plain = plain.float() if plain.dtype == torch.bfloat16 else plain
    plain = plain[0] if plain.ndim == 4 and shape[0] == 1 else plain
    if plain.ndim not in (2, 3) or (plain.ndim == 3 and not 1 <= plain.shape[0] <= 4):
        raise InputError(
            f"a picture has the shape ([1..4,] height, width), with a batch of one at most; "
            f"this tensor has {shape}"
        )
    try:
        array = plain.numpy()
    except TypeError:  # a type that NumPy does not have
        raise InputError(_types_words(plain.dtype)) from None
    return _from_samples(array.transpose(1, 2, 0) if array.ndim == 3 else array, "a float tensor")


def to_tensor(picture: Picture, like: torch.Tensor) -> torch.Tensor:
    """The picture as a new tensor with the type, channels, dimensions and device of `like`."""
    import torch

    channels = 1 if like.ndim == 2 else int(like.shape[-3])
    samples = _samples(picture, channels)
    if like.dtype == torch.bfloat16:
        stored = samples.astype(np.float32)
    else:
        stored = _stored(samples, torch.empty(0, dtype=like.dtype).numpy().dtype)
    planes = np.ascontiguousarray(stored.transpose(2, 0, 1))
    made = torch.from_numpy(planes).to(device=like.device, dtype=like.dtype)
    return made.reshape(*[1] * (like.ndim - 3), *made.shape) if like.ndim > 2 else made[0]
