"""Write ``index.html`` of a folder of reports: what each is of, when, and what it found, with links to their pages.

It reads what :mod:`vaebench.report.write` has written and nothing else, so that it can be made where the runs are not;
links are relative, so that any server of files shows it.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from vaebench.core import input_files
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import inside, write_text
from vaebench.core.setting_names import order_of
from vaebench.core.subjects import is_model
from vaebench.core.validation import plain_line
from vaebench.report.analysis.claims import VERDICTS
from vaebench.report.analysis.formatting import plain_cell
from vaebench.report.answer import FILE as ANSWER
from vaebench.report.answer import read_answers
from vaebench.report.answer_wording import sentence
from vaebench.report.html.site import GENERATOR, site_page
from vaebench.report.verdict_counts import counted

PICTURES = ("reconstructions.png", "samples.png", "forest.svg")  # the first that there is stands for a report
SHOWN = 3  # claims of a report
REMEDY = "make the report again"
_HEADING = re.compile(r"# (?P<title>.+): (?P<split>[^:]+)")
_MEASURED = re.compile(r"\bMeasured (\d{4}-\d\d-\d\d) on ")
Cells = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a source says, and the verdict."""

    says: str
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What the index says of one report; links are relative and quoted."""

    title: str
    page: str
    dataset: str
    split: str
    measured: str
    versions: str
    models: Sequence[str]
    answers: Sequence[str]
    standing: str
    verdicts: str
    claims: Sequence[Claim]
    picture: str
    picture_of: str


def write_site(out: Path, say: Callable[[str], None]) -> Path:
    """Write ``index.html`` and ``.nojekyll`` into a folder of reports; the same reports give the same bytes.

    Args:
        out: the folder that ``--out`` of the other commands names.
        say: told of each folder that is passed over, and why.

    Returns:
        The index.

    Raises:
        UserError: there is no report, or the ``index.html`` that lies there is none of vaebench's.
    """
    index = out / "index.html"
    if not out.is_dir():
        raise UserError(f"{out} is no folder of reports: run 'vaebench report' first, or give --out")
    if index.exists() and GENERATOR not in _text(index):
        raise UserError(f"{index} was not written by 'vaebench report --site': move it away, or give another --out")
    found = []
    for folder in sorted(path for path in out.iterdir() if path.is_dir() and not path.name.startswith(".")):
        try:
            found.append(_listed(inside(out, folder.name)))
        except (UserError, OSError) as error:
            say(plain_line(f"passed over {folder}: {first_line(error)}"))
    if not found:
        raise UserError(f"{out} holds no report: run 'vaebench report' first, or give --out")
    write_text(index, site_page(found))
    write_text(out / ".nojekyll", "")  # else GitHub Pages leaves out what begins with an underscore
    return index


def _listed(folder: Path) -> Listed:
    """Read one report.

    Raises:
        UserError: a file is missing or damaged.
    """
    for name in ("index.html", "leaderboard.csv", "leaderboard.md"):
        if not (folder / name).is_file():
            raise UserError(f"it is no report, {name} is missing")
    rows = _rows(folder / "leaderboard.csv", ("dataset", "split", "stratum", "recipe", "rank_low", "rank_high"))
    rows = [row for row in rows if row["split"] == rows[0]["split"]]
    text = _text(folder / "leaderboard.md")
    heading, measured = _HEADING.match(text.partition("\n")[0]), _MEASURED.search(text)
    if heading is None:
        raise UserError(f"{folder / 'leaderboard.md'} has no title: {REMEDY}")
    claims = _claims(folder / "claims.csv")
    picture = next((name for name in PICTURES if (folder / "figures" / name).is_file()), "")
    return Listed(
        title=heading["title"],
        page=quote(f"{folder.name}/index.html"),
        dataset=rows[0]["dataset"],
        split=rows[0]["split"],
        measured=measured[1] if measured else "",
        versions=", ".join(sorted({row.get("vaebench_version", "") for row in rows} - {""})),
        models=sorted({row["recipe"] for row in rows if is_model(row["recipe"])}, key=order_of),
        answers=_answers(folder),
        standing=_standing(rows),
        verdicts=f"{counted([claim.verdict for claim in claims])}." if claims else "",
        claims=_of_each_verdict(claims)[:SHOWN],
        picture=quote(f"{folder.name}/figures/{picture}") if picture else "",
        picture_of=Path(picture).stem,
    )


def _answers(folder: Path) -> list[str]:
    """Say what a report found, a sentence a question; nothing of reports by versions that wrote no answer."""
    if not (folder / ANSWER).is_file():
        return []
    found = read_answers(folder)
    return [plain_line(sentence(each)) for answer in found[:1] for each in answer.findings]


def _standing(rows: Sequence[Cells]) -> str:
    """Say in how many ranked measurements over all images which model is first alone."""
    ranked = [row for row in rows if row["stratum"] == "all" and row["rank_low"]]
    first = Counter(row["recipe"] for row in ranked if row["rank_low"] == row["rank_high"] == "1")
    measurements = len({(row.get("metric"), row.get("protocol")) for row in ranked})
    if not measurements:
        return "No measurement ranks the models: that takes comparisons between recipes of several seeds."
    if not first:
        return f"No model is first alone in any of {measurements} ranked measurements."
    leaders = ", ".join(
        f"{name} in {count}" for name, count in sorted(first.items(), key=lambda one: (-one[1], one[0]))
    )
    return f"First alone, of {measurements} ranked measurements: {leaders}."


def _of_each_verdict(claims: Sequence[Claim]) -> list[Claim]:
    """Order claims so that every verdict comes before a second claim of the same one."""
    seen: Counter[str] = Counter()
    places = []
    for claim in claims:
        places.append((seen[claim.verdict], VERDICTS.index(claim.verdict)))
        seen[claim.verdict] += 1
    return [claim for _, claim in sorted(zip(places, claims, strict=True), key=lambda one: one[0])]


def _claims(path: Path) -> list[Claim]:
    """Read the verdicts of a report, of each claim the first."""
    if not path.is_file():
        return []
    found: dict[str, Claim] = {}
    for row in _rows(path, ("says", "verdict"), least=0):
        if row["verdict"] not in VERDICTS:
            raise UserError(f"{path} has no verdict '{plain_line(row['verdict'])[:40]}': {REMEDY}")
        found.setdefault(row["says"], Claim(says=row["says"], verdict=row["verdict"]))
    return list(found.values())


def _rows(path: Path, needed: Sequence[str], least: int = 1) -> Sequence[Cells]:
    """Read a table of a report, with the columns that are needed."""
    reader = csv.DictReader(io.StringIO(_text(path)), strict=True)
    try:
        rows = [{str(name): plain_cell(str(value or "")) for name, value in row.items()} for row in reader]
        if not set(needed) <= set(reader.fieldnames or ()) or len(rows) < least:
            raise ValueError("columns or rows are missing")
        for row in rows:
            for name in {"rank_low", "rank_high"} & set(needed):
                int(row[name] or 0)
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} is damaged ({plain_line(first_line(error))}): {REMEDY}") from error
    return rows


def _text(path: Path) -> str:
    return input_files.read_text(path, most=input_files.LOG, remedy=REMEDY, inside=path.parent)
