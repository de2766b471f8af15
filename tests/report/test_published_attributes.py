"""Printed accuracies of CelebA's attributes: the table holds together, and what is no table is named."""

from pathlib import Path
from statistics import fmean

import pytest

from vaebench.core.errors import UserError
from vaebench.core.paths import bundled
from vaebench.report.analysis.published_attributes import BUNDLED, TABLE, read_published

NAMES = [
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache",
    "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks",
    "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick",
    "Wearing_Necklace", "Wearing_Necktie", "Young",
]  # fmt: skip
AVERAGES = {
    "FaceTracer": 81.13,
    "PANDA-w": 79.85,
    "PANDA-l": 85.43,
    "LNets+ANet": 87.30,
    "VAE-Z": 86.95,
    "VGG-FC": 79.85,
    "VAE-123 (Paper Results)": 86.95,
    "VAE - 123 (Our Results)": 86.68,
}
ROWS = read_published(bundled(BUNDLED) / TABLE)
BY_METHOD = {row.method: row for row in ROWS}
COLUMNS = ("method", "source", "protocol", "average_printed", "note")


def test_every_printed_row_is_there_with_its_average():
    printed = {row.method: round(100 * row.average_printed, 2) for row in ROWS}
    assert printed == AVERAGES
    assert len(ROWS) == len(AVERAGES)
    assert all(row.source and row.protocol for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row.method for row in ROWS])
def test_a_row_has_celeba_s_attributes_in_order_as_fractions(row):
    assert list(row.accuracies) == NAMES
    assert all(0 <= value <= 1 for value in row.accuracies.values())
    assert all(round(100 * value, 9) == round(100 * value) for value in row.accuracies.values())  # printed whole


def test_the_names_are_those_of_the_published_file():
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "celeba"
    if not (folder / "list_attr_celeba.txt").is_file():
        pytest.skip(f"no list_attr_celeba.txt in {folder}")
    with (folder / "list_attr_celeba.txt").open() as lines:
        next(lines)
        assert next(lines).split() == NAMES


@pytest.mark.parametrize("row", ROWS, ids=[row.method for row in ROWS])
def test_the_printed_average_is_that_of_the_columns_or_the_note_says_what_it_would_be(row):
    mean, printed = 100 * fmean(row.accuracies.values()), 100 * row.average_printed
    off = abs(mean - printed)
    assert off <= 0.5 + 0.005  # more than the rounding of columns and average could do
    follows = off <= 0.005 + 1e-9  # the average's own rounding, of columns as printed
    assert follows == ("does not follow" not in row.note)
    assert follows or f"{mean:.2f}" in row.note


def test_the_replication_s_is_the_only_average_that_does_not_follow():
    assert [row.method for row in ROWS if "does not follow" in row.note] == ["VAE - 123 (Our Results)"]


def test_the_restated_row_is_the_original_s():
    assert BY_METHOD["VAE-123 (Paper Results)"].accuracies == BY_METHOD["VAE-Z"].accuracies


@pytest.mark.parametrize(
    ("method", "attribute", "percent"),
    [  # cells that the sources' text speaks of, and those beside the seams of the printed halves
        ("VAE-Z", "Wearing_Necklace", 88),
        ("VAE-Z", "Receding_Hairline", 92),
        ("VAE-Z", "Pale_Skin", 96),
        ("LNets+ANet", "Male", 98),
        ("LNets+ANet", "Mouth_Slightly_Open", 92),
        ("VGG-FC", "Wearing_Earrings", 49),
        ("VGG-FC", "Young", 74),
        ("VAE - 123 (Our Results)", "High_Cheekbones", 81),
        ("VAE - 123 (Our Results)", "Male", 90),
        ("VAE - 123 (Our Results)", "Mouth_Slightly_Open", 80),
        ("VAE - 123 (Our Results)", "Wearing_Necktie", 88),
        ("VAE - 123 (Our Results)", "Young", 82),
    ],
)
def test_cells(method, attribute, percent):
    assert BY_METHOD[method].accuracies[attribute] == pytest.approx(percent / 100)


@pytest.fixture
def table(tmp_path):
    """Write a table of these rows; a row is its cells."""

    def write(*rows, header=(*COLUMNS, *NAMES)):
        path = tmp_path / "table.csv"
        path.write_text("".join(",".join(cells) + "\n" for cells in (header, *rows)))
        return path

    return write


FINE = ("A", "a paper", "as said", "80", "", *["80"] * 40)


def test_a_row_without_an_average(table):
    (row,) = read_published(table(("A", "a paper", "", "", "no average", *["80.5"] * 40)))
    assert row.average_printed is None
    assert row.accuracies["Young"] == pytest.approx(0.805)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (FINE[:-1], "39 accuracies, not 40"),
        ((*FINE, "80"), "41 accuracies, not 40"),
        (FINE[:3], "0 accuracies"),
        ((*FINE[:-1], ""), "Young is '', no percentage"),
        ((*FINE[:-1], "high"), "Young is 'high'"),
        ((*FINE[:-1], "100.5"), "no percentage"),
        ((*FINE[:-1], "-1"), "no percentage"),
        ((*FINE[:-1], "nan"), "no percentage"),
        (("A", "a", "b", "x", "", *FINE[5:]), "average_printed is 'x'"),
    ],
)
def test_a_row_that_is_not_40_numbers_is_named_by_file_and_line(table, cells, words):
    with pytest.raises(UserError, match=rf"table\.csv, line 3: .*{words}") as caught:
        read_published(table(FINE, cells))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("header", [(), COLUMNS, (*COLUMNS, *NAMES[:39]), (*COLUMNS, *["Young"] * 40), (*NAMES,)])
def test_other_columns_are_refused(table, header):
    with pytest.raises(UserError, match=r"table\.csv, line 1: the columns are not method"):
        read_published(table(FINE, header=header))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv cannot be read"):
        read_published(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"bytes\.csv cannot be read"):
        read_published(tmp_path / "bytes.csv")
    (tmp_path / "quote.csv").write_text('method,"source')
    with pytest.raises(UserError, match=r"quote\.csv cannot be read"):
        read_published(tmp_path / "quote.csv")
