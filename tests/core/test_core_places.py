"""Where things lie, and writes that are whole or absent."""

import errno
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vaebench.core import files, paths
from vaebench.core.errors import Busy, UserError
from vaebench.runs.record import RunFolder

GETTERS = {
    "VAEBENCH_RUNS": paths.runs_dir,
    "VAEBENCH_DATA": paths.data_dir,
    "VAEBENCH_WEIGHTS": paths.weights_dir,
    "VAEBENCH_CACHE": paths.cache_dir,
}


def names_in(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("variable", GETTERS)
def test_place_follows_its_variable(variable, monkeypatch, tmp_path):
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    assert GETTERS[variable]() == tmp_path / "elsewhere"
    monkeypatch.setenv(variable, "~/elsewhere")
    assert GETTERS[variable]() == Path.home() / "elsewhere"


@pytest.mark.parametrize("value", [None, ""])
def test_places_by_default(monkeypatch, tmp_path, value):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for variable in GETTERS:
        if value is None:
            monkeypatch.delenv(variable)
        else:
            monkeypatch.setenv(variable, value)
    folders = [getter() for getter in GETTERS.values()]
    cache = tmp_path / "vaebench"
    assert folders == [Path("runs"), cache / "data", cache / "weights", cache / "cache"]


def test_asking_where_creates_nothing(tmp_path):
    for getter in GETTERS.values():
        getter()
    assert list(tmp_path.iterdir()) == []


def test_write_creates_folders_and_replaces(tmp_path):
    file = tmp_path / "a" / "b" / "run.json"
    files.write_text(file, "one\r\ntwo\n")
    assert file.read_bytes() == b"one\r\ntwo\n"
    files.write_text(file, "é")
    assert file.read_bytes() == b"\xc3\xa9"
    assert names_in(file.parent) == ["run.json"]
    assert file.stat().st_mode & 0o777 == 0o644


def fails_half_way(error):
    def write(path):
        path.write_text("half a fi")
        raise error

    return write


@pytest.mark.parametrize("existing", [b"old content", None])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("writer broke")])
def test_failing_writer_leaves_the_old_file_and_no_other(tmp_path, existing, error):
    file = tmp_path / "weights"
    if existing is not None:
        file.write_bytes(existing)
    with pytest.raises(UserError if isinstance(error, OSError) else RuntimeError, match=error.args[-1]):
        files.write_atomic(file, fails_half_way(error))
    assert (file.read_bytes() if file.exists() else None) == existing
    assert names_in(tmp_path) == (["weights"] if existing else [])


def test_interrupted_writer_leaves_the_old_file(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        files.write_atomic(file, fails_half_way(KeyboardInterrupt()))
    assert (file.read_bytes(), names_in(tmp_path)) == (b"old", ["weights"])


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path):
    with pytest.raises(UserError) as raised:
        files.write_atomic(tmp_path / "weights", fails_half_way(OSError(errno.ENOSPC, "No space left on device")))
    wanted = f"cannot write {tmp_path}/weights (No space left on device): free some space or choose another place"
    assert str(raised.value) == wanted


def test_the_old_file_stands_while_the_new_one_is_written(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"old")
    seen = []

    def write(temporary):
        temporary.write_bytes(b"new")
        seen.append(file.read_bytes())

    files.write_atomic(file, write)
    assert (seen, file.read_bytes()) == ([b"old"], b"new")


@pytest.mark.parametrize("inside", ["", "deeper/still"])
def test_a_file_where_a_folder_should_be(tmp_path, inside):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write to .*runs.*: choose another place"):
        files.make_dir(tmp_path / "runs" / inside)
    with pytest.raises(UserError, match="cannot write to"):
        files.write_text(tmp_path / "runs" / inside / "run.json", "{}")
    assert (tmp_path / "runs").read_text() == "a file"


def test_a_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(UserError, match="permission denied"):
        files.write_text(tmp_path / "run.json", "{}")
    assert list(tmp_path.iterdir()) == []


def test_sha256_of(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert files.sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_lock_is_on_a_file_of_its_own_and_another_is_busy(tmp_path):
    """On one opened for writing, as NFS wants for a lock that all its machines see."""
    with files.exclusive(tmp_path, wait=False):
        with pytest.raises(Busy, match="wait for it, or stop it"), files.exclusive(tmp_path, wait=False):
            pass
        assert names_in(tmp_path) == [files.LOCK]
        assert not RunFolder(tmp_path).exists()
    with files.exclusive(tmp_path, wait=False):
        pass


HOLDER = """
import os, sys, time
from pathlib import Path
from vaebench.core import files
with files.exclusive(Path(sys.argv[1]), wait=False):
    if os.fork() == 0:
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


def test_a_lock_dies_with_its_process_though_a_child_lives(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(Busy), files.exclusive(tmp_path, wait=False):
                pass
            holder.kill()
            holder.wait()
            with files.exclusive(tmp_path, wait=False):
                os.kill(child, 0)
        finally:
            holder.kill()
            os.kill(child, signal.SIGKILL)


def test_what_is_blocked_inside_is_no_busy_folder(tmp_path):
    with pytest.raises(BlockingIOError), files.exclusive(tmp_path, wait=False):
        raise BlockingIOError


def test_a_file_system_without_locks_is_bad_input(tmp_path, monkeypatch):
    def refuse(handle, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    says = r"cannot lock .*\.lock \(No locks available\): choose another place"
    with pytest.raises(UserError, match=says), files.exclusive(tmp_path, wait=True):
        pass


def test_a_folder_that_is_gone_cannot_be_locked(tmp_path):
    with pytest.raises(UserError, match="cannot write to"), files.exclusive(tmp_path / "gone", wait=True):
        pass


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_permissions_that_the_user_wants(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        files.write_sealed(tmp_path / "features.npy", lambda temporary: temporary.write_bytes(b"x"))
        with files.exclusive(tmp_path, wait=False):
            pass
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("features.npy", "features.npy.sha256", files.LOCK), mode)


def test_what_killed_writes_left_is_removed_and_nothing_else(tmp_path):
    old = time.time() - 60
    for name in (".run.json.0123abcd.tmp", ".weights.0123abcd.tmp", ".tmpAbC123", "notes.tmp", ".hidden", "run.json"):
        (tmp_path / name).write_bytes(b"12345")
        os.utime(tmp_path / name, (old, old))
    os.utime(tmp_path / ".tmpAbC123", (old - 7200, old - 7200))  # by an earlier version, which took no lock
    (tmp_path / ".run.json.456789ab.tmp").write_bytes(b"just begun by another process")
    being_written = tmp_path / ".run.json.fedcba98.tmp"
    with being_written.open("wb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.utime(being_written, (old, old))
        files.write_text(tmp_path / "run.json", "{}")  # of this file only
        assert ".run.json.0123abcd.tmp" not in names_in(tmp_path)
        assert ".weights.0123abcd.tmp" in names_in(tmp_path)
        assert files.remove_leftovers(tmp_path) == 5  # that of weights; whose the old one was, no name says
    left = {".hidden", "notes.tmp", "run.json", ".run.json.456789ab.tmp", being_written.name}
    assert set(names_in(tmp_path)) == left


def test_a_folder_is_no_file_to_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path, Path(), Path("..")):
        with pytest.raises(UserError, match="it is a folder"):
            files.write_text(path, "{}")
    assert names_in(tmp_path) == []


def test_a_seal_tells_of_damage(tmp_path):
    file = tmp_path / "features.npy"
    files.write_sealed(file, lambda temporary: temporary.write_bytes(b"12345678"))
    assert files.is_sealed(file)
    file.write_bytes(b"12345679")
    assert not files.is_sealed(file)
    (tmp_path / "features.npy.sha256").unlink()
    assert not files.is_sealed(file)
