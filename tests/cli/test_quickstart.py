"""The quickstart ranks the four families; here with a few steps each, since what counts is the way."""

import re
from dataclasses import replace
from functools import partial

from vaebench.cli import quickstart
from vaebench.training.job import Job


def test_it_ranks_four_families_on_digits_and_is_safe_to_repeat(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(quickstart, "DIGITS", replace(quickstart.DIGITS, samples=60))
    monkeypatch.setattr(quickstart, "Job", partial(Job, steps=3))
    first = cli(["quickstart", "--out", tmp_path / "reports"])
    assert first.code == 0, first.err
    header = next(line for line in first.out.splitlines() if line.startswith("metric "))
    named = ["originals", "training images", "dcgan-digits", "dfcvae-digits", "vae-digits", "vaewgan-digits"]
    assert re.split(r"  +", header) == ["metric", *named]
    page = (tmp_path / "reports" / "digits" / "leaderboard.md").read_text(encoding="utf-8")
    (lacking,) = [line for line in page.splitlines() if line.startswith("- n/a, needs reconstructions: ")]
    assert "dcgan-digits (" in lacking and "mse" in lacking  # it cannot encode: n/a with the reason
    assert "Trained by:" in page
    for study in ("interpolate vae-digits dfcvae-digits --gif", "embed dfcvae-digits", "blend vae-digits"):
        assert f"vaebench {study}" in first.out  # what there is to be seen in latent space
    again = cli(["quickstart", "--out", tmp_path / "reports"])
    assert again.code == 0 and again.out.count("already trained, left as it is") == 4
    assert again.out.count("nothing new to measure") == 4


def test_faces_has_the_same_families():
    assert quickstart.FACES.recipes == ["vae-toyfaces", "dfcvae-toyfaces", "dcgan-toyfaces", "vaewgan-toyfaces"]
