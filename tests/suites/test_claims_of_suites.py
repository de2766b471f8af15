"""A dataset's report shows what vaebench's suites claim about it, where that was measured."""

import numpy as np
import pytest
from handmade import drawn, write_real, write_run

from vaebench import suites
from vaebench.report import freshness, write
from vaebench.suites import built_in
from vaebench.suites.claims import built_in_claims

SUITE = """\
title = "One"
source = "Doe 2020"
[dataset]
name = "toy"
[[models]]
recipe = "vae"
[[claims]]
says = "Vae errs more than gan"
where = "table 3"
published = "twice as much"
claim = "mse: vae > gan"
[[claims]]
says = "Vae beats nobody"
claim = "mse: vae > nobody"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in place of vaebench's own suites, and runs on ``toy``."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "one.toml").write_text(SUITE)
    monkeypatch.setattr(suites, "bundled", lambda name: folder)
    monkeypatch.setattr(freshness, "BUNDLED", (folder,))
    monkeypatch.setattr(write, "draw_all", lambda measured, folder: {})
    write_real({"blur": drawn(0, 40, 1)})
    for name, mean in (("vae", 6), ("gan", 3)):
        for seed in range(3):
            write_run(name, seed, {"mse": drawn(seed, 40, mean)})
    return folder


def pages(place):
    return [(place / name).read_text(encoding="utf-8") for name in ("leaderboard.md", "index.html")]


def test_a_report_opens_with_what_suites_claim(folder, cli, tmp_path):
    (folder / "other.toml").write_text(SUITE.replace('"toy"', '"digits"').replace("Vae errs", "Digits err"))
    answer = cli(["report", "--out", tmp_path / "reports"])
    assert answer.code == 0, answer.err
    for text in pages(tmp_path / "reports" / "toy"):
        assert "Vae errs more than gan" in text and "1 claim: 1 holds." in text and "Doe 2020, table 3" in text
        assert "nobody" not in text and "Digits err" not in text


def test_verdicts_are_read_from_the_report(folder, cli, tmp_path):
    assert cli(["report", "--out", tmp_path / "reports"]).code == 0
    answer = cli(["suite", "verdicts", tmp_path / "reports" / "toy"])
    assert answer.code == 0, answer.err
    _, _, source, measured, lacking = answer.out.splitlines()
    assert source == "| **Doe 2020** |  |  |  |  |"
    assert measured.startswith("| Vae errs more than gan | table 3: twice as much | holds (3 seeds) | 3.000 [")
    assert measured.endswith(f" | [toy, test]({tmp_path}/reports/toy/leaderboard.md) |")
    assert lacking == "| Vae beats nobody |  | not measured here |  |  |"


def test_several_suites_claims_stand_side_by_side(folder, cli, tmp_path):
    (folder / "two.toml").write_text(SUITE.replace("vae > gan", "vae < gan").replace("Doe 2020", "Roe 2021"))
    assert cli(["report", "--out", tmp_path / "reports"]).code == 0
    text, _ = pages(tmp_path / "reports" / "toy")
    assert "2 claims: 1 holds, 1 does not hold." in text and text.index("Doe 2020") < text.index("Roe 2021")


def test_a_suite_s_new_claim_makes_the_report_anew(folder, cli, tmp_path):
    ask = ["report", "--out", tmp_path / "reports"]
    assert cli(ask).code == 0
    assert "nothing new" in cli(ask).out
    (folder / "one.toml").write_text(SUITE.replace("errs more", "has more error"))
    assert "nothing new" not in cli(ask).out
    assert "Vae has more error than gan" in pages(tmp_path / "reports" / "toy")[0]


def test_what_a_report_is_made_from_includes_vaebench_s_own_suites():
    assert {path.parent for path in built_in().values()} == {freshness.BUNDLED[0]}


def test_a_folder_of_published_tables_stands_in_their_place(folder, cli, tmp_path):
    own = tmp_path / "published"
    own.mkdir()
    (own / "mine.toml").write_text(SUITE.replace("Vae errs", "Mine errs"))
    assert cli(["report", "--out", tmp_path / "reports", "--published", own]).code == 0
    text, _ = pages(tmp_path / "reports" / "toy")
    assert "Mine errs more than gan" in text and "Vae errs" not in text


def test_a_suite_s_file_with_a_fault_is_exit_code_2(folder, cli, tmp_path):
    (folder / "one.toml").write_text(SUITE.replace("says", "sais"))
    answer = cli(["report", "--out", tmp_path / "reports"])
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "one.toml:8: unknown key 'sais': did you mean 'says'?" in answer.err


def test_an_evaluation_and_a_suite_s_run_end_with_them_too(folder, cli, tmp_path):
    claim = SUITE.replace('"toy"', '"digits"').replace("mse: vae > gan", "blur/samples: external/noise > real")
    (folder / "one.toml").write_text(claim.replace("Vae errs more than gan", "Noise is noisy"))
    np.savez(tmp_path / "noise.npz", np.random.default_rng(0).integers(0, 256, (30, 28, 28, 1), np.uint8))
    measured = ["--images", tmp_path / "noise.npz", "--name", "noise", "--reference", "digits", "--metrics", "blur"]
    answer = cli(["evaluate", *measured, "--out", tmp_path / "reports"])
    assert answer.code == 0, answer.err
    text, _ = pages(tmp_path / "reports" / "digits")
    assert "Noise is noisy" in text and "nobody" not in text
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'title = "Mine"\nsource = "me"\n[dataset]\nname = "digits"\n[evaluation]\nmetrics = ["blur"]\n'
        '[[models]]\nimages = "noise.npz"\nname = "noise"\n'
        '[[claims]]\nsays = "Mine first"\nclaim = "blur/samples: real < external/noise"\n'
    )
    answer = cli(["suite", "run", mine, "--only", "report", "--out", tmp_path / "reports"])
    assert answer.code == 0, answer.err
    text, _ = pages(tmp_path / "reports" / "mine")
    assert text.index("Mine first") < text.index("Noise is noisy") and "nobody" not in text
    held = [line.split(",")[2] for line in (tmp_path / "reports/mine/claims.csv").read_text().splitlines()]
    assert held == ["says", "Mine first", "Noise is noisy"]
    assert "Mine first" in answer.out and "Noise is noisy" not in answer.out  # the terminal answers the suite alone


def test_claims_come_by_dataset():
    known = built_in_claims()
    mnist, celeba = built_in_claims("mnist"), built_in_claims("celeba")
    assert len(mnist) == 6 and len(celeba) >= 10 and len(known) == len(mnist) + len(celeba)
    assert {claim.source for claim in mnist} == {"MNIST article, Deep feature consistent variational auto-encoder"}
    assert len({claim.source for claim in celeba}) == 5 and built_in_claims("nowhere") == []
