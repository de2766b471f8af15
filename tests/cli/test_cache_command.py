"""``vaebench cache``: what is kept is shown, and removed when asked; what is no measurement stays."""

import os
import time

import pytest

from vaebench.core.paths import cache_dir

DAY = 86_400


@pytest.fixture
def kept(places):
    """A cache with something of each kind: file -> age in days."""
    ages = {
        "features/digits/dense/features.npy": 40,
        "features/digits/dense/features.npy.sha256": 40,
        "features/mnist/dense/features.npy": 40,
        "features/mnist/dense/moments.npz": 1,  # as young as its youngest file: they belong together
        "images/celeba.u8": 3,
        "trusted_recipes.json": 50,
    }
    for name, days in ages.items():
        file = cache_dir() / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 1000)
        then = time.time() - days * DAY
        os.utime(file, (then, then))
    return cache_dir()


def left(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"compute.json"}


def test_it_shows_what_is_kept_and_how_to_be_rid_of_it(cli, kept):
    answer = cli(["cache"])
    assert (answer.code, answer.err) == (0, "")
    rows = {line.split()[0]: line for line in answer.out.splitlines()}
    assert rows["features"].split()[1:4] == ["4.0", "KB", "4"] and "features of real images" in rows["features"]
    assert "recipe files you trained from" in rows["trusted_recipes.json"]
    assert f"in {kept}; to be rid of it: vaebench cache clear" in answer.out.splitlines()[-1]
    assert len(left(kept)) == 6


def test_what_is_old_goes_and_what_belongs_together_stays_together(cli, kept):
    answer = cli(["cache", "clear", "--older-than", "30d"])
    assert (answer.code, answer.out) == (0, f"removed 2.0 KB in 2 files from {kept}\n")
    assert left(kept) == {
        *("features/mnist/dense/features.npy", "features/mnist/dense/moments.npz"),
        *("images/celeba.u8", "trusted_recipes.json"),
    }


def test_all_of_it_goes_but_the_trusted_files(cli, kept):
    assert cli(["cache", "clear"]).code == 0
    assert left(kept) == {"trusted_recipes.json"}
    assert not (kept / "compute.json").exists()
    assert cli(["cache", "clear"]).code == 0  # nothing to remove is no fault


def test_links_are_removed_and_not_followed(cli, kept, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("precious")
    (kept / "features" / "link").symlink_to(tmp_path / "mine")
    (kept / "judges").symlink_to(tmp_path / "mine")
    assert cli(["cache", "clear"]).code == 0
    assert (tmp_path / "mine" / "file").read_text() == "precious"
    assert not (kept / "judges").exists()


def test_an_empty_cache(cli, monkeypatch, tmp_path):
    monkeypatch.setenv("VAEBENCH_CACHE", str(tmp_path / "none"))
    assert cli(["cache"]).out == f"0 bytes in {tmp_path / 'none'}; to be rid of it: vaebench cache clear\n"
    assert cli(["cache", "clear"]).code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cache", "cleer"], "vaebench cache clear [--older-than 30d] removes it"),
        (["cache", "--older-than", "30d"], "vaebench cache clear [--older-than 30d] removes it"),
        (["cache", "clear", "--older-than", "a month"], "no span of time: write e.g. 30d or 12h"),
        (["cache", "clear", "--older-than=-1d"], "no span of time: write e.g. 30d or 12h"),
        (["cache", "clear", "--older-than", "99999999999999d"], "no span of time: write e.g. 30d or 12h"),
    ],
)
def test_what_it_refuses(cli, kept, arguments, message):
    answer = cli(arguments)
    assert (answer.code, len(answer.err.splitlines()), message in answer.err) == (2, 1, True), answer
    assert len(left(kept)) == 6
