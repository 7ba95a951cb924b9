"""The interface of a network: the defaults of `BaseNetwork`, and what `check_network` refuses."""

from __future__ import annotations

import pytest
from torch import Tensor

from restore.errors import InputError
from restore.models.network import BaseNetwork, check_network


class Identity(BaseNetwork):
    channels, scale, multiple_of, halo = 3, 1, 1, 0

    def __call__(self, x: Tensor) -> Tensor:
        return x


def test_four_attributes_and_a_call_make_a_network() -> None:
    check_network(Identity())


def test_a_network_is_blind_by_default() -> None:
    network = Identity()
    assert (network.border, network.noise, network.noise_inputs) == (0, "none", 0)
    assert network.sigma is None and network.card is None
    with pytest.raises(ValueError, match="takes 0 noise levels, not 2"):
        network.conditioned_on(25, 10)


@pytest.mark.parametrize("name", ["channels", "scale", "multiple_of", "halo"])
def test_each_missing_attribute_is_named(name: str) -> None:
    values = {"channels": 3, "scale": 1, "multiple_of": 1, "halo": 0}
    del values[name]
    network = type("Partial", (BaseNetwork,), {**values, "__call__": lambda self, x: x})()
    with pytest.raises(InputError, match=f"Partial cannot be run .* it lacks {name}; derive it"):
        check_network(network)


def test_an_object_that_cannot_be_called_is_refused() -> None:
    silent = type(
        "Silent", (BaseNetwork,), {"channels": 3, "scale": 1, "multiple_of": 1, "halo": 0}
    )
    with pytest.raises(InputError, match=r"Silent cannot be run .* lacks __call__"):
        check_network(silent())


def test_any_other_object_is_refused() -> None:
    with pytest.raises(InputError, match="int cannot be run as a network"):
        check_network(5)
