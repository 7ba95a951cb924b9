"""How much of the labels a linear classifier reads out of codes: logistic regression, by L-BFGS.

Alain and Bengio, "Understanding intermediate layers using linear classifier probes" (2016).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import InputError


def probe(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    weight_decay: float = 1e-3,
) -> float:
    """Accuracy on the test codes of a linear classifier fitted to the training ones.

    train, test: (N, size) codes, standardised with the training ones' mean and deviation
    Raises InputError where the labels do not match the codes or name one class only.
    """
    if len(train) != len(train_labels) or len(test) != len(test_labels):
        raise InputError(
            f"the labels do not match: {len(train)} and {len(test)} codes, "
            f"{len(train_labels)} and {len(test_labels)} labels"
        )
    classes = int(torch.cat([train_labels, test_labels]).max()) + 1
    if len(train_labels.unique()) < 2:
        raise InputError("the labels name one class only; a classifier needs two")
    mean, deviation = train.mean(0), train.std(0).clamp(min=1e-6)
    x, y = (train - mean) / deviation, train_labels
    weight = torch.zeros(classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=200, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(F.linear(x, weight, bias), y)
        loss = loss + weight_decay * weight.square().sum() / 2
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        guess = F.linear((test - mean) / deviation, weight, bias).argmax(1)
    return float((guess == test_labels).float().mean())
