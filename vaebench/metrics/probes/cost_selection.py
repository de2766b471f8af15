"""Linear SVMs whose cost C is chosen for each problem by validation accuracy."""

import torch
from torch import Tensor

from vaebench.metrics.probes.linear_svm import LinearSVMs, fit

COSTS = (0.001, 0.01, 0.1, 1.0)  # chosen among where there are images to choose on; else 1
CURVATURES = 2**27  # numbers in all the problems' curvature matrices: 1 GiB


def fit_chosen(features: Tensor, targets: Tensor, choosing: tuple[Tensor, Tensor] | None = None) -> LinearSVMs:
    """Fit an SVM for each column of ``targets`` bool (n, k), on standardised features (n, d).

    Each takes the C with the best validation accuracy on ``choosing`` (features and targets of other images), of equals
    the smallest; C = 1 without them. As many are fitted at once as their curvature matrices leave memory for.
    """
    together = max(1, CURVATURES // (features.shape[1] + 1) ** 2)
    parts = [
        _chosen(features, targets[:, part], choosing and (choosing[0], choosing[1][:, part]))
        for part in torch.arange(targets.shape[1]).split(together)
    ]
    return LinearSVMs(
        weights=torch.cat([part.weights for part in parts], dim=1), bias=torch.cat([part.bias for part in parts])
    )


def _chosen(features: Tensor, targets: Tensor, choosing: tuple[Tensor, Tensor] | None) -> LinearSVMs:
    if choosing is None:
        return fit(features, targets, 1.0)
    best = torch.full((targets.shape[1],), -1.0, dtype=torch.float64)
    weights = torch.zeros(features.shape[1], targets.shape[1], dtype=torch.float64)
    bias = torch.zeros(targets.shape[1], dtype=torch.float64)
    machines = None
    for cost in COSTS:
        machines = fit(features, targets, cost, start=machines)
        accuracy = ((machines.decision(choosing[0]) > 0) == choosing[1]).double().mean(dim=0)
        better = accuracy > best
        best = torch.where(better, accuracy, best)
        weights, bias = torch.where(better, machines.weights, weights), torch.where(better, machines.bias, bias)
    return LinearSVMs(weights=weights, bias=bias)
