"""`evaluate --images`, end to end: the numbers of OpenCV and SciPy, whatever way the images came."""

import csv

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from vaebench.core import results
from vaebench.core.paths import runs_dir
from vaebench.datasets.digits import Digits
from vaebench.report import write
from vaebench.runs import per_image


@pytest.fixture(scope="module")
def real():
    """The test digits, (360, 28, 28) uint8."""
    return Digits().load("test").images[:, 0].numpy()


METRICS = "blur,kl,mse,psnr,ssim"


@pytest.fixture(scope="module")
def given(real):
    """Float32 images near the test digits, in [0, 1]."""
    noise = np.random.default_rng(0).normal(0, 0.03, real.shape)
    return np.clip(real / 255 * 0.9 + noise, 0, 1).astype(np.float32)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Figures have tests of their own."""
    monkeypatch.setattr(write, "draw_all", lambda measured, folder: {})


@pytest.fixture
def evaluate(cli, tmp_path):
    """Measure an array (or a path) and give back the answer."""

    def call(images, *options, name="other"):
        path = images
        if isinstance(images, np.ndarray):
            path = tmp_path / f"{name}.npz"
            np.savez(path, images=images)
        chosen = () if "--metrics" in options else ("--metrics", METRICS)
        return cli(["evaluate", "--images", path, "--name", name, "--out", tmp_path / "reports", *chosen, *options])

    return call


def opencv(images):
    return np.array([cv2.Laplacian(image, cv2.CV_32F).astype(np.float64).var() for image in images])


def values_of(name="other"):
    found = per_image.read(runs_dir() / "external" / name / "per_image.parquet")
    return {(series.metric, series.protocol): content for series, content in found.items()}


def rows_of(tmp_path, name, dataset="digits"):
    with (tmp_path / "reports" / dataset / name).open(newline="") as handle:
        return list(csv.DictReader(handle))


PAIRED = ("--reference", "digits", "--paired", "position")


def test_pairs_have_the_numbers_of_opencv_and_scipy(evaluate, tmp_path, real, given):
    answer = evaluate(given, *PAIRED)
    assert answer.code == 0, answer.err
    assert "external/other: 360 images measured against digits:test" in answer.out
    kept = values_of()
    assert kept["blur", "recon"].ids == tuple(Digits().load("test").ids)
    ours, originals = opencv(given), opencv(real.astype(np.float32) / 255)
    np.testing.assert_allclose(kept["blur", "recon"].values, ours, rtol=1e-5)
    np.testing.assert_allclose(kept["mse", "recon"].values, ((given - real / 255.0) ** 2).mean(axis=(1, 2)), rtol=1e-5)
    rows = rows_of(tmp_path, "comparisons.csv")
    assert {(row["a"], row["b"], row["seeds"]) for row in rows} == {("real", "external/other", "0")}
    (paired,) = [row for row in rows if (row["test"], row["stratum"], row["metric"]) == ("paired-t", "all", "blur")]
    exact = np.array(per_image.read(next(runs_dir().glob("real/*/per_image.parquet"))).popitem()[1].values)
    np.testing.assert_allclose(exact, originals, rtol=1e-5)
    expected = stats.ttest_rel(exact, kept["blur", "recon"].values)
    assert (float(paired["statistic"]), float(paired["df"])) == (pytest.approx(expected.statistic, rel=1e-9), 359)
    assert float(paired["p_value"]) == pytest.approx(expected.pvalue, rel=1e-5)
    assert float(paired["statistic"]) == pytest.approx(stats.ttest_rel(originals, ours).statistic, rel=1e-4)
    interval = expected.confidence_interval(0.95)
    assert (float(paired["ci_low"]), float(paired["ci_high"])) == pytest.approx((interval.low, interval.high), rel=1e-8)


def test_pairs_are_cut_into_strata(evaluate, tmp_path, given):
    evaluate(given, *PAIRED)
    labels = Digits().load("test").labels.numpy()
    ours = opencv(given)
    rows = rows_of(tmp_path, "leaderboard.csv")
    board = {(row["metric"], row["protocol"], row["stratum"]): row for row in rows if row["recipe"] == "external/other"}
    for stratum, cut in [("label=1", labels == 1), ("label!=1", labels != 1), ("all", labels >= 0)]:
        row = board["blur", "recon", stratum]
        assert float(row["value"]) == pytest.approx(ours[cut].mean(), rel=1e-5)
        low, high = stats.t.interval(0.95, cut.sum() - 1, ours[cut].mean(), stats.sem(ours[cut]))
        assert (float(row["ci_low"]), float(row["ci_high"])) == pytest.approx((low, high), rel=1e-5)
        assert (row["n"], row["seeds"]) == (str(cut.sum()), "0")
    lacking = board["kl", "posterior", "all"]
    assert (lacking["value"], lacking["note"]) == ("", "needs a posterior with a variance")


def test_the_command_is_part_of_the_provenance(evaluate, given, monkeypatch):
    import sys

    monkeypatch.setattr(sys, "argv", ["vaebench", "evaluate", "--images", "F"])
    evaluate(given, *PAIRED)
    found = results.read(runs_dir() / "external" / "other" / "results.jsonl")
    assert {(line.recipe, line.seed, line.provenance.command) for line in found} == {
        ("external/other", None, "vaebench evaluate --images F")
    }


@pytest.mark.parametrize("kind", ["samples", ""])
def test_samples_belong_to_no_image(evaluate, tmp_path, real, given, kind):
    options = ["--kind", kind] if kind else []
    assert evaluate(given[:200], "--reference", "digits", *options).code == 0
    kept = values_of()
    assert set(kept) == {("blur", "samples")}
    assert kept["blur", "samples"].ids[0] == "external/other/000000"
    row, ranks = rows_of(tmp_path, "comparisons.csv")
    assert ranks["test"] == "mann-whitney"
    expected = stats.ttest_ind(opencv(real.astype(np.float32) / 255), opencv(given[:200]), equal_var=False)
    assert (row["test"], row["a"], row["b"], row["n"]) == ("welch-t-images", "real", "external/other", "560")
    assert (float(row["statistic"]), float(row["df"])) == pytest.approx((expected.statistic, expected.df), rel=1e-4)
    (lacking,) = [row for row in rows_of(tmp_path, "leaderboard.csv") if row["metric"] == "mse"]
    assert lacking["note"] == "needs reconstructions"


def test_unpaired_reconstructions_have_no_strata_though_they_are_as_many(evaluate, tmp_path, given):
    assert evaluate(given[::-1], "--reference", "digits", "--kind", "reconstructions").code == 0
    rows = rows_of(tmp_path, "comparisons.csv")
    tests = {(row["test"], row["stratum"], row["protocol"]) for row in rows}
    assert tests == {(test, "all", "recon") for test in ("welch-t-images", "mann-whitney")}
    strata = {row["stratum"] for row in rows_of(tmp_path, "leaderboard.csv") if row["recipe"] == "external/other"}
    assert strata == {"all"}


def bytes_of(images):
    return (images * 255).round().astype(np.uint8)


@pytest.mark.parametrize(
    "laid_out",
    [
        pytest.param(lambda images: images[:, None], id="n,1,h,w"),
        pytest.param(lambda images: images[..., None], id="n,h,w,1"),
        pytest.param(lambda images: images / np.float32(255), id="float32"),
        pytest.param(lambda images: (images / 255.0)[..., None], id="float64"),
    ],
)
def test_layout_and_type_do_not_matter(evaluate, given, laid_out):
    images = bytes_of(given)
    assert evaluate(images, *PAIRED, "--metrics", "blur,mse", name="plain").code == 0
    assert evaluate(laid_out(images), *PAIRED, "--metrics", "blur,mse", name="other").code == 0
    plain, other = values_of("plain"), values_of("other")
    assert set(plain) == set(other) == {("blur", "recon"), ("mse", "recon")}
    for key, content in plain.items():
        np.testing.assert_allclose(other[key].values, content.values, rtol=1e-5)
    np.testing.assert_allclose(plain["blur", "recon"].values, opencv(images.astype(np.float32) / 255), rtol=1e-5)


def save_pngs(folder, images, names=None):
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{names[i] if names else f'{i:04d}'}.png")
    return folder


def test_a_folder_of_images_measures_as_its_array_does(evaluate, tmp_path, given):
    images = bytes_of(given)
    evaluate(images, *PAIRED, "--metrics", "blur,ssim", name="array")
    names = [name.removeprefix("digits/") for name in Digits().load("test").ids]
    pngs = save_pngs(tmp_path / "pngs", images, names)
    evaluate(pngs, "--reference", "digits", "--paired", "--metrics", "blur,ssim", name="folder")
    array, folder = values_of("array"), values_of("folder")
    for key, content in array.items():
        np.testing.assert_array_equal(folder[key].values, content.values)
        assert folder[key].ids == content.ids


def test_a_folder_as_reference(evaluate, tmp_path, real, given):
    reference = save_pngs(tmp_path / "originals", real[:30])
    answer = evaluate(given[:30], "--reference", reference, "--paired", "position")
    assert answer.code == 0, answer.err
    assert "measured against folder-originals:all" in answer.out
    assert values_of()["blur", "recon"].ids == tuple(f"{i:04d}.png" for i in range(30))
    rows = rows_of(tmp_path, "comparisons.csv", "folder-originals")
    (paired,) = [row for row in rows if (row["test"], row["metric"]) == ("paired-t", "blur")]
    expected = stats.ttest_rel(opencv(real[:30].astype(np.float32) / 255), opencv(given[:30]))
    assert float(paired["statistic"]) == pytest.approx(expected.statistic, rel=1e-4)
    assert {row["stratum"] for row in rows} == {"all"}


def test_a_split_can_be_named(evaluate, given):
    assert "measured against digits:train" in evaluate(given, "--reference", "digits:train").out
    assert "did you mean 'test'?" in evaluate(given, "--reference", "digits:tset").err


def test_two_sets_are_compared_with_each_other(evaluate, tmp_path, cli, given):
    worse = np.clip(given + np.random.default_rng(1).normal(0, 0.1, given.shape), 0, 1).astype(np.float32)
    evaluate(given, *PAIRED, "--metrics", "mse,psnr", name="good")
    evaluate(worse, *PAIRED, "--metrics", "mse,psnr", name="worse")
    rows = rows_of(tmp_path, "comparisons.csv")
    assert {row["stratum"] for row in rows} == {"all", "label!=1", *(f"label={k}" for k in range(10))}
    assert {(row["a"], row["b"], row["verdict"]) for row in rows} == {("external/good", "external/worse", "a")}
    board = {
        row["recipe"]: row
        for row in rows_of(tmp_path, "leaderboard.csv")
        if (row["metric"], row["stratum"]) == ("mse", "all")
    }
    assert [board[f"external/{name}"]["rank_low"] for name in ("good", "worse")] == ["1", "2"]
    answer = cli(["compare", "external/worse", "external/good"])
    assert answer.code == 0
    tests = [line.split() for line in answer.out.splitlines() if line.startswith(("mse", "psnr"))]
    assert [line[-1] for line in tests] == ["good", "good"], answer.out


def test_no_seeds_are_planned_for_what_has_none(evaluate, cli, given):
    """The command that compare ends with works, and images made elsewhere have no training to repeat."""
    for name, images in (("one", given[:12]), ("two", given[-12:])):
        assert evaluate(images, "--reference", "digits", "--kind", "samples", "--metrics", "blur", name=name).code == 0
    compared = cli(["compare", "external/one", "external/two"])
    assert (compared.code, " open" in compared.out, "vaebench plan" in compared.out) == (0, True, False)
    planned = cli(["plan", "external/one", "external/two", "--metric", "blur"])
    assert (planned.code, "have no seeds to plan: measure more images" in planned.err) == (2, True), planned.err


def test_runs_and_images_made_elsewhere_share_the_tables(evaluate, tmp_path, cli, given):
    assert (
        cli(["train", "vae-digits", "--steps", "2", "--precision", "fp32", "--threads", "1", "--device", "cpu"]).code
        == 0
    )
    asked = ["--metrics", "blur,mse,kl"]
    assert cli(["evaluate", "vae-digits", *asked, "--device", "cpu", "--out", tmp_path / "reports"]).code == 0
    assert evaluate(given, *PAIRED, *asked).code == 0
    board = {
        (row["metric"], row["protocol"], row["recipe"]): row
        for row in rows_of(tmp_path, "leaderboard.csv")
        if row["stratum"] == "all"
    }
    assert {name for metric, protocol, name in board if (metric, protocol) == ("blur", "recon")} == {
        "real",
        "vae-digits",
        "external/other",
    }
    ranks = {board["mse", "recon", name]["rank_low"] for name in ("external/other", "vae-digits")}
    assert ranks == {""}  # the recipe has one training seed
    assert board["kl", "posterior", "external/other"]["value"] == ""
    (row,) = [
        row
        for row in rows_of(tmp_path, "comparisons.csv")
        if (row["metric"], row["test"], row["stratum"]) == ("mse", "paired-t", "all")
    ]
    assert (row["a"], row["b"], row["verdict"]) == ("external/other", "vae-digits", "a")
    assert row["note"] == "one training seed: the verdict is about this checkpoint, not its recipe"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--reference", "digits", "--paired", "position"], "359 images cannot be paired with the 360 of digits:test"),
        (["--reference", "digit"], "did you mean 'digits'?"),
        ([], "--images needs --reference"),
        (["--reference", "digits", "--paired", "--kind", "samples"], "leave --kind samples away"),
        (["--reference", "digits", "--kind", "sample"], "did you mean 'samples'?"),
    ],
)
def test_bad_requests_leave_nothing_behind(evaluate, given, options, said):
    answer = evaluate(given[:-1], *options)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert said in answer.err
    assert not runs_dir().exists()


@pytest.mark.parametrize("name", ["", "../up", "a b", "-x", "a/b"])
def test_names_that_are_no_folder_names_are_refused(evaluate, tmp_path, given, name):
    np.savez(tmp_path / "images.npz", images=given)
    answer = evaluate(tmp_path / "images.npz", "--reference", "digits", name=name)
    assert (answer.code, "names no run" in answer.err) == (2, True)


def test_images_of_another_size_are_refused_with_what_mends_it(evaluate):
    wide = np.zeros((360, 27, 28), np.uint8)
    answer = evaluate(wide, *PAIRED)
    assert (answer.code, "images are 28 x 27, those of digits are 28 x 28: add --size 28" in answer.err) == (2, True)
    assert evaluate(wide, *PAIRED, "--size", "28").code == 0


def test_colours_are_refused_where_the_reference_is_grey_and_equal_channels_are_not(evaluate, given):
    coloured = bytes_of(given)[..., None].repeat(3, 3)
    assert evaluate(coloured, *PAIRED, name="three").code == 0
    assert evaluate(bytes_of(given), *PAIRED, name="one").code == 0
    three, one = values_of("three"), values_of("one")
    assert all(np.array_equal(three[key].values, one[key].values) for key in one)
    coloured[3, 4, 5, 0] ^= 1
    answer = evaluate(coloured, *PAIRED, name="coloured")
    assert (answer.code, "images have colours" in answer.err) == (2, True)
