"""The tables of studies: which rows they take, how they lie, and what the pages say."""

import re

from vaebench.core.results import Facts
from vaebench.report.analysis import latent_space, leaderboard
from vaebench.report.analysis.formatting import to_csv
from vaebench.report.html.tables import studies

FACTS = {
    "manipulation_effect": Facts(study="manipulation", column="effect"),
    "manipulation_leakage": Facts(study="manipulation", column="leakage"),
    "blend_realism": Facts(study="blending", column="realism"),
    "blend_adversary": Facts(study="blending", column="adversary"),
    "shift_accuracy": Facts(study="shift", column="accuracy"),
    "theirs": Facts(study="weaving", column="threads"),
}


def row(recipe, metric, stratum="all", value=0.5, half=0.1, protocol="p", **changes):
    known = {
        "dataset": "toy",
        "split": "test",
        "unit": "share",
        "direction": "higher",
        "std_error": None,
        "seeds": 1,
        "n": 20,
        "rank_low": None,
        "rank_high": None,
        "data_fingerprint": "f" * 64,
        "extractor_sha256": "",
        "vaebench_version": "0",
        "device": "abacus",
        "note": "",
        "margin": "",
        "df": None,
        "facts": FACTS.get(metric, Facts()),
    }
    low, high = (None, None) if value is None or half is None else (value - half, value + half)
    return leaderboard.Row(
        **{**known, **changes},
        recipe=recipe,
        metric=metric,
        stratum=stratum,
        protocol=protocol,
        value=value,
        ci_low=low,
        ci_high=high,
    )


SHIFTS = (*(f"condition={name}" for name in ("shift 1/4", "shift 1/16", "shift 1/8", "untouched")), "all")
RANKED = [
    row("vae", "mse"),
    row("vae", "manipulation_effect", value=0.25),
    row("vae", "manipulation_leakage", value=0.125, half=None),
    row("vae", "manipulation_effect", "attribute=Black_Hair", value=0.75),
    row("vae", "manipulation_effect", "Smiling=1", value=0.9),
    row("dcgan", "manipulation_effect", value=None, note="needs an encoder"),
    row("baseline/fourier-mix", "blend_realism", value=0.5),
    row("baseline/fourier-mix", "blend_realism", "condition=weight 0.25", value=0.6),
    row("vae", "blend_realism", value=0.7),
    row("vae", "blend_realism", "condition=weight 0.25", value=0.8),
    row("real", "blend_realism", value=1.0),
    row("vae", "blend_adversary", value=0.4),
    *(
        row("vae", "shift_accuracy", stratum, protocol=protocol)
        for stratum in SHIFTS
        for protocol in ("plain/faces=9", "realigned/faces=9")
    ),
]


def table_of(name):
    return next(table for table in latent_space.laid_out(latent_space.rows(RANKED)) if table.study.name == name)


def texts(table):
    return [[text for text, _ in line] for line in table.cells]


def test_rows_are_of_studies_and_no_strata_of_images():
    rows = latent_space.rows(RANKED)
    assert "mse" not in {found.metric for found in rows}
    effects = [found for found in rows if (found.metric, found.recipe) == ("manipulation_effect", "vae")]
    assert {found.condition: found.value for found in effects} == {"all": 0.25, "Black_Hair": 0.75}
    order = [found.study for found in rows]
    assert order == sorted(order, key=["manipulation", "blending", "shift"].index)
    lines = to_csv(latent_space.Row, rows).splitlines()
    assert len(lines) == 1 + len(rows)
    assert any(line.endswith(",needs an encoder") for line in lines)  # n/a stays a row


def test_conditions_are_rows_with_the_mean_first():
    table = table_of("manipulation")
    assert list(table.head) == ["what", "model", "effect", "leakage"]
    assert texts(table) == [
        ["mean of all", "vae", "0.2500 ± 0.1000", "0.1250"],
        ["Black Hair", "vae", "0.7500 ± 0.1000", ""],
    ]


def test_weights_go_across_the_originals_first_and_what_no_model_learnt_last():
    table = table_of("blending")
    assert list(table.head) == ["model", "realism, weight 0.25", "realism, weight 0.5", "adversary"]
    assert [line[0] for line in texts(table)] == ["originals", "vae", "fourier-mix"]
    assert texts(table)[1][1:] == ["0.8000 ± 0.1000", "0.7000 ± 0.1000", "0.4000 ± 0.1000"]


def test_fractions_are_in_their_order_and_protocols_are_columns():
    table = table_of("shift")
    assert list(table.head) == ["what", "model", "accuracy, plain", "accuracy, realigned"]
    assert [line[0] for line in texts(table)] == ["mean of all", "untouched", "shift 1/16", "shift 1/8", "shift 1/4"]


def test_both_pages_have_the_same_cells():
    rows = latent_space.rows(RANKED)
    page = "\n".join(latent_space.section(rows))
    for (study, grid), table in zip(studies(rows), latent_space.laid_out(rows), strict=True):
        assert study.title in page
        for line, cells in zip(grid.rows, texts(table), strict=True):
            assert [cell.text for cell in line] == cells
            assert re.search(r"\| ".join(["", *(re.escape(text) + " *" for text in cells)]), page)
    numbers = [cell for line in studies(rows)[0][1].rows for cell in line[2:]]
    assert [cell.sort for cell in numbers] == ["0.25", "0.125", "0.75", ""]


def test_where_nothing_was_studied_there_is_no_section():
    assert latent_space.section(latent_space.rows([row("vae", "mse")])) == []
    assert latent_space.section(latent_space.rows([row("dcgan", "manipulation_effect", value=None)])) == []


def test_a_plugin_s_study_has_a_table_of_its_own_behind_the_others():
    rows = latent_space.rows([row("vae", "theirs"), row("vae", "blend_realism")])
    (own, _), (theirs, grid) = studies(rows)
    assert (own.name, theirs.title, grid.head) == ("blending", "Weaving", ["model", "threads"])
    assert "### Weaving" in "\n".join(latent_space.section(rows))
