"""40 linear support vector machines on the same features: vaebench's joint solver against scikit-learn's LinearSVC.

    python benchmarks/speed/svm.py [--rounds 3] [--threads 2] [--rows 16000 162770] [--c 1.0]

Made-up data: correlated Gaussian features (n, 100) float32 and labels by noisy linear rules, base rates from 2 % to
50 %. LinearSVC (primal, its own tolerance) has no threads of its own, so its 40 fits are also shared out among threads
and among processes, each with one BLAS thread; the headline is the ratio to the fastest of the three. All take turns in
every round. Prints seconds, ratios round by round, the largest relative difference of the objective from that of
LinearSVC run to 1e-8 (--strict; else to its default), and the share of equal predictions.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import joblib
import numpy as np
import sklearn
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits
from torch import Tensor

from vaebench.compute import cores, machine
from vaebench.metrics.linear_svm import LinearSVMs, fit, objective

PROBLEMS = 40


def made(rows: int, features: int = 100, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features (rows, features) float32 and targets (rows, 40) bool."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.eye(features) + 0.3 * torch.randn(features, features, generator=generator) / features**0.5
    values = torch.randn(rows, features, generator=generator) * torch.linspace(1, 0.3, features) @ mixing
    values += 0.1 * torch.randn(features, generator=generator)
    scores = values @ torch.randn(features, PROBLEMS, generator=generator)
    scores = (scores - scores.mean(dim=0)) / scores.std(dim=0)
    noise = torch.logspace(-0.3, 0.3, PROBLEMS)[torch.randperm(PROBLEMS, generator=generator)]
    scores += noise * torch.randn(rows, PROBLEMS, generator=generator)
    yes = (torch.logspace(-1.7, -0.30103, PROBLEMS) * rows).long()
    cut = scores.sort(dim=0, descending=True).values[yes, torch.arange(PROBLEMS)]
    return values, scores > cut


def one(features: np.ndarray, target: np.ndarray, c: float, tolerance: float) -> tuple[np.ndarray, float]:
    """Weights and bias of one LinearSVC."""
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        svm = LinearSVC(dual=False, C=c, tol=tolerance, max_iter=10000).fit(features, target)
    return svm.coef_[0], float(svm.intercept_[0])


def together(answers: list[tuple[np.ndarray, float]]) -> LinearSVMs:
    weights, bias = zip(*answers, strict=True)
    return LinearSVMs(torch.from_numpy(np.stack(weights, axis=1)), torch.tensor(bias, dtype=torch.float64))


def peers(
    features: Tensor, targets: Tensor, c: float, threads: int, tolerance: float = 1e-4
) -> dict[str, Callable[[], LinearSVMs]]:
    """The ways to run LinearSVC; float64 features, which it would otherwise make of them at each fit."""
    values = features.double().numpy()
    columns = [np.ascontiguousarray(column) for column in targets.numpy().T]

    def shared(prefer: str) -> LinearSVMs:
        pool = joblib.Parallel(n_jobs=threads, prefer=prefer)
        return together(pool(joblib.delayed(one)(values, column, c, tolerance) for column in columns))

    return {
        "LinearSVC, one after another": lambda: together([one(values, column, c, tolerance) for column in columns]),
        f"LinearSVC, {threads} threads": lambda: shared("threads"),
        f"LinearSVC, {threads} processes": lambda: shared("processes"),
    }


def seconds(solve: Callable[[], LinearSVMs]) -> tuple[float, LinearSVMs]:
    began = time.perf_counter()
    found = solve()
    return time.perf_counter() - began, found


def compare(rows: int, given: argparse.Namespace) -> None:
    """All in turns on one shape, and what they differ by."""
    features, targets = made(rows)
    ours = "vaebench, all at once"
    ways = {ours: lambda: fit(features, targets, given.c)} | peers(features, targets, given.c, given.threads)
    ways = {name: solve for name, solve in ways.items() if name == ours or not given.peer or given.peer in name}
    times: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, LinearSVMs] = {}
    for _ in range(given.rounds):
        for name, solve in ways.items():
            took, found[name] = seconds(solve)
            times[name].append(took)
    print(f"\n{rows} x {features.shape[1]}, C = {given.c}:   median seconds   ratio to vaebench (min to max)")
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        ratios = [theirs / mine for theirs, mine in zip(values, times[ours], strict=True)]
        shown = f"{statistics.median(ratios):6.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
        print(f"{name:32} {medians[name]:11.2f}   {shown}")
    fastest = min((name for name in ways if name != ours), key=medians.__getitem__)
    reference = found[fastest]
    if given.strict:
        reference = peers(features, targets, given.c, given.threads, 1e-8)[fastest]()
    mine, theirs = (objective(svms, features, targets, given.c) for svms in (found[ours], reference))
    difference = (mine - theirs) / theirs
    equal = (found[ours].decision(features) > 0) == (reference.decision(features) > 0)
    print(f"headline: {medians[fastest] / medians[ours]:.1f} times as fast as {fastest}; objective against ", end="")
    print(
        f"{'tol 1e-8' if given.strict else 'its default tol'}: relative difference {difference.min():.1e} to ", end=""
    )
    print(f"{difference.max():.1e}, equal predictions {equal.double().mean():.4%}", flush=True)


def main() -> None:
    """Both shapes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--rows", type=int, nargs="+", default=[16000, 162770])
    parser.add_argument("--c", type=float, default=1.0)
    parser.add_argument("--strict", action="store_true", help="compare with LinearSVC at tol 1e-8 (one more run)")
    parser.add_argument("--peer", help="only the ways to run LinearSVC whose name holds this, such as threads")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{machine('cpu')}; scikit-learn {sklearn.__version__}, joblib {joblib.__version__}; ", end="")
    print(f"{PROBLEMS} problems, torch threads {torch.get_num_threads()}, {given.rounds} rounds")
    for rows in given.rows:
        compare(rows, given)


if __name__ == "__main__":
    main()
