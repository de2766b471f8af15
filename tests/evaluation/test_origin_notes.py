"""A note of how a model or images were made: kept with their numbers, shown where these come from."""

import numpy as np
import pytest

from vaebench.core import results
from vaebench.core.paths import runs_dir

NOTE = "python train.py --lr 1e-3 --latents 32  # ünïcode, 'quotes' and <b>markup</b>"


@pytest.fixture
def evaluate(cli, tmp_path):
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", images=draw.random((30, 28, 28), np.float32))
    np.savez(tmp_path / "other.npz", images=draw.random((30, 28, 28), np.float32))

    def call(*options, metrics="blur", file="mine"):
        named = ["--images", str(tmp_path / f"{file}.npz"), "--name", "mine", "--reference", "digits"]
        return cli(["evaluate", *named, "--metrics", metrics, *options, "--out", str(tmp_path / "reports")])

    return call


def notes():
    return {line.metric: line.provenance.made_by for line in results.read(runs_dir() / "external/mine/results.jsonl")}


def test_a_note_is_shown_where_numbers_come_from(evaluate, cli, tmp_path):
    assert evaluate("--command", NOTE).code == 0
    assert f"made by           {NOTE}" in cli(["explain", "external/mine", "blur"]).out
    page = (tmp_path / "reports" / "digits" / "index.html").read_text()
    assert "python train.py --lr 1e-3" in page and "<b>markup</b>" not in page


def test_a_note_given_later_is_of_all_numbers_and_stays(evaluate):
    assert evaluate().code == 0
    assert notes() == {"blur": ""}
    assert evaluate("--command", NOTE, metrics="blur,diversity").code == 0
    assert notes() == {"blur": NOTE, "diversity": NOTE}
    assert evaluate(metrics="memorisation").code == 0
    assert set(notes().values()) == {NOTE}
    assert evaluate("--command", "another", metrics="blur").code == 0
    assert set(notes().values()) == {"another"}


def test_other_images_do_not_inherit_it(evaluate):
    assert evaluate("--command", NOTE).code == 0
    assert evaluate(file="other").code == 0
    assert notes() == {"blur": ""}


def test_a_model_has_one_too(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import torch\ndef draw(n, generator):\n    return torch.rand(n, 1, 28, 28, generator=generator)\n"
    )
    named = ["--model", "./mine.py:draw", "--name", "mine@3", "--dataset", "digits", "--metrics", "blur"]
    assert cli(["evaluate", *named, "--samples", "20", "--command", NOTE, "--out", "reports"]).code == 0
    assert {line.provenance.made_by for line in results.read(runs_dir() / "external/mine@3/results.jsonl")} == {NOTE}


@pytest.mark.parametrize(
    ("text", "said"), [("two\nlines", "one line"), ("\x1b[31mred", "one line"), ("x" * 2001, "2,000 at most")]
)
def test_what_is_no_note_is_refused_before_the_work(text, said, evaluate):
    answer = evaluate("--command", text)
    assert answer.code == 2 and said in answer.err and len(answer.err.splitlines()) == 1
    assert not (runs_dir() / "external").exists()


def test_a_run_has_its_own_command(cli):
    answer = cli(["evaluate", "vae-digits", "--command", NOTE])
    assert answer.code == 2 and "a run's record has the command" in answer.err
