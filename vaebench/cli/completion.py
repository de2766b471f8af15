"""Complete names in a shell: runs, recipes, datasets, metrics, suites. Reads folders and tables, no engine."""

from collections.abc import Iterable, Sequence

from vaebench.core.paths import runs_dir
from vaebench.core.subjects import EXTERNAL
from vaebench.core.validation import RESERVED
from vaebench.datasets import DATASETS
from vaebench.metrics import METRICS
from vaebench.models import RECIPES
from vaebench.perceptual import PERCEPTUAL

NO_RUNS = set(RESERVED) - {EXTERNAL.rstrip("/")}  # folders of real images, baselines and studies


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def runs(incomplete: str) -> list[str]:
    """Complete a RUN: recipes that were trained, their seeds, and what was measured from elsewhere."""
    found: list[str] = []
    for folder in runs_dir().glob("*/*"):
        recipe = folder.parent.name
        if folder.is_dir() and not recipe.startswith(".") and recipe not in NO_RUNS:
            found += [f"{recipe}/{folder.name}", *([recipe] if folder.name.startswith("seed-") else [])]
    return _beginning(found, incomplete)


def recipes(incomplete: str) -> list[str]:
    """Complete a recipe's name."""
    return _beginning(RECIPES.names(), incomplete)


def datasets(incomplete: str) -> list[str]:
    """Complete a dataset's name."""
    return _beginning(DATASETS.names(), incomplete)


def fetched(incomplete: str) -> list[str]:
    """Complete the name of a dataset or of weights."""
    return _beginning([*DATASETS.names(), *PERCEPTUAL.names()], incomplete)


def metric(incomplete: str) -> list[str]:
    """Complete a metric's name."""
    return _beginning(METRICS.names(), incomplete)


def metrics(incomplete: str) -> list[str]:
    """Complete the last name of a list of metrics, parted by commas."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _beginning(METRICS.names(), last)]


def suites(incomplete: str) -> Sequence[str]:
    """Complete the name of a suite that comes with vaebench; a shell completes files by itself."""
    from vaebench.suites import built_in

    return _beginning(built_in(), incomplete)
