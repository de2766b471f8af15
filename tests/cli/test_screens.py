"""Screens as a terminal of 100 and of 80 columns shows them, held against files; nothing wraps.

``VAEBENCH_WRITE_SCREENS=1 pytest tests/cli/test_screens.py`` writes them anew: look at each before you commit it.
"""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from vaebench.cli.progress import shown
from vaebench.runs.history import Progress

SCREENS = Path(__file__).parent / "screens"
HELPERS = Path(__file__).parents[1] / "report"
WIDTHS = (100, 80)
LINES = 24  # of a terminal
UNBROKEN = ("page ", "next ")  # commands and paths are to be copied
# in one process: vaebench's start-up would be most of the time
RUN = """
import contextlib, io, json, sys
from pathlib import Path
from vaebench.cli.main import main
for name, arguments in json.loads(sys.argv[1]).items():
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        if arguments[:1] == ["answers of a suite"]:  # as quickstart and suite run end, without minutes of training
            from vaebench.cli.answer_screen import show_answers
            show_answers(Path(arguments[1]), arguments[2:], claims=6)
        else:
            main(arguments)
    print(json.dumps([name, said.getvalue()]))
"""
FILL = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from handmade import drawn, write_real, write_run
write_real({"blur": drawn(99, 50, 0.16, 0.02)})
for seed in range(3):
    of = {"vae-toy": (0.05, 0.022, 0.72), "dfcvae-toy": (0.08, 0.0222, 0.74), "vaewgan-toy": (0.06, 0.033, 0.63)}
    for place, (recipe, (blur, mse, ssim)) in enumerate(of.items()):
        noise = 100 * place + 10 * seed
        write_run(recipe, seed, {
            "blur": drawn(noise, 50, blur, 0.01), "mse": drawn(noise + 1, 50, mse, 0.002),
            "ssim": drawn(noise + 2, 50, ssim, 0.02),
        })
"""
COMMANDS = {
    "vaebench": [],
    "help": ["--help"],
    "list": ["list"],
    "list-recipes": ["list", "recipes"],
    "list-metrics": ["list", "metrics"],
    "doctor": ["doctor"],
    "suites": ["suite", "list"],
    "report": ["report", "--out", "reports"],
    "quickstart": ["answers of a suite", "reports/toy", "vaebench interpolate vae-digits dfcvae-digits --gif"],
    "compare": ["compare", "dfcvae-toy", "vae-toy"],
    "plan": ["plan", "dfcvae-toy", "vae-toy", "--metric", "mse"],
    "check-green": ["check", "accepted.csv", "--baseline", "accepted.csv"],
    "check-red": ["check", "worse.csv", "--baseline", "accepted.csv"],
    "check-undecided": ["check", "unsure.csv", "--baseline", "accepted.csv"],
}
ONE_SCREEN = {"vaebench", "report", "quickstart", "check-red", "check-green", "check-undecided", "plan"}


def plain(text, home):
    """Without styles, and without what depends on the machine."""
    text = re.sub(r"[^\n]*\n(\x1b\[\?25h)?\r?\x1b\[1A\x1b\[2K", "", text)  # what was shown for a while, and erased
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace(str(home) or "\0", "HOME")
    return "\n".join(line.rpartition("\r")[2].rstrip() for line in text.split("\n"))  # what is written last stays


@pytest.fixture(scope="module")
def screens(tmp_path_factory, measured_defaults):
    """Run all commands at each width: (name, width) -> what a terminal shows."""
    home = tmp_path_factory.mktemp("home")
    places = {f"VAEBENCH_{place}": str(home / place.lower()) for place in ("RUNS", "DATA", "WEIGHTS", "CACHE")}
    measured_defaults(home / "cache")
    env = {**os.environ, **places, "OMP_NUM_THREADS": "1", "HOME": str(home), "TORCH_HOME": str(home)}
    env = {name: value for name, value in env.items() if name not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")}
    subprocess.run([sys.executable, "-c", FILL, str(HELPERS)], check=True, env=env)
    from test_check_command import OK, UNSURE, WORSE, text_of

    (home / "accepted.csv").write_text(text_of(OK))
    (home / "worse.csv").write_text(text_of(WORSE))
    (home / "unsure.csv").write_text(text_of(UNSURE))
    found = {}
    for width in WIDTHS:
        seen = {**env, "COLUMNS": str(width), "LINES": str(LINES), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
        command = [sys.executable, "-c", RUN, json.dumps(COMMANDS)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, env=seen, cwd=home)
        for line in answer.stdout.splitlines():
            name, said = json.loads(line)
            found[name, width] = plain(said, home)
    return found


def held(name, width, text):
    """Hold a screen against its file, or write that."""
    file = SCREENS / f"{name}-{width}.txt"
    if os.environ.get("VAEBENCH_WRITE_SCREENS"):
        SCREENS.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "doctor"])
def test_a_screen_is_as_it_was_accepted(screens, name, width):
    held(name, width, screens[name, width])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_wraps(screens, name, width):
    lines = screens[name, width].split("\n")
    assert any(lines)
    assert not [line for line in lines if cell_len(line) > width and not line.startswith(UNBROKEN)]


@pytest.mark.parametrize("name", sorted(ONE_SCREEN))
def test_an_answer_fits_one_screen(screens, name):
    assert len(screens[name, 100].rstrip("\n").split("\n")) <= LINES


@pytest.mark.parametrize("width", WIDTHS)
def test_doctor_marks_what_is_missing_and_gives_its_command(screens, width):
    lines = screens["doctor", width].split("\n")
    missing = next(place for place, line in enumerate(lines) if "mnist: data missing" in line)
    assert lines[missing].startswith("  ✗ ")
    assert any(line.startswith("    → vaebench fetch mnist") for line in lines[missing : missing + 4])
    assert any(line.startswith("  ✓ digits: ready") for line in lines)


ROWS = {
    "vae-digits/seed-0": {"vae/reconstruction": 131.25, "vae/kl": 8.5},
    "dcgan-digits/seed-0": {"discriminator/real": 0.5, "discriminator/fake": 0.7, "generator/adversarial": 1.23456},
    "vaewgan-celeba[epochs_per_halving=3,perceptual=vgg19-normalised]/seed-12": {
        "vae/perceptual_conv1": 131.2,
        "critic/wasserstein": -3.25,
        "critic/gradient_penalty": 0.1,
    },
}


@pytest.mark.parametrize("width", WIDTHS)
def test_training_in_progress(width):
    shots = []
    for title, terms in ROWS.items():
        console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
        with shown(console, title, "2/4", lambda rate: 3600.0) as update:
            update(Progress(step=450, steps=1800, epoch=1.5, seconds=60.0, images_per_second=640, terms=terms))
        last = (
            re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue()).replace("\r", "\n").rstrip().split("\n")[-1]
        )
        assert "450/1,800" in last and "3:00 left" in last and "━" in last  # whatever the width
        shots.append(last.rstrip())
    held("train", width, "\n".join(shots) + "\n")
    assert all(cell_len(line) <= width for line in shots)


@pytest.mark.parametrize("columns", [1, 10, 14, 40])
def test_no_terminal_is_too_narrow(columns, tmp_path):
    """What was measured is said, however few columns the terminal has."""
    from vaebench.cli import doctor_screen, prose  # they are told of the width

    narrow = Console(file=io.StringIO(), force_terminal=True, width=columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prose, "out", narrow)
        patch.setattr(doctor_screen, "out", narrow)
        prose.labelled("likeness", "undecided by mse: one 1.0, two 1.1")
        prose.labelled("a label of a plugin's own", "undecided")
        doctor_screen.show_findings([doctor_screen.Finding(topic="python", what="3.11 on Linux", mend="get one")])
    said = plain(narrow.file.getvalue(), tmp_path)
    assert "undecided by mse:" in said and "own undecided" in said and "3.11 on Linux" in said
