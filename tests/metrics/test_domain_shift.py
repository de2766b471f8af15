"""Attributes read off displaced faces: against scikit-learn and plain counting, and what is refused."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from vaebench.core.dataset import DatasetSource, ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.metric import Need
from vaebench.core.model import Autoencoder
from vaebench.evaluation import evaluator, image_sources, model_source
from vaebench.evaluation.features import Networks
from vaebench.evaluation.split_context import SplitContext
from vaebench.metrics import domain_shift as module
from vaebench.metrics.domain_shift import shift_accuracy, shift_flagged
from vaebench.metrics.functional.face_displacement import CONDITIONS, UNTOUCHED, Faces, displaced
from vaebench.metrics.probes.cost_selection import COSTS
from vaebench.runs.trained_model import TrainedModel

SIDE, LATENTS = 16, 6
SIZES = {"train": 500, "valid": 150, "test": 90}
NAMES = ("Light", "Striped", "Red", "Never")
FACETS = {
    "shift_accuracy": ("plain", "realigned"),
    "shift_flagged": ("plain", "realigned"),
}


def made(split, channels=3):
    """Images light or dark, striped, red or blue, with noise: moved by a quarter, light stripes are dark ones."""
    n = SIZES[split]
    draw = np.random.default_rng(sorted(SIZES).index(split))
    light, striped, red = draw.normal(size=(3, n))
    stripe = np.cos(4 * np.pi * (np.arange(SIDE) + 0.5) / SIDE)
    hue = np.array([1, 0, -1])[:, None, None] if channels == 3 else np.zeros((1, 1, 1))
    images = 128 + (22 * light)[:, None, None, None] + (25 * striped)[:, None, None, None] * stripe[:, None]
    images = images + (25 * red)[:, None, None, None] * hue + draw.normal(0, 25, (n, channels, SIDE, SIDE))
    truth = np.stack([light, striped, red], axis=1) + draw.normal(0, 0.4, (n, 3)) > np.array([0.3, 0, -0.6])
    never = np.zeros((n, 1), bool) if split == "train" else draw.random((n, 1)) < 0.5
    return ImageDataset(
        name="shades",
        split=split,
        images=torch.from_numpy(images.clip(0, 255).astype(np.uint8)),
        ids=[f"{split}/{row:03d}" for row in range(n)],
        attributes=torch.from_numpy(np.concatenate([truth, never], axis=1)),
        attribute_names=NAMES,
    )


class Shades(DatasetSource):
    name, splits = "shades", ("train", "valid", "test")

    def load(self, split):
        return made(split)

    def fetch(self, source):
        return ""


class WithoutValidation(Shades):
    splits = ("train", "test")


class TestOnly(Shades):
    __test__ = False
    splits = ("test",)


class Grey(Shades):
    def load(self, split):
        return made(split, channels=1)


class Bare(Shades):
    def load(self, split):
        return replace(made(split), attributes=None, attribute_names=())


class Linear(Autoencoder):
    """Reads images by fixed random weights, and draws back what these span."""

    latent_dim = LATENTS

    def __init__(self, channels=3):
        super().__init__()
        wave = torch.cos(4 * torch.pi * (torch.arange(SIDE) + 0.5) / SIDE)
        hues = torch.tensor([[1.0, 1, 1], [1, 0, -1]])[:, :channels]
        flat = torch.ones(SIDE, SIDE)
        shapes = torch.stack([flat, wave * flat, wave[:, None] * flat])
        kept = torch.einsum("hc,kyx->hkcyx", hues, shapes).flatten(2).flatten(0, 1)
        self.register_buffer("weights", kept / kept.norm(dim=1, keepdim=True))
        self.shape = (channels, SIDE, SIDE)

    def phases(self):
        return ()

    def posterior(self, x):
        mean = (x - 0.5).flatten(1) @ self.weights.T
        return mean, torch.zeros_like(mean)

    def decode(self, z):
        return ((z @ self.weights) + 0.5).view(-1, *self.shape).clamp(0, 1)


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """No eyes are looked for: faces come back half-way displaced, a share that depends on the condition is found."""
    seen = []

    def stubbed(data, training, rows):
        seen.append((data.split, training.split, rows.tolist()))
        return faces_of(data, rows)

    monkeypatch.setattr(module, "faces_out_of_place", stubbed)
    return seen


def faces_of(data, rows):
    found = {}
    for place, (name, by) in enumerate(CONDITIONS.items()):
        half = replace(by, shift=by.shift / 2, scale=by.scale**0.5, turn=by.turn / 2)
        found[name] = Faces(
            displaced=displaced(data.images[rows], by),
            realigned=displaced(data.images[rows], half),
            found=torch.arange(len(rows)) % 8 >= place,
        )
    return found


def measured(source=None, model=None, faces=40, factories=(shift_accuracy, shift_flagged)):
    """Scores by name and way, and the metrics likewise."""
    split = SplitContext.of_split(source or Shades(), "test", Networks())
    model = (model or Linear()).eval()
    metrics = [metric for factory in factories for metric in factory(attributes=True, faces=faces)]
    source = model_source.of_model(
        TrainedModel(model, split.data.image_shape), split.data, samples=0, seed=0, context=split.context()
    )
    found = evaluator.measure(metrics, source, Networks())
    return {(metric.spec.name, metric.spec.protocol.partition("/")[0]): score for metric, score in found}


@pytest.fixture(scope="module")
def both():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "faces_out_of_place", lambda data, training, rows: faces_of(data, rows))
        return measured()


def latents_of(images):
    return Linear().posterior(to_float(images))[0]


def rows_of(score, data):
    return torch.tensor([data.ids.index(name) for name in score.ids])


def machines(training, choosing):
    """An SVM for each attribute that training has both classes of, by scikit-learn: a scaler and (column, SVM)."""
    scaler = StandardScaler().fit(latents_of(training.images).double())
    known, unknown = (scaler.transform(latents_of(part.images).double()) for part in (training, choosing))
    chosen = []
    for column in range(len(NAMES) - 1):
        best = (-1.0, None)
        for cost in COSTS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                svm = LinearSVC(C=cost, dual=False, tol=1e-8, max_iter=100_000)
                svm.fit(known, training.attributes[:, column])
            right = (svm.predict(unknown) == choosing.attributes[:, column].numpy()).mean()
            if right > best[0]:
                best = (right, svm)
        chosen.append((column, best[1]))
    return scaler, chosen


@pytest.mark.parametrize("way", ["plain", "realigned"])
def test_accuracy_is_what_scikit_learn_gives(both, way):
    data, score = made("test"), both["shift_accuracy", way]
    rows = rows_of(score, data)
    scaler, known = machines(made("train"), made("valid"))
    shares = {}
    for name, faces in faces_of(data, rows).items():
        latents = latents_of(faces.displaced if way == "plain" else faces.realigned).double()
        right = [svm.predict(scaler.transform(latents)) == data.attributes[rows, k].numpy() for k, svm in known]
        shares[name] = np.mean(right, axis=0)
    assert set(score.parts) == {f"condition={name}" for name in (*CONDITIONS, "majority class")}
    usual = made("train").attributes.numpy()
    learnt = usual.any(axis=0) & ~usual.all(axis=0)
    guessed = (data.attributes[rows].numpy() == (usual.mean(axis=0) > 0.5))[:, learnt].mean(axis=1)
    assert score.parts["condition=majority class"].per_image.tolist() == pytest.approx(guessed.tolist())
    for name, share in shares.items():
        part = score.parts[f"condition={name}"]
        assert part.per_image.tolist() == pytest.approx(share.tolist())
        assert part.value == pytest.approx(share.mean())
        assert part.ids == score.ids and part.n == 40
    every = np.mean([share for name, share in shares.items() if name != UNTOUCHED], axis=0)
    assert score.per_image.tolist() == pytest.approx(every.tolist())
    assert score.value == pytest.approx(every.mean())
    assert score.std_error == pytest.approx(every.std(ddof=1) / 40**0.5)


def test_a_tenth_of_training_chooses_where_there_is_no_validation():
    data, training = made("test"), made("train")
    score = measured(WithoutValidation())["shift_accuracy", "plain"]
    context = SplitContext.of_split(WithoutValidation(), "test", Networks()).context()
    context = replace(context, latents=lambda split, view: latents_of(made(split).images))
    first, second, _ = module.official(context)
    assert (len(first), len(second)) == (450, 50)
    latents = {tuple(row): place for place, row in enumerate(latents_of(training.images).tolist())}
    places = [torch.tensor([latents[tuple(row)] for row in part.features.tolist()]) for part in (first, second)]
    parts = [
        replace(
            training,
            images=training.images[rows],
            attributes=training.attributes[rows],
            ids=[training.ids[row] for row in rows.tolist()],
        )
        for rows in places
    ]
    scaler, known = machines(*parts)
    rows = rows_of(score, data)
    right = [
        svm.predict(scaler.transform(latents_of(data.images[rows]).double())) == data.attributes[rows, k].numpy()
        for k, svm in known
    ]
    found = score.parts[f"condition={UNTOUCHED}"].per_image
    assert found.tolist() == pytest.approx(np.mean(right, axis=0).tolist())


@pytest.mark.parametrize("way", ["plain", "realigned"])
def test_flagged_are_those_that_counting_flags(both, way):
    """Of 90 known images, those whose error lies above 99 % of theirs or whose norm lies outside their middle 99 %."""
    data, score, model = made("test"), both["shift_flagged", way], Linear()
    rows = rows_of(score, data)

    def told(images):
        latents = latents_of(images)
        errors = (to_float(images).double() - model.decode(latents).double()).square().flatten(1).mean(1)
        return errors.numpy(), latents.double().norm(dim=1).numpy()

    errors, norms = told(data.images)
    limits = np.quantile(errors, 0.99), *np.quantile(norms, [0.005, 0.995])
    expected = {}
    for name, faces in faces_of(data, rows).items():
        theirs, lengths = told(faces.displaced if way == "plain" else faces.realigned)
        expected[name] = (theirs > limits[0]) | (lengths < limits[1]) | (lengths > limits[2])
    for name, flags in expected.items():
        assert score.parts[f"condition={name}"].per_image.tolist() == flags.tolist()
    every = np.mean([flags for name, flags in expected.items() if name != UNTOUCHED], axis=0)
    assert score.per_image.tolist() == pytest.approx(every.tolist())
    assert score.value == pytest.approx(every.mean())
    assert 0 < score.value < 1


def test_images_are_chosen_once_for_all_and_named(both, asked):
    data = made("test")
    (ids,) = {score.ids for score in both.values()}
    assert len(ids) == len(set(ids)) == 40 and set(ids) < set(data.ids)
    assert list(ids) == sorted(ids)
    other = measured(model=Half())
    assert {score.ids for score in other.values()} == {ids}  # of every model
    assert asked == [("test", "train", [data.ids.index(name) for name in ids])]  # one study, four values
    everything = measured(faces=1_000)
    assert {score.ids for score in everything.values()} == {tuple(data.ids)}


class Half(Linear):
    """Sees half the differences."""

    def decode(self, z):
        return super().decode(z / 2)


def test_the_note_says_in_how_many_faces_eyes_were_found(both):
    """Of 40 faces seven conditions find 35, 30, and so on to 5: half; the untouched ones do not count."""
    for name in FACETS:
        assert both[name, "realigned"].note == "eyes found in 50 % of the displaced faces"
        assert both[name, "plain"].note == ""
        assert all(part.note == "" for part in both[name, "realigned"].parts.values())


def test_what_is_put_back_is_read_better(both):
    """Half-way back, here; and what is not displaced has nothing to lose."""
    parts = both["shift_accuracy", "plain"].parts
    assert parts["condition=shift 1/4"].value < parts[f"condition={UNTOUCHED}"].value - 0.04
    assert both["shift_accuracy", "realigned"].value > both["shift_accuracy", "plain"].value
    untouched = f"condition={UNTOUCHED}"
    for name in FACETS:
        plain, back = (both[name, way] for way in ("plain", "realigned"))
        assert torch.equal(plain.parts[untouched].per_image, back.parts[untouched].per_image)


def test_what_training_has_one_class_of_is_left_out(both):
    """An attribute that no training image has is no question: a model would be right about those who lack it."""
    for score in both.values():
        thirds = 3 * torch.cat([part.per_image for part in score.parts.values()])
        torch.testing.assert_close(thirds, thirds.round())

    class Constant(Shades):
        def load(self, split):
            data = made(split)
            return replace(data, attributes=data.attributes[:, 3:], attribute_names=NAMES[3:])

    score = measured(Constant())["shift_accuracy", "plain"]
    assert score.value is None and score.note


@pytest.mark.parametrize("source", [Grey, Bare, TestOnly])
def test_images_that_cannot_be_asked_about_are_refused(source, asked):
    for score in measured(source(), Linear(1 if source is Grey else 3), factories=(shift_accuracy,)).values():
        assert score.value is None
        reason = "needs labels or attributes" if source is Bare else "needs colour images of faces with attributes"
        assert reason in score.note
    assert not asked


def test_data_without_attributes_have_one_row_that_says_why():
    for factory, name in ((shift_accuracy, "shift_accuracy"), (shift_flagged, "shift_flagged")):
        (refused,) = factory()
        assert (refused.spec.name, refused.spec.protocol) == (name, "faces=200")
        assert refused.score(None).note == "needs faces with attributes"
    assert factory(faces=30)[0].spec.protocol == "faces=30"


def test_a_subject_without_an_encoder_is_refused():
    data = made("test")
    found = evaluator.measure(shift_accuracy(attributes=True), image_sources.of_real(data))
    assert [(score.value, score.note) for _, score in found] == [(None, "needs an encoder")] * 2


def test_what_it_declares():
    for factory, unit, margin in ((shift_accuracy, "share", "0.01"), (shift_flagged, "share", "0.02")):
        metrics = factory(attributes=True, faces=60)
        assert [metric.spec.protocol for metric in metrics] == ["plain/faces=60", "realigned/faces=60"]
        for metric in metrics:
            alarm = factory is shift_flagged and metric.spec.protocol.startswith("realigned")  # a false one
            assert (metric.spec.unit, metric.spec.direction, metric.spec.margin) == (
                unit,
                "lower" if alarm else "higher",
                margin,
            )
            assert metric.spec.needs == Need.CODE | Need.ATTRIBUTES and metric.spec.space is None
            assert not metric.spec.of_real and not metric.spec.of_baselines
    assert [metric.spec.protocol for metric in shift_accuracy(attributes=True)] == [
        "plain/faces=200",
        "realigned/faces=200",
    ]


@pytest.mark.parametrize("faces", [-1, 0, 1])
def test_fewer_than_two_faces_are_refused(faces):
    for factory in (shift_accuracy, shift_flagged):
        with pytest.raises(UserError, match=f"2 images or more, not {faces}"):
            factory(attributes=True, faces=faces)


class Lost(Linear):
    """Knows upright images as they are, and of all others nothing."""

    def __init__(self):
        super().__init__()
        self.known = {image.numpy().tobytes() for split in SIZES for image in to_float(made(split).images)}

    def posterior(self, x):
        mean, spread = super().posterior(x)
        lost = torch.tensor([image.numpy().tobytes() not in self.known for image in x])
        return torch.where(lost[:, None], torch.nan, mean), spread


def test_what_is_not_finite_is_flagged_and_has_no_accuracy():
    scores = measured(model=Lost())
    flagged = scores["shift_flagged", "plain"]
    assert flagged.parts["condition=turn 30"].value == 1
    assert flagged.parts[f"condition={UNTOUCHED}"].value < 0.5
    assert scores["shift_accuracy", "plain"].value is None


def test_pinned(both):
    assert [score.value for score in both.values()] == pytest.approx(PINNED, abs=1e-6)


PINNED = [71 / 84, 181 / 210, 53 / 140, 0.225]
