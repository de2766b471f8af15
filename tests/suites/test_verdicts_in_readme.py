"""The README's table of verdicts is what ``vaebench suite verdicts`` says of the reports in this repository."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- verdicts -->", "<!-- /verdicts -->"


def test_the_readme_shows_what_the_reports_found(cli, monkeypatch):
    monkeypatch.chdir(ROOT)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert (readme.count(BEGIN), readme.count(END)) == (1, 1)
    shown = readme.partition(BEGIN)[2].partition(END)[0]
    answer = cli(["suite", "verdicts"])
    assert answer.code == 0, answer.err
    assert shown.strip() == answer.out.strip(), f"put the output of 'vaebench suite verdicts' between {BEGIN} and {END}"
    assert "(reports/mnist/leaderboard.md)" in shown
