"""The kinds of autoencoder by name ("linear", "sparse" ...): build a new one, load a saved one."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from typing import Any

from restore.autoencoders.base import Autoencoder
from restore.autoencoders.convolutional import ConvolutionalAutoencoder
from restore.autoencoders.dense import LinearAutoencoder, StackedAutoencoder, VanillaAutoencoder
from restore.autoencoders.regularised import DenoisingAutoencoder, SparseAutoencoder
from restore.autoencoders.variational import VariationalAutoencoder
from restore.errors import InputError
from restore.models.weights import load_network

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
    Raises InputError for an unknown kind, an option that the kind does not have, or a bad value.
    """
    given = {key: value for key, value in options.items() if value is not None}
    known = list(inspect.signature(class_of(kind).__init__).parameters)[2:]
    if unknown := sorted(set(given) - set(known)):
        raise InputError(
            f"a {kind} autoencoder has no option {', '.join(unknown)}; it has {', '.join(known)}"
        )
    return class_of(kind)(shape, **given)


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
