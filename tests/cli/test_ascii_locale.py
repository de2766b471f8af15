"""A terminal that knows ASCII alone: every command ends well, letters that it cannot show are replaced."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from vaebench.cli.exit_codes import BAD_INPUT, outcome
from vaebench.core import results
from vaebench.core.validation import as_text

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}


@pytest.fixture
def call(tmp_path, defaults_known):
    def run(*arguments):
        environment = {**os.environ, **ASCII}
        command = [sys.executable, "-m", "vaebench", *(os.fsencode(word) for word in arguments)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)

    return run


def test_commands_end_well_and_notes_keep_their_letters(call, tmp_path):
    np.savez(tmp_path / "i.npz", images=np.random.default_rng(0).random((20, 28, 28), np.float32))
    images = ["--images", "i.npz", "--name", "ext", "--reference", "digits", "--metrics", "blur"]
    for arguments in (
        ["list", "metrics"],
        ["train", "vae-digits", "--steps", "2", "--precision", "fp32", "--threads", "1"],
        ["evaluate", "vae-digits", "--metrics", "mse,blur", "--samples", "5"],
        ["evaluate", *images, "--command", "für alle — von Hand"],
        ["explain", "external/ext", "blur"],
        ["report", "--out", "berichte-ü"],
        ["sample", "vae-digits"],
    ):
        answer = call(*arguments)
        assert answer.returncode == 0, (arguments, answer.stderr)
        assert answer.stdout.isascii() and answer.stderr.isascii()
        assert b"Traceback" not in answer.stderr
        if arguments[0] == "explain":
            assert rb"f\xfcr alle \u2014 von Hand" in answer.stdout
    assert (tmp_path / "berichte-ü" / "digits" / "index.html").is_file()
    lines = results.read(tmp_path / "runs" / "external" / "ext" / "results.jsonl")
    assert {line.provenance.made_by for line in lines} == {"für alle — von Hand"}


def test_json_is_json_all_the_same(call):
    records = json.loads(call("list", "--json").stdout)
    assert any(not each["summary"].isascii() for each in records)


@pytest.mark.parametrize("arguments", [["train", "vae-dïgits"], ["evaluate", "rün"], ["fetch", "mnist", "--from", "ü"]])
def test_bad_input_of_other_letters_is_bad_input(arguments, call):
    answer = call(*arguments)
    assert answer.returncode == 2 and answer.stderr.startswith(b"error: ") and answer.stderr.isascii()


def test_a_name_that_cannot_be_written_is_said_with_the_way():
    def broken():
        "ü".encode("ascii")

    code, problem = outcome(broken, debug=False)
    assert code == BAD_INPUT and "cannot be written in ascii: set a UTF-8 locale" in problem


def test_bytes_that_are_no_text_stay_as_they_are():
    assert as_text("plain ü") == "plain ü"
    assert as_text("\udcff") == "\udcff"
