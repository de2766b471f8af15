"""The quickstart ranks the four families: a suite; here with a few steps each, since what counts is the way."""

import re

from vaebench import suites
from vaebench.suites.reading import read_suite


def test_it_ranks_four_families_on_digits_and_is_safe_to_repeat(cli, tmp_path, monkeypatch):
    text = suites.find_suite("digits").read_text(encoding="utf-8")
    short = tmp_path / "digits.toml"
    short.write_text(text.replace("samples = 2000", "samples = 60") + "\n[budget]\nsteps = 3\nsnapshots = []\n")
    monkeypatch.setattr(suites, "built_in", lambda: {"digits": short})
    first = cli(["quickstart", "--out", tmp_path / "reports"])
    assert first.code == 0, first.err
    said = first.out.splitlines()
    header = next(line for line in said if "originals" in line)
    assert header.split() == ["dcgan", "dfcvae", "vae", "vaewgan", "originals"]
    assert any(re.match(r"mse \(recon\) ↓ +n/a ", line) for line in said)  # DCGAN cannot encode
    assert any(line.startswith("distribution  ") and " by fcd (samples)" in line for line in said)
    assert f"page          {tmp_path / 'reports' / 'digits' / 'index.html'}" in said
    page = (tmp_path / "reports" / "digits" / "leaderboard.md").read_text(encoding="utf-8")
    (lacking,) = [line for line in page.splitlines() if line.startswith("- n/a, needs reconstructions: ")]
    assert "dcgan-digits (" in lacking and "mse" in lacking  # it cannot encode: n/a with the reason
    assert "Trained by:" in page
    assert "next          vaebench interpolate vae-digits dfcvae-digits --gif" in said  # one, and more with --full
    assert any("1 training seed each: checkpoints, not recipes" in line for line in said)
    again = cli(["quickstart", "--out", tmp_path / "reports"])
    assert again.code == 0 and again.out.count("already trained, left as it is") == 4
    assert again.out.count("nothing new to measure") == 4
    full = cli(["suite", "run", short, "--only", "report", "--full", "--out", tmp_path / "reports"]).out
    for study in ("interpolate vae-digits dfcvae-digits --gif", "embed dfcvae-digits", "blend vae-digits"):
        assert f"next          vaebench {study}" in full  # what there is to be seen in latent space
    assert "--seeds 0,1,2 --resume" in full


def test_faces_has_the_same_families():
    families = ("vae", "dfcvae", "dcgan", "vaewgan")
    for name in ("digits", "toyfaces"):
        models = read_suite(suites.find_suite(name)).suite.models
        assert [model.recipe for model in models] == [f"{family}-{name}" for family in families]
