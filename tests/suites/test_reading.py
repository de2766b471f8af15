"""A suite's file: what it says as types; what is wrong in it with file, line and key."""

import tomllib
from pathlib import Path

import pytest

from vaebench.core.errors import UserError
from vaebench.suites import built_in, find_suite
from vaebench.suites.checking import problems
from vaebench.suites.reading import key_lines, read_suite

ROOT = Path(__file__).parents[2]
WHOLE = """\
title = "Two families"
source = "made up"
seeds = [0, 1]

[dataset]
name = "digits"

[[models]]
recipe = "vae-digits"

[[models]]
recipe = "dfcvae-digits"
[models.settings]
latent_dim = 5

[[models]]
images = "made"
name = "peer"

[budget]
steps = 20

[evaluation]
metrics = ["blur", "mse", "diversity"]
samples = 100
[evaluation.options.diversity]
features = "pixels"

[[studies]]
study = "interpolate"
models = ["vae-digits", "dfcvae-digits"]
options = { gif = true }

[[claims]]
says = "DFC-VAE is sharper"
claim = "blur/recon: dfcvae-digits nearer than vae-digits"
"""


@pytest.fixture
def suite(tmp_path):
    """Write a suite with one text replaced by another, and return its path."""

    def write(old="", new=""):
        assert old in WHOLE
        path = tmp_path / "mine.toml"
        (tmp_path / "made").mkdir(exist_ok=True)
        path.write_text(WHOLE.replace(old, new, 1) if old else WHOLE)
        return path

    return write


def line_with(path, text):
    """Number of the line on which a text begins that stands once in the file."""
    whole = path.read_text()
    assert whole.count(text) == 1
    return whole[: whole.index(text)].count("\n") + 1


def test_a_suite_is_read_as_types(suite):
    located = read_suite(suite())
    assert (located.name, located.suite.seeds, located.suite.evaluation.samples) == ("mine", [0, 1], 100)
    assert located.suite.models[1].settings == {"latent_dim": 5} and located.suite.models[2].name == "peer"
    assert located.suite.budget.given == {"steps": 20}
    assert located.place("models", 1, "recipe").endswith("mine.toml:12")
    assert located.place("models", 1, "epochs").endswith("mine.toml:11")  # the table around it
    assert problems(located) == []


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ("samples = 100", "sampels = 100", "sampels", "unknown key 'sampels': did you mean 'samples'?"),
        ('recipe = "dfcvae', 'recpie = "dfcvae', "recpie", "unknown key 'recpie': did you mean 'recipe'?"),
        ("[budget]", "[bugdet]", "[bugdet]", "unknown key 'bugdet': did you mean 'budget'?"),
        ('title = "Two families"\n', "", "source", "the key 'title' is missing: add it"),
        ('study = "interpolate"\n', "", "[[studies]]", "the key 'study' is missing: add it"),
        ("[0, 1]", '["a"]', "seeds", "'seeds[0]' is not as it must be (expected int, got str)"),
        ("[0, 1]", "[0, 1, 0]", "seeds", "seed 0 is there twice: name each once"),
        ("samples = 100", "samples = 0", "samples", "'evaluation.samples' is not as it must be (expected int >= 1)"),
        ("steps = 20", "steps = 2.5", "steps", "'budget.steps' is not as it must be"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(suite, old, new, at, says):
    path = suite(old, new)
    line = line_with(path, at)
    with pytest.raises(UserError) as error:
        read_suite(path)
    assert str(error.value).startswith(f"{path}:{line}: {says}")


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ('"vae-digits"', '"vea-digits"', '"vea-digits"', "did you mean 'vae-digits'?"),
        ('"vae-digits"', '"vae-mnist"', '"vae-mnist"', "vae-mnist is trained on mnist, and the suite is on digits"),
        ("latent_dim", "latent_dmi", 'recipe = "dfcvae-digits"', "latent_dim"),
        ('["blur", "mse", ', '["blur", "mes", ', "metrics", "no metric 'mes': did you mean 'mse'"),
        ('name = "digits"', 'name = "digit"', 'name = "digit"', "did you mean 'digits'?"),
        ('"interpolate"', '"interpolat"', "interpolat", "no study 'interpolat': did you mean 'interpolate'?"),
        ('["vae-digits", "dfc', '["vae-digts", "dfc', "vae-digts", "'vae-digts' is none of the recipes that are"),
        ("steps = 20", "steps = 20\nepochs = 3", "[budget]", "epochs and steps both set the length: give one of them"),
        ('images = "made"', 'model = "m"\nimages = "made"', "[[models]]\nmodel", "this model has model and images"),
        ('name = "peer"\n', "", "[[models]]\nimages", "need a name in the tables: add name"),
        ("nearer than", "nearer then", "nearer then", "nearer"),
        ("blur/recon: dfc", "blru/recon: dfc", "blru", "did you mean 'blur'"),
        ("blur/recon: dfcvae-digits", "blur/recon, label=1: dfcvae-digit", "label=1", "did you mean 'dfcvae-digits"),
        ("blur/recon: dfcvae-digits", "blur/recon: vae-digits", "recon: vae", "is compared with itself"),
        ("features", "featrues", "[evaluation.options.diversity]", "features"),
        ('name = "peer"', 'name = "my peer"', 'name = "my', "name 'my peer' names no run: give letters"),
        (
            'name = "peer"',
            'name = "peer"\npaired = "names"',
            "paired",
            "paired = 'names' is unknown: did you mean 'name'",
        ),
        ('images = "made"', 'images = "mead"', "images", "mead does not exist: make the images first"),
        ("steps = 20", "seconds = inf", "seconds", "seconds = inf is no budget: give a number"),
        ("blur/recon: dfc", "blur/recon, lable=1: dfc", "lable", "have no stratum 'lable=1': did you mean 'label=1'"),
        ("blur/recon: dfc", "blur/recon, label=17: dfc", "label=17", "have no stratum 'label=17'"),
        ('"dfcvae-digits"]', '"external/peer"]', "external/peer", "is none of the recipes that are trained here"),
    ],
)
def test_check_finds_it_before_anything_runs(suite, old, new, at, says):
    path = suite(old, new)
    line = line_with(path, at)
    (found,) = problems(read_suite(path))
    assert found.startswith(f"{path}:{line}: ") and says in found


def test_space_around_the_sign_of_a_stratum_is_no_other_stratum(suite):
    assert problems(read_suite(suite("blur/recon: dfc", "blur/recon, label != 1: dfc"))) == []


def test_every_problem_is_listed(suite):
    path = suite('["blur", "mse", ', '["blru", "mes", ')
    assert len(problems(read_suite(path))) == 2


def test_what_is_no_toml_is_said(suite):
    path = suite("[dataset]", "[dataset")
    with pytest.raises(UserError, match=r"is no TOML .*line 5"):
        read_suite(path)


def test_lines_of_dotted_and_quoted_keys():
    text = 'a.b = 1\n"c d" = 2\n[[t]]\nx = 1\n[t.in]\ny = 2\n[[t]] # second\nx = 3\n'
    lines = key_lines(text)
    assert lines["a", "b"] == 1 and lines[("c d",)] == 2
    assert (lines["t", 0, "x"], lines["t", 0, "in", "y"], lines["t", 1, "x"]) == (4, 6, 8)


def test_the_wheel_carries_every_suite():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    carried = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert built_in()
    for path in (ROOT / "benchmarks").glob("*.toml"):
        assert carried[f"benchmarks/{path.name}"] == f"vaebench/benchmarks/{path.name}"


def test_suites_that_come_with_vaebench_are_in_order_and_found_by_name():
    for name, path in built_in().items():
        assert find_suite(name) == path
        assert problems(read_suite(path)) == []
    with pytest.raises(UserError, match="did you mean 'digits'"):
        find_suite("digist")
    with pytest.raises(UserError, match="does not exist"):
        find_suite("nowhere.toml")


def test_the_suites_that_the_documentation_shows_are_in_order(tmp_path):
    page = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
    blocks = [part for part in page.split("```toml\n")[1:] if part.startswith("title")]
    assert len(blocks) == 2
    (tmp_path / "samples_of_mine").mkdir()
    for block in blocks:
        path = tmp_path / "mine.toml"
        path.write_text(block.partition("```")[0])
        assert problems(read_suite(path)) == []
