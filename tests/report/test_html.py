"""``index.html``: whole, escaped, the same bytes for the same results, and nothing in it that asks a network."""

import base64
import hashlib
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from handmade import provenance, result
from handmade_page import NASTY, SLY, part_of, ranks, record, toy
from judged_claims import judged_claim
from PIL import Image

from vaebench.report.analysis import attributes, variance
from vaebench.report.analysis.claims import VERDICTS
from vaebench.report.analysis.comparisons import deciding
from vaebench.report.analysis.formatting import with_error
from vaebench.report.html import html_report
from vaebench.report.html.pairwise import matrix
from vaebench.report.html.provenance import Shown, facts_of
from vaebench.report.html.win_counts import win_counts
from vaebench.report.html.wording import kind_of
from vaebench.report.remarks import Remarks

VOID = {"wbr", "meta", "link", "img", "input", "br", "path", "line", "circle", "rect"}


class Reader(HTMLParser):
    """Every element with its attributes, the text of each kind, and whether elements are nested properly."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self._open = [], {}, []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)

    def of(self, tag, **wanted):
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]

    def text(self):
        return " ".join(" ".join(found) for tag, found in self.texts.items() if tag not in ("script", "style"))


@pytest.fixture
def page(tmp_path):
    return html_report([part_of(toy(), tmp_path)])


def shown(page):
    return json.loads(re.search(r'<script type="application/json" id="shown">(.*?)</script>', page, re.S)[1])


def entry(data, key):
    title, blocks = data["entries"][int(key)]
    texts = data["texts"]
    return texts[title], [(texts[head], [texts[index] for index in facts]) for head, facts in blocks]


def test_the_same_results_give_the_same_bytes(tmp_path):
    assert html_report([part_of(toy(), tmp_path)]) == html_report([part_of(toy(), tmp_path)])


def test_order_of_the_results_does_not_matter(page, tmp_path):
    found = toy()
    mixed = replace(found, results=list(found.results)[::-1], records=dict(reversed(found.records.items())))
    assert html_report([part_of(mixed, tmp_path)]) == page


def test_elements_are_nested_and_ids_are_unique_and_links_lead_somewhere(page):
    read = Reader(page)
    ids = [found["id"] for _, found in read.elements if "id" in found]
    assert len(ids) == len(set(ids))
    links = [found["href"] for found in read.of("a")]
    assert len(links) > 8 and {link.removeprefix("#") for link in links} <= set(ids)


def test_nothing_is_loaded_from_elsewhere(page):
    read = Reader(page)
    sources = [found[name] for _, found in read.elements for name in ("src", "href", "data", "action") if name in found]
    assert sources and all(source.startswith(("data:", "#")) for source in sources)
    assert set(re.findall(r"https?://[^\"' )]*", page)) <= {"http://www.w3.org/2000/svg"}
    assert "url(" not in page and "@import" not in page


def test_the_policy_allows_this_style_and_script_and_no_other(page):
    read = Reader(page)
    policy = read.of("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        content = read.texts[tag][-1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}'" in policy
    assert not any(name == "style" or name.startswith("on") for _, found in read.elements for name in found)


@pytest.mark.parametrize("name", [NASTY, SLY, "</script><b>&amp;</b>", "a{{ 7 * 7 }}b"])
def test_names_and_notes_are_text_wherever_they_stand(name, page, tmp_path):
    extra = judged_claim(source=name, says=name, published=name, note=name)
    found = toy((name, "gan", "vae"), note=name)
    found = replace(found, warnings={(name, 0): [name]})
    places = ranks((name, "gan"), (1.0, 2.0), metrics=(name,))
    made = part_of(found, tmp_path, held=[extra], mean_ranks=places, captions={}, remarks=Remarks(date=name))
    nasty = html_report([made])
    read, plain = Reader(nasty), Reader(page)
    assert {tag for tag, _ in read.elements} <= {tag for tag, _ in plain.elements} | {"ul", "li", "title"}
    assert len(read.of("script")) == 2 and not read.of("b")
    assert not any(key.startswith("on") for _, found in read.elements for key in found)
    assert name in read.text() and "a49b" not in nasty
    data = re.search(r'id="shown">(.*?)</script>', nasty, re.S)[1]
    assert not set("<>&") & set(data)
    assert any(name in text for text in json.loads(data)["texts"])


def test_claims_open_the_page_and_their_verdicts_are_words_with_marks(tmp_path):
    held = [judged_claim(verdict, says=f"it {verdict}", expression="fid/n=2/samples: vae > 3") for verdict in VERDICTS]
    page = html_report([part_of(toy(), tmp_path, held=held)])
    read, said = Reader(page), " ".join(Reader(page).text().split())
    assert page.index('id="p0-claims"') < page.index('id="p0-leaderboard"')
    assert read.of("a")[0]["href"] == "#p0-claims"
    assert "4 claims: 1 holds, 1 does not hold, 1 undecided, 1 not measured." in said
    marks = re.findall(r'<span class="claimed (\w+)"><span class="symbol" aria-hidden="true">(.)</span>', page)
    assert len({kind for kind, _ in marks}) == len({mark for _, mark in marks}) == 4
    words = re.findall(r'<span class="word">([a-z ]+)</span></span></td>', page)
    assert words == list(VERDICTS)
    for text in ("it holds", "Doe 2020, table 1", "t = 9", "difference -0.5000 [-0.6000, -0.4000]", "p (Holm) 0.001"):
        assert text in said
    assert "fid/<wbr>n=2/<wbr>samples: vae &gt; 3" in page
    ids = [found["id"] for _, found in read.elements if "id" in found]
    assert len(ids) == len(set(ids)) and {found["href"].removeprefix("#") for found in read.of("a")} <= set(ids)


def test_without_claims_there_is_no_place_for_them(page):
    assert "claims" not in {found.get("id", "").rpartition("-")[2] for _, found in Reader(page).elements}
    assert "<h2>Claims</h2>" not in page


def test_head_says_what_was_measured_and_what_the_data_are(tmp_path):
    text = Reader(html_report([part_of(toy(note="subset: 40 of 99 images"), tmp_path)])).text()
    assert "Subset: 40 of 99 images." in text
    assert all(said in text for said in ("abacus", "2026-01-02", "vaebench 0.0", "python 3.11", "f" * 12))
    assert "3 models, 4 measurements" in text


def test_one_seed_is_said_to_be_one_seed(tmp_path):
    said = "Every model has one training seed"
    assert said in html_report([part_of(toy(seeds=1), tmp_path)])
    assert said not in html_report([part_of(toy(seeds=2), tmp_path)])


def test_cells_have_value_interval_and_rank_and_say_where_they_came_from(page, tmp_path):
    read, made = Reader(page), part_of(toy(), tmp_path)
    row = next(row for row in made.ranked if (row.recipe, row.metric) == ("vae", "mse"))
    cell = re.search(r'<td data-value="([^"]*)" data-rank="1.0"><button[^>]*class="cell first" data-key="(\d+)"', page)
    assert float(cell[1]) == row.value
    value, error = with_error(row.value, row.ci_high - row.value)
    assert value in read.texts["span"] and f" ± {error}" in read.texts["span"]
    title, blocks = entry(shown(page), cell[2])
    assert title == "mse (recon) of vae"
    assert [head for head, _ in blocks] == ["Over all seeds", "Seed 0", "Seed 1", "Seed 2"]
    first = next(line for line in made.measured.results if (line.recipe, line.metric, line.seed) == ("vae", "mse", 0))
    facts = dict(zip(blocks[1][1][::2], blocks[1][1][1::2], strict=True))
    assert facts["value"].startswith(f"{first.value:.10g} ±")
    assert facts["command"] == "vaebench evaluate"
    assert facts["trained by"] == "vaebench train vae --seeds 0"
    assert facts["see"] == "vaebench explain vae/seed-0 mse"


def test_what_is_lacking_reads_n_a_with_its_reason(page):
    cell = re.search(r'<td><button[^>]*data-key="(\d+)" title="needs AlexNet&#39;s &lt;weights&gt;">(.*?)</td>', page)
    assert "n/a" in cell[2]
    _, blocks = entry(shown(page), cell[1])
    assert "needs AlexNet's <weights>" in blocks[0][1]
    assert "needs AlexNet's <weights>: vae (lpips)" in Reader(page).text()


def test_every_way_of_being_better_is_spelled_out(page, tmp_path):
    assert "squared" not in page and page.count("lower is better") > 3
    lines = [result("vae", 0, "ssim", 0.5, direction="higher"), result("vae", 0, "blur", 0.5)]
    other = html_report([part_of(replace(toy(), results=lines, values={}), tmp_path)])
    assert "higher is better" in other and "nearer to the originals is better" in other


def test_metrics_stand_under_their_question(page):
    names = re.findall(
        r'<tr class="question">.*?<span>(.*?)</span>|<th scope="row"><a href="#p0-metric-\d+">(\w+)', page
    )
    assert [question or metric for question, metric in names] == [
        "How near are the images to the originals?",
        *("mse", "lpips"),
        "How near is their distribution to the real one?",
        "fid",
        "What did it cost?",
        "parameters",
    ]


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [("recon/gaussian11", "reconstructions"), ("inception64/n=9/samples", "samples"), ("trained", "other")],
)
def test_kind_of_images(protocol, kind):
    assert kind_of(protocol) == kind


@pytest.mark.parametrize(
    ("value", "half", "said"),
    [
        (0.0771342, 0.00036891, ("0.07713", "0.00037")),
        (6449.3, 39.2, ("6,449", "39")),
        (0.5, 0.0, ("0.5000", "")),
        (898369.0, 0.0, ("898,369", "")),
        (1e-7, 2.345e-9, ("1.000e-07", "2.3e-09")),
        (2.5, math.nan, ("2.500", "")),
        (-0.0004, 0.031, ("0.000", "0.031")),
    ],
)
def test_values_have_the_digits_that_their_interval_allows(value, half, said):
    assert with_error(value, half) == said


def of_pair(found, names=("gan", "vae")):
    rows = part_of(found, None).tested
    return [row for row in rows if row.metric == "mse" and {row.a, row.b} == set(names)]


def test_seeds_decide_before_images():
    def best(*tests):
        rows = [replace(of_pair(toy())[0], test=name) for name in tests]
        found = deciding(rows)
        return None if found is None else found.test

    assert best("wilcoxon", "paired-t", "nested-t") == "nested-t"
    assert best("wilcoxon", "paired-t") == "paired-t"
    assert best("mann-whitney", "welch-t-images") == "welch-t-images"
    assert best("wilcoxon") is None and best() is None


def one(verdict, **changes):
    row = next(row for row in of_pair(toy()) if row.test == "paired-t")
    return replace(row, verdict=verdict, a="gan", b="vae", mean_difference=0.5, effect_size=2.0, **changes)


@pytest.mark.parametrize(
    ("verdict", "gan", "vae"),
    [
        ("a", "better", "worse"),
        ("b", "worse", "better"),
        ("equivalent", "equivalent", "equivalent"),
        ("unresolved", "unresolved", "unresolved"),
    ],
)
def test_a_verdict_is_read_from_both_sides(verdict, gan, vae):
    row = one(verdict, ci_low=0.4, ci_high=0.6, detectable=math.nan)
    made = matrix({frozenset(("gan", "vae")): [row]}, ["blend", "gan", "vae"], Shown())
    assert list(made.names) == ["gan", "vae"]
    first, second = made.rows[0][1][1], made.rows[1][1][0]
    assert (first.word, second.word) == (gan, vae)
    assert (first.detail, second.detail) == ("Cohen's d_z +2.00", "Cohen's d_z \N{MINUS SIGN}2.00")
    assert "+0.5000 [0.4000, 0.6000]" in first.title and "0.5000 [-0.6000, -0.4000]" in second.title
    assert first.key == second.key and made.rows[0][1][0] is None


def test_what_is_unresolved_says_what_could_have_been_shown():
    row = one("unresolved", detectable=0.125)
    data = Shown()
    made = matrix({frozenset(("gan", "vae")): [row]}, ["gan", "vae"], data)
    assert made.rows[0][1][1].detail == "could show ≥ 0.1250"
    _, blocks = entry(json.loads(data.to_json()), made.rows[0][1][1].key)
    assert "a difference of 0.125 or more, 4 times in 5" in blocks[0][1]


def test_numbers_that_are_none_are_left_out_of_what_a_click_shows(page):
    assert not [text for text in shown(page)["texts"] if re.search(r"\bnan\b", text)]


def test_each_metric_has_a_panel_with_table_forest_and_matrix(page):
    read = Reader(page)
    options = [found["value"] for found in read.of("option") if "metric" in found["value"]]
    panels = [found["id"] for found in read.of("div") if found.get("class") == "panel"]
    assert options == panels and len(panels) == 4
    assert len(read.of("svg")) == 4
    assert page.count('<table class="matrix">') == len(re.findall("row against column", page)) >= 2
    assert page.count("No pair was tested by this metric") == 4 - page.count('<table class="matrix">')


def test_what_of_the_uncertainty_comes_from_seeds(page, tmp_path):
    found = toy()
    text = Reader(html_report([part_of(found, tmp_path, spread=variance.rows(found))])).text()
    assert "Of the squared standard errors" in text and "uncertainty from seeds" in text
    assert "uncertainty from seeds" not in page


def test_mean_ranks_are_left_out_or_listed(tmp_path):
    assert "Average rank" not in Reader(html_report([part_of(toy(), tmp_path)])).text()
    places = ranks(("vae", "gan", "blend"), (1.2, 2.1, 2.7), stability={("mse", "recon"): {"vae": 0.875, "gan": 0.125}})
    text = " ".join(Reader(html_report([part_of(toy(), tmp_path, mean_ranks=places)])).text().split()).replace(
        " ,", ","
    )
    assert "Average rank of each model over one metric a question: vae 1.20, gan 2.10, blend 2.70" in text
    assert "tests nothing" in text
    assert "best in seed draws" in text and "88%" in text


def opened(found):
    """An element's picture, decoded."""
    kind, content = found["src"].removeprefix("data:image/").split(";base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(content)))
    assert picture.format == kind.upper()
    assert (str(picture.width), str(picture.height)) == (found["width"], found["height"])
    return np.array(picture.convert("RGB"))


def test_galleries_are_embedded_pixel_by_pixel(page):
    pictures = [opened(found) for found in Reader(page).of("img") if found["alt"] == "gan/seed-0"]
    assert len(pictures) == 2
    for pixels in pictures:
        assert np.array_equal(pixels[2:10, 2:10, 0], np.arange(64).reshape(8, 8))


def embedded(tmp_path, pixels):
    """The page's copy of one figure, and how many bytes it takes there."""
    (tmp_path / "figures").mkdir(exist_ok=True)
    Image.fromarray(pixels).save(tmp_path / "figures" / "one.png")
    page = html_report([part_of(toy(), tmp_path, captions={"figures/one.png": "One."})])
    (found,) = Reader(page).of("img", alt="One.")
    return opened(found), len(found["src"])


def photograph():
    """Colours that run into each other, with grain."""
    across, down = np.meshgrid(np.linspace(0, 200, 240), np.linspace(0, 200, 200))
    smooth = np.stack([across, down, (across + down) / 2], axis=-1)
    return (smooth + np.random.default_rng(0).normal(20, 3, smooth.shape)).clip(0, 255).astype(np.uint8)


def test_drawings_are_embedded_pixel_by_pixel(tmp_path):
    drawing = np.full((200, 240, 3), 255, np.uint8)
    drawing[50:150:7, 20:200], drawing[:, 100] = (0, 114, 178), (213, 94, 0)
    pixels, _ = embedded(tmp_path, drawing)
    assert np.array_equal(pixels, drawing)


def test_photographs_are_embedded_in_fewer_bytes_and_look_the_same(tmp_path):
    photo = photograph()
    pixels, size = embedded(tmp_path, photo)
    assert size < (tmp_path / "figures" / "one.png").stat().st_size / 2
    assert 0 < np.abs(pixels.astype(int) - photo).mean() < 3


def test_a_figure_longer_than_webp_can_be_is_embedded(tmp_path):
    tall = np.full((17_000, 3, 3), 255, np.uint8)
    tall[::9] = 0
    assert np.array_equal(embedded(tmp_path, tall)[0], tall)


def test_figures_stand_with_captions_and_remarks(tmp_path):
    (tmp_path / "figures").mkdir()
    Image.new("L", (3, 2)).save(tmp_path / "figures" / "blur_per_class.png")
    Image.new("L", (5, 4)).save(tmp_path / "figures" / "learning_curves.png")
    captions = {
        "figures/samples.png": "Draws & more.",
        "figures/blur_per_class.png": "Boxes.",
        "figures/learning_curves.png": "Curves.",
        "figures/forest.svg": "Drawn in the page already.",
    }
    seen = Remarks(date="2026-02-03", figures={"figures/samples.png": "Soft.", "figures/blur_per_class.png": "Twos."})
    page = html_report([part_of(toy(), tmp_path, captions=captions, remarks=seen)])
    text = Reader(page).text()
    assert "Draws & more." in text and "Seen 2026-02-03: Soft." in text and "Seen 2026-02-03: Twos." in text
    assert "Drawn in the page already" not in text
    assert [found["width"] for found in Reader(page).of("img") if found["alt"] in ("Boxes.", "Curves.")] == ["3", "5"]
    assert page.index("How each run was trained") < page.index("Curves.")


def probe(method, attribute, accuracy, **changes):
    known = {
        **{"dataset": "toy", "split": "test", "protocol": "official", "source": attributes.MEASURED, "seeds": 1},
        **{"n": 50, "ci_low": None, "ci_high": None, "balanced_accuracy": None, "majority": None, "lift": None},
    }
    return attributes.Row(method=method, attribute=attribute, accuracy=accuracy, note="", **{**known, **changes})


def test_attributes_stand_beside_published_ones(tmp_path):
    probed = [
        probe("vae", "Smiling", 0.5),
        probe("vae", attributes.MEAN, 0.625, ci_low=0.6, ci_high=0.65),
        probe("Old", "Smiling", 0.75, source="Doe 2020: table 1", n=None, protocol="theirs"),
        probe("Old", attributes.MEAN, 0.875, source="Doe 2020: table 1", n=None, protocol="theirs"),
    ]
    text = Reader(html_report([part_of(toy(), tmp_path, probed=probed)])).text()
    assert all(said in text for said in ("62.50", "60.00 to 65.00", "Doe 2020", "87.50", "50.0", "75.0"))


def test_commands_are_those_that_were_typed(page):
    typed = "".join(Reader(page).texts["code"]).splitlines()
    assert typed[0] == "vaebench train blend --seeds 0"
    assert "vaebench evaluate" in typed and "vaebench report --dataset toy" in "\n".join(typed)


def test_seeds_trained_differently_are_flagged(tmp_path):
    found = toy()
    records = {**found.records, ("vae", 1): record("vae", 1, steps=7)}
    text = Reader(html_report([part_of(replace(found, records=records), tmp_path)])).text()
    assert "vae: its seeds differ in steps" in text


def test_parts_have_anchors_of_their_own(tmp_path):
    other = toy()
    lines = [
        replace(line, split="validation", provenance=provenance(data_fingerprint="e" * 64)) for line in other.results
    ]
    parts = [part_of(toy(), tmp_path), part_of(replace(other, results=lines, values={}), tmp_path)]
    read = Reader(html_report(parts))
    ids = [found["id"] for _, found in read.elements if "id" in found]
    assert len(ids) == len(set(ids)) and {"p0-leaderboard", "p1-leaderboard"} <= set(ids)
    assert "validation" in read.text()


def test_external_images_and_missing_records_do_no_harm(tmp_path):
    lines = [result("external/mine", None, "fid", 2.0), result("vae", 0, "fid", 1.0)]
    found = replace(toy(), results=lines, values={}, records={}, galleries={})
    page = html_report([part_of(found, tmp_path)])
    assert "external/mine" in page and "images made elsewhere" in page


def test_facts_are_read_from_provenance_lines():
    assert facts_of([f"{'value':17} 1", f"{'unit, direction':17} nats, lower", "plain"]) == [
        ("value", "1"),
        ("unit, direction", "nats, lower"),
        ("", "plain"),
    ]


def test_a_model_without_a_ranked_value_reads_n_a_in_the_counts(tmp_path):
    rows = {row.recipe: row for row in part_of(toy(), tmp_path).ranked if (row.metric, row.stratum) == ("mse", "all")}
    (count,) = win_counts({("mse", "recon"): rows}, ["vae", "gan", "blend"])
    assert count.cells == [(1, 0, 1), (0, 0, 1), (0, 0, 1)]
    del rows["gan"]
    (count,) = win_counts({("mse", "recon"): rows}, ["vae", "gan", "blend"])
    assert count.cells == [(1, 0, 1), None, (0, 0, 1)]
