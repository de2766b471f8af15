"""The printer of tables: what a narrow terminal shows, what a pipe gets, CSV and JSON."""

import csv
import io
import json

import pytest
from rich.cells import cell_len

from vaebench.cli.tables import LEAST, Cell, Column, Table, laid_out, shortened

TABLE = Table(
    columns=[
        Column(name="metric"),
        Column(name="protocol", leaves=2, shrinks="middle"),
        Column(name="a", right=True, leaves=1),
        Column(name="b", right=True, leaves=1),
        Column(name="better", shrinks="middle"),
    ],
    rows=[
        ["blur", "recon/of/all/images", "0.0759", "0.0478", Cell("dfcvae-mnist", "bold")],
        ["fid", "inception64/tf-resize/n=2000/samples", "0.065", "0.121", "vae-mnist[latent_dim=10]"],
    ],
)


def texts(width):
    return [line.plain for line in laid_out(TABLE, width)]


@pytest.mark.parametrize("width", range(24, 140))
def test_no_line_is_wider_than_the_terminal(width):
    assert all(cell_len(line) <= width for line in texts(width))


@pytest.mark.parametrize("width", range(24, 60))
def test_what_does_not_shrink_is_cut_before_a_line_wraps(width):
    columns = [Column(name="metric"), Column(name="value", right=True), Column(name="gone", leaves=1)]
    table = Table(columns=columns, rows=[["interpolation_smoothness (samples)", "0.00123", "x" * 30]])
    lines = [line.plain for line in laid_out(table, width)]
    assert all(cell_len(line) <= width for line in lines)
    assert "0.00123" in lines[1]


def test_without_a_width_everything_is_there():
    lines = texts(None)
    for row in TABLE.rows:
        for content in row:
            assert any((content.text if isinstance(content, Cell) else content) in line for line in lines)
    assert "not shown" not in "\n".join(lines)
    assert {len(line) - len(line.lstrip()) for line in lines} == {0}


def test_columns_leave_by_number_and_those_of_one_number_together():
    shown = {width: texts(width)[0].split() for width in range(24, 140)}
    seen = [heads for width, heads in sorted(shown.items(), reverse=True)]
    assert ["metric", "protocol", "a", "b", "better"] in seen
    assert ["metric", "a", "b", "better"] in seen and ["metric", "better"] in seen
    assert all(("a" in heads) == ("b" in heads) for heads in seen)
    assert all("metric" in heads and "better" in heads for heads in seen)


def test_what_has_left_is_named():
    assert texts(50)[-2:] == ["not shown at this width: protocol (--plain shows", "all)"]
    assert "protocol" in texts(90)[0]


def test_numbers_are_aligned_right_and_names_left():
    head, first, second = texts(None)
    end = head.index(" b  ") + 2
    assert first[:end].endswith("0.0478") and second[:end].endswith("0.121")
    assert first.startswith("blur  ") and second.startswith("fid  ")


@pytest.mark.parametrize("width", [10, 11, 15, 20])
def test_names_are_shortened_in_the_middle(width):
    name = "vae-digits[latent_dim=10]"
    short = shortened(name, width, "middle")
    assert cell_len(short) <= width and "…" in short
    assert name.startswith(short.partition("…")[0]) and name.endswith(short.partition("…")[2])
    assert shortened(name, 100, "middle") == name
    assert width < LEAST or short.partition("…")[2]


def test_wide_characters_take_two_places():
    table = Table(columns=[Column(name="name", shrinks="end")], rows=[["模型一二三四五六七八九十"]])
    assert all(cell_len(line.plain) <= 13 for line in laid_out(table, 13))


def test_headings_stand_above_their_rows():
    table = Table(columns=[Column(name="x")], rows=[["1"], ["2"]], headings={1: "How near?"})
    assert [line.plain for line in laid_out(table, 40)] == ["x", "1", "How near?", "2"]


def test_control_characters_do_not_reach_a_terminal():
    table = Table(columns=[Column(name="x")], rows=[["\x1b[31mred\x07"]])
    assert "\x1b" not in laid_out(table, 40)[1].plain and "\x07" not in laid_out(table, None)[1].plain


def test_every_command_that_prints_a_table_gives_csv_and_json(cli):
    for command in (["list", "recipes"], ["suite", "list"], ["cache"], ["doctor"], ["list", "metrics"]):
        rows = list(csv.DictReader(io.StringIO(cli([*command, "--csv"]).out)))
        records = json.loads(cli([*command, "--json"]).out)
        assert len(rows) == len(records) > 0, command
        assert list(rows[0]) == list(records[0])
        if command != ["doctor"]:  # what it finds changes from call to call: room on the disk
            assert [{name: str(value) for name, value in each.items()} for each in records] == rows


def test_two_forms_exclude_each_other(cli):
    answer = cli(["list", "--csv", "--json"])
    assert (answer.code, answer.out) == (2, "")
    assert "--csv and --json exclude each other" in answer.err


def test_the_form_of_one_command_is_not_that_of_the_next(cli):
    assert cli(["suite", "list", "--json"]).out.startswith("[")
    assert not cli(["suite", "list"]).out.startswith("[")
