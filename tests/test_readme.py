"""The README's third-party model is a file that trains, is measured, and passes the checks for plugins."""

import re
from pathlib import Path

import pytest

from vaebench.core.registry import load_file_attribute
from vaebench.testing import check_recipe

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (model,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in model.splitlines() if line.strip()]) <= 40
    path = tmp_path / "mine.py"
    path.write_text(model, encoding="utf-8")
    return path


def test_it_trains_from_the_file_and_joins_the_table(mine, cli, tmp_path):
    trained = cli(["train", f"{mine}:densevae_digits", "--steps", "5", "--set", "beta=2", "--threads", "1"])
    assert trained.code == 0, trained.err
    measured = cli(["evaluate", "densevae-digits", "--samples", "50", "--out", tmp_path / "reports"])
    assert measured.code == 0, measured.err
    assert "densevae-digits" in (tmp_path / "reports" / "digits" / "leaderboard.md").read_text(encoding="utf-8")


def test_it_passes_the_checks_for_plugins(mine):
    check_recipe(load_file_attribute(f"{mine}:densevae_digits")())
