"""The answer opens both pages, in the words of the terminal, and says why what is open is open."""

import re

import pytest
from handmade import drawn, write_real, write_run

N = 50


@pytest.fixture
def pages(cli, tmp_path):
    """Measured by hand: one question decided, one open; return leaderboard.md, index.html, and the terminal's words."""
    write_real({"blur": drawn(99, N, 0.16, 0.02)})
    for seed in range(3):
        write_run("near", seed, {"blur": drawn(seed, N, 0.15, 0.01), "mse": drawn(9 + seed, N, 1.0, 0.5)})
        write_run("far", seed, {"blur": drawn(20 + seed, N, 0.05, 0.01), "mse": drawn(30 + seed, N, 1.02, 0.5)})
    said = cli(["report", "--out", tmp_path / "reports"])
    assert said.code == 0, said.err
    folder = tmp_path / "reports" / "toy"
    return *((folder / name).read_text(encoding="utf-8") for name in ("leaderboard.md", "index.html")), said.out


def test_both_pages_open_with_the_sentence_that_the_terminal_says(pages):
    markdown, page, said = pages
    (sentence,) = re.findall(r"near leads by blur \(recon\): [\d.]+ against far [\d.]+\d", markdown)
    assert sentence in said and sentence in page
    assert markdown.index(sentence) < markdown.index("## Leaderboard")
    assert page.index(sentence) < page.index(">Leaderboard</h2>")


def test_what_is_open_says_why_and_what_would_decide(cli, tmp_path):
    for seed, (one, other) in enumerate(((1.0, 1.3), (1.4, 1.2), (0.9, 1.25))):
        write_run("one", seed, {"mse": drawn(seed, N, one, 0.01)})
        write_run("other", seed, {"mse": drawn(10 + seed, N, other, 0.01)})
    assert cli(["report", "--out", tmp_path / "reports"]).code == 0
    page = (tmp_path / "reports" / "toy" / "index.html").read_text(encoding="utf-8")
    assert "Why is this undecided?" in page
    assert "training seeds and images scatter more than these models differ" in page
    assert "vaebench plan one other --metric mse" in page


def test_single_checkpoints_are_told_to_train_more_seeds(cli, tmp_path):
    for place, name in enumerate(("one", "other")):
        write_run(name, 0, {"mse": drawn(place, N, 1.0, 1.0)})
    assert cli(["report", "--out", tmp_path / "reports"]).code == 0
    page = (tmp_path / "reports" / "toy" / "index.html").read_text(encoding="utf-8")
    assert "With one training seed nobody knows how much seeds scatter" in page


def test_the_page_has_its_landmarks_and_what_scrolls_can_be_reached_by_keyboard(pages):
    page = pages[1]
    assert page.count("<main>") == page.count("</main>") == 1
    for opening in re.findall(r'<div class="(?:scroll|pictures)"[^>]*>', page):
        assert 'tabindex="0"' in opening and "aria-label=" in opening
