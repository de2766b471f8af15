"""Whole families of tests: which there must be, Holm's correction within each, and who is better then."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from recomputed_evidence import REAL, REALS, Sample, Section
from recomputed_tests import DECISIVE, Outcome, std_error, tests_of
from scipy import stats
from statsmodels.stats.multitest import multipletests

ALPHA = 0.05
NAN = math.nan


def families(part: Section) -> Iterator[tuple[str, str, list[Outcome]]]:
    """(metric, protocol, tests that Holm's correction is taken over: those that decide, and the others by kind)."""
    kept = {key[:2] for key in part.samples if key[2] == "all"}
    for metric, protocol in kept:
        reported: dict[str, set[str]] = {"all": set(part.samples[metric, protocol, "all"])}
        for line in part.lines:
            if (line["metric"], line["protocol"]) == (metric, protocol) and line["stratum"] in part.subsets:
                reported.setdefault(line["stratum"], set()).add(line["recipe"])
        for stratum, names in reported.items():
            found = [part.sample(name, metric, protocol, stratum) for name in names]
            yield metric, protocol, _family(part, metric, protocol, stratum, [x for x in found if x is not None])
    for (metric, protocol), samples in _one_a_run(part, kept).items():
        yield metric, protocol, _family(part, metric, protocol, "all", samples)
    yield from _of_attributes(part)


def _of_attributes(part: Section) -> Iterator[tuple[str, str, list[Outcome]]]:
    """Of what values are kept by: the tests of all pairs over all attributes are a family."""
    strata: dict[tuple[str, str], list[str]] = {}
    for metric, protocol, stratum in part.samples:
        if stratum != "all":
            strata.setdefault((metric, protocol), []).append(stratum)
    for (metric, protocol), names in strata.items():
        outcomes: list[Outcome] = []
        for stratum in names:
            found = list(part.samples[metric, protocol, stratum].values())
            outcomes += _family(part, metric, protocol, stratum, found, corrected=False)
        correct(outcomes, part.declared(metric, protocol, "direction"))
        yield metric, protocol, outcomes


def _one_a_run(part, kept) -> dict[tuple[str, str], list[Sample]]:
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    fixed = {line["recipe"]: line["seed"] is None for line in part.lines}
    for line in part.lines:
        key = (line["metric"], line["protocol"])
        if key not in kept and line["stratum"] == "all" and line["value"] is not None:
            found.setdefault(key, {}).setdefault(line["recipe"], []).append(line["value"])
    return {
        key: [Sample(name=name, values=np.array(values)[:, None], fixed=fixed[name]) for name, values in own.items()]
        for key, own in found.items()
    }


def _family(part, metric, protocol, stratum, samples, *, corrected=True) -> list[Outcome]:
    """All pairs of one stratum; uncorrected, they are one part's, whose margins are absolute."""
    direction, margin = (part.declared(metric, protocol, what) for what in ("direction", "margin"))
    samples = sorted((x for x in samples if x.values.size), key=lambda x: (x.name not in REALS, x.name))
    real = next((x for x in samples if x.name == REAL and direction == "target"), None)
    found = []
    for a, b in itertools.combinations(samples, 2):
        scale = (abs(a.values.mean()) + abs(b.values.mean())) / 2 if corrected else 0.0
        for outcome in tests_of(a, b, None if a is real else real):
            outcome.stratum = stratum
            outcome.more["margin"] = margin_of(margin, abs(real.values.mean()) if real else scale)
            outcome.more["larger"] = max(abs(a.values.mean()), abs(b.values.mean()))
            found.append(outcome)
    if corrected:
        correct(found, direction)
    return found


def margin_of(text, scale):
    if text in ("", "none"):
        return NAN
    return float(text[:-1]) / 100 * scale if text.endswith("%") else float(text)


def correct(outcomes: Sequence[Outcome], direction: str) -> None:
    """Holm's p-values of difference, mirror image and equivalence: over the tests that decide, whatever their kind, and
    over each kind of the others; then the verdicts.
    """
    present: dict[tuple[str, str, str], set[str]] = {}
    for outcome in outcomes:
        present.setdefault((outcome.a, outcome.b, outcome.stratum), set()).add(outcome.test)
    kinds = []
    for outcome in outcomes:
        tests = present[outcome.a, outcome.b, outcome.stratum]
        first = next((name for name in DECISIVE if name in tests), None)
        kinds.append("decides" if outcome.test == first else outcome.test)
    for kind in set(kinds):
        own = [outcome for outcome, other in zip(outcomes, kinds, strict=True) if other == kind]
        for outcome in own:
            outcome.more["family"] = len(own)
        ps = {
            "p_holm": [outcome["p_value"] for outcome in own],
            "p_mirror": [NAN if outcome.mirror is None else outcome.mirror["p_value"] for outcome in own],
            "p_equivalent": [_equivalent(outcome) for outcome in own],
        }
        for name, raw in ps.items():
            adjusted, tested = np.array(raw, float), ~np.isnan(raw)
            if tested.sum() > 1:
                adjusted[tested] = multipletests(adjusted[tested], method="holm")[1]
            for outcome, p in zip(own, adjusted, strict=True):
                outcome.more[name] = float(p)
    for outcome in outcomes:
        outcome.more["verdict"] = _verdict(outcome, direction)


def _equivalent(outcome: Outcome) -> float:
    """Two one-sided tests; of images that mirror each other about the target, twice the better way."""
    margin, ways = outcome.more["margin"], [outcome] if outcome.mirror is None else [outcome, outcome.mirror]
    errors = [std_error(way) for way in ways]
    if math.isnan(margin) or math.isnan(errors[0]):
        return NAN
    ps = [
        max(stats.t.sf((margin + way["mean_difference"]) / error, way["df"]),
            stats.t.sf((margin - way["mean_difference"]) / error, way["df"]))
        if error > 0 else float(abs(way["mean_difference"]) >= margin)
        for way, error in zip(ways, errors, strict=True)
    ]  # fmt: skip
    return min(1.0, len(ways) * min(ps))


def _verdict(outcome: Outcome, direction: str) -> str:
    """Who is better: the higher, the lower, or the nearer to the real images; ``unresolved`` unless that is sure."""
    known, difference = outcome.more, outcome["mean_difference"]
    if known["p_equivalent"] < ALPHA:
        return "floor" if known["margin"] >= known["larger"] / 2 else "equivalent"
    if not known["p_holm"] < ALPHA or not _agrees(outcome):
        return "unresolved"
    if direction != "target":
        return "a" if (difference > 0) == (direction == "higher") else "b"
    if outcome.a == REAL:
        return "a"
    if outcome.mirror is None or not known["p_mirror"] < ALPHA or not _agrees(outcome.mirror):
        return "unresolved"
    total = outcome.mirror["mean_difference"]  # a + b - 2 t, so that a - t and b - t are:
    return "a" if abs(total + difference) < abs(total - difference) else "b"


def _agrees(outcome: Outcome) -> bool:
    """Ranks and means may point in opposite directions: then neither is told."""
    return outcome["mean_difference"] != 0 and not outcome["effect_size"] * outcome["mean_difference"] < 0
