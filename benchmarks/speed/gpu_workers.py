"""Processes of gpu_check.py: each is ended at its deadline, and what it said until then is kept."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_names import POISONED

CASES = Path(__file__).parent / "gpu_cases.py"
OVER = "no time was left"
SHORTEST = 5.0  # seconds: with less no process is started


@dataclass(frozen=True)
class Setting:
    """What all parts share, and until when the one at hand may run."""

    device: str
    quick: bool
    scratch: Path
    environment: dict[str, str]
    deadline: float = 0.0

    def left(self) -> float:
        """Seconds until the part has to end."""
        return self.deadline - time.monotonic()


@dataclass
class Found:
    """What cases of a part have come to."""

    values: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def take(self, line: dict[str, Any]) -> None:
        """Add a line of a worker."""
        if line["kind"] == "note":
            self.notes[line["name"]] = line["value"]
        else:
            (self.values if line["kind"] == "done" else self.failures)[line["case"]] = line["value"]

    def said(self) -> str:
        """A line of Markdown for each failure; cases that failed alike share one."""
        alike: dict[str, list[str]] = {}
        for case, words in self.failures.items():
            alike.setdefault(plain(words), []).append(case.replace("|", ", "))
        return "\n".join(f"- {'; '.join(cases)}: {words}" for words, cases in alike.items())


def measured(part: str, cases: Sequence[str], setting: Setting) -> Iterator[Found]:
    """Yield what is known after each line of the part's processes; one that died is followed by another.

    The case at which a process died has failed; cases that time did not suffice for have failed, too.
    """
    found, left = Found(), list(cases)
    while left and setting.left() > SHORTEST:
        command = [sys.executable, str(CASES), part, *left, "--device", setting.device]
        words = setting.scratch / f"{part}.txt"
        with started([*command, *(["--quick"] if setting.quick else [])], setting, words) as process:
            for text in process.stdout or ():
                with suppress(ValueError):  # a line that was cut short
                    line = json.loads(text)
                    found.take(line)
                    if line["kind"] != "note":
                        left.remove(line["case"])
                    yield found
            code = process.wait()
        if left and code != POISONED and setting.left() > SHORTEST:
            found.failures[left.pop(0)] = f"its process ended with {code}: {last_line(words)}"
    found.failures |= dict.fromkeys(left, OVER)
    yield found


@contextmanager
def started(command: Sequence[str], setting: Setting, errors: Path) -> "Iterator[subprocess.Popen[str]]":
    """A process with what it starts, ended at the deadline or with this block; its standard error goes to a file."""
    with errors.open("w", encoding="utf-8") as handle:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=handle, text=True, env=setting.environment, cwd=setting.scratch,
            start_new_session=True, encoding="utf-8", errors="replace",
        )  # fmt: skip

    def end() -> None:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(max(0.0, setting.left()), end)
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        end()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def ran(name: str, arguments: Sequence[str], setting: Setting) -> tuple[float, str]:
    """Seconds of a run of this Python, and why it failed, if it did."""
    began, errors = time.monotonic(), setting.scratch / f"{name}.txt"
    with started([sys.executable, *arguments], setting, errors) as process:
        process.communicate()
    seconds = time.monotonic() - began
    if process.returncode == -signal.SIGKILL and setting.left() <= 0:
        return seconds, f"stopped after {seconds:.0f} s: its time was up"
    return seconds, f"exit code {process.returncode}: {last_line(errors)}" if process.returncode else ""


def last_line(path: Path) -> str:
    """What a process said last."""
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"


def last_words(text: str) -> str:
    """Of a failure as pytest prints it: the error, and the last place in vaebench's own files that it passed."""
    lines = text.splitlines()
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E  ")]
    own = re.compile(r"^(?:\S*/)?((?:tests|vaebench)/\S+\.py:\d+)")
    places = [found[1] for line in lines if (found := own.match(line))]
    return " | ".join([*(errors[:1] or lines[-1:]), *places[-1:]])


def plain(text: str) -> str:
    """One line that no table or list of Markdown is broken by."""
    return re.sub(r"\s+", " ", text).replace("|", "/").strip()
