"""Weights files: safetensors with a model card in the header; saving, finding and loading them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from restore.errors import ModelError, UnknownModelError, WeightsError, WriteError
from restore.image.atomic import write_aside
from restore.image.guard import first_line
from restore.models.card import ModelCard, card_from_json
from restore.models.denoiser import Denoiser
from restore.models.noise_level import NoiseEstimator
from restore.models.unet import UNet
from restore.models.upscaler import Upscaler

ESTIMATORS = ("noise-level",)  # shipped networks that restore nothing themselves
HEADER_KEY = "restore"  # one entry only: safetensors writes several in random order
LARGEST_FILE = 2**30  # bytes; ours are below 40 MB, and a lying header shall not fill the memory
LARGEST_HEADER = 10**7  # bytes; ours are below 100 kB
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

ARCHITECTURES: dict[str, type[UNet]] = {"Denoiser": Denoiser, "Upscaler": Upscaler}
FORMER_ARGUMENTS = {"tellable": "noise_inputs"}  # in the cards of older weights files


def weights_folder() -> Path:
    """Where the shipped weights lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"


def available_models() -> dict[str, Path]:
    """The shipped models that restore pictures: name -> file."""
    shipped = sorted(weights_folder().glob("*.safetensors"))
    return {path.stem: path for path in shipped if path.stem not in ESTIMATORS}


def find_weights(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a shipped model, or the path itself; UnknownModelError says what exists."""
    shipped = available_models()
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    if str(name_or_path) in ESTIMATORS:
        return weights_folder() / f"{name_or_path}.safetensors"
    path = Path(name_or_path)
    with suppress(OSError, ValueError):  # a name that cannot be one of a file
        if path.is_file():
            return path
    listed = ", ".join(shipped) or "none"
    raise UnknownModelError(
        f"there is no model '{name_or_path}'; give one of {listed}, or a .safetensors file"
    )


def save_weights(
    network: nn.Module, card: ModelCard, path: Path, dtype: torch.dtype = torch.float16
) -> None:
    """Write the network and its card; the same weights and card give the same bytes.

    Raises ModelError where it cannot be written; then there is no file, or the old one.
    """
    tensors = {
        key: value.detach().to("cpu", dtype).contiguous()
        for key, value in sorted(network.state_dict().items())
    }
    _write(save(tensors, metadata={HEADER_KEY: card.to_json()}), path)


def _write(data: bytes, path: Path) -> None:
    try:
        write_aside(path, data, overwrite=True)
    except WriteError as error:
        raise ModelError(str(error)) from error


def read_card(name_or_path: str | os.PathLike[str]) -> ModelCard:
    """The card of a shipped model or of a weights file, without loading its tensors."""
    path = find_weights(name_or_path)
    return _card(_read(path), path)


def replace_scores(path: Path, scores: list[dict[str, Any]]) -> None:
    """Rewrite a weights file with other scores in its card; the tensors stay as they are."""
    data = _read(path)
    card = replace(_card(data, path), scores=scores)
    _write(save(load(data), metadata={HEADER_KEY: card.to_json()}), path)


def load_model(name_or_path: str | os.PathLike[str]) -> UNet:
    """A network rebuilt from its weights file alone, on the CPU in float32, ready to restore.

    name_or_path: a name that `restore models` lists, or a .safetensors file of this package
    Returns the network in evaluation mode; its `card` attribute holds the model card.
    Raises UnknownModelError for an unknown name, WeightsError for a file that is corrupt, pickled,
    or does not fit its card. Loading never runs code.
    """
    network = load_network(name_or_path, ARCHITECTURES)
    assert isinstance(network, UNet)
    network.noise = network.card.noise if network.card else network.noise
    return network


def load_estimator(name_or_path: str | os.PathLike[str]) -> NoiseEstimator:
    """A network that estimates the noise of a picture, as `load_model`."""
    network = load_network(name_or_path, {"NoiseEstimator": NoiseEstimator})
    assert isinstance(network, NoiseEstimator)
    return network


def load_network(
    name_or_path: str | os.PathLike[str], architectures: Mapping[str, type[nn.Module]]
) -> nn.Module:
    """As `load_model`, for other architectures: class name in the card -> class."""
    path = find_weights(name_or_path)
    data = _read(path)
    card = _card(data, path)
    if card.architecture not in architectures:
        other = " (an autoencoder: see `restore autoencoder --help`)"
        raise WeightsError(
            f"{path} holds a network of the kind '{card.architecture}'"
            f"{other if card.task == 'autoencoder' else ''}; "
            f"here known are {', '.join(architectures)}"
        )
    try:
        tensors = load(data)
        _check_arguments(card.arguments, len(tensors))
        with torch.device("meta"):  # shapes only: a card cannot make us allocate absurd sizes
            arguments = {FORMER_ARGUMENTS.get(k, k): v for k, v in card.arguments.items()}
            network: Any = architectures[card.architecture](**arguments, seed=None)
        _check_shapes(network, tensors, path)
    except (SafetensorError, TypeError, ValueError, RuntimeError, KeyError) as error:
        words = first_line(error)
        raise WeightsError(f"{path} is corrupt or does not fit its card: {words}") from error
    network.load_state_dict({k: v.float() for k, v in tensors.items()}, assign=True)
    network.card = card
    loaded: nn.Module = network.eval().requires_grad_(False)
    return loaded


def _check_arguments(arguments: dict[str, Any], tensors: int) -> None:
    """ValueError or TypeError for a network of many more layers than a file has tensors.

    Even without memory for its weights, to build it would take minutes.
    """
    blocks = arguments.get("blocks", 0)
    total = sum(blocks) if isinstance(blocks, list) else blocks
    longest = max((len(v) for v in arguments.values() if isinstance(v, list)), default=0)
    if total > tensors or longest > tensors + 8:
        raise ValueError(f"its card describes more layers than its {tensors} tensors can be")


def _check_shapes(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    wanted = {key: value.shape for key, value in network.state_dict().items()}
    found = {key: value.shape for key, value in tensors.items()}
    if wanted != found:
        differing = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
        raise WeightsError(f"{path} does not fit its card: {', '.join(differing[:3])} differ")
    if others := {value.dtype for value in tensors.values()} - set(FLOATS):
        raise WeightsError(f"{path} holds weights of the type {others.pop()}; save them as float16")
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise WeightsError(f"{path} holds weights that are not finite; fetch the file again")


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise WeightsError(f"{path} is too large for a weights file of this package")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error


def _card(data: bytes, path: Path) -> ModelCard:
    """The card in the header, whose length stands in the first 8 bytes (the safetensors format)."""
    length = int.from_bytes(data[:8], "little")
    try:
        whole = length <= min(len(data) - 8, LARGEST_HEADER)
        header = json.loads(data[8 : 8 + length] if whole else b"")
        text = header["__metadata__"][HEADER_KEY]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise WeightsError(
            f"{path} is not a weights file of this package: give a .safetensors file that "
            "`restore train` wrote (a pickled checkpoint is never opened: it could run code)"
        ) from None
    return card_from_json(text, str(path))
