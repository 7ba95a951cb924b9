"""What all autoencoders share: checks, first weights, losses in half precision."""

from __future__ import annotations

import pytest
import torch

from restore.autoencoders.base import (
    Autoencoder,
    check_latent,
    check_shape,
    check_widths,
    dense_layers,
    initialise,
    linear_layers,
    shrink_weights,
    squared_error,
)
from restore.errors import InputError


def test_the_interface_alone_neither_encodes_nor_decodes() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Autoencoder((1, 4, 4), 2)  # type: ignore[abstract]  # that is what is tested


def test_sizes_and_widths_are_checked() -> None:
    assert check_shape([3, 4, 5]) == (3, 4, 5)
    assert check_latent(60, (3, 4, 5)) == 60
    assert check_widths((8, 4)) == [8, 4]
    for shape in ((3, 4), (3, 0, 5), (3, 4, 5.0), (1, 2, 3, 4)):
        with pytest.raises(InputError, match="channels, height, width"):
            check_shape(shape)  # type: ignore[arg-type]
    for latent in (0, 61, 2.0):
        with pytest.raises(InputError, match="from 1 to 60"):
            check_latent(latent, (3, 4, 5))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="widths"):
        check_widths([8, -4])


def test_the_squared_error_is_summed_over_values_and_averaged_over_pictures() -> None:
    x = torch.zeros(2, 1, 3, 4)
    y = torch.stack([torch.full((1, 3, 4), 1.0), torch.full((1, 3, 4), 2.0)])
    assert float(squared_error(y, x)) == pytest.approx((12 + 48) / 2)
    assert squared_error(y.bfloat16(), x.bfloat16()).dtype == torch.float32


def test_first_weights_come_from_the_seed_and_shrink() -> None:
    stack = dense_layers([4, 3, 2])
    assert [layer.out_features for layer in linear_layers(stack)] == [3, 2]
    assert not isinstance(stack[-1], torch.nn.ReLU)
    before = stack[0].weight.clone()
    initialise(stack, None)
    torch.testing.assert_close(stack[0].weight, before)
    initialise(stack, 1)
    assert not torch.allclose(stack[0].weight, before)
    assert all(not layer.bias.any() for layer in linear_layers(stack))
    drawn = stack[0].weight.clone()
    shrink_weights(stack[0], factor=0.5)
    torch.testing.assert_close(stack[0].weight, drawn / 2)
