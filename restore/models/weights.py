"""Weights files: safetensors with a model card in the header; saving, adding and loading them.

They are found by `models.folders`; those of other projects are loaded by `models.community`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from restore.errors import InputError, ModelError, UnknownModelError, WeightsError, WriteError
from restore.image.atomic import write_aside
from restore.image.guard import first_line
from restore.models.card import ModelCard, card_from_json
from restore.models.community import load_community, read_community_card
from restore.models.denoiser import Denoiser
from restore.models.folders import (
    ESTIMATORS,
    SUFFIXES,
    added_models,
    available_models,
    find_weights,
    models_folder,
)
from restore.models.network import Network
from restore.models.noise_level import NoiseEstimator
from restore.models.unet import UNet
from restore.models.upscaler import Upscaler

RESERVED = ("bicubic", "fast")  # what means something else where a model is named
HEADER_KEY = "restore"  # one entry only: safetensors writes several in random order
LARGEST_FILE = 2**30  # bytes; ours are below 40 MB, and a lying header shall not fill the memory
LARGEST_HEADER = 10**7  # bytes; ours are below 100 kB
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

ARCHITECTURES: dict[str, type[UNet]] = {"Denoiser": Denoiser, "Upscaler": Upscaler}
FORMER_ARGUMENTS = {"tellable": "noise_inputs"}  # in the cards of older weights files


def add_model(file: Path, name: str | None = None) -> Path:
    """Copy a weights file into the user's folder, so that it is found by name; returns the copy.

    name: None: the file's own, without its suffix
    Raises InputError for a name that is taken or no file's name, UnknownModelError for a file that
    is not there, ModelError where the folder cannot be written, and what `load_model` raises; then
    nothing was added.
    """
    name = file.stem if name is None else name
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(
            f"'{name}' is not a name for a model; give one of letters, digits, '-', '_' and '.'"
        )
    if name in {*available_models(), *RESERVED, *ESTIMATORS, *added_models()}:
        raise InputError(f"there is a model '{name}' already; give another with --name")
    if not file.is_file():
        raise UnknownModelError(f"{file} does not exist; give a weights file")
    folder = models_folder()
    kept = folder / f"{name}{file.suffix.lower()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(file, "rb") as source:
            write_aside(kept, lambda target: shutil.copyfileobj(source, target), overwrite=False)
    except (OSError, WriteError) as error:
        raise ModelError(f"{file} cannot be copied to {folder}: {error}") from error
    try:
        load_model(kept)
    except WeightsError as error:  # about the file that was given, not about its copy
        kept.unlink()
        raise WeightsError(str(error).replace(str(kept), str(file))) from error
    except BaseException:
        kept.unlink()
        raise
    return kept


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
    """The card of a model or of a weights file; of other projects' files, what is known."""
    path = find_weights(name_or_path)
    return read_community_card(path) if is_foreign(path) else _card(_read(path), path)


def replace_scores(path: Path, scores: list[dict[str, Any]]) -> None:
    """Rewrite a weights file with other scores in its card; the tensors stay as they are."""
    data = _read(path)
    card = replace(_card(data, path), scores=scores)
    _write(save(load(data), metadata={HEADER_KEY: card.to_json()}), path)


def load_model(name_or_path: str | os.PathLike[str]) -> Network:
    """A network rebuilt from its weights file alone, on the CPU in float32, ready to restore.

    name_or_path: a name that `restore models` lists, a .safetensors file of this package, or a
                  .pth, .ckpt or .safetensors file of another project, if spandrel is installed and
                  recognises its architecture
    Returns the network in evaluation mode; its `card` attribute holds the model card.
    Raises UnknownModelError for an unknown name, WeightsError for a file that is corrupt, holds
    more than tensors, or does not fit its card. Loading never runs code.
    """
    path = find_weights(name_or_path)
    return load_community(path) if is_foreign(path) else load_own(path)


def is_foreign(path: Path) -> bool:
    """Whether a weights file is of another project: by its name, or by its header."""
    if path.suffix.lower() in SUFFIXES and path.suffix.lower() != ".safetensors":
        return True
    header = _header(path)
    about = header.get("__metadata__", {})
    return bool(header) and not (isinstance(about, dict) and HEADER_KEY in about)


def load_own(name_or_path: str | os.PathLike[str]) -> UNet:
    """As `load_model`, of this package's files alone."""
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


def _header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file; empty where it is none."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, LARGEST_HEADER)))
    except (OSError, ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


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
