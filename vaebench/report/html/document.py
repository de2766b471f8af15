"""Assemble the whole page: values for the template, and the hashes that its security policy allows."""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from vaebench.core.setting_names import own_name
from vaebench.core.subjects import is_model, is_real, title_of
from vaebench.report import answer_wording
from vaebench.report.analysis import leaderboard, variance
from vaebench.report.analysis.mean_ranks import MeanRanks
from vaebench.report.analysis.measured import Measured
from vaebench.report.html import tables
from vaebench.report.html.answer import answer_lines
from vaebench.report.html.claims import claim_table
from vaebench.report.html.images import shown_figures
from vaebench.report.html.leaderboard import LeaderboardTable, leaderboard_table
from vaebench.report.html.metric_panels import panels
from vaebench.report.html.provenance import Shown
from vaebench.report.html.wording import typed
from vaebench.report.section import Section, mixed_seeds, training_warnings


def html_report(parts: Sequence[Section]) -> str:
    """Return ``index.html`` of one dataset: a single file that asks no network, the same for the same results."""
    style, script = template("style.css"), template("script.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["breakable"] = _breakable
    shown = Shown()
    sections = [_section(part, f"p{position}", shown) for position, part in enumerate(parts)]
    environment.globals.update(title=_title, is_model=is_model)
    return environment.from_string(template("index.html.j2")).render(
        heading=parts[0].heading,
        sections=sections,
        style=Markup(style),  # vaebench's own files
        script=Markup(script),
        style_hash=hash_of(style),
        script_hash=hash_of(script),
        data=Markup(shown.to_json()),  # <, > and & are written as \u003c and so on
    )


def template(name: str) -> str:
    """Read one of the package's templates."""
    return (resources.files("vaebench.report") / "templates" / name).read_text(encoding="utf-8")


def _breakable(protocol: str) -> Markup:
    """Let a protocol break into lines after its slashes."""
    return Markup("/<wbr>").join(protocol.split("/"))


def _title(name: str) -> Markup:
    """Name a recipe in a head; a line may end before its settings."""
    own = title_of(own_name(name))
    settings = name[len(own_name(name)) :]
    return Markup("{}<wbr>{}").format(own, settings) if settings else Markup("{}").format(own)


def hash_of(content: str) -> str:
    """Return what a page's security policy calls a style or script that it allows."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode("ascii")


def _section(part: Section, prefix: str, shown: Shown) -> dict[str, Any]:
    measured, mean_ranks = part.measured, part.mean_ranks
    table = leaderboard_table(measured, part.ranked, prefix, shown)
    return {
        "prefix": prefix,
        "head": _head(measured),
        "images": part.images,
        "source": part.suite.source if part.suite else "",
        "answer": answer_lines(part.answer),
        "compared": answer_wording.what(part.answer) if part.answer else "",
        "mixed": mixed_seeds(measured),
        "leaderboard_table": table,
        "summary": _summary(table),
        "caution": _caution(part.ranked),
        "spread": variance.in_words(part.spread).strip(),
        "panels": panels(part, prefix, shown),
        "missing": tables.without_value(part.ranked),
        "standing": _mean_ranks(mean_ranks),
        "plates": shown_figures(measured, part.captions, part.remarks, part.folder, part.alternatives),
        "attribute_means": tables.attribute_means(part.probed),
        "attribute_each": tables.attribute_each(part.probed),
        "attribute_notes": tables.notes(part.probed),
        "studies": tables.studies(part.studied),
        "claims": claim_table(part.held),
        "compute": tables.compute(part.computed),
        "cost": tables.cost(part.ranked, table.models),
        "training": tables.training(measured),
        "warnings": training_warnings(measured),
        "commands": _commands(part),
    }


def _head(measured: Measured) -> dict[str, Any]:
    """Return what was measured, when, on what, by what."""
    newest = max(measured.results, key=lambda line: line.provenance.created)
    source = newest.provenance
    days = sorted({line.provenance.created[:10] for line in measured.results})
    note = source.data_note
    return {
        "split": newest.split,
        "note": note[:1].upper() + note[1:],
        "facts": [
            ("split", newest.split),
            ("data fingerprint", source.data_fingerprint[:12]),
            ("measured", days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"),
            ("on", "; ".join(sorted({line.provenance.device for line in measured.results}))),
            ("by", "vaebench " + ", ".join(sorted({line.provenance.vaebench_version for line in measured.results}))),
            ("with", ", ".join(f"{name} {version}" for name, version in sorted(source.versions.items()))),
        ],
    }


def _summary(table: LeaderboardTable) -> str:
    models = [name for name in table.models if not is_real(name)]
    lines = sum(len(lines) for _, lines in table.groups)
    plural = "" if len(models) == 1 else "s"
    return f"{len(models)} model{plural}, {lines} measurements."


def _caution(ranked: Sequence[leaderboard.Row]) -> str:
    """Say what one training seed cannot show, if models have no more."""
    most: dict[str, int] = {}
    for row in ranked:
        if is_model(row.recipe) and row.seeds:
            most[row.recipe] = max(most.get(row.recipe, 0), row.seeds)
    single = sorted(name for name, seeds in most.items() if seeds == 1)
    if not single:
        return ""
    whose = "Every model" if len(single) == len(most) else ", ".join(single)
    has = "has" if len(single) in (1, len(most)) else "have"
    first = f"{whose} {has} one training seed"
    if len(single) == len(most):
        return f"{first}: a verdict says this checkpoint against that one, and ranks no recipe. More seeds would."
    return (
        f"{first}: against models with several seeds, the training variance of those is taken for both; between "
        "single checkpoints a verdict says this checkpoint against that one, and ranks no recipe."
    )


def _mean_ranks(mean_ranks: MeanRanks) -> dict[str, Any] | None:
    """List mean ranks over one metric a question, best first; None without ranks."""
    if len(mean_ranks.names) < 2:
        return None
    ranks = zip(mean_ranks.names, mean_ranks.average_ranks, strict=True)
    return {
        "ranks": [(title_of(name), f"{rank:.2f}") for name, rank in ranks],
        "metrics": list(mean_ranks.metrics),
    }


def _commands(part: Section) -> str:
    """List everything that was typed, in the order in which it must be typed again."""
    measured, suite = part.measured, part.suite
    trained = sorted({record.command for record in measured.records.values()})
    evaluated = sorted({line.provenance.command for line in measured.results} - set(trained))
    last = ["suite", "run", suite.name, "--only", "report"] if suite else ["report", "--dataset", measured.dataset]
    return "\n".join([*trained, *evaluated, typed(["vaebench", *last])])
