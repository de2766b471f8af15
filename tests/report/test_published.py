"""What papers claim: tables that are read, in today's form and in the one before, and those that cannot be."""

from pathlib import Path

import pytest

from vaebench.core.errors import UserError
from vaebench.metrics import METRICS
from vaebench.report.analysis.claims import check, parse
from vaebench.report.analysis.published import default_folder, published_claims

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


def test_the_claims_that_come_with_vaebench_can_be_judged():
    found = published_claims(default_folder(), "mnist")
    assert len(found) == 6
    for claim in found:
        asked = parse(claim.expression)
        specs = {asked.metric: [metric.spec for metric in METRICS.get(asked.metric)()]}
        assert check(asked, specs, ["vae-mnist", "dfcvae-mnist"]) == []
    assert not [path for path in Path(default_folder()).glob("*.toml") if "greater" in path.read_text()]
