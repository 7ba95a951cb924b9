"""Muon: momentum whose matrices are orthogonalised before each step, for convolution kernels.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). The first and the
last layer, and anything that is not a kernel, are left to AdamW.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

# The quintic iteration x -> a x + b x^3 + c x^5 drives every singular value towards 1; these
# coefficients, from the paper, trade an exact fixed point for the steepest slope at zero.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)

# A noise level is a few hundredths of the picture's range, so what it weighs must become large.
LEVEL_RATE = 20.0


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly: singular values within about [0.7, 1.2].

    matrices: (batch, rows, columns); the work is done in bf16, the result has the input's type
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.size(1) > matrices.size(2)
    x = (matrices.mT if tall else matrices).bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; for parameters of two or more dimensions.

    A kernel (out, in, k, k) is taken as the matrix (out, in k k). The step is scaled by
    sqrt(max(1, rows / columns)), so that one learning rate fits all shapes.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        """Group the parameters.

        momentum: of the running mean of gradients
        weight_decay: decoupled; holds every singular value below about 1 / weight_decay. In a
                network without normalisation the kernels grow without it until training diverges.
        """
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    # other optimisers also take a function that computes the loss anew; nothing here has one
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update. Kernels of one shape are orthogonalised in one batch."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for alike in shapes.values():
                torch._foreach_mul_(alike, 1 - group["lr"] * group["weight_decay"])
                self._step_alike(alike, group["lr"], group["momentum"])

    def _step_alike(self, parameters: list[Tensor], lr: float, momentum: float) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        for parameter in parameters:
            if "mean" not in self.state[parameter]:
                self.state[parameter]["mean"] = torch.zeros_like(parameter)
        means = [self.state[parameter]["mean"] for parameter in parameters]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        ahead = torch.stack(torch._foreach_lerp(gradients, means, momentum))
        steps = orthogonalise(ahead.flatten(2)).view_as(ahead)
        rows, columns = ahead.flatten(2).shape[1:]
        scale = -lr * max(1.0, rows / columns) ** 0.5
        torch._foreach_add_(parameters, list(steps.unbind()), alpha=scale)


def build_optimisers(
    network: nn.Module, kernel_rate: float, other_rate: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Muon on the hidden kernels; AdamW (betas .9, .95) on the first and the last layer."""
    edges = {id(p) for name, p in network.named_parameters() if name.startswith(("head", "tail"))}
    hidden = [p for p in network.parameters() if p.ndim > 2 and id(p) not in edges]
    conditions = [p for name, p in network.named_parameters() if name == "level"]
    others = [p for p in network.parameters() if p.ndim < 2 or id(p) in edges]
    others = [p for p in others if all(p is not q for q in conditions)]
    groups: list[dict[str, Any]] = [{"params": others}]
    if conditions:
        groups.append({"params": conditions, "lr": other_rate * LEVEL_RATE})
    return [
        Muon(hidden, lr=kernel_rate, weight_decay=weight_decay),
        torch.optim.AdamW(groups, lr=other_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]
