"""The cache by content: other parts are another entry, damage is made good, a full disk costs time only."""

import json
import logging

import pytest

from vaebench.core import content_cache
from vaebench.core.errors import UserError


class Numbers:
    """JSON lists of numbers."""

    def read(self, path):
        found = json.loads(path.read_text())
        return found if isinstance(found, list) else None

    def write(self, path, value):
        path.write_text(json.dumps(value))


@pytest.fixture
def made():
    """Count how often a value was made: call the fixture to make one."""

    class Maker:
        times = 0

        def __call__(self):
            self.times += 1
            return [1, 2, 3]

    return Maker()


def read_or_make(made, parts=("a", 1), **options):
    return content_cache.read_or_make(content_cache.entry("numbers", parts, ".json"), Numbers(), made, **options)


def test_a_value_is_made_once(made):
    assert read_or_make(made) == read_or_make(made) == [1, 2, 3]
    assert made.times == 1


@pytest.mark.parametrize("other", [("a", 2), ("a1",), ("a", "1"), (["a", 1],), ("a", 1, "")])
def test_any_other_part_is_another_entry(made, other):
    read_or_make(made)
    read_or_make(made, other)
    assert made.times == 2


@pytest.mark.parametrize("damage", [b"[1, 2, 4]", b"", b"{}"])
@pytest.mark.parametrize("suffix", ["", ".sha256"])
def test_a_damaged_entry_is_made_again(made, damage, suffix):
    read_or_make(made)
    path = content_cache.entry("numbers", ("a", 1), ".json")
    path.with_name(path.name + suffix).write_bytes(damage)
    assert read_or_make(made) == read_or_make(made) == [1, 2, 3]
    assert made.times == 2


def test_another_kind_of_file_is_made_again(made):
    path = content_cache.entry("numbers", ("a", 1), ".json")
    content_cache.write_sealed(path, lambda temporary: temporary.write_text("{}"))
    assert read_or_make(made) == [1, 2, 3]


def test_what_cannot_be_stored_is_returned_unless_it_is_required(made, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("VAEBENCH_CACHE", str(tmp_path / "file"))
    assert read_or_make(made) == [1, 2, 3]
    assert "made, but not cached: cannot write" in caplog.text
    with pytest.raises(UserError, match="cannot write"):
        read_or_make(made, required=True)
