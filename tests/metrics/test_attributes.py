"""Linear probes of latents: protocols that share no image, against scikit-learn's own SVMs, and what cannot be."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from vaebench.core.context import Context
from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import UserError
from vaebench.evaluation import evaluator
from vaebench.evaluation.image_sources import of_features
from vaebench.metrics import attributes
from vaebench.metrics.attributes import svm_accuracy, svm_balanced_accuracy, svm_lift
from vaebench.metrics.probes import cost_selection
from vaebench.metrics.probes.cost_selection import COSTS

SIZES = {"train": 600, "valid": 200, "test": 250}
NAMES = ("Often", "Rare", "Half")


def made(split, latent_dim=4, **changes):
    """Latents, and three attributes that noisy linear rules of them decide."""
    n = SIZES[split]
    draw = np.random.default_rng(sorted(SIZES).index(split))
    latents = draw.normal(2.0, 3.0, (n, latent_dim))
    rules = np.random.default_rng(9).normal(size=(latent_dim, 3))
    scores = (latents - 2.0) @ rules / 3 + draw.normal(0, 0.5, (n, 3))
    present = scores > np.array([-0.5, 2.0, 0.0])
    fields = {"attributes": torch.from_numpy(present), "attribute_names": NAMES, **changes}
    data = ImageDataset(
        name="made",
        split=split,
        images=torch.zeros(n, 1, 4, 4, dtype=torch.uint8),
        ids=[f"{split}/{i}" for i in range(n)],
        **fields,
    )
    return data, torch.from_numpy(latents).float()


def context_of(parts, splits=("train", "valid", "test"), views=None):
    def latents(split, view):
        return parts[split][1] if view == "whole" or views is None else views(parts[split][1], view)

    return Context(splits=splits, data=lambda split: parts[split][0], latents=latents)


def scores_of(parts, factory=svm_accuracy, context=None, **options):
    """Protocol -> score."""
    known = context or context_of(parts)
    subject = of_features(lambda split: parts[split][1], parts["test"][0], known)
    metrics = [metric for metric in factory(**options) if "views" not in metric.spec.protocol]
    return {metric.spec.protocol: score for metric, score in evaluator.measure(metrics, subject)}


@pytest.fixture(scope="module")
def parts():
    return {split: made(split) for split in SIZES}


def reference(parts):
    """The official protocol in scikit-learn: predictions (250, 3)."""
    (train, x), (valid, u), (test, v) = (parts[split] for split in ("train", "valid", "test"))
    scaler = StandardScaler().fit(x.double())
    predicted = []
    for column in range(3):
        best = (-1.0, None)
        for cost in COSTS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                machine = LinearSVC(C=cost, dual=False, tol=1e-8, max_iter=100_000)
                machine.fit(scaler.transform(x.double()), train.attributes[:, column])
            right = (machine.predict(scaler.transform(u.double())) == valid.attributes[:, column].numpy()).mean()
            if right > best[0]:
                best = (right, machine.predict(scaler.transform(v.double())))
        predicted.append(best[1])
    return np.stack(predicted, axis=1), test.attributes.numpy()


def test_official_is_what_scikit_learn_gives(parts):
    predicted, truth = reference(parts)
    correct = predicted == truth
    score = scores_of(parts)["official"]
    assert score.value == pytest.approx(correct.mean(), abs=0.002)
    for column, name in enumerate(NAMES):
        part = score.parts[f"attribute={name}"]
        assert part.value == pytest.approx(correct[:, column].mean(), abs=0.005)
        assert part.std_error == pytest.approx(np.sqrt(part.value * (1 - part.value) / 249), rel=1e-6)
    assert score.per_image.shape == (250,)
    assert score.per_image.mean().item() == pytest.approx(score.value)
    balanced = scores_of(parts, svm_balanced_accuracy)["official"]
    expected = [balanced_accuracy_score(truth[:, column], predicted[:, column]) for column in range(3)]
    assert balanced.value == pytest.approx(np.mean(expected), abs=0.02)


def test_lift_is_over_the_majority_class_of_the_training_images(parts):
    accuracy, lift = (scores_of(parts, factory)["official"] for factory in (svm_accuracy, svm_lift))
    common = parts["train"][0].attributes.float().mean(0) > 0.5
    always = (parts["test"][0].attributes == common).double().mean(0)
    for column, name in enumerate(NAMES):
        key = f"attribute={name}"
        assert accuracy.parts[key].value - lift.parts[key].value == pytest.approx(always[column].item())
    torch.testing.assert_close(lift.per_image.mean().item(), lift.value)
    torch.testing.assert_close(lift.per_image - lift.value, accuracy.per_image - accuracy.value, rtol=0, atol=0.7)


def test_features_that_say_nothing_score_the_majority_class():
    blank = {split: (data, torch.zeros(len(data), 1)) for split, (data, _) in ((s, made(s)) for s in SIZES)}
    assert scores_of(blank, svm_lift)["official"].value == pytest.approx(0.0, abs=1e-12)
    assert scores_of(blank, svm_balanced_accuracy)["official"].value == pytest.approx(0.5)


def test_facets_are_read_from_one_fit(parts, monkeypatch):
    fits = []
    real = cost_selection.fit

    def counted(features, targets, cost, **options):
        fits.append(cost)
        return real(features, targets, cost, **options)

    monkeypatch.setattr(cost_selection, "fit", counted)
    metrics = [factory()[0] for factory in (svm_accuracy, svm_balanced_accuracy, svm_lift)]
    subject = of_features(lambda split: parts[split][1], parts["test"][0], context_of(parts))
    assert all(score.value is not None for _, score in evaluator.measure(metrics, subject))
    assert fits == list(COSTS)


def test_eteke_tests_on_a_tenth_of_all_and_hou_needs_more_images(parts):
    scores = scores_of(parts)
    assert scores["eteke"].n == 105
    assert scores["eteke"].per_image is None  # its images are not the evaluated split's
    assert scores["eteke"].value == scores_of(parts)["eteke"].value
    assert scores["hou"].value is None
    assert "20,000 images" in scores["hou"].note and "1,050" in scores["hou"].note


def test_hou_holds_back_exactly_that_many(parts, monkeypatch):
    monkeypatch.setattr(attributes, "HOU_TEST", 300)
    assert scores_of(parts)["hou"].n == 300


def test_without_a_valid_split_a_part_of_train_chooses(parts):
    score = scores_of(parts, context=context_of(parts, splits=("train", "test")))["official"]
    assert score.value > 0.8


def test_views_are_laid_side_by_side(parts):
    asked = []

    def views(latents, view):
        asked.append(view)
        return latents * (2 if view == "mirrored" else 1)

    context = context_of(parts, views=views)
    (many,) = [metric for metric in svm_accuracy() if metric.spec.protocol == "official/views=6"]
    assert many.score(context).value > 0.8
    assert set(asked) == {"mirrored", "left", "right", "up", "down"}


def test_an_attribute_with_one_class_in_training_has_no_value(parts):
    data, latents = parts["train"]
    flat = data.attributes.clone()
    flat[:, 1] = False
    one = {**parts, "train": (made("train", attributes=flat)[0], latents)}
    score = scores_of(one)["official"]
    assert score.parts["attribute=Rare"].value is None
    assert "one class only in the training split" in score.parts["attribute=Rare"].note
    assert score.value == pytest.approx(np.mean([score.parts[f"attribute={n}"].value for n in ("Often", "Half")]))
    assert "without Rare" in score.note
    every = {**parts, "train": (made("train", attributes=torch.zeros_like(flat))[0], latents)}
    assert "one class only" in scores_of(every)["official"].note


def test_latents_of_one_dimension_and_latents_that_are_not_finite(parts):
    thin = {split: (data, latents[:, :1]) for split, (data, latents) in parts.items()}
    assert scores_of(thin)["official"].value > 0.5
    broken = {**parts, "valid": (parts["valid"][0], parts["valid"][1] / 0)}
    assert scores_of(broken)["official"].note == "latents of valid are not finite"


def test_no_training_split(parts):
    note = scores_of(parts, context=context_of(parts, splits=("test",)))["official"].note
    assert note == "there is no training split to fit on"


def test_classes_of_digits():
    parts = {}
    for number, split in enumerate(SIZES):
        draw = np.random.default_rng(number)
        labels = draw.choice(4, SIZES[split], p=[0.4, 0.3, 0.2, 0.1])
        centres = np.random.default_rng(5).normal(0, 3, (4, 5))
        latents = torch.from_numpy(centres[labels] + draw.normal(size=(len(labels), 5))).float()
        fields = {"attributes": None, "attribute_names": (), "labels": torch.from_numpy(labels)}
        parts[split] = (made(split, **fields)[0], latents)
    score = scores_of(parts, attributes=False)["official"]
    assert score.value > 0.9
    truth = parts["test"][0].labels
    weights = {int(k): (truth == k).double().mean().item() for k in truth.unique()}
    total = sum(score.parts[f"label={k}"].value * weight for k, weight in weights.items())
    assert total == pytest.approx(score.value)
    balanced = scores_of(parts, svm_balanced_accuracy, attributes=False)["official"]
    assert balanced.value == pytest.approx(np.mean([score.parts[f"label={k}"].value for k in weights]))
    lift = scores_of(parts, svm_lift, attributes=False)["official"]
    assert score.value - lift.value == pytest.approx((truth == 0).double().mean().item())
    assert set(scores_of(parts, attributes=False)) == {"official"}


def test_problems_that_do_not_fit_memory_together_are_solved_in_turn(parts, monkeypatch):
    whole = scores_of(parts)["official"]
    monkeypatch.setattr(cost_selection, "CURVATURES", 5**2 * 2)
    assert scores_of(parts)["official"] == whole


def test_pinned(parts):
    assert scores_of(parts)["official"].value == pytest.approx(PINNED, abs=1e-9)


def test_nothing_is_trained_on_what_it_is_tested_on(parts):
    """Labels that are noise cannot be learnt: an accuracy above chance would mean that images were shared."""
    generator = torch.Generator().manual_seed(0)
    noise = {}
    for split, (data, _) in parts.items():
        present = torch.rand(len(data), 3, generator=generator) < 0.5
        latents = torch.randn(len(data), 200, generator=generator)
        noise[split] = (made(split, attributes=present)[0], latents)
    for protocol in ("official", "eteke"):
        assert abs(scores_of(noise)[protocol].value - 0.5) < 0.1
    with pytest.raises(UserError):
        context_of(noise).reference(None, "train")


PINNED = 0.9266666666666666  # 695 of 750
