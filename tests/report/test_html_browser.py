"""The page in a browser: sorting, filtering, dialogs, keyboard, width of a phone, and silence on the network."""

import re
from dataclasses import replace

import chromium
import pytest
from handmade_page import NASTY, part_of, ranks, toy
from judged_claims import judged_claim

from vaebench.report.analysis.claims import VERDICTS
from vaebench.report.html import html_report

pytestmark = pytest.mark.skipif(
    chromium.found() is None, reason=f"no browser: install one of {', '.join(chromium.NAMES)} to run these tests"
)

FIRST = "[...document.querySelectorAll('.leaderboard tbody:not([hidden]) tr:not(.question):not([hidden])')]"
NAMES = f"{FIRST}.map(row => row.cells[0].querySelector('a').textContent)"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium.browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    found = toy(("vae", "gan", NASTY, "a-recipe-with-quite-a-long-name-mnist"), note="subset: 40 of 99")
    places = ranks(("vae", "gan", NASTY), (1.2, 2.0, 2.8), stability={("mse", "recon"): {"vae": 1.0}})
    held = [judged_claim(verdict, says=f"{verdict} {NASTY} " + "as it is said " * 9) for verdict in VERDICTS]
    parts = [part_of(found, folder, mean_ranks=places, held=held)]
    (folder / "index.html").write_text(html_report(parts), encoding="utf-8")
    return folder / "index.html"


@pytest.fixture
def page(tab, file):
    """The page freshly loaded; nothing may have gone wrong in it, or asked a network, by the end of the test."""
    tab.open(file.as_uri())
    yield tab
    assert tab.evaluate("1 + 1") == 2  # events so far have arrived
    assert tab.of("Runtime.exceptionThrown") == []
    assert tab.of("Runtime.consoleAPICalled") == []
    assert tab.of("Log.entryAdded") == []  # among them what the security policy forbids
    asked = {sent["request"]["url"].split("#")[0] for sent in tab.of("Network.requestWillBeSent")}
    assert {url for url in asked if not url.startswith("data:")} == {file.as_uri()}


def choose(page, selector, value, number=0, event="change"):
    """Put a value into a control, as a person would."""
    control = f"document.querySelectorAll('{selector}')[{number}]"
    page.evaluate(f"{control}.value = '{value}'; {control}.dispatchEvent(new Event('{event}'))")


def heads(what):
    return f"[...document.querySelectorAll('.leaderboard thead th')].map(h => {what})"


def head(column):
    return f"document.querySelectorAll('.leaderboard thead th')[{column}]"


def test_a_column_s_head_sorts_and_what_is_lacking_comes_last(page):
    before = page.evaluate(NAMES)
    column = page.evaluate(heads("h.firstChild.textContent")).index("vae")
    values = f"{FIRST}.map(row => row.cells[{column}].dataset.value ?? null)"
    page.evaluate(f"{head(column)}.querySelector('button').click()")
    up = page.evaluate(values)
    assert page.evaluate(f"{head(column)}.getAttribute('aria-sort')") == "ascending"
    assert up[-1] is None and [float(value) for value in up[:-1]] == sorted(float(value) for value in up[:-1])
    assert page.evaluate(NAMES) != before
    page.evaluate(f"{head(column)}.querySelector('button').click()")
    down = page.evaluate(values)
    assert down[-1] is None and down[:-1] == up[:-1][::-1]
    assert page.evaluate(f"{head(column)}.getAttribute('aria-sort')") == "descending"
    page.evaluate(f"{head(column)}.querySelector('button').click()")
    assert page.evaluate(NAMES) == before
    assert page.evaluate(f"{head(column)}.getAttribute('aria-sort')") == "none"


def test_the_keyboard_sorts(page):
    before = page.evaluate(NAMES)
    page.evaluate(f"{head(0)}.querySelector('button').focus()")
    page.press("Enter", 13)
    assert page.evaluate(f"{head(0)}.getAttribute('aria-sort')") == "ascending"
    assert page.evaluate(NAMES) == sorted(before) != before


def test_only_one_column_is_sorted_by_at_a_time(page):
    for column in (0, 2):
        page.evaluate(f"{head(column)}.querySelector('button').click()")
    sorts = page.evaluate(heads("h.getAttribute('aria-sort')"))
    assert [place for place, sort in enumerate(sorts) if sort != "none"] == [2]


def test_columns_sort_by_rank_where_that_is_asked_for(page):
    choose(page, ".sort-by", "rank")
    page.evaluate(f"{head(2)}.querySelector('button').click()")
    ranks = page.evaluate(f"{FIRST}.map(row => row.cells[2].dataset.rank ?? null)")
    known = [float(rank) for rank in ranks if rank is not None]
    assert known and known == sorted(known) and ranks[len(known) :] == [None] * (len(ranks) - len(known))


def test_the_filter_keeps_rows_with_all_words_and_of_one_kind(page):
    def type_in(text):
        choose(page, ".filter", text, event="input")
        return page.evaluate(NAMES)

    assert type_in("INCEPTION fid") == ["fid"]
    assert type_in("cost") == ["parameters"]
    shown = page.evaluate("[...document.querySelectorAll('.question')].filter(row => row.offsetHeight > 0).length")
    assert shown == 1
    assert type_in("no such thing") == []
    assert len(type_in("")) == 4
    choose(page, ".kind", "samples")
    assert page.evaluate(NAMES) == ["fid"]


def test_a_cell_says_where_its_value_came_from(page):
    page.evaluate("document.querySelector('.leaderboard .cell.first').click()")
    assert page.evaluate("document.querySelector('dialog').open")
    said = page.evaluate("document.querySelector('dialog').innerText")
    assert "mse (recon) of vae" in said and "vaebench train vae --seeds 1" in said
    assert re.search(r"data fingerprint\s+f{64}", said)
    page.press("Escape", 27)
    assert not page.evaluate("document.querySelector('dialog').open")


def test_enter_opens_and_the_close_button_closes(page):
    page.evaluate("document.querySelector('.leaderboard .lacking').closest('button').focus()")
    page.press("Enter", 13)
    assert "needs AlexNet's <weights>" in page.evaluate("document.querySelector('dialog').innerText")
    page.evaluate("document.querySelector('dialog form button').click()")
    assert not page.evaluate("document.querySelector('dialog').open")


def test_names_become_text_in_the_dialog(page):
    page.evaluate("document.querySelector('.leaderboard [data-kind]').cells[1].querySelector('button').click()")
    assert page.evaluate("document.querySelector('dialog h2').textContent") == f"mse (recon) of {NASTY}"
    assert page.evaluate("document.querySelectorAll('dialog script').length") == 0


def visible(page):
    return page.evaluate("[...document.querySelectorAll('.panel')].filter(p => p.offsetHeight > 0).map(p => p.id)")


def test_choosing_a_metric_switches_table_forest_and_matrix(page):
    assert visible(page) == ["p0-metric-0"]
    choose(page, ".choose", "p0-metric-1")
    assert visible(page) == ["p0-metric-1"]
    assert page.evaluate("document.querySelector('#p0-metric-1 h3').innerText").startswith("lpips")
    assert page.evaluate("document.querySelector('#p0-metric-1 svg').getBoundingClientRect().height") > 20


def test_a_metric_s_name_in_the_leaderboard_leads_to_it(page):
    page.evaluate("document.querySelectorAll('.leaderboard a')[2].click()")
    page.evaluate("new Promise(done => setTimeout(done, 50))")
    assert visible(page) == ["p0-metric-2"]
    assert page.evaluate("document.querySelector('.choose').value") == "p0-metric-2"


def test_a_verdict_shows_every_test_of_its_pair(page):
    page.evaluate("document.querySelector('.panel .verdict').click()")
    said = page.evaluate("document.querySelector('dialog').innerText")
    assert "(decides)" in said and "wilcoxon" in said and "Holm's" in said and "mean difference" in said


def test_models_sort_by_any_column_of_a_metric(page):
    table = "document.querySelector('#p0-metric-0 table.sortable')"
    page.evaluate(f"{table}.querySelectorAll('thead button')[1].click()")
    values = page.evaluate(f"[...{table}.querySelectorAll('tbody tr')].map(row => Number(row.cells[1].dataset.value))")
    assert len(values) == 4 and values == sorted(values)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_does_not_scroll_sideways(page, file, width, dark):
    page.open(file.as_uri(), width=width, height=800, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.evaluate("document.querySelectorAll('.panel').forEach(p => { p.hidden = false; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate("document.querySelector('.leaderboard').closest('.scroll').scrollWidth")
    assert width > 390 or wide > width  # it is the table's own box that scrolls


@pytest.mark.parametrize("width", [390, 900])
def test_claims_are_read_without_scrolling_sideways_and_their_marks_differ_without_colour(page, file, width):
    page.open(file.as_uri(), width=width, height=800)
    box = "document.querySelector('.claims').closest('.scroll')"
    assert page.evaluate(f"{box}.scrollWidth <= {box}.clientWidth")
    shown = "[...document.querySelectorAll('.claimed')].map(c => [c.innerText, getComputedStyle(c).borderTopStyle])"
    marks = page.evaluate(shown)
    assert [text.split(" ", 1)[1] for text, _ in marks] == list(VERDICTS)
    assert len({text[0] for text, _ in marks}) == len({style for _, style in marks}) == 4


def test_the_first_column_stays_in_sight(page, file):
    page.open(file.as_uri(), width=390, height=800)
    box = "document.querySelector('.leaderboard').closest('.scroll')"
    assert page.evaluate(f"{box}.scrollLeft = 200; {box}.scrollLeft") == 200
    places = [
        page.evaluate(f"{found}.getBoundingClientRect().left")
        for found in (box, "document.querySelector('.leaderboard [data-kind] th')")
    ]
    assert places[0] == places[1]


def test_light_and_dark_are_different_and_both_can_be_read(page, file):
    grounds = []
    for dark in (False, True):
        page.open(file.as_uri(), dark=dark)
        colours = page.evaluate(
            "['color', 'backgroundColor'].map(k => getComputedStyle(document.body)[k].match(/\\d+/g).map(Number))"
        )
        ink, ground = (sum(colour[:3]) / 3 for colour in colours)
        assert abs(ink - ground) > 150
        grounds.append(ground)
    assert grounds[0] > 200 and grounds[1] < 60


def test_on_paper_nothing_is_cut_off_and_controls_are_gone(page):
    page.send("Emulation.setDeviceMetricsOverride", width=718, height=1000, deviceScaleFactor=1, mobile=False)  # A4
    page.send("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert page.evaluate("document.querySelector('.leaderboard').offsetWidth") <= 718
    assert page.evaluate("['nav', '.controls'].every(name => !document.querySelector(name).offsetHeight)")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(253, 253, 251)"
    page.send("Emulation.setEmulatedMedia", media="")


def test_without_scripts_everything_is_there(tab, file):
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(file.as_uri())
        assert len(visible(tab)) == 4  # DevTools may ask even where the page may not
        assert tab.evaluate("getComputedStyle(document.querySelector('.controls')).display") == "none"
    finally:
        tab.send("Emulation.setScriptExecutionDisabled", value=False)


def test_the_policy_stops_what_someone_might_smuggle_in(tab, file, tmp_path):
    spoilt = file.read_text(encoding="utf-8").replace(
        "</body>", '<script>window.smuggled = 1</script><img src="https://example.org/x.png"></body>'
    )
    (tmp_path / "spoilt.html").write_text(spoilt, encoding="utf-8")
    tab.open((tmp_path / "spoilt.html").as_uri())
    assert tab.evaluate("window.smuggled === undefined")
    asked = {
        sent["requestId"]: sent["request"]["url"]
        for sent in tab.of("Network.requestWillBeSent")
        if sent["request"]["url"].startswith("http")
    }
    refused = {
        failed["requestId"] for failed in tab.of("Network.loadingFailed") if failed.get("blockedReason") == "csp"
    }
    assert asked.keys() <= refused  # stopped before it was sent
    said = " ".join(entry["entry"]["text"] for entry in tab.of("Log.entryAdded"))
    assert "script" in said and "example.org" in said  # both were refused aloud


def test_several_parts_choose_their_metrics_apart(tab, tmp_path):
    found = toy()
    other = replace(found, results=[replace(line, split="validation") for line in found.results], values={})
    made = html_report([part_of(found, tmp_path), part_of(other, tmp_path)])
    (tmp_path / "index.html").write_text(made, encoding="utf-8")
    tab.open((tmp_path / "index.html").as_uri())
    choose(tab, ".choose", "p1-metric-1", number=1)
    assert visible(tab) == ["p0-metric-0", "p1-metric-1"]
