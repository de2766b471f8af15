"""Damage to files: 300 flipped bits and 256 mutations each; what is read is what was written, or is refused.

A case is a file that a fixture makes and a function that reads it. To add one: another line in CASES.
"""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vaebench.cli import main as command_line
from vaebench.core import results
from vaebench.core.errors import UserError
from vaebench.evaluation.resumable_rows import ResumableRows, read_rows
from vaebench.runs import galleries, history, per_image, study_figures
from vaebench.runs.record import RunFolder
from vaebench.training import autotune
from vaebench.training.checkpoint import OpenRow, Position, RowTerms, Saver, load_state

pytestmark = pytest.mark.faults
FLIPS, MUTATIONS, CALLS = 300, 256, 24
PLAIN = ["--steps", "3", "--precision", "fp32", "--threads", "1"]
VALUES = [None, True, -1, 0, 3.5, 10**30, "", "../../x", "\x1b[2J", [], {}, [[]], {"a": 1}, "x" * 50_000, 1e308]


@pytest.fixture(scope="module")
def made(tmp_path_factory, measured_defaults) -> Path:
    """A small run, measured, with a plate and a checkpoint, beside cached features."""
    home = tmp_path_factory.mktemp("made")
    measured_defaults(home / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for place in ("RUNS", "DATA", "WEIGHTS", "CACHE"):
            patch.setenv(f"VAEBENCH_{place}", str(home / place.lower()))
        for command in (
            ["train", "vae-digits", *PLAIN],
            ["evaluate", "vae-digits", "--metrics", "blur,mse", "--samples", "16"],
            ["interpolate", "vae-digits", "--pairs", "1"],
        ):
            with pytest.raises(SystemExit) as stopped:
                command_line.main(command)
            assert not stopped.value.code
    rows = torch.arange(40.0).view(10, 4)
    with ResumableRows(home / "features.npy", "key", 10) as file:
        file.add(rows)
    _save(home / "state.safetensors")
    return home


@pytest.fixture
def run(made, tmp_path, monkeypatch) -> Path:
    """The run's folder in a copy of all that."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        autotune, "measure", lambda device: autotune.Measured({"fp32/1": 1.0})
    )  # in place of what is damaged
    return tmp_path / "runs" / "vae-digits" / "seed-0"


def _parts() -> tuple[dict[str, nn.Module], list[torch.optim.Optimizer]]:
    network = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    for number, weight in enumerate(network.parameters()):
        weight.data.fill_(0.1 * (number + 1))
    return {"network": network}, [torch.optim.Adam(network.parameters(), fused=True)]


def _save(path: Path) -> None:
    modules, (optimizer,) = _parts()
    modules["network"](torch.ones(1, 2, 4, 4)).sum().backward()
    optimizer.step()
    row = OpenRow(begun=0, seconds=0.1, terms=(RowTerms(phase="p", names=("a",), steps=(0,), tensor="row.0"),))
    with Saver(path, modules, [optimizer], every=9) as saver:
        saver.save(Position(step=1, seconds=0.2, row=row), {}, {"row.0": torch.ones(1, 1)})


def _state(path: Path) -> object:
    modules, optimizers = _parts()
    position, row = load_state(path, modules, optimizers, 5)
    moments = [value.tolist() for entries in optimizers[0].state.values() for value in entries.values()]
    return repr((position, row, [weight.tolist() for weight in modules["network"].parameters()], moments))


def _values(path: Path) -> object:
    return {series: (part.ids, part.values.tobytes()) for series, part in per_image.read(path).items()}


def _pictures(path: Path) -> object:
    return {name: pixels.tobytes() for name, pixels in galleries.load_gallery(path).items()}


def _rows(path: Path) -> object:
    found = read_rows(path, 10)
    return "made again" if found is None else found.tolist()


def _plates(path: Path) -> object:
    return study_figures.read_plates(path.parent)[0] or "left out"


# name -> where the file lies, how it is read, and whether it is JSON that somebody may have written
Case = tuple[Callable[[Path], Path], Callable[[Path], object]]
SIGNED: dict[str, Case] = {
    "results.jsonl": (lambda run: run / "results.jsonl", results.read),
    "per_image.parquet": (lambda run: run / "per_image.parquet", _values),
    "gallery": (lambda run: next(run.glob("gallery-*.npz")), _pictures),
    "features.npy": (lambda run: run.parents[2] / "features.npy", _rows),
    "training state": (lambda run: run.parents[2] / "state.safetensors", _state),
}
WRITTEN: dict[str, Case] = {
    "run.json": (lambda run: run / "run.json", lambda path: RunFolder(path.parent).read_record()),
    "results.jsonl": (lambda run: run / "results.jsonl", results.read),
    "history.csv": (lambda run: run / "history.csv", history.read),
    "plate": (lambda run: next((run.parents[1] / "studies").glob("*/interpolate.json")), _plates),
    "compute.json": (lambda run: run.parents[2] / "cache" / "compute.json", lambda path: autotune.measured("cpu")),
}
GONE = ("made again", "left out")


@pytest.mark.parametrize("name", SIGNED)
def test_flipped_bits_are_noticed(run, found, name):
    where, read = SIGNED[name]
    path = where(run)
    content, whole, draw = path.read_bytes(), read(path), random.Random(0)
    noticed = 0
    for _ in range(FLIPS):
        position, bit = draw.randrange(len(content)), draw.randrange(8)
        path.write_bytes(content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :])
        try:
            now = read(path)
            assert now == whole or now in GONE, f"bit {bit} of byte {position} changed what is read"
            noticed += now in GONE if isinstance(now, str) else 0
        except UserError:
            noticed += 1
    found(f"{FLIPS} flips, {noticed} noticed, the rest change nothing that is read")


def _mutated(content: bytes, draw: random.Random) -> bytes:
    """JSON with one value or key changed, added or taken away; or text cut, doubled or spoiled."""
    lines = content.splitlines()
    number = draw.randrange(len(lines))
    try:
        document = json.loads(content if len(lines) > 1 and content.lstrip().startswith(b"{\n") else lines[number])
    except ValueError:
        document = None
    if isinstance(document, dict) and draw.random() < 0.8:
        place = document
        while inner := [value for value in place.values() if isinstance(value, dict) and value and draw.random() < 0.4]:
            place = draw.choice(inner)
        key = draw.choice(list(place))
        match draw.randrange(3):
            case 0:
                place[key] = draw.choice(VALUES)
            case 1:
                del place[key]
            case _:
                place[f"{key}?"] = draw.choice(VALUES)
        changed = json.dumps(document).encode()
        return (
            changed
            if content.lstrip().startswith(b"{\n")
            else b"\n".join([*lines[:number], changed, *lines[number + 1 :]])
        )
    position = draw.randrange(len(content))
    return draw.choice(
        [content[:position], content[:position] + content, content[:position] + b"\xff\x00" + content[position:], b""]
    )


@pytest.mark.parametrize("name", WRITTEN)
def test_mutations_are_read_or_refused_and_never_a_fault(run, found, name):
    where, read = WRITTEN[name]
    path = where(run)
    content, draw, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(MUTATIONS):
        path.write_bytes(_mutated(content, draw))
        try:
            read(path)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    found(f"{MUTATIONS} mutations, {refused} refused, no other exception")
    path.write_bytes(content)
    assert np.size(read(path))


@pytest.mark.parametrize("name", ["run.json", "results.jsonl", "history.csv", "plate"])
def test_mutations_through_the_command_line_end_in_0_or_2(run, cli, found, tmp_path, name):
    where, _ = WRITTEN[name]
    path = where(run)
    content, draw = path.read_bytes(), random.Random(1)
    commands = [
        ["report", "--out", tmp_path / "out"],
        ["evaluate", "vae-digits", "--metrics", "mse", "--samples", "16"],
    ]
    before = {file for file in tmp_path.rglob("*") if file.relative_to(tmp_path).parts[0] in ("runs", "data")}
    for turn in range(CALLS):
        path.write_bytes(_mutated(content, draw))
        answer = cli(commands[turn % 2])
        assert answer.code in (0, 2), (path.read_bytes()[:500], answer)
        assert "Traceback" not in answer.out + answer.err and "unexpected" not in answer.err
    made = {file for file in tmp_path.rglob("*") if file.relative_to(tmp_path).parts[0] in ("runs", "data")}
    assert {file.parent for file in made} <= {file.parent for file in before}
    found(f"{CALLS} commands, exit codes 0 and 2, nothing written elsewhere")
