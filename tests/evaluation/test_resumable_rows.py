"""Files of rows that grow: what a stop leaves is gone on with, what is damaged or foreign is not."""

import json

import numpy as np
import pytest
import torch

from vaebench.core.errors import UserError
from vaebench.evaluation import resumable_rows
from vaebench.evaluation.resumable_rows import ResumableRows, join_rows, npy_header, read_rows

ROWS = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _saved_at_once(monkeypatch):
    monkeypatch.setattr(resumable_rows, "SAVED_EVERY", 0.0)


def stopped(path, at=12, key="mine", n=20):
    """A file whose making was stopped."""
    with pytest.raises(KeyboardInterrupt), ResumableRows(path, key, n) as file:
        for start in range(0, at, 5):
            file.add(ROWS[start : min(start + 5, at)])
        raise KeyboardInterrupt


def finished(path, key="mine", n=20):
    """How many rows were there already; the rest is added."""
    with ResumableRows(path, key, n) as file:
        known = file.done
        while file.done < n:
            file.add(ROWS[file.done : min(file.done + 6, n)])
    return known


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("n", "width"), [(1, 1), (20, 768), (123_456, 2048)])
def test_the_header_is_numpy_s(n, width, tmp_path):
    np.lib.format.open_memmap(tmp_path / "theirs.npy", "w+", dtype=np.float32, shape=(n, width)).flush()
    header = npy_header(n, width)
    with (tmp_path / "theirs.npy").open("rb") as file:
        assert file.read(len(header)) == header
    assert (tmp_path / "theirs.npy").stat().st_size == len(header) + 4 * n * width


def test_a_file_made_in_one_go_is_numpy_s(tmp_path):
    assert finished(tmp_path / "rows.npy") == 0
    assert names(tmp_path) == ["rows.npy", "rows.npy.sha256"]
    assert np.array_equal(np.load(tmp_path / "rows.npy"), ROWS.numpy())
    assert torch.equal(read_rows(tmp_path / "rows.npy", 20), ROWS)
    np.save(tmp_path / "theirs.npy", ROWS.numpy())
    assert (tmp_path / "rows.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


@pytest.mark.parametrize("at", [5, 12, 20])
def test_what_was_done_before_a_stop_is_not_done_again(at, tmp_path):
    path = tmp_path / "rows.npy"
    stopped(path, at)
    assert path.exists() == (at == 20)
    if at < 20:
        assert names(tmp_path) == ["rows.npy.unfinished", "rows.npy.unfinished.json"]
        assert read_rows(path, 20) is None
        assert finished(path) == at
    assert names(tmp_path) == ["rows.npy", "rows.npy.sha256"]
    assert torch.equal(read_rows(path, 20), ROWS)


def test_a_stop_before_the_first_rows_leaves_nothing_to_go_on_with(tmp_path):
    stopped(tmp_path / "rows.npy", 0)
    assert finished(tmp_path / "rows.npy") == 0


def test_a_kill_costs_what_was_not_saved(tmp_path, monkeypatch):
    path = tmp_path / "rows.npy"
    killed = ResumableRows(path, "mine", 20)  # and never left: no exit is run
    killed.add(ROWS[:5])
    monkeypatch.setattr(resumable_rows, "SAVED_EVERY", 1e9)
    killed.add(ROWS[5:11])
    killed._file.close()  # the system may or may not have written these
    assert finished(path) == 5
    assert torch.equal(read_rows(path, 20), ROWS)


def test_states_are_saved_no_more_often_than_said(tmp_path, monkeypatch):
    monkeypatch.setattr(resumable_rows, "SAVED_EVERY", 1e9)
    with ResumableRows(tmp_path / "rows.npy", "mine", 20) as file:
        file.add(ROWS[:5])
        assert names(tmp_path) == ["rows.npy.unfinished"]
        file.add(ROWS[5:])


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


def say(**changes):
    """Let the state say something else."""

    def change(path):
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


DATA, STATE = "rows.npy.unfinished", "rows.npy.unfinished.json"


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((DATA, damage) for damage in (cut, flip, empty, remove)),
        *((STATE, damage) for damage in (cut, empty, remove)),
        *((STATE, say(**{key: value})) for key in ("done", "width") for value in (0, -1, 1, 99, 2**70, "many", None)),
        (STATE, say(key="another")),
        (STATE, say(checksum=0)),
        (STATE, lambda path: path.write_text("[]")),
        (STATE, lambda path: path.write_bytes(b"\xff\xfe")),
    ],
)
def test_what_is_damaged_or_foreign_is_made_anew(name, damage, tmp_path):
    stopped(tmp_path / "rows.npy")
    damage(tmp_path / name)
    assert finished(tmp_path / "rows.npy") == 0
    assert names(tmp_path) == ["rows.npy", "rows.npy.sha256"]
    assert torch.equal(read_rows(tmp_path / "rows.npy", 20), ROWS)


def test_rows_of_another_key_or_number_are_not_taken_over(tmp_path):
    stopped(tmp_path / "rows.npy", key="theirs")
    assert finished(tmp_path / "rows.npy") == 0
    (tmp_path / "rows.npy").unlink()
    stopped(tmp_path / "rows.npy", n=40)
    assert finished(tmp_path / "rows.npy") == 0


def test_rows_that_do_not_fit_are_a_fault(tmp_path):
    with ResumableRows(tmp_path / "rows.npy", "mine", 4) as file:
        file.add(ROWS[:3])
        with pytest.raises(ValueError, match=r"\(1, 2\) rows after 3 of \(4, 3\)"):
            file.add(ROWS[:1, :2])
        with pytest.raises(ValueError, match=r"\(2, 3\) rows after 3"):
            file.add(ROWS[:2])


@pytest.mark.parametrize("where", ["open", "write"])
def test_a_disk_that_takes_no_more_is_said_in_one_line(where, tmp_path, monkeypatch):
    path = tmp_path / "rows.npy"

    def full(*_):
        raise OSError(28, "No space left on device")

    if where == "open":
        (tmp_path / DATA).mkdir()
        with pytest.raises(UserError, match=r"cannot write .*rows\.npy \(Is a directory\)"):
            ResumableRows(path, "mine", 20)
        return
    monkeypatch.setattr(resumable_rows.os, "fsync", full)
    with pytest.raises(UserError, match=r"rows\.npy.*\(No space left on device\): free some space") as caught:
        finished(path)
    assert "\n" not in str(caught.value)


def test_parts_joined_are_the_whole(tmp_path):
    finished(tmp_path / "rows.npy")
    join_rows([ROWS[:3], ROWS[3:4], ROWS[4:]], tmp_path / "joined.npy")
    assert (tmp_path / "joined.npy").read_bytes() == (tmp_path / "rows.npy").read_bytes()


@pytest.mark.parametrize("content", [b"", b"no rows", "float64", "another number", "one dimension"])
def test_what_is_no_file_of_rows_is_not_read(content, tmp_path):
    path = tmp_path / "rows.npy"
    assert read_rows(path, 20) is None
    made = {"float64": ROWS.double(), "another number": ROWS[:19], "one dimension": ROWS[:, 0]}
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, made[content].numpy())
    assert read_rows(path, 20) is None
