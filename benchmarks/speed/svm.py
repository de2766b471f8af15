"""40 linear support vector machines on the same features: vaebench's joint solver against scikit-learn's LinearSVC.

    python benchmarks/speed/svm.py [--rounds 3] [--threads 2] [--rows 16000 162770] [--c 1.0]

Made-up data: correlated Gaussian features (n, 100) float32 and labels by noisy linear rules, base rates from 2 % to
50 %. LinearSVC (primal, its own tolerance) has no threads of its own, so its 40 fits are also shared out among threads
and among processes, each with one BLAS thread; ours runs on all threads and on one, which is the better where other
programs keep the cores busy. All take turns in every round; the headline is the fastest way of LinearSVC's over the
fastest of ours. Prints median seconds, processor seconds of this process, ratios round by round, how far the objective
is from LinearSVC's (--strict: from LinearSVC's run to a tolerance of 1e-8), and the share of equal predictions.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial

import joblib
import numpy as np
import sklearn
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits
from torch import Tensor

from vaebench.core.machine import machine
from vaebench.core.processes import cores
from vaebench.metrics.probes.linear_svm import LinearSVMs, fit, objective

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
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
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


def ours(features: Tensor, targets: Tensor, c: float, threads: int) -> LinearSVMs:
    """The joint solver on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return fit(features, targets, c)
    finally:
        torch.set_num_threads(before)


def compare(rows: int, given: argparse.Namespace) -> None:
    """All in turns on one shape, and what they differ by."""
    features, targets = made(rows)
    mine = {
        f"vaebench, {threads} threads": partial(ours, features, targets, given.c, threads)
        for threads in sorted({1, given.threads}, reverse=True)
    }
    theirs = peers(features, targets, given.c, given.threads)
    theirs = {name: solve for name, solve in theirs.items() if not given.peer or given.peer in name}
    times: dict[str, list[float]] = {name: [] for name in mine | theirs}
    processor: dict[str, list[float]] = {name: [] for name in mine | theirs}
    found: dict[str, LinearSVMs] = {}
    for _ in range(given.rounds):
        for name, solve in (mine | theirs).items():
            began, busy = time.perf_counter(), time.process_time()
            found[name] = solve()
            times[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - busy)
    best, rival = (min(names, key=lambda name: statistics.median(times[name])) for names in (mine, theirs))
    print(f"\n{rows} x {features.shape[1]}, C = {given.c}")
    print(f"{'':30} {'seconds':>8} {'processor':>10}   as many times {best} (min to max)")
    for name, values in times.items():
        ratios = [value / base for value, base in zip(values, times[best], strict=True)]
        shown = f"{statistics.median(ratios):8.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
        busy = "elsewhere" if "processes" in name else f"{statistics.median(processor[name]):.2f}"
        print(f"{name:30} {statistics.median(values):8.2f} {busy:>10}   {shown}")
    reference = found[rival]
    if given.strict:
        reference = peers(features, targets, given.c, given.threads, 1e-8)[rival]()
    report(found[best], reference, features, targets, given)
    ratio = statistics.median(times[rival]) / statistics.median(times[best])
    print(f"headline: {best} is {ratio:.1f} times as fast as {rival}", flush=True)


def report(
    found: LinearSVMs, reference: LinearSVMs, features: Tensor, targets: Tensor, given: argparse.Namespace
) -> None:
    """How far the two solutions are from each other."""
    mine, theirs = (objective(svms, features, targets, given.c) for svms in (found, reference))
    difference = (mine - theirs) / theirs
    equal = (found.decision(features) > 0) == (reference.decision(features) > 0)
    print(f"against LinearSVC at {'tol 1e-8' if given.strict else 'its default tol'}: objective differs by ", end="")
    print(f"{difference.min():.1e} to {difference.max():.1e} of it, equal predictions {equal.double().mean():.4%}")


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
