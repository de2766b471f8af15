"""What every format says of a value beside it."""

from vaebench.report.analysis.leaderboard import Row

CONFIDENCE = 0.95
Fact = str | int | float


def as_printed(value: float) -> float:
    """Round a number as ``leaderboard.csv`` does, to 10 digits, so that both say the same."""
    return float(f"{value:.10g}")


def facts_of(row: Row) -> dict[str, Fact]:
    """List how a value was measured, and how sure it is; what is not known is left out."""
    uncertainty = {"std_error": row.std_error, "ci_low": row.ci_low, "ci_high": row.ci_high}
    known: dict[str, Fact | None] = {
        "unit": row.unit,
        "direction": row.direction,
        "protocol": row.protocol,
        **{name: None if value is None else as_printed(value) for name, value in uncertainty.items()},
        "confidence_level": None if row.ci_low is None else CONFIDENCE,
        "seeds": row.seeds,
        "by_seed": row.by_seed,
        "n": row.n,
        "margin": row.margin,
        "note": row.note,
        "data_fingerprint": row.data_fingerprint,
        "extractor_sha256": row.extractor_sha256,
        "vaebench_version": row.vaebench_version,
        "device": row.device,
    }
    return {name: value for name, value in known.items() if value not in (None, "")}
