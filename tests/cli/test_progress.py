"""The live display, as a terminal sees it, and the plain lines elsewhere."""

import io
import time

import pytest
from rich.console import Console

from vaebench.cli.progress import shown, stages_shown
from vaebench.core import stages
from vaebench.runs.history import Progress


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_title_terms_and_rate(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=160)
    with shown(console, "vae-digits/seed-0") as on_progress:
        for step in (50, 100):
            terms = {"vae/reconstruction": 131.25, "vae/kl": 8.5}
            on_progress(Progress(step=step, steps=100, epoch=1.0, seconds=5.0, images_per_second=640.0, terms=terms))
    said = console.file.getvalue()
    for part in ("vae-digits/seed-0", "100/100", "reconstruction 131.2", "kl 8.5", "640 images/s"):
        assert part in said


@pytest.mark.parametrize("terminal", [True, False])
def test_settings_in_a_name_are_shown_and_are_no_markup(terminal):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120, color_system=None)
    with shown(console, "vae-digits[bold]/seed-0") as update:
        row = Progress(step=1, steps=1, epoch=1.0, seconds=1.0, images_per_second=1.0, terms={"vae/kl": 1.0})
        update(row)
    assert "vae-digits[bold]/seed-0" in text.getvalue()


@pytest.mark.parametrize("part", ["./mine.py:sharp[/]", "sharp[bold]"])
def test_what_is_measured_is_no_markup(part):
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120, color_system=None)
    with stages_shown(console):
        stages.tell(f"vae-digits/seed-0: {part}", 1, 4)
        until = time.monotonic() + 20
        while "1/4" not in text.getvalue() and time.monotonic() < until:  # it is drawn some times a second
            time.sleep(0.05)
    assert f"{part} 1/4" in text.getvalue()
