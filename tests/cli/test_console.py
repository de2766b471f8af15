"""Terminals and folders as they are: ASCII ones, names that are no UTF-8, control characters in what was read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("defaults_known")

TRAIN = ["train", "vae-digits", "--steps", "2", "--precision", "fp32", "--threads", "1"]
COMMANDS = [
    TRAIN,
    ["evaluate", "vae-digits", "--metrics", "blur,mse", "--samples", "16", "--out", "out"],
    ["explain", "vae-digits", "mse"],
    ["doctor"],
]


def test_every_command_works_in_a_folder_that_is_no_utf_8_on_an_ascii_terminal(tmp_path):
    place = tmp_path / os.fsdecode(b"caf\xe9")
    place.mkdir()
    environment = {
        **os.environ,
        "VAEBENCH_RUNS": "runs",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    for command in COMMANDS:
        words = [sys.executable, "-m", "vaebench", *command]
        answer = subprocess.run(words, cwd=place, env=environment, capture_output=True, check=False)
        assert answer.returncode == 0, (command, answer.stderr)
        assert b"Traceback" not in answer.stderr
    assert (place / "out/digits/index.html").exists()


@pytest.mark.parametrize("option", [["--set", "latent_dim=999999999999"], ["--set", "latent_dim=99999999999999999999"]])
def test_a_model_that_no_machine_holds_is_refused(cli, tmp_path, option):
    answer = cli([*TRAIN, *option])
    assert (answer.code, len(answer.err.splitlines())) == (2, 1), answer
    assert "choose a smaller" in answer.err or "too large" in answer.err, answer
    assert not list(tmp_path.glob("runs/*/*"))
