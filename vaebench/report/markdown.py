"""Write ``leaderboard.md``: one split and fingerprint of a dataset, as a reader of a pull request sees it."""

import re
import textwrap
from collections.abc import Sequence

from vaebench.core.setting_names import order_of
from vaebench.core.subjects import TRAINING_IMAGES, is_baseline, title_of
from vaebench.report import answer_wording, claim_wording, compute_wording, verdict_counts
from vaebench.report.analysis import attributes, comparisons, equal_compute, latent_space, leaderboard, variance
from vaebench.report.analysis.formatting import DIRECTIONS, p_text, short, to_markdown
from vaebench.report.analysis.judging import Judged
from vaebench.report.analysis.leaderboard import protocol_ends
from vaebench.report.analysis.measured import Measured
from vaebench.report.answer import Answer
from vaebench.report.remarks import Remarks
from vaebench.report.section import Section, mixed_seeds, training_warnings

WIDTH = 100  # characters of a line, where lines are not a table's
_ITEM = re.compile(r"^(?P<before> *\d*)(?P<sign>(?<!\d)[-+*#>]|(?<=\d)[.)])(?=\s|$)")  # begins an item or a heading


def page(part: Section) -> str:
    """Format the whole page."""
    measured, ranked = part.measured, part.ranked
    mixed = [f"**{line}**\n" for line in mixed_seeds(measured)]
    parts = [f"# {part.heading}: {part.images}\n"]
    parts += [*_wrapped(f"After {part.suite.source}.", ""), ""] if part.suite else []
    parts += [_provenance(measured), *mixed]
    parts += _answer(part.answer)
    parts += _claims(part.held)
    parts += ["## Leaderboard\n", to_markdown(*main_table(measured, ranked)), _legend(measured, ranked)]
    parts += _by_stratum(measured, ranked)
    parts += attributes.section(part.probed, measured)
    parts += latent_space.section(part.studied)
    parts += ["## Is the difference real?\n", *_mean_ranks(part), _comparison_table(part.tested, measured)]
    parts += _equal_compute(part.computed)
    if measured.records:
        parts += ["## Training\n", _training_table(measured), _commands(measured)]
    parts += _warnings(measured)
    parts += ["## Figures\n", *(_figure(name, text, part.remarks) for name, text in part.captions.items())]
    return "\n".join(parts)


def _answer(found: Answer | None) -> list[str]:
    """Say per question which model leads, by how much, and whether that is decided."""
    if found is None or not found.findings:
        return []
    lines = [f"- **{each.question}** {answer_wording.sentence(each)}.\n" for each in found.findings]
    return ["## Answer\n", f"{answer_wording.what(found).capitalize()}.\n", "".join(lines)]


def _equal_compute(table: Sequence[equal_compute.Row]) -> list[str]:
    """Format what each training cost, and each metric at parts of the trainings."""
    if not table:
        return []
    parts = ["## Quality against compute\n", "\n".join(_wrapped(compute_wording.READING, "")) + "\n"]
    parts.append(to_markdown(compute_wording.COSTS, compute_wording.costs(table)))
    parts.append("".join(f"- {line}\n" for line in compute_wording.unbeaten(table)))
    for cells in equal_compute.by_metric(table):
        header, body = compute_wording.values(cells)
        parts.append(to_markdown([compute_wording.what(cells[0]), *header[1:]], body))
    return parts


def _mean_ranks(part: Section) -> list[str]:
    """Mean ranks over metrics, and what seeds do to who is first."""
    places, said = part.mean_ranks, []
    if places.names:
        ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in zip(places.names, places.average_ranks, strict=True))
        said.append(
            f"Mean ranks over one metric a question ({', '.join(places.metrics)}): {ranks}. They describe this table "
            "and test nothing.\n"
        )
    unsure = [
        f"{metric} ({protocol}): {', '.join(f'{name} {100 * share:.0f} %' for name, share in sorted(shares.items()))}"
        for (metric, protocol), shares in places.stability.items()
        if 0 < max(shares.values()) < 1
    ]
    if unsure:
        lines = "".join(f"- {line}\n" for line in unsure)
        said.append(f"Who is best depends on the training seeds drawn (shares of all draws) in:\n\n{lines}")
    return [*said, variance.in_words(part.spread)] if part.spread else said


def _figure(name: str, caption: str, remarks: Remarks) -> str:
    remark = remarks.figures.get(name)
    seen = f"\nSeen {remarks.date}: {remark}\n" if remark else ""
    return f"{caption}\n\n![{caption}]({name})\n{seen}"


def _provenance(measured: Measured) -> str:
    newest = max(measured.results, key=lambda line: line.provenance.created)
    source = newest.provenance
    devices = "; ".join(sorted({line.provenance.device for line in measured.results}))
    note = f"**{source.data_note[0].upper()}{source.data_note[1:]}.** " if source.data_note else ""
    return (
        f"{note}Split `{newest.split}`, data fingerprint {source.data_fingerprint[:12]}. "
        f"Measured {source.created[:10]} on "
        f"{devices}; vaebench {source.vaebench_version}, Python {source.versions['python']}. "
        "Made by `vaebench report`; not edited by hand.\n"
    )


def _commands(measured: Measured) -> str:
    """List how each run was trained, as typed."""
    typed = sorted({record.command for record in measured.records.values()})
    return "Trained by:\n\n```sh\n" + "".join(f"{command}\n" for command in typed) + "```\n"


def _warnings(measured: Measured) -> list[str]:
    """List warnings of adversarial trainings."""
    lines = [f"- {line}" for line in training_warnings(measured)]
    lead = "Warnings while training (reasons to look at the samples, no proof of failure; `warnings.log` of the run):"
    return [f"{lead}\n\n" + "\n".join(lines) + "\n"] if lines else []


def _cells(ranked: Sequence[leaderboard.Row], stratum: str) -> dict[tuple[str, str], dict[str, leaderboard.Row]]:
    """Return (metric, protocol) -> recipe -> row."""
    cells: dict[tuple[str, str], dict[str, leaderboard.Row]] = {}
    for row in ranked:
        if row.stratum == stratum:
            cells.setdefault((row.metric, row.protocol), {})[row.recipe] = row
    return cells


def _text(row: leaderboard.Row | None) -> str:
    """Format a value, the half-width of its interval, and its rank."""
    if row is None:
        return ""
    if row.value is None:
        return "n/a"
    half = f" ± {short(row.ci_high - row.value)}" if row.std_error and row.ci_high is not None else ""
    if row.rank_low is None:
        return short(row.value) + half
    rank = str(row.rank_low) if row.rank_low == row.rank_high else f"{row.rank_low} to {row.rank_high}"
    return f"{short(row.value)}{half} ({rank})"


def main_table(measured: Measured, ranked: Sequence[leaderboard.Row]) -> tuple[list[str], list[list[str]]]:
    names = [name for name in measured.models() if any(row.recipe == name for row in ranked)]
    without = {(row.recipe, *protocol_ends(row.metric, row.protocol)) for row in ranked if row.value is None}
    body: list[tuple[str, dict[str, str]]] = []
    beside: set[str] = set()
    for (metric, protocol), row_of in _cells(ranked, "all").items():
        sample = next(iter(row_of.values()))
        valued = {name for name in names if name in row_of and row_of[name].value is not None}
        if valued <= {TRAINING_IMAGES}:
            continue  # a row without a value says no more than the list of reasons below; training images stand beside
        what = f"{metric} ({protocol}), {sample.unit}; {DIRECTIONS[sample.direction]}"
        lacking = [name for name in names if name not in row_of and (name, *protocol_ends(metric, protocol)) in without]
        body.append((what, {name: "n/a" if name in lacking else _text(row_of.get(name)) for name in names}))
        beside |= valued
    names = [name for name in names if name != TRAINING_IMAGES or name in beside]
    return ["metric", *map(title_of, names)], [[what, *(cells[name] for name in names)] for what, cells in body]


def _legend(measured: Measured, ranked: Sequence[leaderboard.Row]) -> str:
    missing: dict[str, dict[str, list[str]]] = {}
    for row in ranked:
        if row.value is None and row.note and row.stratum == "all" and not is_baseline(row.recipe):
            names = missing.setdefault(row.note, {}).setdefault(row.recipe, [])
            names += [row.metric] if row.metric not in names else []
    notes = [
        f"n/a, {note}: " + "; ".join(f"{recipe} ({', '.join(names)})" for recipe, names in recipes.items())
        for note, recipes in missing.items()
    ]
    notes += [
        f"{line.recipe}, {line.metric} ({line.protocol}): {line.note}"
        for line in measured.results
        if line.value is not None and line.note and line.stratum == "all" and not is_baseline(line.recipe)
    ]
    notes += [
        f"{title_of(row.recipe)}, {row.metric} ({row.protocol}): {row.beyond_real}"
        for row in ranked
        if row.stratum == "all" and row.beyond_real
    ]
    if any(row.recipe == TRAINING_IMAGES for row in ranked):
        notes.append(
            "training images: drawn from the training split, as many as models made samples; a model that reads better "
            "is no better than real images are"
        )
    return (
        "Value ± half of its 95 % interval (rank). The interval is over training seeds and images where a recipe has "
        "several seeds, else over images, and then speaks of that checkpoint only; two seeds are too few for one. "
        "Ranks count tests won after Holm's correction at 0.05, over seeds; a range: the data leave it open, or "
        "that the difference is within the margin; no rank, that nothing was tested, or single checkpoints only. "
        "Intervals of samples' distances to the real images are given these real images.\n"
        + "".join(f"\n- {note}" for note in dict.fromkeys(notes))
        + "\n"
    )


def _by_stratum(measured: Measured, ranked: Sequence[leaderboard.Row]) -> list[str]:
    """Format a table for each metric whose distribution is shown: its value in each class."""
    names, parts = [name for name in measured.models() if name != TRAINING_IMAGES], []
    for (metric, protocol), facts in sorted(measured.facts().items()):
        strata = sorted({row.stratum for row in ranked if row.stratum.startswith("label") and row.metric == metric})
        if not (facts.distribution and strata):
            continue
        body = []
        for stratum in strata:
            row_of = _cells(ranked, stratum).get((metric, protocol), {})
            n = next((str(row.n) for row in row_of.values()), "")
            body.append([stratum, n, *(_text(row_of.get(name)) for name in names)])
        table = to_markdown(["stratum", "images", *map(title_of, names)], body)
        parts += [f"## {facts.distribution} by stratum\n", table]
    return parts


def _comparison_table(tested: Sequence[comparisons.Row], measured: Measured) -> str:
    """Format the test that decides each pair: stratum ``all``, and the two of the MNIST article; the rest is in the
    CSV.
    """
    cut = {metric for (metric, _), facts in measured.facts().items() if facts.distribution}
    shown = [row for row in comparisons.decisive(tested) if row.stratum == "all" or row.metric in cut]
    shown = [row for row in shown if row.stratum in ("all", "label!=1", "label=1")]
    body = [
        [
            f"{row.metric} ({row.protocol}), {row.stratum}",
            f"{title_of(row.a)} - {title_of(row.b)}",
            row.test,
            str(row.n),
            f"{short(row.mean_difference)} [{short(row.ci_low)}, {short(row.ci_high)}]",
            short(row.effect_size),
            p_text(row.p_holm) if row.p_holm < 1e-300 else f"{row.p_holm:.2g}",
            _verdict(row),
        ]
        for row in shown
    ]
    header = ["metric, stratum", "a - b", "test", "n", "mean difference [95 %]", "effect", "p (Holm)", "better"]
    folded = f"<details><summary>{len(shown)} pairs, each with the test that decides it</summary>\n"
    return "\n".join([_TESTS, folded, to_markdown(header, body), "</details>\n"])


_TESTS = (
    "Tests over seeds and images (`nested-t`) speak of the recipes; tests over images alone (`paired-t`, "
    "`clustered-t`, `welch-t-images`) of these checkpoints, values averaged over seeds. Effect: Cohen's dz (paired-t) "
    "or Hedges' g. p-values are Holm's over the deciding tests of all pairs of one metric, protocol and stratum (of "
    "attributes: pairs times attributes), not across metrics. Of recipes with one seed each a verdict is about these "
    "checkpoints and gives no rank; where one side has several seeds, its training variance counts for both. "
    "Equivalent: the difference is surely within the margin that the metric declares (two one-sided tests, Holm's "
    "too), though it may be significant. Both at the floor: so it is, but the margin is half of the larger value or "
    "more, so that any two values as small would be. Unresolved rows say what difference the data would have shown 4 "
    "times in 5. Where nearness to the originals counts, the better one must differ from the other and from its "
    "mirror image about them. Every test, those of ranks and McNemar's included, and every stratum: comparisons.csv.\n"
)


def _verdict(row: comparisons.Row) -> str:
    if row.verdict == "unresolved" and row.detectable > 0:
        return f"unresolved (could have shown {short(row.detectable)})"
    return comparisons.verdict_in_words(row, title_of)


def _claims(held: Sequence[Judged]) -> list[str]:
    """List the claims with their verdicts; lines of at most :data:`WIDTH` characters."""
    if not held:
        return []
    lines = [f"{claim_wording.summary(held)}\n"]
    for place, judged in enumerate(held, 1):
        lead = f"{place}. "
        bullet = " " * len(lead) + "- "
        found = "; ".join(part for part in (claim_wording.values(judged), claim_wording.found(judged)) if part)
        printed = ": ".join(part for part in (claim_wording.source(judged), judged.claim.published) if part)
        lines += _wrapped(f"**{verdict_counts.MARKS[judged.verdict]} {judged.verdict}:** {judged.claim.says}", lead)
        lines += _wrapped(f"Here: {found}", bullet)
        lines += _wrapped(f"Source: {printed}", bullet) if printed else []
        lines += _wrapped(f"Claim: `{judged.claim.expression}`", bullet)
    return ["## Claims\n", "\n".join(lines) + "\n", "\n".join(_wrapped(claim_wording.READING, "")) + "\n"]


def _wrapped(text: str, lead: str) -> list[str]:
    """Break a paragraph or a list's item into lines; none but the first looks like the beginning of an item."""
    indent, room = " " * len(lead), WIDTH - 1  # for a backslash
    first, *rest = textwrap.wrap(
        text, room, initial_indent=lead, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
    return [first, *(_ITEM.sub(r"\g<before>\\\g<sign>", line) for line in rest)]


def _training_table(measured: Measured) -> str:
    header = ["run", "images", "batch", "steps", "seconds", "images/s", "precision", "threads", "begun", "machine"]
    body = []
    for (recipe, seed), record in sorted(
        measured.records.items(), key=lambda item: (order_of(item[0][0]), str(item[0][1]))
    ):
        compute, facts = record.compute, record.training_facts()
        body.append(
            [
                f"{recipe}/seed-{seed}",
                str(record.images),
                str(record.batch_size),
                str(record.steps),
                f"{facts.seconds:.0f}",
                f"{facts.images_per_second:.0f}",
                str(compute["precision"]),
                str(compute["threads"]),
                record.created[:10],
                f"{compute['device']}: {compute['machine']}",
            ]
        )
    return to_markdown(header, body)
