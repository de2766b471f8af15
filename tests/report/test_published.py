"""What papers claim: tables that are read, in a suite's form and in those before, and those that cannot be."""

import pytest

from vaebench.core.errors import UserError
from vaebench.report.analysis.claims import parse
from vaebench.report.analysis.published import published_claims
from vaebench.suites import built_in

SAME = 'dataset = "toy"\nsource = "A paper"\n'
TODAY = """
[[claim]]
says = "b is sharper"
where = "table 2"
published = "t = 9"
claim = "mse/recon, label!=1: b > a"
"""
ORDER = """
[[claim]]
says = "b above a"
published = "t = 9"
metric = "mse"
protocol = "recon"
stratum = "label!=1"
greater = "b"
less = "a"
"""
VALUE = """
[[claim]]
says = "four in use"
published = "4"
metric = "active_units"
stratum = "all"
recipe = "a"
value = 4.0
"""


@pytest.fixture
def read(tmp_path):
    """Claims about ``toy`` of a file with this text."""

    def answer(text):
        (tmp_path / "paper.toml").write_text(text)
        return published_claims(tmp_path, "toy")

    return answer


def test_a_claim_is_read_whole(read):
    (claim,) = read(SAME + TODAY)
    assert (claim.says, claim.source, claim.where, claim.published) == ("b is sharper", "A paper", "table 2", "t = 9")
    assert claim.expression == "mse/recon, label!=1: b > a"


def test_tables_of_earlier_versions_mean_what_they_meant(read):
    order, value = read(SAME + ORDER + VALUE)
    assert parse(order.expression) == parse("mse/recon, label!=1: b > a")
    assert parse(value.expression) == parse("active_units: a = 4")
    assert (order.where, value.published) == ("", "4")


SUITE = """
title = "One"
source = "A paper"
[dataset]
name = "toy"
[[models]]
recipe = "b"
"""


def test_a_suite_s_file_is_a_table(read):
    (claim,) = read(SUITE + TODAY.replace("[[claim]]", "[[claims]]").replace('published = "t = 9"\n', ""))
    assert (claim.says, claim.source, claim.where, claim.published) == ("b is sharper", "A paper", "table 2", "")
    assert claim.expression == "mse/recon, label!=1: b > a"
    assert read(SUITE) == [] and read(SUITE.replace("toy", "mnist") + "[[claims]]\n") == []
    assert len(published_claims(built_in()["mnist-article"].parent, "mnist")) == 6


def test_other_datasets_are_passed_over(read):
    assert read('dataset = "mnist"\n') == []


def test_no_folder_no_claims(tmp_path):
    assert published_claims(tmp_path / "none", "toy") == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dataset = ", "cannot be read"),
        ('dataset = "toy"\nclaim = 3\n', "no table of claims"),
        (SAME, "no table of claims.*'claim'"),
        (VALUE + 'dataset = "toy"\n', "no table of claims.*'dataset'"),
        (SAME + VALUE.replace("says", "sais"), "no table of claims.*'says'"),
        (SAME + VALUE.replace("recipe", "recipy"), "no table of claims.*'recipe'"),
        (SAME + VALUE.replace("4.0", '"four"'), "no table of claims.*four"),
        (SAME + TODAY.replace('"t = 9"', "9"), "no table of claims.*9 is no text"),
        (SAME + TODAY.replace("claim =", "clam ="), "no table of claims.*'claim'"),
        (SAME + TODAY.replace("b > a", "b beats a"), "claim 'mse/recon, label!=1: b beats a': 'beats a' after 'b'"),
        ('dataset = "toy"\n' + VALUE, "no table of claims.*'source'"),
        (
            SUITE + TODAY.replace("[[claim]]", "[[claims]]").replace("says", "sais"),
            "'says'.*as a suite has them",
        ),
        (SUITE.replace("name", "nam"), "no table of claims.*'name'"),
        (SAME + 'claim = ["greater"]\n', "no table of claims"),
    ],
)
def test_a_malformed_file_is_named(read, text, reason):
    with pytest.raises(UserError, match=rf"paper\.toml.*({reason})") as raised:
        read(text)
    assert len(str(raised.value).splitlines()) == 1


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "paper.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"paper\.toml cannot be read"):
        published_claims(tmp_path, "toy")
