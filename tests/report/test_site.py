"""The index of a folder of reports: what it says, that its links lead somewhere, what it passes over."""

import re
import shutil
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import chromium
import pytest
from handmade import drawn, write_real, write_run

from vaebench.report import write
from vaebench.report.analysis.claims import Claim
from vaebench.report.figures.saving import save_figure
from vaebench.report.html.document import hash_of
from vaebench.report.write import Report, write_report

N = 40
SAYS = "the <b>wide</b> one's error is lower & more"


@pytest.fixture
def reports(tmp_path, monkeypatch):
    """A folder with one report, of three seeds of two models and three claims."""

    def drawn_once(measured, folder):
        from matplotlib.figure import Figure

        save_figure(Figure(figsize=(4, 2)), folder / "samples.png")
        return {"samples.png": "Samples"}

    monkeypatch.setattr(write, "draw_all", drawn_once)
    monkeypatch.setattr(write, "draw_curves", lambda measured, folder: {})
    write_real({"mse": drawn(0, N, 1)})
    for place, name in enumerate(("vae-toy", "wide-toy")):
        for seed in range(3):
            write_run(name, seed, {"mse": drawn(3 * place + seed, N, 9 - place, 0.1), "ssim": drawn(seed, N, 1.0)})
    said = {
        "mse/recon: wide-toy < vae-toy": SAYS,
        "mse/recon: wide-toy < 20": "below twenty",
        "mse/recon: vae-toy < wide-toy": "the other one's is",
    }
    claims = [
        Claim(expression=expression, says=says, source="nobody", where="", published="")
        for expression, says in said.items()
    ]
    out = tmp_path / "reports"
    write_report("toy", out, Report(published=Path("none"), claims=claims))
    return out


def site(cli, out, *more):
    return cli(["report", "--site", "--out", out, *more])


def text_of(out):
    return (out / "index.html").read_text(encoding="utf-8")


def links(page):
    return [unescape(each) for each in re.findall(r'(?:href|src)="([^"]*)"', page) if not each.startswith("data:")]


def test_the_index_says_what_each_report_found_and_leads_there(cli, reports):
    answer = site(cli, reports)
    assert (answer.code, answer.out) == (0, f"{reports / 'index.html'}\n")
    page = text_of(reports)
    for said in (">toy</a>", "2026-01-02", "vae-toy, wide-toy", "vaebench 0.0", "3 claims: 2 hold, 1 does not hold."):
        assert said in page
    assert "First alone, of 2 ranked measurements: wide-toy in 1." in page
    assert "<li>wide-toy leads by mse (recon): " in page  # as the report's own page opens
    verdicts = re.findall(r"<li><strong>([^<]*):</strong> ([^\n]*)</li>", page)
    assert verdicts == [
        ("holds", "the &lt;b&gt;wide&lt;/b&gt; one&#39;s error is lower &amp; more"),
        ("does not hold", "the other one&#39;s is"),
        ("holds", "below twenty"),
    ]
    assert links(page) == ["toy/index.html", "toy/index.html", "toy/figures/samples.png"]
    assert all((reports / unquote(each)).is_file() for each in links(page))
    assert (reports / ".nojekyll").read_bytes() == b""


def test_the_index_allows_its_own_style_and_no_script(cli, reports):
    assert site(cli, reports).code == 0
    page = text_of(reports)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert f"style-src '{hash_of(style)}'" in page and "default-src 'none'" in page and "<script" not in page


def test_every_report_is_listed_and_the_bytes_stay(cli, reports):
    shutil.copytree(reports / "toy", reports / "a b#%")  # a suite may be named by anything that a folder can be
    assert site(cli, reports).code == 0
    page = text_of(reports)
    assert sorted(set(links(page))) == sorted(
        f"{name}/{file}" for name in ("a%20b%23%25", "toy") for file in ("figures/samples.png", "index.html")
    )
    assert all((reports / unquote(each)).is_file() for each in links(page))
    assert site(cli, reports).code == 0 and text_of(reports) == page


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("leaderboard.csv", "", "is damaged"),
        ("leaderboard.csv", "dataset,split\ntoy,test\n", "columns or rows are missing"),
        ("leaderboard.csv", 'dataset,"split\n', "is damaged"),
        ("leaderboard.md", "no title\n", "has no title"),
        ("leaderboard.md", None, "it is no report, leaderboard.md is missing"),
        ("claims.csv", "says,verdict\nx,<b>true\n", "has no verdict '<b>true'"),
        ("index.html", None, "it is no report, index.html is missing"),
    ],
)
def test_a_damaged_or_foreign_folder_is_passed_over_with_a_line(file, content, said, cli, reports):
    shutil.copytree(reports / "toy", reports / "broken-one")
    (reports / "broken-one" / file).unlink()
    if content is not None:
        (reports / "broken-one" / file).write_text(content)
    answer = site(cli, reports)
    assert answer.code == 0 and answer.out.count("\n") == 2
    assert answer.out.startswith(f"passed over {reports / 'broken-one'}: ") and said in answer.out
    assert "broken-one" not in text_of(reports)


def test_a_folder_that_leads_elsewhere_is_passed_over(cli, reports, tmp_path):
    shutil.copytree(reports / "toy", tmp_path / "elsewhere")
    (reports / "linked").symlink_to(tmp_path / "elsewhere")
    assert "passed over" in site(cli, reports).out and "linked" not in text_of(reports)


def test_an_index_of_somebody_else_is_not_written_over(cli, reports):
    (reports / "index.html").write_text("<title>mine</title>")
    answer = site(cli, reports)
    assert (answer.code, answer.err.count("\n")) == (2, 1) and "move it away" in answer.err
    assert text_of(reports) == "<title>mine</title>"


def test_where_there_is_nothing_to_list(cli, tmp_path):
    (tmp_path / "reports").mkdir()
    for out, said in ((tmp_path / "none", "is no folder of reports"), (tmp_path / "reports", "holds no report")):
        answer = site(cli, out)
        assert (answer.code, answer.err.count("\n")) == (2, 1) and said in answer.err
    assert not list((tmp_path / "reports").iterdir())


@pytest.mark.parametrize("more", [["--dataset", "toy"], ["--emit", "model-index"], ["--latex"]])
def test_options_of_reports_cannot_stand_beside_it(more, cli, reports):
    answer = site(cli, reports, *more)
    assert (answer.code, answer.err.count("\n")) == (2, 1) and f"leave {more[0]} away" in answer.err


@pytest.mark.skipif(chromium.found() is None, reason=f"no browser: install one of {', '.join(chromium.NAMES)}")
def test_the_index_in_a_browser(cli, reports, tmp_path):
    """It does not scroll sideways at 390 pixels, shows its pictures, and is dark where the reader's screen is."""
    assert site(cli, reports).code == 0
    grounds = []
    with chromium.browser(tmp_path / "profile") as page:
        for width, dark in ((390, False), (390, True), (1280, False)):
            page.open((reports / "index.html").as_uri(), width=width, height=2000, dark=dark)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
            grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            above = "document.querySelector('.shown').offsetTop > document.querySelector('.reports ul').offsetTop"
            assert page.evaluate(above) == (width == 390)
        assert page.of("Log.entryAdded") == []
    assert len(set(grounds)) == 2


def test_the_index_of_this_repository_s_reports_is_of_these_reports(cli, tmp_path):
    here = Path(__file__).parents[2] / "reports"
    shutil.copytree(here, tmp_path / "reports", ignore=shutil.ignore_patterns("evidence"))
    assert site(cli, tmp_path / "reports").code == 0
    assert text_of(tmp_path / "reports") == text_of(here), "make it anew: vaebench report --site"
