"""The members of the autoencoder family by the name a person gives: "linear", "sparse" ..."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from typing import Any

from restore.autoencoders.convolutional import ConvolutionalAutoencoder
from restore.autoencoders.dense import (
    Autoencoder,
    LinearAutoencoder,
    StackedAutoencoder,
    VanillaAutoencoder,
)
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


def build(kind: str, shape: Sequence[int], **options: Any) -> Autoencoder:
    """A fresh member for pictures of a shape (channels, height, width).

    options: the member's own arguments (`latent`, `hidden`, `seed` ...); None is "not given"
    Raises InputError for an unknown kind, an option the member does not have, or a bad value.
    """
    given = {key: value for key, value in options.items() if value is not None}
    known = list(inspect.signature(class_of(kind).__init__).parameters)[2:]
    if strange := sorted(set(given) - set(known)):
        raise InputError(
            f"a {kind} autoencoder has no option {', '.join(strange)}; it has {', '.join(known)}"
        )
    return class_of(kind)(shape, **given)


def load_autoencoder(path: str | os.PathLike[str]) -> Autoencoder:
    """A member of the family rebuilt from its weights file alone, as `load_model` does."""
    network = load_network(path, {cls.__name__: cls for cls in KINDS.values()})
    assert isinstance(network, Autoencoder)
    return network


def class_of(kind: str) -> type[Autoencoder]:
    """The class of a kind. Raises InputError listing the kinds for any other name."""
    if kind not in KINDS:
        raise InputError(f"there is no autoencoder '{kind}'; the family is {', '.join(KINDS)}")
    return KINDS[kind]


def kind_of(network: Autoencoder) -> str:
    """The name of a member's kind."""
    return {cls: kind for kind, cls in KINDS.items()}[type(network)]
