"""Write one dataset's report: tables, page, figures; the same results give the same bytes."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vaebench.core.files import inside, write_text
from vaebench.core.paths import bundled
from vaebench.core.subjects import REAL
from vaebench.report import answer as answers
from vaebench.report.analysis import (
    attributes,
    claim_rows,
    comparisons,
    equal_compute,
    latent_space,
    leaderboard,
    variance,
)
from vaebench.report.analysis.claims import NOT_MEASURED, Claim, parse
from vaebench.report.analysis.formatting import to_csv, to_latex, to_text, without_markup
from vaebench.report.analysis.judging import judge
from vaebench.report.analysis.mean_ranks import mean_ranks
from vaebench.report.analysis.measured import Measured, all_folders, collect
from vaebench.report.analysis.published import published_claims
from vaebench.report.analysis.published_attributes import BUNDLED
from vaebench.report.analysis.shown_strata import Cell, many_strata, without, without_subsets
from vaebench.report.analysis.sweeps import sweeps
from vaebench.report.answering import answer
from vaebench.report.claim_wording import verdict_lines
from vaebench.report.emission import emitted
from vaebench.report.evidence import FOLDER, write_evidence
from vaebench.report.figures import equal_compute as compute_figure
from vaebench.report.figures import shift
from vaebench.report.figures.curves import draw_curves
from vaebench.report.figures.forest import forest_svg
from vaebench.report.figures.galleries import draw_all
from vaebench.report.figures.saving import save_figure
from vaebench.report.figures.shift import shift_figure
from vaebench.report.figures.study_figures import take_up
from vaebench.report.figures.sweeps import draw_sweeps
from vaebench.report.html import html_report
from vaebench.report.markdown import main_table, page
from vaebench.report.remarks import Remarks, read_remarks
from vaebench.report.section import Section, SuiteReport, declared_otherwise
from vaebench.runs.record import RunFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What to write beside tables, page and figures, and what to read beside the runs folder.

    ``suite`` says whose report it is, instead of that of all that was measured on the dataset. The report opens with
    claims: those of the suite that is run (``claims``), measured or not, then those of other ``sources`` and of the
    ``published`` folder that somebody has measured. ``extra`` are measured folders outside ``VAEBENCH_RUNS``.
    Many strata of a metric are left out unless they are asked for (``strata``), or a claim names them. ``emit`` names
    formats of :mod:`vaebench.report.emission`, in which the leaderboard is written as well.
    """

    published: Path | None = None
    extra: Sequence[RunFolder] = field(default=())
    latex: bool = False
    evidence: bool = False
    strata: bool = False
    emit: Sequence[str] = ()
    claims: Sequence[Claim] = ()
    suite: SuiteReport | None = None
    sources: Sequence[Claim] = ()


def write_report(dataset: str, out: Path, wanted: Report | None = None) -> tuple[Path, list[str]]:
    """Write the report of ``dataset`` into ``out/dataset``, a suite's into ``out/suite``; return that folder, and what
    it says for a terminal: the verdicts on a suite's claims, and the main table.

    What a person wrote of the figures into ``out/dataset/remarks.toml`` stands under them. Files that this report no
    longer makes are left alone: nothing is deleted.
    """
    wanted = wanted or Report()
    known = {folder.path.resolve(): folder for folder in (*all_folders(), *wanted.extra)}
    suite = wanted.suite
    measured, folder = collect(dataset, known.values()), inside(out, suite.name if suite else dataset)
    if suite:
        measured = measured.only(suite.models, suite.seeds)
    _warn_of_other_versions(measured)
    claims = _claims(wanted, dataset)
    named = {parse(claim.expression).stratum for claim in claims}
    left_out = set() if wanted.strata else many_strata(measured.results, named)
    measured = without_subsets(measured, left_out)
    parts = _parts(measured, folder, claims, wanted)
    board = without([row for part in parts for row in part.ranked], left_out)
    _write_tables(parts, board, folder, left_out)
    for path, content in emitted(wanted.emit, folder.name, board, measured.last_measured()).items():
        write_text(inside(folder, path), content)
    write_text(folder / "leaderboard.md", without_markup("\n".join(page(part) for part in parts)))
    write_text(folder / "index.html", html_report(parts))
    write_text(folder / answers.FILE, answers.to_json([part.answer for part in parts if part.answer]))
    tables = [main_table(part.measured, part.ranked) for part in parts]
    if wanted.latex:
        write_text(folder / "leaderboard.tex", "\n".join(to_latex(*table) for table in tables))
    if wanted.evidence:
        write_evidence([part.measured for part in parts], measured.kept(known.values()), folder / FOLDER)
    asked = [judged for judged in parts[0].held if judged.claim in wanted.claims]
    return folder, [*verdict_lines(asked), *to_text(*tables[0])]


def _warn_of_other_versions(measured: Measured) -> None:
    """Warn where an earlier version measured with another margin or direction than this one declares."""
    otherwise = declared_otherwise(measured)
    if otherwise:
        log.warning(
            "%s: an earlier version measured %s, with another margin or direction than this one declares: tables show "
            "them as they were measured; 'vaebench evaluate --again' measures them anew",
            measured.dataset,
            ", ".join(otherwise),
        )


def _parts(measured: Measured, folder: Path, claims: Sequence[Claim], wanted: Report) -> list[Section]:
    """Compute every split and fingerprint, and answer what each was measured for."""
    remarks = read_remarks(folder)
    printed = wanted.published or bundled(BUNDLED)
    parts = [
        _part(part, folder, remarks, printed, claims, wanted.suite, first=not place)
        for place, part in enumerate(measured.parts())
    ]
    shown = {name for part in parts for name in part.captions}
    for name in sorted(remarks.figures.keys() - shown):
        log.warning("%s: the report has no figure '%s' for its remark", folder / "remarks.toml", name)
    return [replace(part, answer=answer(part, wanted.claims)) for part in _held_once(parts, wanted.claims)]


def _write_tables(
    parts: Sequence[Section], board: Sequence[leaderboard.Row], folder: Path, left_out: Collection[Cell]
) -> None:
    """Write the tables of all parts as CSV, without the strata that are left out; the last three if they have rows."""
    write_text(folder / "leaderboard.csv", to_csv(leaderboard.Row, board))
    tested = without([row for part in parts for row in part.tested], left_out)
    write_text(folder / "comparisons.csv", to_csv(comparisons.Row, tested))
    write_text(folder / "variance.csv", to_csv(variance.Row, [row for part in parts for row in part.spread]))
    held = [row for part in parts for row in claim_rows.rows(part.held, part.measured)]
    write_text(folder / claim_rows.FILE, to_csv(claim_rows.Row, held))
    probed = [row for part in parts for row in part.probed]
    if any(row.attribute != attributes.MEAN for row in probed):
        write_text(folder / "attributes.csv", to_csv(attributes.Row, probed))
    studied = [row for part in parts for row in part.studied]
    if studied:
        write_text(folder / "latent_space.csv", to_csv(latent_space.Row, studied))
    computed = [row for part in parts for row in part.computed]
    if computed:
        write_text(folder / "compute.csv", to_csv(equal_compute.Row, computed))


def _claims(wanted: Report, dataset: str) -> list[Claim]:
    """List a suite's claims, then those of others that it does not make itself."""
    known = {parse(claim.expression) for claim in wanted.claims}
    others = [*wanted.sources, *(published_claims(wanted.published, dataset) if wanted.published else [])]
    return [*wanted.claims, *(claim for claim in others if parse(claim.expression) not in known)]


def _held_once(parts: Sequence[Section], asked: Sequence[Claim]) -> list[Section]:
    """Leave out claims that a part has not measured, but a suite's that no part has: the first part says so."""
    answered = {judged.claim for part in parts for judged in part.held if judged.verdict != NOT_MEASURED}
    open_claims = set(asked) - answered
    return [
        replace(
            part,
            held=[
                judged
                for judged in part.held
                if judged.verdict != NOT_MEASURED or (not place and judged.claim in open_claims)
            ],
        )
        for place, part in enumerate(parts)
    ]


def _part(
    measured: Measured,
    folder: Path,
    remarks: Remarks,
    printed: Path,
    claims: Sequence[Claim],
    suite: SuiteReport | None,
    *,
    first: bool,
) -> Section:
    """Compute one split and fingerprint, and draw its figures."""
    measured = measured.with_galleries()
    tested = comparisons.all_pairs(measured)
    ranked = leaderboard.leaderboard(measured, tested)
    figures = Path("figures") / ("" if first else _name(measured))
    drawn = draw_all(measured, folder / figures) | draw_curves(measured, folder / figures)
    drawn |= _drawings(ranked, folder / figures)
    swept = draw_sweeps(sweeps(measured), ranked)
    for each in swept:
        write_text(folder / figures / each.file, each.drawing)
        drawn[each.file] = each.caption
    alternatives = {(figures / each.file).as_posix(): each.alternative for each in swept}
    computed = equal_compute.rows(measured, ranked)
    drawing = compute_figure.draw_compute(computed, _targets(ranked))
    if drawing:
        write_text(folder / figures / compute_figure.FILE, drawing)
        drawn[compute_figure.FILE] = compute_figure.CAPTION
        alternatives[(figures / compute_figure.FILE).as_posix()] = compute_figure.in_words(computed)
    studied = latent_space.rows(ranked)
    shifted = shift_figure(studied)
    if shifted is not None:
        save_figure(shifted, folder / figures / shift.FILE)
        drawn[shift.FILE] = shift.CAPTION
    drawn |= take_up(measured, folder / figures, alone=suite is not None)
    return Section(
        measured=measured,
        ranked=ranked,
        tested=tested,
        probed=attributes.rows(measured, printed),
        spread=variance.rows(measured),
        held=judge(claims, measured, tested, ranked),
        captions={(figures / name).as_posix(): text for name, text in drawn.items()},
        remarks=remarks,
        folder=folder,
        mean_ranks=mean_ranks(measured, ranked),
        studied=studied,
        computed=computed,
        suite=suite,
        alternatives=alternatives,
    )


def _targets(ranked: Sequence[leaderboard.Row]) -> dict[tuple[str, str], float]:
    """Return the originals' values of metrics where nearness to them counts, by metric and protocol."""
    return {
        (row.metric, row.protocol): row.value
        for row in ranked
        if row.recipe == REAL and row.stratum == "all" and row.direction == "target" and row.value is not None
    }


def _drawings(ranked: Sequence[leaderboard.Row], folder: Path) -> Mapping[str, str]:
    """Draw what is drawn as text; file name -> caption."""
    captions = {}
    drawing = forest_svg(ranked)
    if drawing:
        write_text(folder / "forest.svg", drawing)
        captions["forest.svg"] = (
            "Values with 95 % intervals, a panel a metric; filled: first, open: first with others, diamond and line: "
            "the originals."
        )
    return captions


def _name(part: Measured) -> str:
    first = part.results[0]
    return f"{first.split}-{first.provenance.data_fingerprint[:8]}"
