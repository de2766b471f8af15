"""One pass for all metrics: what is computed, how often, and what becomes of what cannot be."""

import math
import re
import sys
from pathlib import Path

import pytest
import torch

from vaebench.core.context import Context
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch, Metric, MetricSpec, Need, PerImage, Score
from vaebench.core.model import Autoencoder, GenerativeModel
from vaebench.core.training_facts import TrainingFacts
from vaebench.evaluation import evaluator, image_sources, model_source
from vaebench.evaluation.protocol import Protocol
from vaebench.evaluation.source import EvaluationSource
from vaebench.metrics import reconstruction, sharpness
from vaebench.runs.trained_model import TrainedModel

N, SAMPLES = 40, 30
FACTS = TrainingFacts(parameters=7, images_per_second=100.0, seconds=2.0, steps=3)
NAMES = ("active_units", "blur", "elbo", "kl", "mse", "nll", "parameters", "psnr", "ssim", "throughput")


class Decoder(GenerativeModel):
    """No weights, and elementwise only, so that its images do not depend on how they are batched."""

    latent_dim = 3

    def __init__(self):
        super().__init__()
        self.decoded, self.encoded = [], []

    def phases(self):
        return []

    def decode(self, z):
        self.decoded.append(len(z))
        return (0.5 + 0.3 * z).clamp(0, 1).repeat(1, 48).view(-1, 1, 12, 12)


class Coder(Autoencoder):
    """The same with a posterior read off the first pixels."""

    latent_dim = 3

    def __init__(self):
        super().__init__()
        self.decoded, self.encoded = [], []

    def phases(self):
        return []

    decode = Decoder.decode

    def posterior(self, x):
        self.encoded.append(len(x))
        pixels = x.flatten(1)[:, :3]
        return 2 * pixels - 1, pixels - 1


def dataset(labelled=True):
    images = torch.randint(0, 256, (N, 1, 12, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return ImageDataset(
        name="noise",
        split="test",
        images=images,
        ids=[f"noise/{i}" for i in range(N)],
        labels=torch.arange(N) % 3 if labelled else None,
    )


def source_of(model, *, data=None, seed=0):
    return model_source.of_model(
        TrainedModel(model, (data or dataset()).image_shape),
        data or dataset(),
        samples=SAMPLES,
        seed=seed,
        context=Context(training=FACTS),
    )


def scores_of(model, metrics=None, **options):
    metrics = Protocol(metrics=NAMES).build() if metrics is None else metrics
    measured = evaluator.measure(metrics, source_of(model, **options))
    return {(metric.spec.name, metric.spec.protocol): score for metric, score in measured}


def per_image(function, needs, name="probe"):
    return PerImage(function, spec_of(name, needs))


def spec_of(name, needs, protocol=""):
    return MetricSpec(name=name, needs=needs, unit="", direction="lower", protocol=protocol or name)


class Witness(Metric):
    """Remembers which fields were filled, and with how many rows."""

    def __init__(self, needs):
        self.spec = spec_of("witness", needs)
        self.rows = {"real": 0, "sample": 0, "reconstruction": 0, "draw": 0, "mean": 0, "labels": 0}

    def update(self, batch):
        for name in self.rows:
            self.rows[name] += 0 if getattr(batch, name) is None else len(getattr(batch, name))

    def merge(self, other):
        raise AssertionError("not asked for here")

    def score(self, context):
        return Score(value=0.0, n=1)


def test_every_model_call_serves_all_metrics(monkeypatch):
    monkeypatch.setattr("vaebench.evaluation.source.BATCH", 16)
    model = Coder()
    scores = scores_of(model)
    assert all(score.value is not None for score in scores.values())
    assert model.encoded == [16, 16, 8]
    assert sum(model.decoded) == N + N + SAMPLES  # reconstructions, draws, samples


@pytest.mark.parametrize(
    ("needs", "encoded", "decoded"),
    [
        (Need.REAL, 0, 0),
        (Need.TRAINING, 0, 0),
        (Need.LATENT, N, 0),
        (Need.RECONSTRUCTION, N, N),
        (Need.DRAW, N, N),
        (Need.DRAW | Need.LATENT | Need.REAL, N, N),
        (Need.RECONSTRUCTION | Need.DRAW, N, 2 * N),
        (Need.SAMPLE, 0, SAMPLES),
        (Need.SAMPLE | Need.REAL, 0, SAMPLES),
    ],
)
def test_nothing_is_computed_that_no_metric_needs(needs, encoded, decoded):
    model = Coder()
    scores_of(model, [Witness(needs)])
    assert (sum(model.encoded), sum(model.decoded)) == (encoded, decoded)


def test_a_decoder_alone_has_samples_and_reasons():
    scores = scores_of(Decoder())
    known = {key for key, score in scores.items() if score.value is not None}
    assert known == {("blur", "samples"), ("parameters", "trained"), ("throughput", "training")}
    assert scores["blur", "samples"].n == SAMPLES
    assert scores["blur", "recon"] == Score(value=None, n=0, note="needs reconstructions")
    assert scores["kl", "posterior"].note == "needs a posterior with a variance"
    assert scores["nll", "bernoulli/1-draw"].note == "needs draws from a posterior"
    assert scores["elbo", "bernoulli/1-draw"].note == "needs draws from a posterior and a posterior with a variance"


def test_attributes_of_a_dataset_without_any_are_missing():
    scores = scores_of(Coder(), [Witness(Need.ATTRIBUTES | Need.REAL)], data=dataset(labelled=False))
    assert scores["witness", "witness"].note == "needs labels or attributes"


@pytest.mark.parametrize("size", [1, 7, 500])
def test_scores_do_not_depend_on_batch_size(monkeypatch, size):
    expected = scores_of(Coder())
    monkeypatch.setattr("vaebench.evaluation.source.BATCH", size)
    found = scores_of(Coder())
    assert found.keys() == expected.keys()
    for key, score in found.items():
        assert score.value == pytest.approx(expected[key].value, rel=1e-12), key
        assert score.n == expected[key].n
        if score.per_image is not None:
            torch.testing.assert_close(score.per_image, expected[key].per_image, rtol=1e-12, atol=0)


def test_noise_is_a_function_of_the_seed():
    first, again, other = (scores_of(Coder(), seed=seed) for seed in (0, 0, 1))
    for key in [("nll", "bernoulli/1-draw"), ("blur", "samples")]:
        assert first[key].value == again[key].value != other[key].value
    assert first["mse", "recon"].value == other["mse", "recon"].value  # no noise in it


def test_evaluation_leaves_the_global_rng_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    scores_of(Coder())
    assert torch.equal(torch.rand(4), expected)


def test_reconstructions_are_decoded_posterior_means():
    data, model = dataset(), Coder()
    real = to_float(data.images)
    expected = (real - model.decode(model.posterior(real)[0])).double().square().flatten(1).mean(1)
    torch.testing.assert_close(scores_of(Coder())["mse", "recon"].per_image, expected, rtol=1e-6, atol=0)


def test_a_draw_has_the_mean_and_the_spread_of_the_posterior():
    means, variances = Coder().posterior(to_float(dataset().images))
    seen = []
    scores_of(Coder(), [per_image(lambda batch: seen.append(batch.draw) or batch.mean[:, 0], Need.DRAW | Need.LATENT)])
    draws = (torch.cat(seen).flatten(1)[:, :3] - 0.5) / 0.3  # undo decode, where it did not clamp
    inside = draws.abs() < 1.6
    z = ((draws - means) / torch.exp(0.5 * variances))[inside]
    assert inside.float().mean() > 0.8
    assert z.abs().max() > 1
    assert 0.6 < z.std() < 1.2
    assert z.unique().numel() == z.numel()  # no draw is used twice


def test_bound_is_minus_likelihood_and_divergence_image_by_image():
    scores = scores_of(Coder())
    nll, elbo = (scores[name, "bernoulli/1-draw"].per_image for name in ("nll", "elbo"))
    assert torch.equal(elbo, -(nll + scores["kl", "posterior"].per_image))


def test_a_refusing_metric_is_left_out_and_the_others_go_on():
    def refuse(batch):
        raise UserError("too small for me")

    asked = [per_image(refuse, Need.REAL, "small"), *Protocol(metrics=("mse",)).build()]
    scores = scores_of(Coder(), asked)
    assert scores["small", "small"] == Score(value=None, n=0, note="too small for me")
    assert scores["mse", "recon"].n == N


def test_a_metric_may_refuse_on_a_later_batch(monkeypatch):
    monkeypatch.setattr("vaebench.evaluation.source.BATCH", 15)
    sizes = []

    def refuse_last(batch):
        sizes.append(len(batch.real))
        if len(batch.real) < 15:
            raise UserError("a batch too short")
        return batch.real.flatten(1).mean(1)

    assert scores_of(Coder(), [per_image(refuse_last, Need.REAL)])["probe", "probe"].value is None
    assert sizes == [15, 15, 10]


def test_a_metric_may_refuse_when_it_is_asked_for_its_score():
    class Late(Witness):
        def score(self, context):
            raise UserError("needs 2048 images")

    scores = scores_of(Coder(), [Late(Need.REAL), *Protocol(metrics=("kl",)).build()])
    assert scores["witness", "witness"] == Score(value=None, n=0, note="needs 2048 images")
    assert scores["kl", "posterior"].value is not None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_no_result(bad):
    def spoilt(batch):
        values = batch.real.flatten(1).mean(1)
        values[0] = bad
        return values

    score = scores_of(Coder(), [per_image(spoilt, Need.REAL)])["probe", "probe"]
    assert score.value is None
    assert score.per_image is None
    assert "not finite" in score.note


def test_errors_that_are_no_refusals_are_not_swallowed():
    def broken(batch):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        scores_of(Coder(), [per_image(broken, Need.REAL)])


@pytest.mark.parametrize(
    ("needs", "rows"),
    [
        (Need.REAL, {"real": N}),
        (Need.SAMPLE, {"sample": SAMPLES, "real": 0}),
        (Need.REAL | Need.SAMPLE, {"real": N, "sample": SAMPLES}),
        (Need.LATENT | Need.SAMPLE, {"mean": N, "sample": SAMPLES}),
        (Need.REAL | Need.ATTRIBUTES, {"labels": N, "sample": 0}),
        (Need.REAL | Need.TRAINING, {"real": N, "sample": 0}),
        (Need.RECONSTRUCTION | Need.DRAW, {"reconstruction": N, "draw": N, "sample": 0}),
    ],
)
def test_a_metric_is_fed_the_batches_it_needs(monkeypatch, needs, rows):
    monkeypatch.setattr("vaebench.evaluation.source.BATCH", 16)
    witness, everything = Witness(needs), Witness(Need.REAL | Need.SAMPLE | Need.DRAW)
    evaluator.measure([witness, everything], source_of(Coder()))
    assert {name: witness.rows[name] for name in rows} == rows


def test_images_made_elsewhere_as_pairs():
    data = dataset()
    images = to_float(data.images).flip(0)
    measured = evaluator.measure(
        Protocol(metrics=NAMES).build(),
        image_sources.of_images(images, data, kind=Need.RECONSTRUCTION, partners=torch.arange(len(images))),
    )
    scores = {(metric.spec.name, metric.spec.protocol): score for metric, score in measured}
    known = {name for (name, _), score in scores.items() if score.value is not None}
    assert known == {"blur", "mse", "psnr", "ssim"}
    assert scores["parameters", "trained"].note == "needs a training record"
    expected = (images - to_float(data.images)).double().square().flatten(1).mean(1)
    torch.testing.assert_close(scores["mse", "recon"].per_image, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("kind", "protocol"), [(Need.RECONSTRUCTION, "recon"), (Need.SAMPLE, "samples")], ids=["recon", "samples"]
)
def test_images_made_elsewhere_without_pairs(kind, protocol):
    measured = evaluator.measure(
        Protocol(metrics=NAMES).build(), image_sources.of_images(dataset().images, dataset(), kind=kind, partners=None)
    )
    assert [(m.spec.name, m.spec.protocol) for m, score in measured if score.value is not None] == [("blur", protocol)]
    notes = {metric.spec.name: score.note for metric, score in measured}
    assert "reconstructions" in notes["mse"] or "real images" in notes["mse"]


def test_samples_made_elsewhere_are_measured_against_the_real_images_as_a_whole():
    """A metric of two sets, as FID is, sees every real image and every sample, in batches of their own."""
    seen = {"real": 0, "sample": 0}

    class Both(Metric):
        spec = spec_of("both", Need.REAL | Need.SAMPLE, "samples")

        def update(self, batch):
            for field in seen:
                seen[field] += 0 if getattr(batch, field) is None else len(getattr(batch, field))

        def merge(self, other):
            raise NotImplementedError

        def score(self, context):
            return Score(value=1.0, n=sum(seen.values()))

    images = dataset().images
    evaluator.measure([Both()], image_sources.of_images(images[:3], dataset(), kind=Need.SAMPLE, partners=None))
    assert seen == {"real": len(images), "sample": 3}


def test_bytes_and_floats_measure_the_same():
    data = dataset()
    scores = [
        evaluator.measure(
            Protocol(metrics=("blur",)).build()[:1], image_sources.of_images(images, data, kind=kind, partners=None)
        )[0][1]
        for images in (data.images, to_float(data.images))
        for kind in [Need.RECONSTRUCTION]
    ]
    assert torch.equal(scores[0].per_image, scores[1].per_image)


def test_real_images_stand_in_for_both_kinds():
    measured = evaluator.measure(Protocol(metrics=("blur",)).build(), image_sources.of_real(dataset()))
    (_, recon), (_, samples) = measured
    assert torch.equal(recon.per_image, samples.per_image)
    assert recon.n == N


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what memory a process holds")
@pytest.mark.usefixtures("global_rng_untouched")
def test_memory_does_not_grow_with_the_number_of_batches():
    """Little of a batch is kept, between much that is freed."""
    held = []

    def batches(needs, group):
        generator = torch.Generator().manual_seed(0)
        for _ in range(320):
            status = Path("/proc/self/status").read_text()
            held.append(int(re.search(r"RssAnon:\s+(\d+)", status)[1]) / 1024)
            images = torch.rand(64, 3, 64, 64, generator=generator)
            yield EvalBatch(real=images, reconstruction=images.flip(0))

    metrics = [*reconstruction.mse(), *sharpness.blur()]
    ((_, score), *_) = evaluator.measure(
        metrics, EvaluationSource(provides=Need.REAL | Need.RECONSTRUCTION, batches=batches)
    )
    assert score.n == 320 * 64
    assert max(held[160:]) < max(held[:160]) + 200  # MiB; 1,000 more where nothing is given back
