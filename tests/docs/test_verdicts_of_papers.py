"""The table of verdicts in docs/papers.md is what ``vaebench suite verdicts`` says of the repository's reports."""

from documented import ROOT

BEGIN, END = "<!-- verdicts -->", "<!-- /verdicts -->"


def test_the_page_shows_what_the_reports_found(cli, monkeypatch):
    monkeypatch.chdir(ROOT / "docs")  # links of the table lead from there
    page = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    assert (page.count(BEGIN), page.count(END)) == (1, 1)
    shown = page.partition(BEGIN)[2].partition(END)[0]
    judged = sorted(path.parent.name for path in (ROOT / "reports").glob("*/claims.csv"))
    answer = cli(["suite", "verdicts", *(f"../reports/{name}" for name in judged)])
    assert answer.code == 0, answer.err
    assert shown.strip() == answer.out.strip(), (
        f"put between {BEGIN} and {END} what this prints: cd docs && vaebench suite verdicts ../reports/NAME ..."
    )
    assert "(../reports/mnist/leaderboard.md)" in shown


def test_the_readme_counts_them_right(cli, monkeypatch):
    """Its one sentence says how many of the article's claims hold."""
    page = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8").partition("MNIST article, Deep")[2]
    rows = page.partition("| **Salomon")[0].splitlines()
    held, not_held = (sum(f"| {verdict}" in row for row in rows) for verdict in ("holds", "does not hold"))
    numbers = ("no", "one", "two", "three", "four", "five", "six", "seven")
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert (
        f"Of {numbers[held + not_held]} claims of the MNIST article that vaebench measures, {numbers[held]} hold"
        in readme
    )
    assert f"{numbers[not_held]} does not" in readme
