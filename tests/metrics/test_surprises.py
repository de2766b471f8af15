"""Classes shown on the way between two images: against loops over sets, and on paths that are known beforehand."""

import itertools

import pytest
import torch
from torch import nn

from vaebench import evaluation, features, subjects
from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.metric import Need
from vaebench.core.model import Autoencoder
from vaebench.core.perceptual import Perceptual
from vaebench.features import Networks
from vaebench.metrics import surprises as module
from vaebench.metrics.surprises import different_pairs, interpolation_surprises, pair_ids, surprising_classes
from vaebench.surroundings import Surroundings

SHADES = torch.tensor([0, 50, 125, 200])  # of classes 0 to 3; no image is of class 0


def data_of(n=60, labels=None):
    """Plain images of classes 1, 2 and 3 in turn, each a shade."""
    labels = 1 + torch.arange(n) % 3 if labels is None else labels
    return ImageDataset(
        name="shades",
        split="test",
        images=SHADES[labels].to(torch.uint8)[:, None, None, None].repeat(1, 1, 4, 4),
        ids=[f"test/{row:03d}" for row in range(n)],
        labels=labels,
    )


class Reader(nn.Module):
    """Classifier of the nearest shade."""

    def forward(self, images):
        return -(images.mean((1, 2, 3))[:, None] - SHADES / 255).square()


class Straight(Autoencoder):
    """Its latent is the shade: between classes 1 and 3 it shows class 2."""

    latent_dim = 1

    def phases(self):
        return ()

    def posterior(self, x):
        mean = x.mean((1, 2, 3))[:, None]
        return mean, torch.zeros_like(mean)

    def decode(self, z):
        return z[:, :1, None, None].expand(-1, 1, 4, 4).clamp(0, 1)


class Folded(Straight):
    """Class 1 lies beyond zero: on the way from it all is shown that is darker, and lighter."""

    def posterior(self, x):
        mean, spread = super().posterior(x)
        return torch.where(mean < 0.3, -mean, mean), spread

    def decode(self, z):
        return super().decode(z.abs())


class Snapping(Straight):
    """Shows but classes 1 and 3, and takes class 2 for class 3."""

    def decode(self, z):
        return super().decode(torch.where(z < 0.4, 50 / 255, 200 / 255))


def measured(model, data, **options):
    networks = Networks()
    networks.provide("reader", lambda: Perceptual("reader", {"logits": Reader()}, channels=1, sha256="of the reader"))
    context = subjects.context_of(model.eval(), Surroundings(data, None, networks).context(), "cpu")
    (metric,) = interpolation_surprises(judge="reader", **options)
    given = {"needs": Need.LATENT, "samples": 0, "seed": 0, "device": "cpu", "context": context}
    ((_, score),) = evaluation.measure([metric], subjects.of_model(model, data, **given), networks)
    return score, metric


# the function


def by_loop(shown, ends):
    counts = []
    for path, pair in zip(shown.tolist(), ends.tolist(), strict=True):
        counts.append(len(set(path[1:-1]) - set(pair) - {path[0], path[-1]}))
    return counts


@pytest.mark.parametrize("frames", [2, 3, 11])
@pytest.mark.parametrize("classes", [1, 3, 10])
def test_counts_are_those_of_a_loop_over_sets(frames, classes):
    draw = torch.Generator().manual_seed(frames)
    shown = torch.randint(classes, (200, frames), generator=draw)
    ends = torch.randint(classes + 1, (200, 2), generator=draw)  # a label that is never shown
    found = surprising_classes(shown, ends)
    assert found.dtype == torch.int64
    assert found.tolist() == by_loop(shown, ends)


@pytest.mark.parametrize(
    ("path", "pair", "count"),
    [
        ([1, 1, 5, 5], (1, 5), 0),
        ([1, 8, 8, 5], (1, 5), 1),  # a class counts once, however many frames show it
        ([1, 8, 1, 8, 5], (1, 5), 1),
        ([1, 8, 3, 0, 5], (1, 5), 3),
        ([7, 7, 5, 5], (1, 5), 0),  # the reconstruction is misread: the path is not to blame
        ([7, 7, 1, 5, 9], (1, 5), 0),
        ([7, 2, 1, 5, 9], (1, 5), 1),
        ([5, 1, 5, 1], (1, 5), 0),
        ([8, 1], (1, 5), 0),  # no inner frame
        ([4, 2, 4], (3, 9), 1),
    ],
)
def test_counts_by_hand(path, pair, count):
    assert surprising_classes(torch.tensor([path]), torch.tensor([pair])).tolist() == [count]


def test_counts_survive_a_turn_and_new_names():
    draw = torch.Generator().manual_seed(1)
    shown, ends = torch.randint(10, (300, 9), generator=draw), torch.randint(10, (300, 2), generator=draw)
    names = torch.randperm(10, generator=draw)
    found = surprising_classes(shown, ends)
    assert torch.equal(found, surprising_classes(shown.flip(1), ends.flip(1)))
    assert torch.equal(found, surprising_classes(names[shown], names[ends]))
    assert (found >= 0).all() and (found <= 7).all() and found.max() > 2


# pairs


def test_pairs_are_of_different_labels_and_always_the_same(global_rng_untouched):
    labels = torch.randint(4, (90,), generator=torch.Generator().manual_seed(0))
    pairs = different_pairs(labels, 3_000)
    assert pairs.shape == (3_000, 2) and pairs.dtype == torch.int64
    assert (labels[pairs[:, 0]] != labels[pairs[:, 1]]).all()
    assert torch.equal(pairs, different_pairs(labels, 3_000))
    allowed = sum(labels[a] != labels[b] for a, b in itertools.permutations(range(90), 2)).item()
    shares = torch.zeros(4, 4, dtype=torch.float64).index_put_((*labels[pairs].T,), torch.tensor(1.0).double(), True)
    numbers = torch.bincount(labels).double()
    expected = 3_000 * numbers[:, None] * numbers / allowed
    expected.fill_diagonal_(0)
    assert ((shares - expected).abs() < 4.5 * expected.sqrt() + 1e-9).all()  # every ordered pair is as likely


def test_one_label_has_no_pairs():
    for labels in (torch.zeros(20).long(), torch.zeros(0).long()):
        with pytest.raises(UserError, match="one label"):
            different_pairs(labels, 5)


def test_a_rare_label_is_found():
    labels = torch.zeros(400).long()
    labels[123] = 7
    pairs = different_pairs(labels, 20)
    assert (pairs == 123).any(dim=1).all()


def test_pairs_have_names_of_their_own():
    pairs = torch.tensor([[0, 2], [2, 0], [0, 2]])
    found = pair_ids(["a", "b", "c"], pairs)
    assert found == ["a to c (0)", "c to a (1)", "a to c (2)"]


# the metric


@pytest.mark.parametrize("model", [Straight, Folded, Snapping])
def test_a_known_path_has_a_known_number(model):
    """Classes 1 and 3 have class 2 between them on a straight way; on a folded one class 0 as well, and 1-2 has it."""
    expected = {
        Straight: {(1, 2): 0, (1, 3): 1, (2, 3): 0},
        Folded: {(1, 2): 1, (1, 3): 2, (2, 3): 0},
        Snapping: {(1, 2): 0, (1, 3): 0, (2, 3): 0},
    }[model]
    data = data_of()
    score, metric = measured(model(), data, pairs=300)
    labels = data.labels[different_pairs(data.labels, 300)].sort(dim=1).values
    counts = [expected[tuple(pair)] for pair in labels.tolist()]
    assert score.per_image.tolist() == counts
    assert score.value == pytest.approx(sum(counts) / 300, abs=1e-12)
    spread = torch.tensor(counts).double().std().item()
    assert (score.n, score.std_error) == (300, pytest.approx(spread / 300**0.5))
    assert metric.extractor_sha256 == "of the reader"


def test_two_models_are_compared_pair_by_pair():
    data = data_of()
    (one, first), (other, second) = (measured(model(), data, pairs=80) for model in (Straight, Folded))
    assert one.ids == other.ids and len(set(one.ids)) == 80
    assert one.ids == tuple(pair_ids(data.ids, different_pairs(data.labels, 80)))
    assert first.protocol == second.protocol == "reader/11-frames/pairs=80"
    assert one.value < other.value
    assert not one.influence


@pytest.mark.parametrize(("part", "batch", "small"), [(1, 500, 16), (7, 3, 5), (1_000, 11, 1)])
def test_the_value_does_not_depend_on_batches(monkeypatch, part, batch, small):
    whole, _ = measured(Folded(), data_of(), pairs=60)
    monkeypatch.setattr(module, "_BATCH", part)
    monkeypatch.setattr(subjects, "BATCH", batch)
    monkeypatch.setattr(features, "BATCH", small)
    score, _ = measured(Folded(), data_of(), pairs=60)
    assert score == whole and torch.equal(score.per_image, whole.per_image)


def test_more_frames_see_more():
    values = [measured(Folded(), data_of(), pairs=200, frames=frames)[0].value for frames in (3, 5, 21, 41)]
    assert values == sorted(values) and values[0] < values[-1]


def test_what_it_declares():
    (metric,) = interpolation_surprises(judge="mnist_cnn", pairs=20, frames=5)
    assert metric.protocol == "mnist_cnn/5-frames/pairs=20"
    assert (metric.direction, str(metric.space)) == ("lower", "mnist_cnn-logits")
    assert not metric.of_real and not metric.of_baselines


@pytest.mark.parametrize("options", [{}, {"judge": "judge-1", "attributes": True}, {"judge": "", "attributes": True}])
def test_faces_and_images_that_no_classifier_knows_are_refused(options):
    (metric,) = interpolation_surprises(**options)
    score = metric.score(None)
    assert score.value is None and "labelled classes" in score.note
    assert metric.name == "interpolation_surprises"


def test_what_cannot_be_measured_says_why():
    alike, _ = measured(Straight(), data_of(labels=torch.full((60,), 2)), pairs=10)
    assert alike.value is None and "one label" in alike.note
    data = data_of()
    bare = ImageDataset(name="bare", split="test", images=data.images, ids=data.ids)
    assert measured(Straight(), bare, pairs=10)[0].note == "needs labels or attributes"
    for options in ({"pairs": 1}, {"frames": 2}):
        with pytest.raises(UserError, match="2 pairs and 3 frames"):
            interpolation_surprises(judge="reader", **options)


class Broken(Straight):
    """Its latents are not finite."""

    def posterior(self, x):
        mean, spread = super().posterior(x)
        return mean / 0, spread


def test_a_broken_model_has_no_value():
    score, _ = measured(Broken(), data_of(), pairs=10)
    assert score.value is None and "NaN" in score.note


def test_pinned():
    assert measured(Folded(), data_of(45), pairs=100)[0].value == pytest.approx(PINNED, abs=1e-9)


PINNED = 0.97
