"""Each study as its user meets it: the picture, its caption, its numbers, and what it says to bad input."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from vaebench.evaluation.source import BATCH
from vaebench.runs.find import find_runs
from vaebench.runs.load import open_run
from vaebench.runs.recipes import load_split, open_dataset

FACES = "vae-toyfaces"


def plate_of(studied, name):
    (found,) = (studied / "runs" / "studies").glob(f"*/{name}.json")
    return json.loads(found.read_text(encoding="utf-8")), found.parent


def size_of(studied, name):
    record, folder = plate_of(studied, name)
    with Image.open(folder / record["files"][0]) as picture:
        return picture.size


def rows_of(studied, dataset):
    with (studied / "reports" / dataset / "latent_space.csv").open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_attributes_are_drawn_measured_and_reported(studied, cli):
    answer = cli(["attributes", FACES, "vaewgan-toyfaces", "--attributes", "Smiling,Male", "--factors=-1,0,1"])
    assert answer.code == 0, answer.err
    assert "fewer than 1,000 of a kind" in answer.out  # 240 training faces
    assert "An attribute added" in answer.out
    record, _ = plate_of(studied, "attributes")
    assert set(record["runs"]) == {f"{FACES}/seed-0", "vaewgan-toyfaces/seed-0"}
    found = rows_of(studied, "toyfaces")
    assert {row["metric"] for row in found} >= {"manipulation_effect", "manipulation_leakage"}
    assert {row["condition"] for row in found} >= {"all", "Smiling", "Bald"} - {"Bald"}
    page = (studied / "reports" / "toyfaces" / "index.html").read_text(encoding="utf-8")
    assert "An attribute added" in page and "the difference of the mean latents" in page
    assert (studied / "reports" / "toyfaces" / "figures" / "attributes.png").exists()


def test_attributes_beside_the_usual_six_are_measured_when_asked_for(studied, cli):
    answer = cli(["attributes", FACES, "--attributes", "Young,Smiling", "--factors", "1"])
    assert answer.code == 0, answer.err
    found = [row for row in rows_of(studied, "toyfaces") if row["metric"] == "manipulation_effect"]
    conditions = {row["condition"] for row in found if row["protocol"].endswith("Smiling+Young")}
    assert conditions == {"all", "Young", "Smiling"}


def test_images_of_ones_own_are_resized_with_notice(studied, cli):
    Image.new("RGB", (90, 50), "white").save(studied / "me.png")
    answer = cli(["reconstruct", FACES, "--image", "me.png"])
    assert answer.code == 0, answer.err
    assert "me.png: the middle square is taken and resized to 64 x 64" in answer.out
    exact = np.zeros((64, 64, 3), np.uint8)
    Image.fromarray(exact).save(studied / "fits.png")
    answer = cli(["attributes", FACES, "--image", "fits.png", "--attributes", "Smiling"])
    assert answer.code == 0 and "resized" not in answer.out


def test_correlations_in_the_table_are_those_of_the_latents(studied, cli):
    answer = cli(["correlate", FACES, "--attributes", "Smiling,Male,Young,Heavy_Makeup"])
    assert answer.code == 0, answer.err
    assert "Mantel's test" in answer.out
    record, folder = plate_of(studied, "correlate")
    with (folder / "correlate.csv").open(encoding="utf-8") as handle:
        table = list(csv.DictReader(handle))
    names = [row["attribute"] for row in table[:4]]
    assert sorted(names) == ["Heavy_Makeup", "Male", "Smiling", "Young"]
    written = np.array([[float(row[name]) for name in names] for row in table[:4]])
    training = load_split(open_dataset("toyfaces"), "train")
    _, model = open_run(find_runs([FACES])[0], "cpu")
    latents = np.concatenate([model.posterior(part / 255)[0].numpy() for part in training.images.float().split(BATCH)])
    vectors = []
    for name in names:  # fewer than 1,000 of each kind: all there are, so nothing is left to chance
        has = training.attributes[:, list(training.attribute_names).index(name)].numpy()
        vectors.append(latents[has].mean(0) - latents[~has].mean(0))
    assert np.allclose(written, np.corrcoef(vectors), atol=1e-4)
    labels = training.attributes.numpy()[:, [list(training.attribute_names).index(name) for name in names]]
    shown = np.array([[float(row[name]) for name in names] for row in table[4:]])
    assert np.allclose(shown, np.corrcoef(labels.T.astype(float)), atol=1e-5)
    assert record["files"] == ["correlate.png", "correlate.csv"]


def test_a_line_between_digits_says_what_it_shows(studied, cli):
    answer = cli(["interpolate", "vae-digits", "--pairs", "2", "--frames", "5", "--gif"])
    assert answer.code == 0, answer.err
    assert "surprising classes" in answer.out
    record, folder = plate_of(studied, "interpolate")
    assert "red: one that neither image is" in record["caption"]
    with Image.open(folder / "interpolate.gif") as film:
        assert film.n_frames == 8  # there and back, neither end twice
    row = next(row for row in rows_of(studied, "digits") if row["metric"] == "interpolation_surprises")
    assert 0 <= float(row["ci_low"]) <= float(row["value"]) <= float(row["ci_high"])


def test_a_gan_interpolates_between_prior_draws_only(studied, cli):
    assert cli(["interpolate", "dcgan-toyfaces", "--prior", "--pairs", "1"]).code == 0
    refused = cli(["interpolate", "dcgan-toyfaces"])
    assert refused.code == 2
    assert "dcgan-toyfaces is a GAN: it has no encoder, so it cannot interpolate between images" in refused.err


def test_a_mosaic_holds_the_largest_square(studied, cli):
    answer = cli(["embed", FACES, "--count", "30", "--attribute", "Male"])
    assert answer.code == 0, answer.err
    assert size_of(studied, "embed") == (5 * 28, 5 * 28)  # 24 pixels and a frame of 2
    record, _ = plate_of(studied, "embed")
    assert "25 test images" in record["caption"] and "neighbouring cells agree in" in record["caption"]


def test_two_folders_are_blended_image_by_image(studied, cli):
    for folder, count in (("left", 3), ("right", 2)):
        (studied / folder).mkdir()
        for number in range(count):
            Image.new("RGB", (64, 64), (80 * number, 0, 99)).save(studied / folder / f"{number}.png")
    answer = cli(["blend", FACES, "vaewgan-toyfaces", "--image", "left", "--image", "right", "--weights", "0,0.5,1"])
    assert answer.code == 0, answer.err
    assert "2 of each are blended" in answer.out
    assert "fourier-mix" in answer.out and "realism, weight 0.5" in answer.out
    adversary = [row for row in rows_of(studied, "toyfaces") if row["metric"] == "blend_adversary"]
    values = {row["recipe"]: row["value"] for row in adversary if row["condition"] == "all"}
    assert values[FACES] == "" and 0 <= float(values["vaewgan-toyfaces"]) <= 1


def test_samples_need_no_encoder_and_no_measurement(studied, cli):
    answer = cli(["sample", "dcgan-toyfaces", FACES, "--count", "12"])
    assert answer.code == 0, answer.err
    assert not (studied / "reports").exists()
    assert plate_of(studied, "sample")[0]["files"] == ["sample.png"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["attributes", FACES, "--attributes", "Smilling"],
            "is named 'Smilling': did you mean 'Smiling'?",
        ),
        (["attributes", "vae-digits"], "digits has no attributes"),
        (["attributes", FACES, "--attributes", "Bald"], "too few for a direction"),
        (["attributes", FACES, "--factors", "much"], "no list of numbers"),
        (["attributes", FACES, "--factors", "99"], "-10 to 10"),
        (["attributes", FACES, "--image", "nobody.png"], "nobody.png does not exist"),
        (["attributes", FACES, "--image", "text.png"], "text.png cannot be read"),
        (["interpolate", FACES, "--frames", "2"], "give 3 or more"),
        (["interpolate", FACES, "--pairs", "0"], "--pairs"),
        (["interpolate", FACES, f"{FACES}/seed-0"], "named twice"),
        (["correlate", FACES, "--all", "--attributes", "Male"], "leave --attributes away"),
        (["attributes", FACES, "--examples", "9"], "ask for 10 or more"),
        (["embed", FACES, "vae-digits"], "name runs of one dataset"),
        (["embed", FACES, "vaewgan-toyfaces"], "name one RUN"),
        (["sample", FACES, "--count", "99999"], "--count"),
        (["interpolate", FACES, "--image", "one.png"], "an odd number of images (1) makes no pairs"),
        (["interpolate", FACES, "--prior", "--image", "one.png"], "leave --image away"),
        (["interpolate", FACES, "vae-digits"], "name runs of one dataset"),
        (["interpolate", "vae-toyface"], "did you mean 'vae-toyfaces'?"),
        (["blend", FACES, "--weights", "2"], "from 0 to 1"),
        (["blend", FACES, "--image", "one.png"], "two files, or two folders"),
        (["blend", FACES, "--image", "empty", "--image", "one.png"], "holds no image files"),
        (["blend", "dcgan-toyfaces"], "has no encoder, so it cannot blend"),
        (["embed", FACES, "--count", "9"], "--count"),
        (["embed", FACES, "--attribute", "Mael"], "did you mean 'Male'?"),
        (["embed", "vae-digits", "--attribute", "Male"], "leave --attribute away"),
        (["correlate", "vae-digits"], "digits has no attributes"),
        (["sample", FACES, "--count", "0"], "--count"),
        (["reconstruct", "dcgan-toyfaces"], "has no encoder, so it cannot reconstruct"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(studied, cli, arguments, says):
    Image.new("RGB", (64, 64)).save(studied / "one.png")
    (studied / "text.png").write_text("no image", encoding="utf-8")
    (studied / "empty").mkdir()
    answer = cli(arguments)
    assert answer.code == 2
    problem = answer.err.strip().splitlines()[-1]  # before it, what is read or drawn for the first time is said
    assert problem.startswith("error: ") and says in problem and answer.err.count("error: ") == 1
