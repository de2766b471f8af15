"""Runs the scripts of this folder and writes what they print to reports/speed.md, as it was.

    python benchmarks/speed/write_report.py [--only NAME ...] [--out reports/speed.md] [--list]

Scripts that are not run keep their section; each has its own date and hardware. What is to run on a GPU runs where
there is one. A script that fails leaves its section as it was. The file is written after each script, whole or not at
all. Needs hours on an idle machine; to try it: --quick, which writes nothing but to another --out.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from shared import versions

from vaebench.core.files import write_text
from vaebench.core.machine import machine

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
REPORT = ROOT / "reports" / "speed.md"
FIGURES = "reports/speed"
PEERS = ("pythae", "torch-fidelity", "pytorch-fid", "clean-fid", "scikit-learn", "numpy")


@dataclass(frozen=True, slots=True)
class Section:
    """One run of one script."""

    script: str
    arguments: str
    title: str
    quick: str = ""  # arguments that show in a minute whether it works
    gpu: bool = False
    figure: str = ""

    @property
    def name(self) -> str:
        """As --only takes it."""
        return Path(self.script).stem + ("-gpu" if self.gpu else "")


SECTIONS = (
    Section(
        "train.py",
        "--device cpu --compile --rounds 3",
        "Training",
        "--device cpu --case vae-mnist --steps 6 --rounds 1",
    ),
    Section(
        "train.py", "--device cuda --compile", "Training on a GPU", "--device cuda --steps 30 --rounds 1", gpu=True
    ),
    Section(
        "floor.py", "--device cpu", "How near to the machine's limits", "--device cpu --recipes vae-mnist --steps 3"
    ),
    Section("floor.py", "--device cuda --steps 60", "How near to a GPU's limits", "--device cuda", gpu=True),
    Section("evaluate.py", "--images 128 --rounds 2", "Evaluation", "--images 8 --rounds 1"),
    Section("extraction.py", "--images 1024 --rounds 2", "Feature extraction", "--images 64 --rounds 1"),
    Section("extraction.py", "--device cuda", "Feature extraction on a GPU", "--device cuda --rounds 1", gpu=True),
    Section("evaluate_memory.py", "", "Memory of evaluation", "--images 200 400"),
    Section(
        "growth.py",
        f"--device cpu --out {FIGURES}",
        "Growth with the number and the size of images",
        f"--device cpu --out {FIGURES} --sizes 128 256 --sides 32 --fixed 128 --steps 3",
        figure="growth.png",
    ),
    Section("svm.py", "--rounds 2 --peer threads", "Support vector machines", "--rows 2000 --rounds 1"),
    Section("perceptual_loss.py", "", "The perceptual term", "--rounds 1"),
    Section("upsampling.py", "", "Convolutions of enlarged maps", "--rounds 1"),
    Section("start_up.py", "", "Starting", "--rounds 1"),
)


def run(section: Section, arguments: str) -> str:
    """The section's text, from a run of now; empty where the script fails, whose words go to the terminal."""
    command = [sys.executable, str(HERE / section.script), *shlex.split(arguments)]
    print(f"{section.name}: {shlex.join(command)}", file=sys.stderr, flush=True)
    began = datetime.now(UTC)
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    if done.returncode:
        print(f"{section.name}: failed with {done.returncode}; its section stays as it was", file=sys.stderr)
        return ""
    minutes = (datetime.now(UTC) - began).total_seconds() / 60
    printed = done.stdout.strip()
    headlines = re.findall(r"^headline: (.*)$", printed, re.MULTILINE)
    device = "cuda" if section.gpu else "cpu"
    said = [f"- {line}" for line in headlines]
    shown = f"python benchmarks/speed/{section.script} {arguments}".strip()
    parts = [
        f"## {section.title}",
        "\n".join(said),
        f"`{shown}`, {began:%Y-%m-%d}, {minutes:.1f} minutes, {machine(device)}:",
        f"```\n{printed}\n```",
        f"![{section.title}]({Path(FIGURES).name}/{section.figure})" if section.figure else "",
    ]
    return "\n\n".join(part for part in parts if part)


def kept(path: Path) -> dict[str, str]:
    """Sections that the file has, by title."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    # what scripts print is fenced, and no line of it starts so
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    return {part.splitlines()[0].removeprefix("## "): part.strip() for part in parts}


def page(found: dict[str, str]) -> str:
    """The whole file: its sections in the order of the table."""
    ordered = [(section, found[section.title]) for section in SECTIONS if section.title in found]
    lines = [
        "# Speed",
        "Written by `benchmarks/speed/write_report.py`, not by hand. Every number is measured; ratios are to be "
        "quoted, not rates: candidates take turns within one run. Each section says when and on what it was made.",
        f"Last written on {datetime.now(UTC):%Y-%m-%d}; Python {sys.version.split()[0]}, torch {torch.__version__}, "
        f"{versions(*PEERS)}.",
    ]
    if not any(section.gpu for section, _ in ordered):
        lines.append("No GPU was at hand: what would run on one is left out.")
    return "\n\n".join([*lines, *(text for _, text in ordered)]) + "\n"


def main() -> None:
    """Run what is asked for, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[section.name for section in SECTIONS], metavar="NAME")
    parser.add_argument("--out", type=Path, default=REPORT)
    parser.add_argument("--quick", action="store_true", help="few steps and rounds: whether it works, not how fast")
    parser.add_argument("--list", action="store_true", help="the names for --only, and what they run")
    given = parser.parse_args()
    if given.list:
        print(*(f"{section.name:16} {section.script} {section.arguments}" for section in SECTIONS), sep="\n")
        return
    if given.quick and given.out.resolve() == REPORT:
        parser.error("--quick measures nothing worth keeping: give another --out")
    for section in SECTIONS:
        if given.only and section.name not in given.only:
            continue
        if section.gpu and not torch.cuda.is_available():
            print(f"{section.name}: no GPU is at hand, passed over", file=sys.stderr)
            continue
        figures = os.path.relpath(given.out.resolve().parent / Path(FIGURES).name, ROOT)
        text = run(section, (section.quick if given.quick else section.arguments).replace(FIGURES, figures))
        if text:
            write_text(given.out, page({**kept(given.out), section.title: text}))


if __name__ == "__main__":
    main()
