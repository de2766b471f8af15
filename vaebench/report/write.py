"""Write one dataset's report: leaderboard, comparisons, figures; the same results give the same bytes."""

import logging
from collections.abc import Sequence
from pathlib import Path

from vaebench.checkpoints import RunFolder
from vaebench.core.places import write_text
from vaebench.report import attributes, comparisons, leaderboard
from vaebench.report.collect import Measured, all_folders, collect
from vaebench.report.figures import draw_all
from vaebench.report.page import main_table, page
from vaebench.report.published import claims, default_folder
from vaebench.report.remarks import read_remarks
from vaebench.report.tables import to_csv, to_text

log = logging.getLogger(__name__)


def write_report(
    dataset: str, out: Path, published: Path | None = None, extra: Sequence[RunFolder] = ()
) -> tuple[Path, list[str]]:
    """Tables and figures of ``dataset`` into ``out/dataset``; that folder, and the main table for a terminal.

    ``extra`` are measured folders outside ``VAEBENCH_RUNS``. What a person wrote of the figures into
    ``out/dataset/remarks.toml`` stands under them. Files that this report no longer makes are left
    alone: nothing is deleted.
    """
    known = {folder.path.resolve(): folder for folder in (*all_folders(), *extra)}
    parts = collect(dataset, known.values()).parts()
    folder = out / dataset
    remarks = read_remarks(folder)
    boards: list[leaderboard.Row] = []
    tests: list[comparisons.Row] = []
    probes: list[attributes.Row] = []
    pages: list[str] = []
    tables: list[list[str]] = []
    shown: set[str] = set()
    for position, part in enumerate(parts):
        tested = comparisons.all_pairs(part)
        ranked = leaderboard.leaderboard(part, tested)
        figures = Path("figures") / (_name(part) if position else "")
        drawn = draw_all(part.with_galleries(), folder / figures)
        captions = {(figures / name).as_posix(): text for name, text in drawn.items()}
        tables_printed = published or default_folder()
        held, probed = claims(tables_printed, part, tested), attributes.rows(part, tables_printed)
        pages.append(page(part, ranked, tested, probed, held, captions, remarks))
        shown |= captions.keys()
        tables.append(to_text(*main_table(part, ranked)))
        boards, tests, probes = boards + ranked, tests + tested, probes + probed
    for name in sorted(remarks.figures.keys() - shown):
        log.warning("%s: the report has no figure '%s' for its remark", folder / "remarks.toml", name)
    write_text(folder / "leaderboard.csv", to_csv(leaderboard.Row, boards))
    write_text(folder / "comparisons.csv", to_csv(comparisons.Row, tests))
    if any(row.attribute != attributes.MEAN for row in probes):
        write_text(folder / "attributes.csv", to_csv(attributes.Row, probes))
    write_text(folder / "leaderboard.md", "\n".join(pages))
    return folder, tables[0]


def _name(part: Measured) -> str:
    first = part.results[0]
    return f"{first.split}-{first.provenance.data_fingerprint[:8]}"
