"""Cells and tables: what a number looks like in CSV, in Markdown and for people."""

import csv
import io
import math
from dataclasses import dataclass

import pytest

from vaebench.report.analysis.formatting import cell, p_text, short, to_csv, to_markdown, to_text


@dataclass
class Line:
    recipe: str
    n: int
    value: float | None
    p_value: float


@pytest.mark.parametrize("p", [0.0, 5e-324, 9.9e-301])
def test_tiny_p_is_never_zero(p):
    assert p_text(p) == cell("p_value", p) == cell("p_holm", p) == "<1e-300"


@pytest.mark.parametrize("p", [1e-300, 1e-299, 0.05, 1.0, 0.123456789])
def test_other_p_are_numbers(p):
    assert float(p_text(p)) == pytest.approx(p, rel=1e-5)


def test_only_p_values_are_cut_off():
    assert cell("mean_difference", 0.0) == "0"
    assert cell("mean_difference", 1e-301) == "1e-301"


@pytest.mark.parametrize("value", [None, math.nan])
@pytest.mark.parametrize("name", ["value", "p_value"])
def test_what_is_not_there_is_an_empty_cell(name, value):
    assert cell(name, value) == ""


def test_csv_parses_back():
    lines = [
        Line("a,b", 3, 0.1234567891, 0.25),
        Line('say "no"', 0, None, 0.0),
        Line("two\nlines", -1, -math.inf, 1e-200),
    ]
    text = to_csv(Line, lines)
    assert "\r" not in text
    back = list(csv.DictReader(io.StringIO(text)))
    assert [row["recipe"] for row in back] == [line.recipe for line in lines]
    assert [row["n"] for row in back] == ["3", "0", "-1"]
    assert (float(back[0]["value"]), back[1]["value"], float(back[2]["value"])) == (0.1234567891, "", -math.inf)
    assert [row["p_value"] for row in back] == ["0.25", "<1e-300", "1e-200"]


def test_csv_of_nothing_is_its_header():
    assert to_csv(Line, []) == "recipe,n,value,p_value\n"


def columns(line):
    """Cells of a Markdown row as GitHub splits it: a pipe behind a backslash is text."""
    return [part.strip().replace("\0", "|") for part in line.replace("\\|", "\0").strip("|\n ").split("|")]


def test_markdown_escapes_pipes():
    text = to_markdown(["recipe|seed", "value"], [["a|b", "1"], ["||", "2"]])
    head, rule, *body = text.splitlines()
    assert columns(head) == ["recipe|seed", "value"]
    assert columns(rule) == ["---", "---:"]
    assert [columns(line) for line in body] == [["a|b", "1"], ["||", "2"]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (math.nan, "n/a"),
        (0.0, "0"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (1234567.0, "1,234,567"),
        (-12.3456, "-12.35"),
        (0.0394833, "0.03948"),
        (6.495926e-5, "0.00006496"),
        (4.247178e-7, "4.247e-07"),
        (-1e-12, "-1.000e-12"),
    ],
)
def test_numbers_for_people(value, text):
    assert short(value) == text


@pytest.mark.parametrize("exponent", range(-30, 7))
def test_numbers_for_people_keep_four_digits(exponent):
    value = 1.23456 * 10.0**exponent
    assert float(short(value).replace(",", "")) == pytest.approx(value, rel=5e-4)


def test_text_is_aligned():
    lines = to_text(["name", "value"], [["a", "1"], ["longer", "22"]])
    assert lines == ["name    value", "a       1", "longer  22"]
