"""vaebench: train, measure, test and rank generative image models.

From Python: ``import vaebench as vb``, then ``vb.train``, ``vb.evaluate``, ``vb.compare``, ``vb.leaderboard`` and
``vb.load_run``; :mod:`vaebench.api` says what they take. Nothing is imported before one of them is asked for.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = [
    "Capability",
    "ImageModel",
    "Posterior",
    "Results",
    "Run",
    "compare",
    "evaluate",
    "leaderboard",
    "load_run",
    "train",
]

if TYPE_CHECKING:
    from vaebench.api import Run, compare, evaluate, leaderboard, load_run, train
    from vaebench.core.image_model import Capability, ImageModel, Posterior
    from vaebench.report.tabular import Results


def __getattr__(name: str) -> Any:
    if name in __all__:
        import importlib  # noqa: PLC0415  # the command line imports this package, and must start at once

        of_models = ("Capability", "ImageModel", "Posterior")
        module = "vaebench.core.image_model" if name in of_models else "vaebench.api"
        return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'vaebench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
