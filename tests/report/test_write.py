"""The report as files: complete, readable back, and the same bytes for the same results."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from handmade import drawn, provenance, result, write_real, write_run

from vaebench.core import results
from vaebench.core.errors import UserError
from vaebench.core.paths import runs_dir
from vaebench.report import write
from vaebench.report.analysis.claims import Claim
from vaebench.report.figures.galleries import draw_all
from vaebench.report.write import Report, write_report
from vaebench.runs.record import RunFolder

N = 40
LABELS = [i % 3 for i in range(N)]


def runs_on_disk():
    write_real({"blur": drawn(0, N, 1)}, LABELS)
    for name, mean, first in [("vae", 0.5, 10), ("gan-wide", 0.7, 20)]:
        for seed in range(2):
            scores = {"blur": drawn(first + seed, N, mean), "mse": drawn(first + seed + 5, N, mean)}
            folder = write_run(name, seed, scores)
            lacking = result(name, seed, "ssim", None, n=0, note="needs 11 x 11 pixels | or more")
            results.append(folder.results, [lacking, result(name, seed, "fid", 1.0 + seed)])


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def read_csv(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Figures take half a second: only who asks for ``figures`` has them."""
    monkeypatch.setattr(write, "draw_all", lambda measured, folder: {})


@pytest.fixture
def figures(monkeypatch, quick):
    monkeypatch.setattr(write, "draw_all", draw_all)


@pytest.fixture
def report(tmp_path):
    runs_on_disk()
    return write_report("toy", tmp_path / "reports", Report(published=Path("none")))[0]


def test_all_files_are_there(figures, report):
    expected = {"leaderboard.csv", "leaderboard.md", "comparisons.csv", "variance.csv", "claims.csv", "index.html"}
    assert set(tree(report)) >= expected | {"figures/blur_per_class.png", "figures/blur_histogram_label_1.png"}


def test_the_same_results_give_the_same_bytes(figures, report, tmp_path):
    before = tree(report)
    again, _ = write_report("toy", tmp_path / "again", Report(published=Path("none")))
    assert tree(again) == before
    assert tree(write_report("toy", tmp_path / "reports", Report(published=Path("none")))[0]) == before


def test_order_of_the_folders_does_not_matter(report, tmp_path, monkeypatch):
    before, folders = tree(report), write.all_folders()
    monkeypatch.setattr(write, "all_folders", lambda: folders[::-1])
    after = tree(write_report("toy", tmp_path / "again", Report(published=Path("none")))[0])
    assert {name: after[name] for name in ("leaderboard.csv", "comparisons.csv")} == {
        name: before[name] for name in ("leaderboard.csv", "comparisons.csv")
    }


def test_tables_parse_back(report):
    board, tested = read_csv(report / "leaderboard.csv"), read_csv(report / "comparisons.csv")
    assert {row["recipe"] for row in board} == {"real", "vae", "gan-wide"}
    assert {row["test"] for row in tested} == {"paired-t", "wilcoxon", "nested-t"}
    for row in tested:
        assert row["verdict"] in {"a", "b", "equivalent", "unresolved"}
        assert 0 <= float(row["p_value"]) <= float(row["p_holm"]) <= 1
    lacking = [row for row in board if row["metric"] == "ssim"]
    assert [(row["value"], row["note"]) for row in lacking] == [("", "needs 11 x 11 pixels | or more")] * 2


def test_columns_of_comparisons_are_the_public_ones(report):
    header = (report / "comparisons.csv").read_text().splitlines()[0]
    assert header == (
        "dataset,split,stratum,metric,protocol,a,b,test,n,seeds,mean_difference,ci_low,ci_high,"
        "effect_size,statistic,df,p_value,p_holm,verdict,p_equivalent,margin,detectable,note"
    )


def test_every_markdown_row_has_as_many_cells_as_its_header(report):
    lines = (report / "leaderboard.md").read_text().splitlines()
    widths = [line.replace("\\|", "").count("|") if line.startswith("|") else 0 for line in lines]
    tables = 0
    for previous, width in zip([0, *widths], widths, strict=False):
        if width and previous:
            assert width == previous
        tables += bool(width and not previous)
    assert tables >= 2


def test_the_page_says_what_is_lacking_and_who_made_it(report):
    text = (report / "leaderboard.md").read_text()
    assert "- n/a, needs 11 x 11 pixels | or more: " in text
    assert "Measured 2026-01-02 on abacus; vaebench 0.0, Python 3.11" in text


def test_the_page_shows_every_figure(figures, report):
    text = (report / "leaderboard.md").read_text()
    drawn_files = sorted(path.name for path in (report / "figures").iterdir())
    pictures = ["blur_histogram_label_1.png", "blur_histogram_label_not_1.png", "blur_per_class.png"]
    assert drawn_files == [*pictures, "forest.svg"]
    assert all(f"(figures/{name})" in text for name in drawn_files)


def test_a_person_s_remarks_stand_under_their_figure(figures, report, tmp_path):
    (report / "remarks.toml").write_text(
        'date = "2026-02-03"\n[figures]\n"figures/blur_per_class.png" = "Twos blur."\n'
    )
    write_report("toy", tmp_path / "reports", Report(published=Path("none")))
    text = (report / "leaderboard.md").read_text()
    assert "(figures/blur_per_class.png)\n\nSeen 2026-02-03: Twos blur.\n" in text
    assert text.count("Seen 2026-02-03") == 1


def test_what_the_data_are_stands_first(tmp_path):
    note = "subset: 40 of the 19,962 test images"
    lines = [result("vae", 0, "fid", 1.0, provenance=provenance(data_note=note))]
    results.append(RunFolder(runs_dir() / "vae" / "seed-0").results, lines)
    folder, _ = write_report("toy", tmp_path / "reports", Report(published=Path("none")))
    assert "\n**Subset: 40 of the 19,962 test images.** Split `test`" in (folder / "leaderboard.md").read_text()


def test_warnings_while_training_are_shown_and_many_are_counted(report, tmp_path):
    (runs_dir() / "vae" / "seed-1" / "warnings.log").write_text("".join(f"step {i}00: alas\n" for i in range(9)))
    write_report("toy", tmp_path / "reports", Report(published=Path("none")))
    text = (report / "leaderboard.md").read_text()
    shown = [line for line in text.splitlines() if line.startswith("- vae/seed-1, ")]
    assert len(shown) == 7 and shown[0].endswith("step 000: alas") and shown[-1].endswith("and 3 more")


def test_files_of_others_are_left_alone(report, tmp_path):
    (report / "figures" / "mine.png").write_bytes(b"mine")
    (report / "notes.md").write_text("mine")
    write_report("toy", tmp_path / "reports", Report(published=Path("none")))
    assert (report / "figures" / "mine.png").read_bytes() == b"mine"
    assert (report / "notes.md").read_text() == "mine"


PAPER = (
    'dataset = "toy"\nsource = "Doe 2020"\n[[claim]]\nsays = "FID of 1"\npublished = "1.0"\nwhere = "table 3"\n'
    'claim = "fid: vae = 1"\n[[claim]]\nsays = "Not here"\npublished = "2"\nclaim = "mse: vae > nobody"\n'
)


def claim_of(expression, says="So it is"):
    return Claim(says=says, source="Roe 2021", where="", published="", expression=expression)


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "paper.toml").write_text(PAPER)
    return folder


def pages(folder):
    return [(folder / name).read_text() for name in ("leaderboard.md", "index.html")]


def test_the_report_opens_with_published_claims(tmp_path, cli, published):
    runs_on_disk()
    answer = cli(["report", "--out", tmp_path / "reports", "--published", published])
    assert answer.code == 0
    text, page = pages(tmp_path / "reports/toy")
    assert "1 claim: 1 does not hold." in text and "1 claim: 1 does not hold." in page
    assert "1. **\N{BALLOT X} does not hold:** FID of 1\n" in text
    assert "- Source: Doe 2020, table 3: 1.0\n" in text
    assert "by seed: 1.000, 2.000" in " ".join(text.split()) and "by seed: 1.000, 2.000" in page
    assert text.index("## Claims") < text.index("## Leaderboard")
    assert page.index("<h2>Claims</h2>") < page.index("<h2>Leaderboard</h2>")
    assert "Not here" not in text + page  # what a paper says of models that nobody has measured


def test_claims_have_a_table_of_their_own(tmp_path, cli, published):
    runs_on_disk()
    assert cli(["report", "--out", tmp_path / "reports", "--published", published]).code == 0
    (row,) = read_csv(tmp_path / "reports/toy/claims.csv")
    words = ["toy", "test", "FID of 1", "Doe 2020", "table 3", "1.0", "fid: vae = 1", "does not hold", "recon"]
    numbers = ["vae=1.5", "0.5", "", "", "each seed's value", "", "2", "", "", "by seed: 1.000, 2.000"]
    assert [*row.values()] == [*words, *numbers, "f" * 64]


def test_columns_of_claims_are_the_public_ones(report):
    """No claim, no row; an earlier report's rows are gone with it."""
    assert (report / "claims.csv").read_text() == (
        "dataset,split,says,source,where,published,claim,verdict,protocol,values,difference,ci_low,ci_high,"
        "test,p_holm,seeds,seeds_needed,each_seed,note,data_fingerprint\n"
    )


def test_claims_of_a_suite_come_first_and_say_what_is_missing(tmp_path, published):
    runs_on_disk()
    suite = [claim_of("mse: vae > nobody", "Vae beats nobody"), claim_of("fid: vae = 1.0", "A suite's own words")]
    folder, _ = write_report("toy", tmp_path / "reports", Report(published=published, claims=suite))
    text, page = pages(folder)
    assert "2 claims: 1 does not hold, 1 not measured." in text
    assert "**\N{EN DASH} not measured:** Vae beats nobody" in text and "nobody was not measured" in text
    assert "A suite's own words" in text and "FID of 1" not in text  # the same claim once
    assert "nobody was not measured" in page


def test_a_claim_stands_where_it_was_measured(tmp_path):
    runs_on_disk()
    other = replace(result("vae", 0, "mse", 7.0), split="val", stratum="all")
    results.append(runs_dir() / "vae" / "seed-0" / "results.jsonl", [other])
    suite = [claim_of("fid: vae = 1", "In one"), claim_of("mse: vae > nobody", "In none")]
    folder, _ = write_report("toy", tmp_path / "reports", Report(published=Path("none"), claims=suite))
    text, _ = pages(folder)
    first, second = text.split("# toy: val")
    assert first.count("In one") == first.count("In none") == 1
    assert "In one" not in second and "In none" not in second


def test_a_claim_that_cannot_be_parsed_is_said(tmp_path):
    runs_on_disk()
    with pytest.raises(UserError, match="claim 'mse vae': no colon"):
        write_report("toy", tmp_path / "reports", Report(published=Path("none"), claims=[claim_of("mse vae")]))


def test_a_malformed_published_table_is_exit_code_2(tmp_path, cli):
    runs_on_disk()
    (tmp_path / "paper.toml").write_text("dataset = ")
    answer = cli(["report", "--out", tmp_path / "reports", "--published", tmp_path])
    assert (answer.code, len(answer.err.splitlines())) == (2, 1), answer.err
    assert "paper.toml cannot be read" in answer.err


@pytest.mark.parametrize("arguments", [["report"], ["report", "--dataset", "toy"]])
def test_nothing_measured_is_exit_code_2(cli, arguments, tmp_path):
    answer = cli([*arguments, "--out", tmp_path / "reports"])
    assert answer.code == 2
    assert "vaebench evaluate --all" in answer.err
    assert not (tmp_path / "reports").exists()


def test_the_summary_is_the_main_table(tmp_path):
    runs_on_disk()
    _, (head, *lines) = write_report("toy", tmp_path / "reports", Report(published=Path("none")))
    assert head.split() == ["metric", "originals", "gan-wide", "vae"]
    assert [line.split()[0] for line in lines] == ["blur", "fid", "mse"]  # nobody has ssim: the page says why


def test_runs_are_not_touched(report, tmp_path):
    before = tree(runs_dir())
    write_report("toy", tmp_path / "again", Report(published=Path("none")))
    assert tree(runs_dir()) == before


def test_a_latex_table_is_written_where_it_is_asked_for(report, tmp_path):
    assert not (report / "leaderboard.tex").exists()
    write_report("toy", tmp_path / "reports", Report(published=Path("none"), latex=True))
    text = (report / "leaderboard.tex").read_text()
    assert text.startswith("\\begin{tabular}{lrrr}\n\\toprule\nmetric & originals & ")
    assert "gan-wide" in text
    assert text.count("\\\\\n") == text.count(" & ") / 3


def test_evidence_makes_the_same_report_again(report, tmp_path, monkeypatch):
    write_report("toy", tmp_path / "reports", Report(published=Path("none"), evidence=True))
    evidence = report / "evidence"
    assert not list(evidence.rglob("*.safetensors"))
    wanted = {name: content for name, content in tree(report).items() if not name.startswith("evidence/")}
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("VAEBENCH_RUNS", str(evidence))
        again, _ = write_report("toy", tmp_path / "again", Report(published=Path("none")))
    assert tree(again) == wanted
    before = tree(evidence)
    write_report("toy", tmp_path / "reports", Report(published=Path("none"), evidence=True))
    assert tree(evidence) == before


def test_the_uncertainty_is_split_by_where_it_comes_from(report):
    rows = read_csv(report / "variance.csv")
    assert {row["recipe"] for row in rows} == {"vae", "gan-wide"}
    for row in rows:
        assert float(row["image_sd"]) > 0 and row["sampling_sd"] == ""
        if row["seeds"] == "1":
            assert row["training_sd"] == row["training_share"] == ""
        else:
            assert 0 <= float(row["training_share"]) <= 1


def test_measurements_that_this_version_declares_otherwise_are_named(caplog, tmp_path):
    """Handmade results are of version 0.0."""
    folder = write_run("vae", 0, {"mse": drawn(0, N, 5)})
    results.append(folder.results, [replace(line, margin="7%") for line in results.read(folder.results)])
    write_report("toy", tmp_path / "reports")
    said = [record.getMessage() for record in caplog.records if "another margin or direction" in record.getMessage()]
    assert len(said) == 1 and said[0].startswith("toy: an earlier version measured mse, with")
