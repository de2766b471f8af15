"""SIGINT and SIGTERM: answered from the first moment on, once, in one line that says what is left and how to go on."""

import os
import signal
import subprocess
import sys
import time
import weakref
from contextlib import suppress

import pytest

from vaebench.core.interrupts import SIGNALS, Stopped, asked, noted, raising

pytestmark = pytest.mark.usefixtures("defaults_known")

COMMANDS = {
    "train": ["train", "vae-digits", "--steps", "1000000", "--precision", "fp32", "--threads", "1"],
    "report": ["report"],
    "list": ["list"],
}
HANDLED = 0.15  # seconds: before, Python itself is starting, and no handler of ours is in place


def ended(arguments, number, after):
    """How a command ended that was told to stop so many seconds after its start; its exit code and stderr."""
    command = [sys.executable, "-m", "vaebench", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(after)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_may_be_stopped_at_any_moment_of_its_start(name, number):
    for after in (HANDLED, 0.3, 0.5, 1.0, 2.0):
        code, errors = ended(COMMANDS[name], number, after)
        lines = errors.splitlines()
        assert "Traceback" not in errors, errors
        if code == 130:
            assert len(lines) == 1 and lines[0].startswith("interrupted: "), errors
        else:  # it was faster than the signal
            assert (name, code) in (("report", 2), ("list", 0)), errors


def test_a_stopped_training_says_what_it_saved_and_how_to_go_on(tmp_path):
    command = [sys.executable, "-m", "vaebench", *COMMANDS["train"], "--save-every", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob("runs/*/*/training_state.safetensors")):
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    (line,) = errors.splitlines()[-1:]
    assert process.returncode == 130
    assert line.startswith("interrupted: stopped at step ")
    assert line.endswith("; go on with the same command and --resume")


def test_a_signal_in_a_callback_prints_no_traceback(capsys):
    class Held:
        pass

    told = sys.unraisablehook
    with raising():
        held = Held()
        dropped = weakref.ref(held, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        del held
        assert dropped() is None
    assert capsys.readouterr().err == ""
    assert sys.unraisablehook is told


def test_a_signal_that_got_lost_stops_the_training_all_the_same():
    """As an exception does in a destructor, or in a callback from C."""
    with raising():
        with noted() as stopped:
            assert not stopped()
        with suppress(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        told = []
        with noted(told.append) as stopped:
            assert stopped() and told == [signal.SIGTERM]
    with noted() as stopped:  # another command
        assert not stopped()


def test_what_notes_signals_is_told_once_and_gives_the_handlers_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    told = []
    with noted(told.append) as stopped:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped() and told == [signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_command_is_stopped_by_an_exception_that_no_library_answers():
    before = [signal.getsignal(number) for number in SIGNALS]
    with raising():
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGINT)
        assert asked()
    assert not asked()
    assert not issubclass(Stopped, (Exception, KeyboardInterrupt))
    assert [signal.getsignal(number) for number in SIGNALS] == before
