"""Results: one JSON line a value; lines are added, never changed, each with its provenance."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vaebench.core.errors import UserError
from vaebench.core.places import write_atomic

# strata that are parts of a value and no subsets of the images: an attribute each, or a condition it was taken under
PARTS = ("attribute=", "condition=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a number came from."""

    data_fingerprint: str
    weights_sha256: str
    extractor_sha256: str
    vaebench_version: str
    versions: dict[str, str]
    device: str
    command: str
    created: str  # ISO 8601, UTC
    seconds: float  # of the evaluation pass that made it
    asked: str = ""  # the protocol before measuring, and how many samples: what need not be measured twice
    data_note: str = ""  # what a reader must know of the images, e.g. that they are synthetic, or a subset


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One value: of a run, on a split and stratum, by a metric and protocol. ``value`` None means n/a."""

    recipe: str
    seed: int | None
    dataset: str
    split: str
    stratum: str
    metric: str
    protocol: str
    unit: str
    direction: str
    value: float | None
    std_error: float | None
    n: int
    note: str
    provenance: Provenance
    margin: str = ""  # what difference matters, as the metric declares it

    @property
    def key(self) -> tuple[str | int | None, ...]:
        """Results with the same key measure the same thing; the latest one counts."""
        return (
            *(self.recipe, self.seed, self.dataset, self.split, self.provenance.data_fingerprint),
            *(self.stratum, self.metric, self.protocol),
        )


def append(path: Path, results: Iterable[Result]) -> None:
    """Add lines to ``results.jsonl``, all or none; what stood there stays."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    for result in results:
        if result.value is not None and not math.isfinite(result.value):
            raise ValueError(f"{result.metric} of {result.recipe} is {result.value}: not a result")
        lines.append(json.dumps(asdict(result), allow_nan=False).encode())
    write_atomic(path, lambda temporary: temporary.write_bytes(b"".join(line + b"\n" for line in lines)))


def read(path: Path) -> list[Result]:
    """All lines, oldest first; :class:`UserError` names the first that cannot be read."""
    results = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            fields = json.loads(line.decode())
            results.append(Result(**{**fields, "provenance": Provenance(**fields["provenance"])}))
        except (ValueError, TypeError, KeyError) as error:
            reason = f"{path} line {number} is no result ({type(error).__name__})"
            raise UserError(f"{reason}: delete that line, or evaluate the run again") from error
    return results


def latest(results: Sequence[Result]) -> list[Result]:
    """The newest result of each key, in the order in which keys first appeared."""
    newest = {result.key: result for result in results}
    return list(newest.values())
