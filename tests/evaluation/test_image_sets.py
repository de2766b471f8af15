"""`evaluate --images` on image sets as people have them: classes, archives, sizes, and keys that hold what decides."""

import csv
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vaebench.core import results
from vaebench.core.paths import runs_dir
from vaebench.datasets.folder import Folder
from vaebench.datasets.images.loading import load_images

BLUR = ("--metrics", "blur")


def picture(seed, side=20):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def packed(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def save(folder, files):
    for name, pixels in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(packed(pixels))
    return folder


@pytest.fixture
def evaluate(cli, tmp_path):
    def call(images, reference, *options, name="x"):
        asked = ["evaluate", "--images", images, "--name", name, "--reference", reference, "--out", tmp_path / "o"]
        return cli([*asked, *options])

    return call


def rows(tmp_path, dataset):
    with (tmp_path / "o" / dataset / "leaderboard.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


CLASSES = {f"{kind}/{number}.png": picture(number) for kind in ("cats", "dogs") for number in range(6)}


def test_class_folders_are_labels(evaluate, tmp_path, places):
    real = save(tmp_path / "pets", CLASSES)
    made = save(tmp_path / "made", {name: 255 - pixels for name, pixels in CLASSES.items()})
    answer = evaluate(made, real, "--paired", *BLUR)
    assert answer.code == 0, answer.err
    strata = {row["stratum"] for row in rows(tmp_path, "folder-pets") if row["recipe"] == "external/x"}
    assert strata == {"all", "label=0", "label=1", "label!=1"}
    assert load_images(real).classes == ["cats", "dogs"]


@pytest.mark.parametrize(
    "names",
    [
        ["a/1.png", "2.png"],
        ["a/1.png", "a/2.png"],
        ["train/1.png", "test/2.png"],
        [f"class{number}/1.png" for number in range(101)],
    ],
    ids=["some beside", "one folder", "splits", "too many"],
)
def test_folders_that_are_no_classes(tmp_path, places, names):
    assert load_images(save(tmp_path / "mine", {name: picture(0) for name in names})).labels is None


def test_the_folder_dataset_has_the_labels_and_takes_archives(tmp_path, places):
    files = {f"top/{'ab'[number % 2]}/{number}.png": picture(number) for number in range(80)}
    folder = save(tmp_path / "mine", files)
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for name, pixels in files.items():
            archive.writestr(name, packed(pixels))
    for split in ("train", "valid", "test"):
        one, other = (Folder(path=str(path), size=16).load(split) for path in (folder, tmp_path / "mine.zip"))
        assert one.fingerprint == other.fingerprint
        assert [f"top/{'ab'[label]}" for label in one.labels] == [name.rpartition("/")[0] for name in one.ids]


def test_labels_of_parquet_files_and_the_names_of_their_classes(tmp_path, places):
    table = pa.table(
        {"image": [{"bytes": packed(picture(row)), "path": None} for row in range(7)], "label": [0, 1, 0, 1, 2, 2, 0]}
    )
    features = {"info": {"features": {"label": {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    (tmp_path / "shards").mkdir()
    pq.write_table(table.slice(0, 4), tmp_path / "shards" / "train-00000-of-00002.parquet", row_group_size=2)
    pq.write_table(table.slice(4), tmp_path / "shards" / "train-00001-of-00002.parquet")
    found = load_images(tmp_path / "shards")
    assert found.ids == [f"{row:06d}" for row in range(7)]
    assert found.labels.tolist() == [0, 1, 0, 1, 2, 2, 0] and found.classes == ["cat", "dog", "owl"]
    assert np.array_equal(found.images[5].permute(1, 2, 0).numpy(), picture(5))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"text": ["a", "b"]}, "holds the columns text: it needs a column 'image'"),
        ({"image": [{"bytes": None, "path": "a.png"}] * 2}, "no bytes of it, only a path"),
        ({"image": [b"no image", b"none"]}, "is no readable image"),
    ],
)
def test_parquet_files_without_images_are_refused(evaluate, tmp_path, places, columns, said):
    schema = None
    if isinstance(next(iter(columns.values()))[0], dict):
        schema = pa.schema({"image": pa.struct({"bytes": pa.binary(), "path": pa.string()})})
    pq.write_table(pa.table(columns, schema=schema), tmp_path / "made.parquet")
    answer = evaluate(tmp_path / "made.parquet", "digits", *BLUR)
    assert answer.code == 2 and said in answer.err and len(answer.err.splitlines()) == 1


@pytest.mark.parametrize(
    "name", [f"made{ending}" for ending in (".zip", ".tar", ".tar.gz", ".parquet", ".npy", ".npz", "")]
)
@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 no more", b"PAR1 no more", b"\x1f\x8b no more", b"\x93NUMPY no more"]
)
def test_files_that_are_nothing_are_refused_in_one_line(evaluate, tmp_path, places, name, content):
    (tmp_path / name).write_bytes(content)
    answer = evaluate(tmp_path / name, "digits", *BLUR)
    assert answer.code == 2 and len(answer.err.splitlines()) == 1
    assert str(tmp_path / name) in answer.err
    assert not runs_dir().exists()


SIZES = {f"{number}.png": picture(number, 20 + number % 3) for number in range(9)}
GREY = {name: pixels[:, :, 0] for name, pixels in SIZES.items()}


def test_sizes_that_differ_are_refused_with_what_mends_it(evaluate, tmp_path, places):
    mixed = save(tmp_path / "mixed", SIZES)
    answer = evaluate(mixed, mixed, *BLUR)
    assert answer.code == 2
    assert "holds images of several sizes, 20 x 20 (0.png) and 21 x 21: add --size 20" in answer.err
    assert not runs_dir().exists()
    assert evaluate(mixed, mixed, *BLUR, "--size", "20").code == 0


def test_sizes_that_differ_are_scaled_to_the_datasets_own_by_the_advice(evaluate, tmp_path, places):
    mixed = save(tmp_path / "mixed", GREY)
    answer = evaluate(mixed, "digits", *BLUR)
    assert (answer.code, answer.err.rstrip().endswith("and 21 x 21: add --size 28")) == (2, True), answer.err
    assert evaluate(mixed, "digits", *BLUR, "--size", "28").code == 0


def test_a_misspelt_reference_is_said_before_images_are_read(evaluate, tmp_path, places):
    mixed = save(tmp_path / "mixed", GREY)
    answer = evaluate(mixed, "digist", *BLUR)
    assert (answer.code, "did you mean 'digits'?" in answer.err) == (2, True), answer.err


def test_scaled_images_are_held_against_the_originals(evaluate, tmp_path, places):
    """What counts by nearness to the real images can be ranked, though its protocol names the scaling."""
    answer = evaluate(save(tmp_path / "mixed", GREY), "digits", *BLUR, "--size", "28")
    assert answer.code == 0, answer.err
    assert "the originals were not measured" not in answer.out
    said = " ".join(answer.out.split())
    assert "blur (samples) → 0.466 0.03948 " in said and "the only model measured" in said, answer.out


def test_how_images_were_scaled_is_part_of_the_protocol(evaluate, tmp_path, places):
    mixed, alike = save(tmp_path / "mixed", GREY), save(tmp_path / "real", {"a.png": picture(1), "b.png": picture(2)})
    for name, options in {
        "cut": ["--size", "16"],
        "whole": ["--size", "16", "--crop", "none", "--filter", "lanczos"],
    }.items():
        assert evaluate(mixed, alike, *BLUR, *options, name=name).code == 0
    assert evaluate(alike, alike, *BLUR, name="plain").code == 0
    protocols = {
        (row["recipe"], row["protocol"])
        for row in rows(tmp_path, "folder-real")
        if row["value"] and row["stratum"] == "all"
    }
    assert {each for each in protocols if each[0] != "real"} == {
        ("external/cut", "samples/size=16,crop=centre,filter=bicubic"),
        ("external/whole", "samples/size=16,crop=none,filter=lanczos"),
        ("external/plain", "samples"),
    }
    ranked = [row for row in rows(tmp_path, "folder-real") if row["rank_low"] not in ("", "1")]
    assert ranked == []  # values of different protocols are no rivals


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--crop", "centre"], "--crop centre prepares nothing without a size: add --size N"),
        (["--size", "16", "--crop", "center"], "did you mean 'centre'?"),
        (["--size", "16", "--filter", "cubic"], "did you mean 'bicubic'?"),
        (["--size", "0"], "--size 0 is out of range: give 8 to 4096"),
        (["--size", "100000"], "--size 100000 is out of range"),
    ],
)
def test_preparations_that_are_none(evaluate, tmp_path, places, options, said):
    answer = evaluate(save(tmp_path / "mine", CLASSES), "digits", *BLUR, *options)
    assert answer.code == 2 and said in answer.err


def values(name="x"):
    lines = results.read(runs_dir() / "external" / name / "results.jsonl")
    return [
        (line.dataset, line.metric, line.value) for line in lines if line.value is not None and line.stratum == "all"
    ]


def test_equal_images_under_another_name_of_the_reference_are_measured(evaluate, tmp_path, places):
    files = {f"{number}.png": picture(number) for number in range(4)}
    made = save(tmp_path / "made", files)
    for name in ("a", "b"):
        answer = evaluate(made, save(tmp_path / name, files), "--paired", "--metrics", "mse")
        assert answer.code == 0
        (row,) = [row for row in rows(tmp_path, f"folder-{name}") if row["recipe"] == "external/x" and row["value"]]
        assert float(row["value"]) == 0
    assert values() == [("folder-a", "mse", 0.0), ("folder-b", "mse", 0.0)]


def test_a_second_evaluation_measures_nothing_and_says_so(evaluate, tmp_path, places):
    made = save(tmp_path / "made", CLASSES)
    assert "12 images measured" in evaluate(made, made, *BLUR).out
    before = values()
    assert "nothing new to measure of 12 images" in evaluate(made, made, *BLUR).out
    assert values() == before


def test_what_is_passed_over_and_what_was_chosen_is_said(evaluate, tmp_path, places):
    made = save(tmp_path / "made", {"a.png": picture(0), "b.png": picture(1)})
    Image.fromarray(np.dstack([picture(2), np.zeros((20, 20), np.uint8)])).save(made / "c.png")
    (made / "notes.txt").write_text("none")
    said = evaluate(made, made, *BLUR).out
    assert f"{made}: transparent parts are shown on white (1 of 3 images)" in said
    assert f"{made}: passed over 1 other file (notes.txt)" in said


@pytest.fixture
def trained(cli, tmp_path, places, monkeypatch):
    """A run that was trained on a folder, named from where it lies."""
    save(tmp_path / "here" / "pics", {f"{number}.png": picture(number) for number in range(80)})
    monkeypatch.chdir(tmp_path / "here")
    options = ["--steps", "2", "--precision", "fp32", "--set", "dataset.path=pics", "--set", "batch_size=8"]
    assert cli(["train", "vae-folder", *options]).code == 0
    (found,) = runs_dir().glob("*/seed-0")
    return found


def test_a_run_finds_its_images_from_anywhere_and_where_they_are_now(cli, trained, tmp_path, monkeypatch):
    asked = ["evaluate", trained, "--metrics", "mse", "--out", tmp_path / "o"]
    monkeypatch.chdir(tmp_path)
    assert cli(asked).code == 0
    (tmp_path / "here" / "pics").rename(tmp_path / "moved")
    answer = cli(asked)
    assert answer.code == 2 and "--set dataset.path=DIR" in answer.err
    assert cli([*asked, "--set", "dataset.path=moved", "--again"]).code == 0


def test_a_run_is_not_measured_on_other_images_than_it_was_trained_on(cli, trained, tmp_path):
    other = save(tmp_path / "other", {f"{number}.png": picture(1000 + number) for number in range(80)})
    answer = cli(["evaluate", trained, "--metrics", "mse", "--out", tmp_path / "o", "--set", f"dataset.path={other}"])
    assert answer.code == 2
    assert "was trained on other folder images" in answer.err and "--set dataset.path=DIR" in answer.err


def test_a_dataset_that_is_a_reference_takes_options(evaluate, tmp_path, places):
    pics = save(tmp_path / "pics", {f"{number}.png": picture(number) for number in range(80)})
    made = save(tmp_path / "made", {f"{number}.png": picture(number, 16) for number in range(9)})
    answer = evaluate(made, "folder", *BLUR)
    assert answer.code == 2 and "add --set dataset.path=DIR" in answer.err
    answer = evaluate(made, "folder:train", *BLUR, "--set", f"dataset.path={pics}", "--set", "dataset.size=16")
    assert answer.code == 0, answer.err


def test_names_of_classes_may_hold_anything(evaluate, cli, tmp_path, places):
    """Results note them as text that is read again: what cannot be read would stand in the way of all later reports."""
    pets = save(
        tmp_path / "pets",
        {f"{kind}/{number}.png": picture(number) for kind in ("c\nats", "d\x1bogs") for number in range(3)},
    )
    answer = evaluate(pets, pets, "--paired", *BLUR)
    assert (answer.code, answer.err) == (0, "")
    answer = cli(["report", "--out", tmp_path / "o"])
    assert (answer.code, answer.err) == (0, "")
    many = save(tmp_path / "many", {f"{kind:03d}{'y' * 230}/0.png": picture(kind) for kind in range(100)})
    assert evaluate(many, many, *BLUR, name="y").err == ""


def test_paths_too_long_for_the_file_system(evaluate, tmp_path, places):
    pets = save(tmp_path / "pets", CLASSES)
    long = tmp_path / ("x" * 300)
    for images, reference, options in (
        (long, pets, ()),
        (pets, long, ()),
        (pets, "folder:test", ("--set", f"dataset.path={long}")),
    ):
        answer = evaluate(images, reference, *options, *BLUR)
        assert answer.code == 2, answer.err
        assert answer.err.count("\n") == 1
    assert not runs_dir().exists()


def test_several_sets_in_one_call(cli, tmp_path, places):
    real = save(tmp_path / "real", CLASSES)
    sets = []
    for place, name in enumerate(("first", "second")):
        made = save(tmp_path / name, {file: 255 - pixels // (place + 1) for file, pixels in CLASSES.items()})
        sets += ["--images", made, "--name", name]
    assert cli(["evaluate", *sets, "--reference", real, *BLUR, "--paired", "--out", tmp_path / "o"]).code == 0
    measured = {row["recipe"] for row in rows(tmp_path, "folder-real") if row["value"]}
    assert measured == {"real", "external/first", "external/second"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--images", "a", "--images", "b", "--name", "x"], "2 times --images, 1 times --name: give each set its name"),
        (["--images", "a", "--name", "x", "--images", "b", "--name", "x"], "--name is given twice"),
        (["vae-digits", "--size", "32"], "--size is of images made elsewhere: add --images PATH"),
        (["vae-digits", "--paired"], "--paired is of images made elsewhere"),
        (["--all", "--reference", "digits"], "--reference is of images made elsewhere"),
    ],
)
def test_options_that_would_say_nothing_are_refused(cli, places, options, said):
    answer = cli(["evaluate", *options])
    assert answer.code == 2 and said in answer.err


@pytest.mark.parametrize("name", ["reel/x", "reel.zip"])
def test_a_reference_that_is_a_path_and_not_there(evaluate, tmp_path, places, name):
    answer = evaluate(save(tmp_path / "pets", CLASSES), name, *BLUR)
    assert answer.code == 2
    assert answer.err.startswith("error: --reference reel") and "does not exist: give a folder" in answer.err


def test_odd_files_that_are_decoded_all_the_same_are_no_warning(tmp_path, places):
    """Pillow warns of metadata that end early, in lines of its own on standard error."""
    pets = save(tmp_path / "pets", {f"{number}.png": picture(number) for number in range(3)})
    exif = Image.Exif()
    exif[271] = "x" * 20
    Image.fromarray(picture(3)).save(pets / "3.jpg", exif=exif.tobytes()[:-15])
    asked = ["evaluate", "--images", pets, "--name", "x", "--reference", pets, "--out", tmp_path / "o", *BLUR]
    answer = subprocess.run(
        [sys.executable, "-m", "vaebench", *map(str, asked)], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, "")
