"""Pictures in a terminal: what is written is read back as these terminals read it."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from vaebench.cli import jobs, sample_strip
from vaebench.cli.sample_strip import show_samples, strips
from vaebench.cli.terminal_images import encoded, protocol_of, show_picture
from vaebench.core.paths import runs_dir
from vaebench.runs.record import RunFolder


@pytest.fixture
def picture():
    rows = np.random.default_rng(0).integers(0, 4, (23, 40)) * 85
    return Image.fromarray(np.stack([rows, np.roll(rows, 3, 0), 255 - rows], axis=2).astype(np.uint8))


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-256color"}, ""),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, ""),
        ({"TERM": "dumb"}, ""),
        ({}, ""),
    ],
)
def test_a_terminal_is_known_by_its_environment(environment, protocol):
    assert protocol_of(environment) == protocol


def test_kitty_gets_the_png_in_chunks(picture):
    large = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8))
    commands = re.findall("\x1b_G([^;]*);([^\x1b]*)\x1b\\\\", encoded(large, "kitty"))
    assert [keys for keys, _ in commands] == ["a=T,f=100,m=1", *["m=1"] * (len(commands) - 2), "m=0"]
    assert all(len(part) <= 4096 for _, part in commands)
    shown = Image.open(io.BytesIO(base64.b64decode("".join(part for _, part in commands))))
    assert np.array_equal(np.asarray(shown), np.asarray(large))


def test_iterm_gets_the_png(picture):
    form = "\x1b]1337;File=inline=1;size=([0-9]+);preserveAspectRatio=1:(.*)\x07"
    size, content = re.fullmatch(form, encoded(picture, "iterm")).groups()
    png = base64.b64decode(content)
    assert len(png) == int(size)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), np.asarray(picture))


def read_sixels(text):
    """Draw sixels as a terminal does."""
    head = re.match('\x1bPq"1;1;([0-9]+);([0-9]+)', text)
    width, height = map(int, head.groups())
    canvas, palette, band, x, colour = np.zeros((height, width, 3)), {}, 0, 0, None
    tokens = re.findall(r"#[0-9]+;2;[0-9]+;[0-9]+;[0-9]+|#[0-9]+|![0-9]+[?-~]|[?-~]|\$|-", text[head.end() : -2])
    for token in tokens:
        if ";" in token:
            number, _, *parts = map(int, token[1:].split(";"))
            palette[number] = parts
        elif token[0] == "#":
            colour = int(token[1:])
        elif token == "$":
            x = 0
        elif token == "-":
            x, band = 0, band + 6
        else:
            count = int(token[1:-1]) if token[0] == "!" else 1
            for bit in range(6):
                if (ord(token[-1]) - 63) >> bit & 1:
                    canvas[band + bit, x : x + count] = palette[colour]
            x += count
    return canvas


def test_sixels_draw_the_picture(picture):
    drawn = read_sixels(encoded(picture, "sixel"))
    wanted = np.asarray(picture.quantize(64).convert("RGB")) / 255 * 100
    assert np.abs(drawn - wanted).max() <= 0.51  # whole percentages
    assert np.abs(drawn / 100 * 255 - np.asarray(picture)).max() < 8


def test_no_protocol_shows_nothing(picture, monkeypatch):
    assert encoded(picture, "") == ""
    for terminal, kitty in ((True, ""), (False, "1")):
        monkeypatch.setenv("KITTY_WINDOW_ID", kitty)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("TERM_PROGRAM", raising=False)
        console = Console(file=io.StringIO(), force_terminal=terminal)
        show_picture(picture, console)
        assert console.file.getvalue() == ""


def test_a_terminal_that_can_gets_it(picture, monkeypatch):
    monkeypatch.setenv("KITTY_WINDOW_ID", "1")
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setenv("TERM", "xterm-kitty")
    console = Console(file=io.StringIO(), force_terminal=True)
    show_picture(picture, console)
    assert console.file.getvalue() == encoded(picture, "kitty") + "\n"


@pytest.mark.parametrize("recipe", ["vae-digits", "dcgan-digits", "vae-toyfaces"])
def test_a_training_ends_with_a_strip_of_its_samples(cli, monkeypatch, recipe):
    assert cli(["train", recipe, "--steps", "1"]).code == 0
    folder = RunFolder(runs_dir() / recipe / "seed-0")
    console = Console(file=io.StringIO(), force_terminal=True)
    for name in ("KITTY_WINDOW_ID", "TERM_PROGRAM", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    show_samples(folder, console)
    assert console.file.getvalue() == ""
    monkeypatch.setenv("TERM", "xterm-kitty")
    show_samples(folder, console)
    parts = re.findall("\x1b_G[^;]*;([^\x1b]*)\x1b", console.file.getvalue())
    shown = Image.open(io.BytesIO(base64.b64decode("".join(parts))))
    assert shown.height >= 48 and shown.width > 10 * shown.height
    assert shown.mode == ("RGB" if "toyfaces" in recipe else "L")
    assert len(np.unique(np.asarray(shown))) > 2


@pytest.fixture
def kitty(monkeypatch):
    """A console that is a terminal which shows pictures."""
    for name in ("KITTY_WINDOW_ID", "TERM_PROGRAM", "TMUX", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-kitty")
    return Console(file=io.StringIO(), force_terminal=True, width=80)


@pytest.mark.parametrize(("every", "count"), [(0.0, 7), (3600.0, 0)])
def test_a_training_shows_its_samples_in_its_course(cli, monkeypatch, kitty, every, count):
    """A strip after each eighth above the live line, but not more often than is pleasant; then the finished run's."""
    monkeypatch.setattr(sample_strip, "EVERY", every)
    train_jobs = jobs.train_jobs
    monkeypatch.setattr(jobs, "train_jobs", lambda *args, **options: train_jobs(*args, **{**options, "console": kitty}))
    answer = cli(["train", "dcgan-digits", "--steps", "16"])
    assert answer.code == 0, answer.err
    written = kitty.file.getvalue()
    assert written.count("\r\x1b[2K\x1b_Ga=T,f=100,") == count
    commands = written.split("\x1b_Ga=T,f=100,")[1:]
    pictures = ["".join(re.findall(";([^\x1b]*)\x1b", command)) for command in commands]
    assert len(pictures) == count + 1 and len(set(pictures)) == len(pictures)  # it learns


def test_samples_that_cannot_be_drawn_are_said_and_nothing_else(monkeypatch, kitty, caplog):
    monkeypatch.setattr(sample_strip, "EVERY", 0.0)
    strips(kitty)(lambda: 1 / 0)
    assert kitty.file.getvalue() == "" and "samples cannot be shown (ZeroDivisionError" in caplog.text


def test_no_terminal_asks_for_no_samples():
    assert strips(Console(file=io.StringIO())) is None
