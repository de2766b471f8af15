"""What the pages are made of: one part of a dataset's results, and all that was worked out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vaebench.report import attributes, comparisons, leaderboard, variance
from vaebench.report.collect import Measured
from vaebench.report.published import Claim
from vaebench.report.remarks import Remarks
from vaebench.report.standing import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One split and data fingerprint of a dataset, with all that was worked out of it."""

    measured: Measured
    ranked: Sequence[leaderboard.Row]
    tested: Sequence[comparisons.Row]
    probed: Sequence[attributes.Row]
    held: Sequence[Claim]
    captions: Mapping[str, str]  # a figure's path within ``folder`` -> caption
    remarks: Remarks
    folder: Path
    standing: Standing = field(default_factory=Standing)
    spread: Sequence[variance.Row] = ()
