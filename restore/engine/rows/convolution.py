"""Convolutions over bands of rows on a CPU, with the following operation fused if torch can.

A separate ReLU or addition reads and writes the whole tensor once more. oneDNN, which torch uses
for convolutions on x86, can do both while it writes the result, and accepts kernels that were
reordered once; torch has these operators for its own compiler. They are tested once on a few
pixels; if they are missing or give other results, the plain operators are used.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ONE = [1, 1]  # stride and dilation


class Convolution:
    """A 3x3 convolution of a band of rows: `(1, C, rows + 2, W) -> (1, K, rows, W)`.

    framed: the input includes a column on each side, `W + 2` columns for an output of W. Otherwise
    oneDNN pads with zeros, which takes as long as a convolution of few channels.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        framed: bool = False,
        fused: bool | None = None,
    ) -> None:
        """weight: (K, C, 3, 3); fused: use the fused operators; None: if they work."""
        self.weight, self.bias = weight, bias
        self.padding = [0, 0 if framed else 1]
        self.packed: Tensor | None = None
        if can_fuse(self.weight.dtype) if fused is None else fused:
            self.packed = _pack(self.weight, self.padding)

    def __call__(self, x: Tensor, relu: bool = False) -> Tensor:
        """The convolution of x, or its ReLU."""
        if self.packed is None:
            y = F.conv2d(x, self.weight, self.bias, padding=self.padding)
            return y.relu_() if relu else y
        after = "relu" if relu else "none"
        output: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.packed, self.bias, self.padding, ONE, ONE, 1, after, [], ""
        )
        return output

    def added_to(self, x: Tensor, y: Tensor) -> Tensor:
        """x + conv(y), written over x, without the bias."""
        if self.packed is None:
            return x.add_(F.conv2d(y, self.weight, padding=self.padding))
        torch.ops.mkldnn._convolution_pointwise_.binary(
            x, y, self.packed, None, self.padding, ONE, ONE, 1, "add", 1.0, None, [], None
        )
        return x


class Upsampling:
    """A transposed 2x2 convolution of stride 2, as a matrix product for the even or odd rows.

    Each of its four taps gives a separate output pixel, so nothing is summed. On a CPU this is two
    to three times as fast as torch's operator.
    """

    def __init__(self, weight: Tensor) -> None:
        """weight: `(C, K, 2, 2)`, stored as two matrices, for the even and the odd rows."""
        rows = weight.permute(2, 0, 3, 1)  # (2 rows, inputs, 2 columns, outputs)
        self.matrices = [row.flatten(1).contiguous() for row in rows]
        self.outputs = rows.shape[3]

    def __call__(self, x: Tensor, row: int) -> Tensor:
        """The even (row 0) or odd (row 1) output rows: `(1, C, rows, W)` -> `(rows, 2 W, K)`."""
        lines = x[0].permute(1, 2, 0)
        product: Tensor = lines @ self.matrices[row]
        return product.view(len(lines), -1, self.outputs)


def _pack(weight: Tensor, padding: list[int]) -> Tensor:
    like = [1, weight.shape[1], 18, 256]
    found: Tensor = torch.ops.mkldnn._reorder_convolution_weight(weight, padding, ONE, ONE, 1, like)
    return found


@functools.cache
def can_fuse(dtype: torch.dtype) -> bool:
    """Whether this build of torch has the fused operators, and they equal the plain ones."""
    if not torch.backends.mkldnn.is_available():
        return False
    draw = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        weight = torch.rand(8, 8, 3, 3, generator=draw) - 0.5
        weight = weight.to(dtype, memory_format=torch.channels_last)
        x = torch.rand(1, 8, 6, 9, generator=draw).to(dtype, memory_format=torch.channels_last)
        try:
            found = [_probe(Convolution(weight, fused=True), x.clone())]
        # raised by a torch without these operators, or with other arguments
        except (RuntimeError, AttributeError, TypeError, NotImplementedError):
            return False
        found.append(_probe(Convolution(weight, fused=False), x.clone()))
    limit = 0.05 if dtype == torch.bfloat16 else 1e-4
    return bool((found[0] - found[1]).abs().max() < limit)


def _probe(convolution: Convolution, x: Tensor) -> Any:
    y = convolution(x, relu=True)
    return convolution.added_to(x[:, :, 2:-2], y).float()
