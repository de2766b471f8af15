"""The metrics of two sets through an evaluation: values, what is extracted and kept, and what becomes of bad input."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Facet, Need
from vaebench.core.paths import cache_dir
from vaebench.core.perceptual import Perceptual
from vaebench.evaluation import evaluator, feature_extraction, image_sources
from vaebench.evaluation.feature_extraction import Way
from vaebench.evaluation.features import Networks
from vaebench.evaluation.source import EvaluationSource
from vaebench.evaluation.split_context import SplitContext
from vaebench.metrics.fidelity import coverage, density, fcd, fid, inception_space, kid, precision, recall
from vaebench.metrics.frechet import Moments, frechet_distance
from vaebench.metrics.functional import neighbours
from vaebench.metrics.kernel import kernel_distance
from vaebench.metrics.reconstruction import mse
from vaebench.perceptual import inception as inception_module

REAL, MADE = 60, 50


class Stage(nn.Module):
    """A fixed linear map of the pixels, or of the stage before; remembers how many images it saw."""

    def __init__(self, inputs, outputs, seed):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.register_buffer("weight", torch.randn(inputs, outputs, generator=draw) / inputs**0.5)
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        return images.flatten(1) @ self.weight


def tiny(channels=3, sha256="tiny", layers=("64", "192"), remedy=""):
    """A network that calls itself Inception, of 8 x 8 images: 5 features a layer."""
    sizes = [(channels * 64, 5), (5, 5)]
    stages = {layer: Stage(*size, seed) for seed, (layer, size) in enumerate(zip(layers, sizes, strict=False))}
    return Perceptual("inception", stages, channels=channels, sha256=sha256, remedy=remedy)


@pytest.fixture
def network(monkeypatch):
    """The tiny network in Inception's place."""
    made = tiny()
    monkeypatch.setattr(inception_module, "inception", lambda: made)
    return made


def seen(network):
    return next(iter(network.stages.values())).seen


def dataset(n=REAL, channels=3, side=8, seed=0, name="made-up"):
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, channels, side, side), generator=draw, dtype=torch.uint8)
    return ImageDataset(name, "test", images, [f"{name}/{row}" for row in range(n)])


def made_images(n=MADE, channels=3, side=8, seed=1):
    """float32, somewhat darker than the real ones and between 8-bit values."""
    return 0.9 * torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def all_metrics(**options):
    return [
        *fid(inception=64, **options),
        *kid(inception=64, subsets=5, size=30),
        *(metric for build in (precision, recall, density, coverage) for metric in build(inception=64)),
    ]


def subject_of(data, networks, *, samples, reconstructions, batch=17):
    """Both kinds of images in one pass, as a model gives them."""

    def batches(needs, group):
        for rows in torch.arange(len(reconstructions)).split(batch):
            yield EvalBatch(real=to_float(data.images[rows]), reconstruction=reconstructions[rows])
        for part in samples.split(batch):
            yield EvalBatch(sample=part)

    provides = Need.REAL | Need.RECONSTRUCTION | Need.SAMPLE
    return EvaluationSource(provides=provides, batches=batches, context=SplitContext(data, None, networks).context())


def scores_of(metrics, data=None, *, samples=None, reconstructions=None, networks=None, batch=17):
    data, networks = data or dataset(), networks or Networks()
    channels, side = data.image_shape[0], data.image_shape[1]
    samples = made_images(channels=channels, side=side) if samples is None else samples
    reconstructions = made_images(len(data), channels, side, seed=2) if reconstructions is None else reconstructions
    subject = subject_of(data, networks, samples=samples, reconstructions=reconstructions, batch=batch)
    measured = evaluator.measure(metrics, subject, networks)
    return {(metric.spec.name, metric.spec.protocol.rpartition("/")[2]): score for metric, score in measured}


def features_of(network, images):
    """By hand: rounded to 8 bits, through the first stage."""
    with torch.no_grad():
        return next(iter(network.stages.values()))((images * 255).round() / 255)


def test_values_of_samples_and_reconstructions_are_those_of_their_features(network):
    data, scores = dataset(), scores_of(all_metrics())
    real = features_of(network, to_float(data.images))
    for kind, images in (("samples", made_images()), ("recon", made_images(REAL, seed=2))):
        found, expected = (
            {name: score for (name, of), score in scores.items() if of == kind},
            features_of(network, images),
        )
        a, b = Moments.of(expected), Moments.of(real)
        distance = frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
        assert found["fd"].value == pytest.approx(distance, rel=1e-5)
        assert found["kid"].value == pytest.approx(kernel_distance(expected, real, 5, 30), rel=1e-4)
        shares, dense = neighbours.precision_recall(real, expected, 3), neighbours.density_coverage(real, expected, 5)
        assert (found["precision"].value, found["recall"].value) == (shares.precision, shares.recall)
        assert (found["density"].value, found["coverage"].value) == (dense.density, dense.coverage)
        assert {score.n for score in found.values()} == {len(images)}
        assert all(f"n={len(images)}/{kind}" in score.protocol for score in found.values())
        assert found["precision"].protocol == f"inception64/tf-resize/k=3/n={len(images)}/{kind}"


def test_of_a_network_that_ships_with_vaebench(network):
    data = dataset(40, 1, 28)
    scores = scores_of(fcd(classifier="mnist_cnn/dense"), data)
    (space,) = {metric.spec.space for metric in fcd(classifier="mnist_cnn/dense")}
    parts = [
        Networks().extract(images, [space])[space] for images in (made_images(40, 1, 28, 2), to_float(data.images))
    ]
    first, second = (Moments.of(part) for part in parts)
    expected = frechet_distance(first.mean, first.covariance, second.mean, second.covariance)
    assert scores["fcd", "recon"].value == pytest.approx(expected, rel=1e-6)
    assert scores["fcd", "recon"].protocol == "mnist_cnn-dense/n=40/recon"
    assert scores["fcd", "samples"].value > 0
    assert seen(network) == 0


@pytest.mark.parametrize("batch", [1, 13, 500])
def test_values_do_not_depend_on_batch_size(network, batch):
    expected, found = scores_of(all_metrics()), scores_of(all_metrics(), batch=batch)
    for key, score in found.items():
        assert score.value == pytest.approx(expected[key].value, rel=1e-5), key


def test_extraction_in_smaller_parts_changes_nothing(network, monkeypatch):
    expected = scores_of(all_metrics())
    monkeypatch.setattr(feature_extraction, "ON_CPU", Way(7))
    for key, score in scores_of(all_metrics()).items():
        assert score.value == pytest.approx(expected[key].value, rel=1e-5), key


def test_facets_of_one_study_share_it(network, monkeypatch):
    calls = []
    for name in ("precision_recall", "density_coverage"):
        original = getattr(neighbours, name)
        monkeypatch.setattr(
            neighbours, name, lambda *a, name=name, original=original, **b: calls.append(name) or original(*a, **b)
        )
    asked = all_metrics()
    scores_of(asked)
    assert sorted(calls) == ["density_coverage"] * 2 + ["precision_recall"] * 2  # samples and reconstructions
    studies = {id(metric.measurement) for metric in asked if isinstance(metric, Facet)}
    assert len(studies) == 4
    scores_of([*precision(inception=64, k=3), *recall(inception=64, k=4)])
    assert len(calls) == 8  # other neighbours, another study


def test_images_go_through_the_network_once_for_all_metrics(network):
    scores_of([*all_metrics(), *fid(inception=192)])
    assert seen(network) == MADE + REAL + REAL + REAL  # samples, reconstructions; the real ones once a layer


def test_real_images_are_extracted_once_for_all_runs(network):
    networks, data = Networks(), dataset()
    split = SplitContext(data, None, networks)
    for run in range(3):
        subject = image_sources.of_images(
            made_images(seed=run), data, kind=Need.SAMPLE, partners=None, context=split.context()
        )
        evaluator.measure([metric for metric in all_metrics() if metric.spec.needs == Need.SAMPLE], subject, networks)
    assert seen(network) == 3 * MADE + REAL


def test_what_is_kept_on_disk_serves_another_process(network):
    first = scores_of(all_metrics())
    extracted = seen(network)
    again = scores_of(all_metrics(), networks=Networks())
    assert seen(network) - extracted == MADE + REAL  # samples and reconstructions, no real image
    assert {key: score.value for key, score in again.items()} == {key: score.value for key, score in first.items()}
    (folder,) = (cache_dir() / "features").iterdir()
    assert {path.name for path in folder.iterdir()} >= {"features.npy", "moments.safetensors", "radii-3.safetensors"}
    other = replace(dataset(), name="another name")
    scores_of(all_metrics(), other)
    assert seen(network) - extracted == 2 * (MADE + REAL)  # found by content


def cut(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize("damage", [cut, lambda content: b"", lambda content: b"no features" * 99])
@pytest.mark.parametrize("name", ["features.npy", "moments.safetensors", "radii-5.safetensors"])
def test_a_damaged_file_is_made_again(network, name, damage):
    expected = scores_of(all_metrics())
    (path,) = (cache_dir() / "features").glob(f"*/{name}")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    found = scores_of(all_metrics(), networks=Networks())
    assert {key: score.value for key, score in found.items()} == {key: score.value for key, score in expected.items()}
    assert path.read_bytes() == whole


def test_other_weights_and_other_images_are_kept_apart(network, monkeypatch):
    before = scores_of(all_metrics())
    other = tiny(sha256="other")
    next(iter(other.stages.values())).weight *= 2
    monkeypatch.setattr(inception_module, "inception", lambda: other)
    after = scores_of(all_metrics())
    assert seen(other) == MADE + 2 * REAL
    assert after["fd", "samples"].value == pytest.approx(4 * before["fd", "samples"].value, rel=1e-4)
    assert len(list((cache_dir() / "features").iterdir())) == 2
    scores_of(all_metrics(), dataset(seed=9))
    assert len(list((cache_dir() / "features").iterdir())) == 3


def test_metrics_carry_the_hash_of_the_weights(network):
    metrics = [*fid(inception=64), *precision(inception=64), *mse()]
    scores_of(metrics)
    assert [metric.extractor_sha256 for metric in metrics] == ["tiny"] * 4 + [""]


def test_real_images_measured_against_themselves_are_perfect_and_cost_nothing_more(network):
    data, networks = dataset(), Networks()
    subject = image_sources.of_real(data, SplitContext(data, None, networks).context())
    found = {metric.spec.name: score.value for metric, score in evaluator.measure(all_metrics(), subject, networks)}
    assert seen(network) == REAL
    assert 0 <= found["fd"] < 1e-3 and found["kid"] <= 0
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1) and found["density"] > 1


def test_grey_images_are_shown_to_a_colour_network_as_equal_channels(network):
    grey = dataset(channels=1)
    colour = ImageDataset("grey", "test", grey.images.expand(-1, 3, -1, -1).contiguous(), grey.ids)
    images = {"samples": made_images(channels=1), "reconstructions": made_images(REAL, 1, seed=2)}
    expanded = {name: value.expand(-1, 3, -1, -1) for name, value in images.items()}
    found, expected = scores_of(all_metrics(), grey, **images), scores_of(all_metrics(), colour, **expanded)
    assert {key: score.value for key, score in found.items()} == {key: score.value for key, score in expected.items()}


def refused(scores, words, names=("fd", "kid", "precision", "recall", "density", "coverage"), kind="samples"):
    """Those metrics of one kind have no value and say why in one line; all others have a value."""
    for (name, of), score in scores.items():
        if name in names and of == kind:
            assert score.value is None and words in score.note and "\n" not in score.note, (name, score)
        else:
            assert score.value is not None and not score.note, (name, of, score)


@pytest.mark.parametrize(
    ("n", "words", "names"),
    [
        (1, "there are 1", ("fd", "kid", "precision", "recall", "density", "coverage")),
        (3, "needs 4 images or more, there are 3", ("precision", "recall")),
        (5, "needs 6 images or more, there are 5", ("density", "coverage")),
    ],
)
def test_too_few_images_are_refused_by_those_that_need_more(network, n, words, names):
    metrics = [*all_metrics(), *mse()]
    if n == 3:
        metrics = [metric for metric in metrics if metric.spec.name not in ("density", "coverage")]
    refused(scores_of(metrics, samples=made_images(n)), words, names)


def test_too_few_real_images_are_refused(network):
    data = dataset(3)
    scores = scores_of([*precision(inception=64), *mse()], data, samples=made_images(), reconstructions=made_images(3))
    assert scores["precision", "samples"].note == "needs 4 real images or more, there are 3"
    assert scores["mse", "recon"].value is not None


def test_the_extrapolation_is_an_option_and_refuses_alone(network):
    scores = evaluator.measure(
        [*fid(inception=64, infinity=True)],
        subject_of(dataset(), networks := Networks(), samples=made_images(120), reconstructions=made_images(REAL)),
        networks,
    )
    notes = [(metric.spec.protocol, score.value is None, score.note) for metric, score in scores]
    assert [without for _, without, _ in notes] == [False, False, True, True]
    assert notes[2][2] == "needs 100 real images or more, there are 60"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_images_that_are_not_finite_have_no_value(network, bad):
    samples = made_images()
    samples[-1, 0, 0, 0] = bad  # in the last batch: the ones before were taken in
    refused(scores_of([*all_metrics(), *mse()], samples=samples), "NaN or infinite")


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_constant_images_have_values(network, level):
    scores = scores_of(all_metrics(), samples=torch.full((MADE, 3, 8, 8), level))
    assert all(score.value is not None and score.value >= 0 for score in scores.values())
    assert scores["recall", "samples"].value == 0


def test_a_collapsed_generator_is_precise_and_recalls_little(network):
    real = to_float(dataset().images)
    noise = torch.randn(MADE, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    collapsed = (real[:1] + 0.01 * noise).clamp(0, 1)
    scores = scores_of(all_metrics(), samples=collapsed, reconstructions=real)
    assert scores["precision", "samples"].value == 1
    assert scores["recall", "samples"].value < 0.05
    assert scores["coverage", "samples"].value < 0.5
    assert (scores["precision", "recon"].value, scores["recall", "recon"].value) == (1, 1)
    assert scores["fd", "recon"].value < 1e-3 < scores["fd", "samples"].value


def test_colour_images_cannot_be_shown_to_a_grey_network(network, monkeypatch):
    monkeypatch.setattr(inception_module, "inception", lambda: tiny(channels=1))
    for kind in ("samples", "recon"):
        scores = {key: score for key, score in scores_of([*all_metrics(), *mse()]).items() if key[1] == kind}
        refused(
            scores,
            "sees grey images only, these have 3 channels",
            kind=kind,
            names={name for name, _ in scores} - {"mse"},
        )


def test_missing_weights_are_said_and_the_rest_is_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    scores = scores_of([*all_metrics(), *fcd(classifier="mnist_cnn/dense"), *mse()], dataset(40, 1, 28))
    for (name, _), score in scores.items():
        if name in ("fcd", "mse"):
            assert score.value is not None
        else:
            assert score.value is None and "vaebench fetch inception" in score.note


def test_a_layer_that_the_weights_do_not_reach_is_said(monkeypatch):
    short = tiny(layers=("64",), remedy="get the whole network")
    monkeypatch.setattr(inception_module, "inception", lambda: short)
    measured = [*fid(inception=2048), *kid(inception=64, subsets=5, size=30)]
    scores = scores_of(measured)
    for kind in ("samples", "recon"):
        assert scores["fid", kind].value is None
        assert scores["fid", kind].note == "inception has no layer '2048': choose from 64, or get the whole network"
        assert scores["kid", kind].value is not None
    assert measured[0].extractor_sha256 == ""


def test_a_classifier_that_nobody_named_and_options_that_mean_nothing():
    assert all("--set fcd.classifier=NETWORK/LAYER" in score.note for score in scores_of(fcd()).values())
    assert [metric.spec.name for metric in fcd()] == ["fcd", "fcd"]
    with pytest.raises(UserError, match="is no feature space"):
        fcd(classifier="mnist_cnn")
    with pytest.raises(UserError, match="no layer of 100 features"):
        inception_space(100)
    with pytest.raises(UserError, match="0 nearest neighbours"):
        precision(k=0)


def test_an_evaluation_leaves_the_global_rng_alone(network, global_rng_untouched):
    scores_of(all_metrics())
