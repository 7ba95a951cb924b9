"""Convolutions over bands of rows on a CPU, with the step that follows fused in where torch can.

A separate ReLU or addition is one more trip of the whole tensor through the caches. oneDNN, which
does torch's convolutions on x86, can do both while it writes the result, and takes kernels that
were laid out for it once; torch has these as operators for its own compiler. They are tried once
on a few pixels; where they are missing or differ, the plain operators do the same.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PADDING, ONE = [0, 1], [1, 1]  # rows beyond a band are given, columns beyond the picture are zero


class Convolution:
    """A 3x3 convolution of a band of rows: `(1, C, rows + 2, W) -> (1, K, rows, W)`."""

    def __init__(self, conv: nn.Conv2d, fused: bool | None = None) -> None:
        """Its kernels, laid out once. fused: None finds out whether the fused operators work."""
        self.weight = conv.weight.detach()
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.packed: Tensor | None = None
        if can_fuse(self.weight.dtype) if fused is None else fused:
            self.packed = _pack(self.weight)

    def __call__(self, x: Tensor, relu: bool = False) -> Tensor:
        """The convolution, or the ReLU of it."""
        if self.packed is None:
            y = F.conv2d(x, self.weight, self.bias, padding=(0, 1))
            return y.relu_() if relu else y
        after = "relu" if relu else "none"
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.packed, self.bias, PADDING, ONE, ONE, 1, after, [], ""
        )
        return found

    def added_to(self, x: Tensor, y: Tensor) -> Tensor:
        """x + conv(y), written over x; for kernels without a bias."""
        if self.packed is None:
            return x.add_(F.conv2d(y, self.weight, padding=(0, 1)))
        torch.ops.mkldnn._convolution_pointwise_.binary(
            x, y, self.packed, None, PADDING, ONE, ONE, 1, "add", 1.0, None, [], None
        )
        return x


class Growth:
    """A transposed 2x2 convolution of stride 2, added to the rows it meets.

    Each of its four taps goes to a pixel of its own, so it is one matrix product, whose columns are
    sorted into two rows: on a CPU two to three times faster than torch's operator for it.
    """

    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        """Its kernels as a matrix (inputs, 2 rows x 2 columns x outputs)."""
        weight = conv.weight.detach()  # (inputs, outputs, 2 rows, 2 columns)
        self.matrix = weight.permute(0, 2, 3, 1).reshape(len(weight), -1).contiguous()

    def added_to(self, skip: Tensor, x: Tensor) -> None:
        """skip + grown(x), written over skip: `(1, K, 2 rows, 2 W)` and `(1, C, rows, W)`."""
        rows = x[0].permute(1, 2, 0)
        height, width, _ = rows.shape
        pairs = skip[0].permute(1, 2, 0).view(height, 2, width, -1)
        taps = (rows @ self.matrix).view(height, width, 2, -1)
        pairs.add_(taps.permute(0, 2, 1, 3))


def _pack(weight: Tensor) -> Tensor:
    like = [1, weight.shape[1], 18, 256]
    found: Tensor = torch.ops.mkldnn._reorder_convolution_weight(weight, PADDING, ONE, ONE, 1, like)
    return found


@functools.cache
def can_fuse(dtype: torch.dtype) -> bool:
    """Whether this build of torch has the fused operators, and they do what the plain ones do."""
    if not torch.backends.mkldnn.is_available():
        return False
    conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    draw = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        weight = torch.rand(8, 8, 3, 3, generator=draw) - 0.5
        conv.weight = nn.Parameter(weight.to(dtype, memory_format=torch.channels_last), False)
        x = torch.rand(1, 8, 6, 9, generator=draw).to(dtype, memory_format=torch.channels_last)
        try:
            found = [_probe(Convolution(conv, fused=True), x.clone())]
        except (RuntimeError, AttributeError, TypeError, NotImplementedError):
            return False
        found.append(_probe(Convolution(conv, fused=False), x.clone()))
    limit = 0.05 if dtype == torch.bfloat16 else 1e-4
    return bool((found[0] - found[1]).abs().max() < limit)


def _probe(convolution: Convolution, x: Tensor) -> Any:
    y = convolution(x, relu=True)
    return convolution.added_to(x[:, :, 2:-2], y).float()
