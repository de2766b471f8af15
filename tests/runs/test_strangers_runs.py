"""A runs folder of somebody else's runs nothing, writes nothing elsewhere, and shows nothing from outside of it."""

import json
import os
import py_compile
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from vaebench.cli import main as command_line
from vaebench.core.results import read

PLAIN = ["--precision", "fp32", "--threads", "1"]
EVALUATE = ["--metrics", "blur,mse", "--samples", "16"]
RECIPE = """
from pathlib import Path
Path({marker!r}).write_text("run")
from vaebench.models import RECIPES
from dataclasses import replace

def mine():
    return replace(RECIPES.get("vae-digits")(), name="mine-digits")

def other():
    raise SystemExit("called")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory, measured_defaults) -> Path:
    """Runs, data and caches with one evaluated run, and its report."""
    home = tmp_path_factory.mktemp("made")
    measured_defaults(home / "cache")
    with pytest.MonkeyPatch.context() as patch:
        for place in ("RUNS", "DATA", "WEIGHTS", "CACHE"):
            patch.setenv(f"VAEBENCH_{place}", str(home / place.lower()))
        for command in (
            ["train", "vae-digits", "--steps", "3", *PLAIN],
            ["evaluate", "vae-digits", *EVALUATE, "--out", str(home / "reports")],
            ["interpolate", "vae-digits", "--pairs", "1", "--out", str(home / "reports")],
        ):
            with pytest.raises(SystemExit) as stopped:
                command_line.main(command)
            assert not stopped.value.code
    return home


@pytest.fixture
def home(places, made, monkeypatch):
    shutil.copytree(made / "runs", places / "runs")
    shutil.copytree(made / "cache", places / "cache", dirs_exist_ok=True)
    (places / "work").mkdir()
    monkeypatch.chdir(places / "work")
    return places


def rewrite(file: Path, **changes) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def unsigned(file: Path, **changes) -> None:
    """Every line of results changed, as an earlier version would have written it: without a digest."""
    lines = [json.loads(line) | changes for line in file.read_text().splitlines()]
    for line in lines:
        line.pop("digest")
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def outside(home: Path) -> set[Path]:
    """Files that are not where this test's commands may write."""
    ours = ("runs", "cache", "out")
    return {path for path in home.rglob("*") if path.relative_to(home).parts[0] not in ours}


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "vae-digits", *EVALUATE, "--again"],
        ["evaluate", "--all", *EVALUATE, "--again"],
        ["sample", "vae-digits"],
        ["reconstruct", "vae-digits"],
        ["interpolate", "vae-digits"],
        ["embed", "vae-digits"],
        ["blend", "vae-digits"],
    ],
)
def test_a_record_runs_no_file(home, cli, command):
    marker = home / "runs" / "marker"
    (home / "runs" / "evil.py").write_text(RECIPE.format(marker=str(marker)))
    record = home / "runs" / "vae-digits" / "seed-0" / "run.json"
    rewrite(record, reference=f"{home / 'runs' / 'evil.py'}:mine")
    answer = cli([*command, "--out", home / "out"])
    assert answer.code == 2, answer
    assert "which is not run unless you name it: look into the file, then add --recipe-file" in answer.err
    assert not marker.exists()


def test_the_webcam_runs_no_file_of_a_record(home, cli):
    marker = home / "runs" / "marker"
    (home / "runs" / "evil.py").write_text(RECIPE.format(marker=str(marker)))
    rewrite(home / "runs" / "vae-digits" / "seed-0" / "run.json", reference=f"{home / 'runs' / 'evil.py'}:mine")
    (home / "clip.mp4").write_bytes(b"looked into after the run")
    answer = cli(["webcam", "vae-digits", "--source", home / "clip.mp4", "--out", home / "out.mp4"])
    assert answer.code == 2 and "which is not run unless you name it" in answer.err, answer
    assert not marker.exists()
    named = ["--recipe-file", home / "runs" / "evil.py"]
    assert cli(["webcam", "vae-digits", "--source", home / "clip.mp4", "--out", home / "out.mp4", *named]).code == 2
    assert marker.exists()


def test_naming_the_file_runs_it_and_only_what_it_defines(home, cli):
    marker = home / "runs" / "marker"
    (home / "mine.py").write_text(RECIPE.format(marker=str(marker)))
    record = home / "runs" / "vae-digits" / "seed-0" / "run.json"
    rewrite(record, reference="/elsewhere/mine.py:mine")
    again = ["evaluate", "vae-digits", *EVALUATE, "--again", "--out", home / "out", "--recipe-file"]
    assert cli([*again, home / "mine.py"]).code == 0
    assert marker.exists()
    rewrite(record, reference="/elsewhere/mine.py:Path")  # imported there, not defined
    assert "defines no function 'Path'" in cli([*again, home / "mine.py"]).err
    assert "there is no such file" in cli([*again, home / "nowhere.py"]).err
    (home / "another.py").write_text("")
    assert "which is not run unless you name it" in cli([*again, home / "another.py"]).err


def test_a_recipe_file_is_run_as_it_reads(home, cli, monkeypatch):
    """Compiled code beside it, which may have come with it, is neither run nor written."""
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    marker = home / "marker"
    file = home / "mine.py"
    file.write_text(f"from pathlib import Path\nPath({str(marker)!r}).write_text('run')\n")
    compiled = Path(py_compile.compile(str(file), doraise=True))
    file.write_text(file.read_text().replace("'run'", "'xxx'"))  # as long, and as old
    os.utime(file, (0, 0))
    content = bytearray(compiled.read_bytes())
    content[8:12] = bytes(4)
    compiled.write_bytes(bytes(content))
    assert "has no 'mine'" in cli(["train", f"{file}:mine", "--steps", "2", *PLAIN]).err
    assert marker.read_text() == "xxx"
    compiled.unlink()
    cli(["train", f"{file}:mine", "--steps", "2", *PLAIN])
    assert not compiled.exists()


def test_what_was_trained_here_from_a_file_is_evaluated_until_the_file_changes(home, cli):
    marker = home / "marker"
    file = home / "mine.py"
    file.write_text(RECIPE.format(marker=str(marker)))
    assert cli(["train", f"{file}:mine", "--steps", "2", *PLAIN]).code == 0
    marker.unlink()
    evaluate = ["evaluate", "mine-digits", *EVALUATE, "--again", "--out", home / "out"]
    assert cli(evaluate).code == 0
    assert marker.exists()
    marker.unlink()
    shutil.copytree(home / "runs" / "mine-digits", home / "elsewhere" / "mine-digits")
    assert cli([*evaluate[:1], str(home / "elsewhere" / "mine-digits"), *evaluate[2:]]).code == 2  # another folder
    file.write_text(file.read_text() + "# changed\n")
    answer = cli(evaluate)
    assert (answer.code, marker.exists()) == (2, False), answer
    assert cli([*evaluate, "--recipe-file", str(file)]).code == 0


@pytest.mark.parametrize(
    "name", ["../../evil", "", "real", "external", "baseline", "studies", "a/b", "a\nb", "x" * 200]
)
def test_a_recipe_has_a_name_that_can_be_a_folder(home, cli, name):
    (home / "work" / "bad.py").write_text(
        "from dataclasses import replace\nfrom vaebench.models import RECIPES\n"
        f"def bad():\n    return replace(RECIPES.get('vae-digits')(), name={name!r})\n"
    )
    answer = cli(["train", "./bad.py:bad", "--steps", "2", *PLAIN])
    assert answer.code == 2 and len(answer.err.splitlines()) == 1, answer
    assert "which cannot be a folder of runs" in answer.err
    assert outside(home) == {home / "work", home / "work" / "bad.py"}


@pytest.mark.parametrize("field", ["dataset", "split", "recipe", "metric"])
@pytest.mark.parametrize(
    "text",
    ["../../../evil", "/tmp/evil", "a/../../b", "evil\n", "evil\x1b[2J", "a[b=../../c]", "a[b=1]/c", "a[b=1", "[b=1]"],
)
def test_results_name_no_place_outside(home, cli, field, text):
    before = outside(home)
    unsigned(home / "runs" / "vae-digits" / "seed-0" / "results.jsonl", **{field: text})
    answer = cli(["report", "--out", home / "out"])
    assert answer.code in (0, 2), answer
    assert f"field {field}: not a name" in answer.err
    assert "\x1b" not in answer.err + answer.out
    assert outside(home) == before


@pytest.mark.parametrize("name", ["a[b=../../c]", "a[b=1]/../../evil", "a[b=1]x", "a[]", "a[b=`id`]", "a[b=\x1b]"])
def test_records_with_settings_name_no_place_outside(home, cli, name):
    before = outside(home)
    rewrite(home / "runs" / "vae-digits" / "seed-0" / "run.json", recipe=name)
    for command in (["evaluate", "vae-digits", *EVALUATE, "--out", home / "out"], ["train", "vae-digits", *PLAIN]):
        answer = cli(command)
        assert answer.code == 2 and "field recipe: not a name" in answer.err and answer.err.count("\n") == 1
        assert "\x1b" not in answer.err
    assert outside(home) == before


def test_settings_of_a_record_are_words_that_are_quoted_and_run_nothing(home, cli):
    record = home / "runs" / "vae-digits" / "seed-0" / "run.json"
    hyperparameters = json.loads(record.read_text())["hyperparameters"] | {"x; touch evil; #": "$(touch evil)"}
    rewrite(record, settings=["x; touch evil; #", "missing"], hyperparameters=hyperparameters, status="training")
    answer = cli(["evaluate", "vae-digits", *EVALUATE, "--out", home / "out"])
    command = answer.err.partition("go on with ")[2].strip().removeprefix('"').removesuffix('"')
    assert answer.code == 2 and "--set 'x; touch evil; #=$(touch evil)' --seeds 0 --resume" in command
    assert shlex.split(command)[4] == "x; touch evil; #=$(touch evil)"
    refused = cli([*shlex.split(command)[1:], *PLAIN])
    assert refused.code == 2 and "has no setting 'x; touch evil; #'" in refused.err


def test_a_fingerprint_names_no_place_outside(home, cli):
    before = outside(home)
    file = home / "runs" / "vae-digits" / "seed-0" / "results.jsonl"
    origin = json.loads(file.read_text().splitlines()[0])["provenance"]
    unsigned(file, provenance=origin | {"data_fingerprint": "../../../../evil"})
    answer = cli(["report", "--out", home / "out"])
    assert answer.code in (0, 2) and "data_fingerprint" in answer.err
    assert outside(home) == before


@pytest.mark.parametrize(
    "files", [["../../../work/evil.png"], ["interpolate.desktop"], ["/tmp/evil.png"], [".evil.png"], []]
)
def test_a_plate_names_no_file_outside(home, cli, files):
    (study_figure,) = (home / "runs" / "studies").glob("*/interpolate.json")
    before = outside(home)
    rewrite(study_figure, files=files)
    answer = cli(["report", "--out", home / "out"])
    assert answer.code == 0, answer
    assert "left out: " in answer.err and "draw it again with 'vaebench interpolate'" in answer.err
    assert outside(home) == before
    assert not list((home / "out").rglob("interpolate*"))


@pytest.mark.parametrize("name", ["interpolate.png", "warnings.log", "gallery", "history.csv"])
def test_no_link_is_followed_out_of_a_runs_folder(home, cli, name):
    secret = home / "work" / "secret"
    run = home / "runs" / "vae-digits" / "seed-0"
    (gallery,) = run.glob("gallery-*.npz")
    (study_figure,) = (home / "runs" / "studies").glob("*/interpolate.png")
    place = {"interpolate.png": study_figure, "gallery": gallery}.get(name, run / name)
    if name == "warnings.log":
        secret.write_text("SECRET")
    elif name == "history.csv":
        shutil.copy(run / name, secret)
    else:
        shutil.copy(place, secret)
    place.unlink(missing_ok=True)
    place.symlink_to(secret)
    answer = cli(["report", "--out", home / "out", "--evidence"])
    assert "is a link that leads out of" in answer.err, answer
    shown = b"".join(path.read_bytes() for path in (home / "out").rglob("*") if path.is_file())
    assert b"SECRET" not in shown
    copied = {path for path in (home / "out").rglob(place.name) if "real" not in path.parts}
    assert not copied


def test_a_report_goes_nowhere_through_a_link(home, cli):
    (home / "out").mkdir()
    (home / "out" / "digits").symlink_to(home / "work")
    answer = cli(["report", "--out", home / "out"])
    assert answer.code == 2 and "leads out of" in answer.err
    assert not list((home / "work").iterdir())


def test_texts_of_results_are_no_markup_and_no_formulas(home, cli):
    note = "<script>alert(1)</script> ![x](https://example.org/x.png)"
    unsigned(home / "runs" / "vae-digits" / "seed-0" / "results.jsonl", note=note, unit="=1+1")
    assert cli(["report", "--out", home / "out"]).code == 0
    page = (home / "out" / "digits" / "leaderboard.md").read_text()
    assert "&lt;script>" in page and "<script" not in page and "](https:" not in page
    assert "<details><summary>" in page
    table = (home / "out" / "digits" / "leaderboard.csv").read_text()
    assert "'=1+1" in table and ",=1+1" not in table


@pytest.mark.parametrize(
    "name", ["run.json", "results.jsonl", "per_image.parquet", "weights.safetensors", "history.csv"]
)
@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_what_is_no_regular_file_is_refused_at_once(home, cli, name, kind):
    file = home / "runs" / "vae-digits" / "seed-0" / name
    file.unlink()
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero")
    for command in (["report"], ["evaluate", "vae-digits", *EVALUATE, "--again"]):
        answer = cli([*command, "--out", home / "out"])
        assert answer.code in (0, 2) and "unexpected" not in answer.err, answer


def test_a_damaged_run_is_left_out_of_the_report_and_named(home, cli):
    shutil.copytree(home / "runs" / "vae-digits" / "seed-0", home / "runs" / "vae-digits" / "seed-1")
    rewrite(home / "runs" / "vae-digits" / "seed-1" / "run.json", steps="many")
    answer = cli(["report", "--out", home / "out"])
    assert answer.code == 0, answer
    assert "seed-1/run.json cannot be read (field steps: expected int, got str)" in answer.err
    assert answer.err.count("left out") == 1
    assert "vae-digits" in (home / "out" / "digits" / "leaderboard.md").read_text()


def test_pictures_of_other_weights_do_not_stand_beside_new_numbers_and_lost_ones_are_drawn_again(home, cli):
    run = home / "runs" / "vae-digits" / "seed-0"
    (gallery,) = run.glob("gallery-*.npz")
    old = gallery.read_bytes()
    evaluate = ["evaluate", "vae-digits", *EVALUATE, "--out", home / "out"]
    gallery.unlink()  # as a stop between numbers and pictures left it
    assert cli(evaluate).code == 0
    assert gallery.exists()
    assert cli(["train", "vae-digits", "--steps", "6", "--resume", *PLAIN]).code == 0
    assert cli(evaluate).code == 0
    assert gallery.read_bytes() != old
    gallery.write_bytes(old)  # of the weights before
    (run / "samples.png").unlink()
    assert cli(["report", "--out", home / "out"]).code == 0
    assert not (home / "out" / "digits" / "figures" / "samples.png").exists() or b"vae-digits" not in old
    assert cli(evaluate).code == 0
    with np.load(gallery) as drawn:
        about = json.loads(drawn["about"].tobytes())
    assert about["weights_sha256"] == read(run / "results.jsonl")[-1].provenance.weights_sha256
    assert (run / "samples.png").exists()
