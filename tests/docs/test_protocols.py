"""The page of protocols lists the metrics that there are, as they declare themselves."""

import re
from collections.abc import Iterator

from documented import ROOT

from vaebench.metrics import METRICS

PAGE = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")


def listed() -> Iterator[tuple[str, ...]]:
    """Rows of the page: name, unit, direction, margin, protocol."""
    for name, unit, direction, margin, protocols in re.findall(
        r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", PAGE, re.MULTILINE
    ):
        for protocol in re.findall(r"`([^`]*)`", protocols):
            yield name, unit, direction, margin.strip(), protocol


def declared() -> Iterator[tuple[str, ...]]:
    for name, entries in METRICS.entries().items():
        if entries[0].origin == "built-in":
            for metric in METRICS.get(name)():
                spec = metric.spec
                yield spec.name, spec.unit, spec.direction, spec.margin, spec.protocol


def test_the_tables_are_what_the_metrics_declare():
    assert sorted(listed()) == sorted(declared())


def test_each_metric_is_described_and_stands_under_its_question():
    parts = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}
    for name in METRICS.names():
        for metric in METRICS.get(name)():
            part = parts[metric.spec.question]
            assert f"\n### {name}\n" in part or f"\n- `{name}`: " in part, f"{name} is not described"
