"""The check of a GPU where there is none: what dies or hangs costs nothing else, and every failure keeps its name."""

import cProfile
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "gpu_check.py"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="an installed copy has no scripts")

WORKER = """
import json, os, sys, time
def say(case, kind, value, name=""):
    print(json.dumps({"case": case, "kind": kind, "name": name, "value": value}), flush=True)
for case in sys.argv[2:sys.argv.index("--device")]:
    if case.startswith("dies"):
        print("boom", file=sys.stderr)
        os._exit(3)
    if case.startswith("poisons"):
        say(case, "failed", "CUDA error")
        sys.exit(75)
    if case.startswith("hangs"):
        say(case, "note", 1, "begun")
        time.sleep(60)
    say(case, "done", os.getpid())
"""


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    """gpu_check and gpu_workers, whose worker is the one above."""
    monkeypatch.setattr(sys, "path", [str(SCRIPT.parent), str(SCRIPT.parent / "speed"), *sys.path])
    import gpu_check
    import gpu_workers

    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.setattr(gpu_workers, "CASES", tmp_path / "worker.py")
    return gpu_check, gpu_workers


def setting(workers, scratch, seconds):
    return workers.Setting("cpu", False, scratch, {}, time.monotonic() + seconds)


def test_what_dies_costs_itself_alone(scripts, tmp_path):
    _, workers = scripts
    cases = ["first", "dies", "second", "poisons", "third"]
    *_, found = workers.measured("training", cases, setting(workers, tmp_path, 60))
    assert list(found.values) == ["first", "second", "third"]
    assert len(set(found.values.values())) == 3  # processes
    assert found.failures == {"dies": "its process ended with 3: boom", "poisons": "CUDA error"}


def test_what_hangs_is_ended_at_the_deadline_and_keeps_its_notes(scripts, tmp_path, monkeypatch):
    _, workers = scripts
    monkeypatch.setattr(workers, "SHORTEST", 0.0)
    began = time.monotonic()
    *_, found = workers.measured("training", ["first", "hangs", "second"], setting(workers, tmp_path, 1.5))
    assert time.monotonic() - began < 30
    assert list(found.values) == ["first"] and found.notes == {"begun": 1}
    assert found.failures == dict.fromkeys(["hangs", "second"], "no time was left")


def test_a_command_that_fails_says_why(scripts, tmp_path):
    _, workers = scripts
    code = "import sys; print('first', file=sys.stderr); sys.exit('no such thing')"
    assert workers.ran("command", ["-c", code], setting(workers, tmp_path, 60))[1] == "exit code 1: no such thing"
    assert workers.ran("command", ["-c", ""], setting(workers, tmp_path, 60))[1] == ""
    _, failed = workers.ran("command", ["-c", "import time; time.sleep(60)"], setting(workers, tmp_path, 0.5))
    assert failed.endswith("its time was up")


def test_a_part_that_breaks_off_keeps_what_it_had_and_one_without_its_packages_is_left_out(scripts):
    check, _ = scripts

    def run(setting):
        yield "a table"
        raise RuntimeError("broken | here")

    part = check.Part("tests", "Tests", 1.0, run)
    assert [*check.checked(part, None)][-1] == "a table\n\nThis part broke off: RuntimeError: broken / here"
    part = check.Part("tests", "Tests", 1.0, run, ("sys", "no_such_module"))
    assert [*check.checked(part, None)] == ["Left out: no_such_module is missing here."]
    assert check.missing(("sys", "sklearn_", "os")) == ["sklearn_"]


def test_packages_that_are_too_old_are_named(scripts, tmp_path):
    check, _ = scripts
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["pytest>=1.0", "pytest>=999.1,<1000", "no-such-package>=3"]\n'
    )
    first, second = check.outdated(tmp_path / "pyproject.toml")
    assert first.startswith("pytest ") and first.endswith(" (asked for: 999.1)")
    assert second == "no-such-package (missing)"
    assert check.numbers("2.11.0+cu130") == [2, 11, 0] > check.numbers("2.9.1")


def test_parts_share_the_time_and_leave_what_they_do_not_use(scripts):
    check, _ = scripts
    ends = check.deadlines(check.PARTS, 480)
    assert ends == sorted(ends) and ends[-1] == pytest.approx(480)
    assert sum(part.share for part in check.PARTS) == pytest.approx(1)
    assert check.deadlines(check.PARTS[:1], 60) == [60]


def test_steps_stand_beside_their_floor(scripts):
    check, workers = scripts
    found = workers.Found()
    found.values = {
        "ceilings": {"fp32": 50e12, "fp32 in full": 40e12, "bf16": 500e12, "bytes": 2e12},
        "vae-mnist|floor": {"operations": 5e12, "bytes": 4e9},  # 10 ms and 2 ms
        "vae-mnist|fp32": {"seconds": 0.08, "batch": 32, "peak": 2e9, "compute": "fp32"},
        "vae-mnist|default": {"seconds": 0.02, "batch": 32, "peak": 1e9, "compute": "bf16, CUDA graphs"},
    }
    found.failures = {"vae-mnist|bf16": "RuntimeError: a | b\n  c"}
    text = check.steps_table(found, ["vae-mnist", "dcgan-mnist"], ["fp32", "bf16", "default"])
    assert "| vae-mnist | 5000.0 | 10.000 | arithmetic | 80.000 |  | 20.000 | 2.0 | 1,600 | 2.00 |" in text
    assert "- the default of vae-mnist: bf16, CUDA graphs" in text
    assert text.endswith("- vae-mnist, bf16: RuntimeError: a / b c")
    assert "dcgan-mnist" not in text


def test_cases_that_failed_alike_share_a_line(scripts):
    found = scripts[1].Found(failures={"a|x": "no time", "b|y": "broken | here", "c": "no time"})
    assert found.said() == "- a, x; c: no time\n- b, y: broken / here"


def test_a_failure_of_pytest_is_its_error_and_its_place(scripts):
    _, workers = scripts
    text = "../a/tests/test_x.py:3: in test\n    assert f(1) == 2\nE   assert 1 == 2\nE    +  where 1 = f(1)"
    assert workers.last_words(text) == "assert 1 == 2 | tests/test_x.py:3"
    text = "tests/test_x.py:3: in test\n    f()\nvaebench/f.py:9: in f\n    g()\n/lib/g.py:1: in g\nE   KeyError: 1"
    assert workers.last_words(text) == "KeyError: 1 | vaebench/f.py:9"
    assert workers.last_words("first\nlast") == "last"
    assert workers.last_words("") == ""


def test_a_profile_names_functions_from_the_source_tree_on(scripts, tmp_path):
    check, _ = scripts
    profiler = cProfile.Profile()
    profiler.runcall(sorted, [3, 1, 2])
    profiler.runcall(check.missing, ["sys"])
    profiler.dump_stats(tmp_path / "profile")
    assert "| benchmarks/gpu_check.py:" in check.profile_tables(tmp_path / "profile")
    assert check.shortened("/venv/lib/site-packages/torch/nn/modules/module.py") == "torch/nn/modules/module.py"


def test_ways_are_called_as_their_script_calls_them(scripts):
    import gpu_names

    text = (SCRIPT.parent / "speed" / "train.py").read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in (gpu_names.LOOP, gpu_names.PYTHAE, gpu_names.OURS))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--help"], 0, "Runs from a source tree"),
        (["--device", "cpu"], 2, "what --quick or a CPU measures is not worth keeping: give another --out"),
        (["--quick"], 2, "give another --out"),
    ],
)
def test_the_command_line(arguments, code, words):
    done = subprocess.run([sys.executable, SCRIPT, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == code
    assert words in done.stdout + done.stderr


def test_tests_that_need_a_gpu_are_marked():
    """``gpu_check.py`` finds them by their mark, and a test without it is shown no GPU."""
    unmarked = re.compile(r"skipif\([^)]*cuda\.is_available")
    assert not [path for path in (ROOT / "tests").rglob("*.py") if unmarked.search(path.read_text(encoding="utf-8"))]
