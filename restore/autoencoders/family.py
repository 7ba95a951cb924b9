"""The kinds of autoencoder by name ("linear", "sparse" ...): build a new one, load a saved one."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any

import torch

from restore.autoencoders.base import Autoencoder
from restore.autoencoders.convolutional import ConvolutionalAutoencoder
from restore.autoencoders.dense import LinearAutoencoder, StackedAutoencoder, VanillaAutoencoder
from restore.autoencoders.regularised import DenoisingAutoencoder, SparseAutoencoder
from restore.autoencoders.variational import VariationalAutoencoder
from restore.engine.memory import format_bytes, free_memory
from restore.errors import InputError
from restore.models.weights import load_network

TRAINING_BYTES = 16  # a parameter: itself, its gradient, and what the optimiser keeps

KINDS: dict[str, type[Autoencoder]] = {
    "linear": LinearAutoencoder,
    "vanilla": VanillaAutoencoder,
    "stacked": StackedAutoencoder,
    "denoising": DenoisingAutoencoder,
    "sparse": SparseAutoencoder,
    "convolutional": ConvolutionalAutoencoder,
    "variational": VariationalAutoencoder,
}

# What each kind is not good at, for its model card.
LIMITS = {
    "linear": "PCA gives the same result at once, with the same blur and ringing.",
    "vanilla": "Fine strokes blur; its code has gaps, so it cannot generate pictures.",
    "stacked": "With the initialisation and the optimiser used here, layer-wise pretraining costs "
    "epochs and gains nothing.",
    "denoising": "It reconstructs clean pictures worse than the vanilla autoencoder, and removes "
    "only the corruption that it was trained on.",
    "sparse": "It has eight times the weights of the vanilla autoencoder and reconstructs worse; "
    "nearly all units reach the target activation, not every one.",
    "convolutional": "It is by far the slowest to train; its code fits one size of picture.",
    "variational": "It has many more weights than the vanilla autoencoder and reconstructs worse; "
    "many generated pictures are unlike anything in the training data.",
}


def build(kind: str, shape: Sequence[int], **options: Any) -> Autoencoder:
    """An untrained autoencoder for pictures of a shape (channels, height, width).

    options: the kind's own arguments (`latent`, `hidden`, `seed` ...); None means the default
    Raises InputError for an unknown kind, an option that the kind does not have, a bad value, or a
    network that is too large to be trained in the free memory.
    """
    given = {key: value for key, value in options.items() if value is not None}
    known = list(inspect.signature(class_of(kind).__init__).parameters)[2:]
    if unknown := sorted(set(given) - set(known)):
        raise InputError(
            f"a {kind} autoencoder has no option {', '.join(unknown)}; it has {', '.join(known)}"
        )
    _check_memory(kind, shape, given)
    return class_of(kind)(shape, **given)


def _check_memory(kind: str, shape: Sequence[int], options: dict[str, Any]) -> None:
    """Sizes the network without allocating it; InputError where it cannot be trained."""
    free = free_memory(torch.device("cpu"))
    try:
        with torch.device("meta"):
            network = class_of(kind)(shape, **{**options, "seed": None})
        needed = TRAINING_BYTES * sum(p.numel() for p in network.parameters())
    except (RuntimeError, TypeError) as error:  # torch has both for a size beyond 64 bits
        if "overflow" not in str(error).lower():
            raise
        needed = sys.maxsize
    if needed > free:
        size = format_bytes(needed) if needed < 2**60 else "far more memory"
        raise InputError(
            f"training this network takes {size}, and {format_bytes(free)} are free; "
            "give smaller layers"
        )


def load_autoencoder(path: str | os.PathLike[str]) -> Autoencoder:
    """An autoencoder rebuilt from its weights file alone, in evaluation mode.

    Raises UnknownModelError or WeightsError as `restore.load_model` does.
    """
    network = load_network(path, {cls.__name__: cls for cls in KINDS.values()})
    assert isinstance(network, Autoencoder)
    return network


def class_of(kind: str) -> type[Autoencoder]:
    """The class of a kind. Raises InputError listing the kinds for any other name."""
    if kind not in KINDS:
        raise InputError(f"there is no autoencoder '{kind}'; choose one of {', '.join(KINDS)}")
    return KINDS[kind]


def kind_of(network: Autoencoder) -> str:
    """The name of the kind of an autoencoder."""
    return {cls: kind for kind, cls in KINDS.items()}[type(network)]
