"""Many linear support vector machines on the same features, solved together: Newton's method in torch.

The problem is that of liblinear's primal solver (Fan et al. 2008, "LIBLINEAR: a library for large linear
classification", solver L2R_L2LOSS_SVC), so also of scikit-learn's ``LinearSVC(dual=False)``: for each column k of the
targets, with y = 1 where it is true and -1 elsewhere, least over (w, b) of

    0.5 * (|w|^2 + b^2) + C * sum_i max(0, 1 - y_i (w . x_i + b))^2.

The objective is strongly convex with modulus 1, so half the squared gradient bounds how far a point lies above the
optimum (it is the duality gap of the multipliers 2 C max(0, 1 - y f)). That bound, in float64, is the stop rule.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebench.core.errors import UserError
from vaebench.metrics.probes.squared_hinge import BLOCK, Rows, Rung, evaluate, factors_of, samples, standardised

_TRIALS = 60  # lengths of one step
_FLOOR = 1e-11  # relative gap by the quadratic model, at which float32's rounding shows in the gradient


@dataclass(frozen=True, slots=True)
class LinearSVMs:
    """k linear classifiers on the same d features: ``weights`` (d, k) and ``bias`` (k,), float64."""

    weights: Tensor
    bias: Tensor

    def decision(self, features: Tensor) -> Tensor:
        """Compute the signed distance from the boundary, times |w|: (n, d) -> (n, k) float64; positive means yes."""
        return features.double() @ self.weights + self.bias


_Stop = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # value, gradient, decrement, one before -> (k,) bool


def objective(svms: LinearSVMs, features: Tensor, targets: Tensor, c: float) -> Tensor:
    """Compute what :func:`fit` minimises: features (n, d), targets (n, k) bool -> (k,) float64.

    Raises :class:`UserError` for shapes that do not match.
    """
    _check(features, targets, c, svms)
    value = 0.5 * (svms.weights.square().sum(dim=0) + svms.bias.square())
    for part, wanted in zip(features.split(BLOCK), targets.split(BLOCK), strict=True):
        decision = svms.decision(part)
        value = value + c * (1 - torch.where(wanted, decision, -decision)).clamp_(min=0).square_().sum(dim=0)
    return value


@torch.no_grad()
def fit(
    features: Tensor,
    targets: Tensor,
    c: float,
    *,
    start: LinearSVMs | None = None,
    tolerance: float = 1e-8,
    iterations: int = 200,
) -> LinearSVMs:
    """Fit the k classifiers whose objective is least, to ``tolerance`` of its value at most above the optimum.

    ``features`` floating (n, d), finite; ``targets`` bool (n, k), a column of one class included; ``c`` the positive
    weight of the loss; ``start`` a guess, such as the solution for another ``c``. On the features' device; holds one
    float32 copy of features and targets. Samples of the rows, drawn from a generator of its own, give the first guess
    and the Hessians (Byrd et al. 2011, "On the use of stochastic Hessian information in optimization methods for
    machine learning"); gradients are of all rows, in float32 first and in float64 at the end. Where the sample's
    Hessian serves badly, the next larger one takes its place, up to that of all rows in float64: Newton's method.

    Raises :class:`UserError` for shapes that do not match, features that are not finite, ``c`` or ``tolerance`` that
    are not positive, and where ``iterations`` steps do not reach the tolerance.
    """
    _check(features, targets, c, start)
    if not tolerance > 0:
        raise UserError(f"tolerance is a positive share of the objective, not {tolerance}")
    rows = standardised(features, targets, c)
    n, dimensions = rows.single.shape
    levels = [*samples(rows), rows]
    points = rows.back.new_zeros(dimensions, targets.shape[1]) if start is None else _points(rows, start)
    if start is None:
        for below, level in zip([None, *levels], levels[:-1], strict=False):
            share = min(0.2 * dimensions / len(level.signs), 0.05)  # beyond, the sample says little of all rows
            newton = _Newton(level, _ladder(below, level), points)
            newton.descend(torch.float32, _near(share), iterations)
            points = newton.points
    newton = _Newton(rows, _ladder(levels[-2] if len(levels) > 1 else None, rows), points)
    if len(levels) > 1:
        newton.descend(torch.float32, _near(_FLOOR), iterations)
    missed = newton.descend(torch.float64, _certain(rows, tolerance), iterations)
    if len(missed):
        raise UserError(
            f"{len(missed)} of {targets.shape[1]} linear SVMs (the first is problem {int(missed[0])}) did not reach "
            f"tolerance {tolerance} at C = {c} on {n} rows: standardise the features, or give a smaller C, a larger "
            "tolerance or more iterations"
        )
    weights = newton.points[:-1] / rows.scale[:, None]
    return LinearSVMs(weights=weights, bias=newton.points[-1] - rows.mean @ weights)


def _check(features: Tensor, targets: Tensor, c: float, svms: LinearSVMs | None) -> None:
    if features.ndim != 2 or not features.is_floating_point() or 0 in features.shape:
        raise UserError(f"features are a floating (n, d) tensor, not {features.dtype} {tuple(features.shape)}")
    if targets.ndim != 2 or targets.dtype != torch.bool or len(targets) != len(features) or 0 in targets.shape:
        raise UserError(
            f"targets are a bool ({len(features)}, k) tensor, a row for each row of features, not {targets.dtype} "
            f"{tuple(targets.shape)}"
        )
    if not (math.isfinite(c) and c > 0):
        raise UserError(f"C, the weight of the loss, is a positive number, not {c}")
    if svms is None:
        return
    expected = (features.shape[1], targets.shape[1])
    if svms.weights.shape != expected or svms.bias.shape != expected[1:]:
        found = f"weights {tuple(svms.weights.shape)} and bias {tuple(svms.bias.shape)}"
        raise UserError(
            f"the classifiers do not fit the data: give weights {expected} and bias {expected[1:]}, not {found}"
        )
    if not (svms.weights.isfinite().all() and svms.bias.isfinite().all()):
        raise UserError("the classifiers' weights are not finite: leave the start out, or give a solution")


def _points(rows: Rows, svms: LinearSVMs) -> Tensor:
    weights, bias = (part.to(rows.back) for part in (svms.weights, svms.bias))
    return torch.cat([weights * rows.scale[:, None], (bias + rows.mean @ weights)[None]])


def _ladder(below: Rows | None, rows: Rows) -> list[Rung]:
    """List sources of Hessians from the cheapest to the exact one."""
    cheap = [] if below is None else [(below, torch.float32), (rows, torch.float32)]
    return [*cheap, (rows, torch.float64)]


def _near(share: float) -> _Stop:
    """Tell whether problems are within a share of the objective by the quadratic model, or as near as float32 gets."""

    def stop(value: Tensor, gradient: Tensor, decrement: Tensor, before: Tensor) -> Tensor:
        stuck = (decrement > 0.25 * before) & (decrement < 1e3 * _FLOOR * value)
        return (decrement <= 2 * share * value) | stuck

    return stop


def _certain(rows: Rows, tolerance: float) -> _Stop:
    """Tell whether problems are within the tolerance for certain: half the squared gradient with respect to (w, b)
    bounds the gap.
    """

    def stop(value: Tensor, gradient: Tensor, decrement: Tensor, before: Tensor) -> Tensor:
        weights = gradient[:-1] * rows.scale[:, None] + rows.mean[:, None] * gradient[-1]
        return 0.5 * (weights.square().sum(dim=0) + gradient[-1].square()) <= tolerance * value

    return stop


class _Newton:
    """Newton's method for all problems at once, each with a step length and a Hessian's source of its own."""

    def __init__(self, rows: Rows, ladder: Sequence[Rung], points: Tensor) -> None:
        self.rows, self.ladder, self.points = rows, ladder, points
        count, dimensions = points.shape[1], len(points)
        self.rung = torch.zeros(count, dtype=torch.long, device=points.device)
        self.factors = points.new_zeros(count, dimensions, dimensions)
        self.fresh = torch.zeros_like(self.rung, dtype=torch.bool)  # factors are of these points
        self._take_hessians(torch.arange(count, device=points.device))

    def _take_hessians(self, problems: Tensor) -> None:
        """Factor the Hessians at the current points, from the next source too where a source's are not positive
        definite.
        """
        while len(problems):
            failed = list[Tensor]()
            for rung in self.rung[problems].unique().tolist():
                chosen = problems[self.rung[problems] == rung]
                self.factors[chosen], bad = factors_of(self.ladder[rung], self.points[:, chosen], chosen)
                failed.append(chosen[bad])
            self.fresh[problems] = True
            problems = torch.cat(failed)
            problems = problems[self.rung[problems] < len(self.ladder) - 1]
            self.rung[problems] += 1

    def _steps(self, problems: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Compute Newton steps (d + 1, m), and how far they lead down by the quadratic model, twice: (m,)."""
        steps = -torch.cholesky_solve(gradient.T[:, :, None], self.factors[problems])[:, :, 0].T
        return steps, -(gradient * steps).sum(dim=0)

    def descend(self, dtype: torch.dtype, stop: _Stop, iterations: int) -> Tensor:
        """Step until ``stop`` says so of each problem; returns the numbers of those for which it did not."""
        problems = torch.arange(self.points.shape[1], device=self.points.device)
        rows = self.rows
        value, gradient = evaluate(rows, self.points, dtype)
        before = torch.full_like(value, math.inf)
        moved = torch.ones_like(problems, dtype=torch.bool)
        for _ in range(iterations):
            steps, decrement = self._steps(problems, gradient)
            going = ~stop(value, gradient, decrement, before)
            if not going.all():
                problems, rows = problems[going], self.rows.only(problems[going])
                value, gradient, before = value[going], gradient[:, going], before[going]
                moved = moved[going]
                steps, decrement = steps[:, going], decrement[going]
            if not len(problems):
                break
            slow = ~(decrement <= 0.1 * before) & before.isfinite()
            useless = slow & self.fresh[problems] & ~(decrement <= 0.5 * before)
            top = self.rung[problems] == len(self.ladder) - 1
            if (useless & top & ~moved).any():  # the exact Hessian leads nowhere: rounding is all that is left
                break
            self.fresh[problems] &= before.isinf()
            self.rung[problems[useless & ~top]] += 1
            if slow.any():
                self._take_hessians(problems[slow])
                steps, decrement = self._steps(problems, gradient)
            value, gradient, moved = self._search(rows, problems, steps, value, gradient, dtype)
            before = decrement
        return problems

    def _search(
        self, rows: Rows, problems: Tensor, steps: Tensor, value: Tensor, gradient: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Go along the steps as far as serves; returns value and gradient there, and which problems moved at all.

        Until the slope is at most half of what it was, in size; a whole step may also end in a steep descent. The
        objective is convex: where the slope still points down, it has fallen, whatever rounding says.
        """
        downhill = (gradient * steps).sum(dim=0)
        noise = (1e-6 if dtype == torch.float32 else 1e-12) * value
        near, near_slope = torch.zeros_like(value), downhill.clone()
        far, far_slope = torch.ones_like(value), -downhill
        length, value, gradient = torch.ones_like(value), value.clone(), gradient.clone()
        left = torch.arange(len(problems), device=value.device)
        for trial in range(_TRIALS):
            points = self.points[:, problems[left]] + length[left] * steps[:, left]
            reached, uphill = evaluate(rows.only(left), points, dtype)
            slope, first = (uphill * steps[:, left]).sum(dim=0), downhill[left]
            enough = reached <= value[left] + 1e-4 * length[left] * first + noise[left]
            short = (slope < 0.5 * first) & (length[left] < 1)
            good = ~short & (slope <= -0.5 * first) & (enough | (slope <= 0))
            done = left[good]
            self.points[:, problems[done]] = points[:, good]
            value[done], gradient[:, done] = reached[good], uphill[:, good]
            left, slope, short = left[~good], slope[~good], short[~good]
            if not len(left):
                break
            lower, upper = left[short], left[~short]
            near[lower], near_slope[lower] = length[lower], slope[short]
            far[upper], far_slope[upper] = length[upper], slope[~short]
            share = (near_slope / (near_slope - far_slope))[left].clamp(0.1, 0.9).nan_to_num(0.1)
            share = share.fill_(0.5) if trial % 2 else share  # the secant alone may creep
            length[left] = near[left] + (far[left] - near[left]) * share
        moved = torch.ones_like(problems, dtype=torch.bool)
        moved[left] = False
        return value, gradient, moved
