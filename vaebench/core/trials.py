"""Keep what trials measured of this machine, in ``VAEBENCH_CACHE/compute.json``: rates by what was tried and by way.

A trial that something else on the machine disturbed is used and not kept.
"""

import json
import logging
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from vaebench.core import input_files, validation
from vaebench.core.errors import UserError
from vaebench.core.files import exclusive, make_dir, write_text
from vaebench.core.paths import cache_dir

Rates = dict[str, Annotated[dict[str, Annotated[float, Meta(gt=0)]], Meta(min_length=1)]]
STEADY = 0.5  # the median repetition's seconds over the fastest's, less 1, where nothing disturbs a trial, at most
ATTEMPTS = 2

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Measured:
    """Rates by way, and what disturbed the measurement, in words; empty if nothing did."""

    rates: Mapping[str, float]
    disturbed: str = ""


def kept(key: str, take: Callable[[], Measured]) -> dict[str, float]:
    """Return the rates that are kept under a key, or those that ``take`` measures now.

    What was disturbed is measured once more, and used though not kept if it was disturbed again. Empty where the cache
    cannot be written to: what cannot be kept would differ from start to start.
    """
    known = known_rates()
    if key not in known:
        try:
            # processes that start at once measure one after the other, and all but the first find what it wrote
            with exclusive(make_dir(cache_dir()), wait=True):
                known = known_rates()
                if key not in known:
                    found = _undisturbed(take)
                    if found.disturbed:
                        log.info(
                            "this machine is busy (%s): the settings that were fastest now are used for this start and "
                            "not kept; 'vaebench doctor' measures anew when it is quiet",
                            found.disturbed,
                        )
                        return dict(found.rates)
                    _write({**known, key: dict(found.rates)})
                    known = known_rates()
        except UserError:
            pass
    return known.get(key, {})


def keep_best(key: str, way: str, rate: float) -> None:
    """Keep a rate under a key if it is the best of that way so far."""
    try:
        with exclusive(make_dir(cache_dir()), wait=True):
            known = known_rates()
            of = known.get(key, {})
            if rate > of.get(way, 0.0):
                _write({**known, key: {**of, way: round(rate, 1)}})
    except UserError:  # the cache cannot be written to
        pass


def known_rates() -> dict[str, dict[str, float]]:
    """Read key -> way -> rate; empty if the file is missing or damaged."""
    path = cache_dir() / "compute.json"
    try:
        content = input_files.read_bytes(path, most=input_files.SMALL, remedy="delete it")
        return validation.from_json(content, Rates, str(path), "delete it")
    except (FileNotFoundError, UserError, ValueError):
        return {}


def spread(seconds: Sequence[float]) -> float:
    """Return by how much the median of these exceeds the least, as a share of it."""
    return statistics.median(seconds) / min(seconds) - 1


def disturbance(apart: float) -> str:
    """Say that repetitions differ too much for a quiet machine; empty if they do not."""
    return f"some repetitions took {1 + apart:.1f} times as long as others" if apart > STEADY else ""


def _write(rates: Mapping[str, Mapping[str, float]]) -> None:
    write_text(cache_dir() / "compute.json", json.dumps(rates, indent=2, sort_keys=True) + "\n")


def _undisturbed(take: Callable[[], Measured]) -> Measured:
    found = take()
    for _ in range(ATTEMPTS - 1):
        found = take() if found.disturbed else found
    return found
