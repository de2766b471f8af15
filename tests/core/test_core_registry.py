"""Names to plugins: lazy, helpful about misspelt names, and broken only where asked for."""

import importlib
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from vaebench.core import registry
from vaebench.core.errors import UserError
from vaebench.core.registry import Entry, Registry, did_you_mean, load_file_attribute


@pytest.fixture
def plugins(monkeypatch):
    """Pretend that packages with these entry points are installed: ``plugins(NAME="module:attr")``."""

    def install(package="vaebench-extra", summary="one of theirs", **targets):
        metadata = {} if summary is None else {"Summary": summary}
        dist = SimpleNamespace(name=package, metadata=metadata)
        points = [
            SimpleNamespace(name=name, value=target, dist=dist, group="vaebench.things")
            for name, target in targets.items()
        ]

        def chosen(group):
            return [point for point in points if point.group == group]

        monkeypatch.setattr(registry, "_entry_points_of", lambda: chosen)
        registry.installed.cache_clear()

    install()
    yield install
    registry.installed.cache_clear()


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Write a module that can be imported: ``modules(name, source)``."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, name, raising=False)

    return write


def things(**targets):
    return Registry("things", {name: Entry(target=target, summary=name) for name, target in targets.items()})


def test_nothing_is_imported_before_it_is_asked_for(plugins, modules):
    modules("lazy_one", "value = 1")
    modules("lazy_two", "value = 2")
    found = things(one="lazy_one:value", two="lazy_two:value")
    assert found.names() == ["one", "two"]
    assert not {"lazy_one", "lazy_two"} & set(sys.modules)
    assert found.get("two") == 2
    assert "lazy_two" in sys.modules
    assert "lazy_one" not in sys.modules


def test_entry_points_join_the_builtins_with_their_package_and_summary(plugins):
    plugins(zebra="string:digits")
    found = things(one="string:ascii_letters")
    assert found.names() == ["one", "zebra"]
    assert found.entries()["one"][0].origin == "built-in"
    zebra = found.entries()["zebra"][0]
    assert (zebra.origin, zebra.summary) == ("vaebench-extra", "one of theirs")
    assert found.get("zebra") == "0123456789"


def test_entry_points_of_other_groups_are_left_alone(plugins):
    plugins(zebra="string:digits")
    assert Registry("animals", {}).names() == []


def test_the_installed_entry_points_are_read():
    assert Registry("recipes", {}).group == "vaebench.recipes"
    assert isinstance(next(iter(importlib.metadata.entry_points(group="console_scripts"))), EntryPoint)


@pytest.mark.parametrize("summary", [None, ""])  # None: no such field
def test_a_package_without_a_summary_is_listed_all_the_same(plugins, summary):
    plugins(summary=summary, zebra="string:digits")
    assert things().entries()["zebra"][0].summary == ""


def test_misspelt_name_gets_the_nearest(plugins):
    with pytest.raises(UserError, match=r"no thing is named 'won': did you mean 'one'\?"):
        things(one="string:digits", three="string:digits").get("won")


def test_name_like_no_other_gets_the_list(plugins):
    with pytest.raises(UserError, match="choose from one, three"):
        things(three="string:digits", one="string:digits").get("qqqqq")


def test_did_you_mean_is_indifferent_to_order():
    assert did_you_mean("psrn", ["ssim", "psnr"]) == did_you_mean("psrn", ["psnr", "ssim"]) == "did you mean 'psnr'?"


def test_a_clash_is_refused_and_only_when_that_name_is_asked_for(plugins):
    plugins(one="string:digits")
    found = things(one="string:ascii_letters", two="string:hexdigits")
    assert found.get("two") == "0123456789abcdefABCDEF"
    assert [entry.origin for entry in found.entries()["one"]] == ["built-in", "vaebench-extra"]
    with pytest.raises(UserError, match=r"things name 'one' is claimed twice \(built-in, vaebench-extra\)"):
        found.get("one")


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("raise RuntimeError('no luck\\nat all')", "broken:value", "RuntimeError: no luck"),
        ("import module_that_is_not_there", "broken:value", "ModuleNotFoundError"),
        ("def f(:", "broken:value", "SyntaxError"),
        ("value = 1", "broken:valeu", "AttributeError"),
        ("value = 1", "broken", "AttributeError"),
        ("value = 1", "broken_and_absent:value", "ModuleNotFoundError"),
    ],
)
def test_a_broken_plugin_fails_by_name_and_only_when_asked_for(plugins, modules, source, target, reason):
    modules("broken", source)
    plugins(bad=target, good="string:digits")
    found = things()
    assert found.names() == ["bad", "good"]
    assert found.get("good") == "0123456789"
    with pytest.raises(UserError, match=f"things plugin 'bad' from vaebench-extra fails to load .*{reason}") as raised:
        found.get("bad")
    assert "\n" not in str(raised.value)


def test_file_attribute(tmp_path):
    (tmp_path / "mine.py").write_text("def recipe():\n    return 'made'\n")
    assert load_file_attribute(f"{tmp_path}/mine.py:recipe")() == "made"


def test_file_attribute_is_read_anew_each_time(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("value = 1\n")
    assert load_file_attribute(f"{file}:value") == 1
    file.write_text("value = 1234\n")
    assert load_file_attribute(f"{file}:value") == 1234


def test_file_attribute_may_hold_what_looks_up_its_own_module(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: 'int' = 3\nvalue = Point()\n"
    )
    assert load_file_attribute(f"{tmp_path}/mine.py:value").x == 3


@pytest.mark.parametrize(
    ("source", "reference", "message"),
    [
        (None, "mine.py:recipe", "mine.py does not exist"),
        ("raise ValueError('no\\nluck')", "mine.py:recipe", r"mine.py fails to load \(ValueError: no\): mend it"),
        ("def f(:", "mine.py:recipe", r"mine.py fails to load \(SyntaxError"),
        ("def recipe(): ...", "mine.py:recpie", r"mine.py has no 'recpie': did you mean 'recipe'\?"),
    ],
)
def test_file_attribute_errors_are_one_line(tmp_path, source, reference, message):
    if source is not None:
        (tmp_path / "mine.py").write_text(source)
    with pytest.raises(UserError, match=message) as raised:
        load_file_attribute(f"{tmp_path}/{reference}")
    assert "\n" not in str(raised.value)


def test_a_docstring_is_read_without_running_anything(tmp_path, monkeypatch):
    package = tmp_path / "loudpackage"
    package.mkdir()
    (package / "__init__.py").write_text('raise RuntimeError("was run")\n')
    (package / "inner.py").write_text(
        'raise RuntimeError("was run")\n'
        'def made():\n    """Make it\n    in two lines.\n\n    Not this."""\n\n'
        'class Kept:\n    """Keep it."""\n\n'
        "bare = made\ndef silent(): pass\n"
    )
    (package / "broken.py").write_text("def (\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.docstring_of("loudpackage.inner:made") == "Make it in two lines."
    assert registry.docstring_of("loudpackage.inner:Kept") == "Keep it."
    for target in ("inner:bare", "inner:silent", "inner:gone", "broken:made", "nowhere:made"):
        assert registry.docstring_of(f"loudpackage.{target}") == ""
    assert registry.docstring_of("no_such_package_anywhere.inner:made") == ""
