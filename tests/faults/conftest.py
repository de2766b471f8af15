"""What became of each fault, as a table at the end of ``tox -e faults``."""

import pytest


@pytest.fixture
def found(record_property):
    """Note what a case found, for the table: ``found("300 flips, 300 noticed")``."""
    return lambda text: record_property("found", text)


def pytest_terminal_summary(terminalreporter):
    rows = []
    for outcome, word in (("passed", "held"), ("failed", "FAILED"), ("error", "FAILED"), ("skipped", "skipped")):
        for report in terminalreporter.stats.get(outcome, ()):
            if "faults/" not in report.nodeid:
                continue
            texts = [text for name, text in getattr(report, "user_properties", ()) if name == "found"]
            if texts or outcome != "passed":
                rows.append((word, report.nodeid.rpartition("::")[2], "; ".join(texts)))
    if rows:
        terminalreporter.section("faults: what held, and what failed")
        width = max(len(name) for _, name, _ in rows)
        for word, name, text in sorted(rows, key=lambda row: row[1]):
            terminalreporter.write_line(f"{word:7}  {name:{width}}  {text}".rstrip())
        held = sum(word == "held" for word, *_ in rows)
        terminalreporter.write_line(f"{held} of {len(rows)} held")
