"""Classes shown on the way between two images: against loops over sets, and on paths that are known beforehand."""

import pytest
import torch
from torch import nn

from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.metric import Need
from vaebench.core.model import Autoencoder
from vaebench.core.perceptual import Perceptual
from vaebench.evaluation import evaluator, feature_extraction, model_source
from vaebench.evaluation.feature_extraction import Way
from vaebench.evaluation.features import Networks
from vaebench.evaluation.split_context import SplitContext
from vaebench.metrics import interpolation as module
from vaebench.metrics.interpolation import different_pairs, interpolation_surprises, pair_ids, surprising_classes
from vaebench.runs.trained_model import TrainedModel

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


def measured(model, data, reader=Reader, **options):
    networks = Networks()
    networks.provide("reader", lambda: Perceptual("reader", {"logits": reader()}, channels=1, sha256="of the reader"))
    context = SplitContext(data, None, networks).context()
    (metric,) = interpolation_surprises(judge="reader", **options)
    source = model_source.of_model(
        TrainedModel(model.eval(), data.image_shape), data, samples=0, seed=0, context=context
    )
    ((_, score),) = evaluator.measure([metric], source, networks)
    return score, metric


# the function


def by_loop(shown, ends):
    counts = []
    for path, pair in zip(shown.tolist(), ends.tolist(), strict=True):
        counts.append(len(set(path[1:-1]) - set(pair)))
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
        ([7, 7, 5, 5], (1, 5), 1),  # what is drawn for another digit surprises, too
        ([7, 7, 1, 5, 9], (1, 5), 1),
        ([7, 2, 1, 5, 9], (1, 5), 1),
        ([5, 1, 5, 1], (1, 5), 0),
        ([8, 1], (1, 5), 0),  # no inner frame
        ([4, 2, 4], (3, 9), 1),
        ([8, 8, 8, 8], (1, 5), 1),  # a model that draws one digit only surprises on every path
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
    labels = torch.randint(4, (900,), generator=torch.Generator().manual_seed(0))
    pairs = different_pairs(labels, 200)
    assert pairs.shape == (200, 2) and pairs.dtype == torch.int64
    assert (labels[pairs[:, 0]] != labels[pairs[:, 1]]).all()
    assert len(set(pairs.flatten().tolist())) == 400  # no image is in two pairs
    assert torch.equal(pairs, different_pairs(labels, 200))
    assert torch.equal(pairs[:30], different_pairs(labels, 30))  # fewer are the first of more


def test_there_are_as_many_pairs_as_are_found():
    """Of two images drawn of three equal classes two thirds differ; every ordered pair of classes is as likely."""
    labels = torch.arange(9_000) % 3
    pairs = different_pairs(labels, 9_000)
    assert len(pairs) == pytest.approx(3_000, abs=4.5 * (4_500 * 2 / 9) ** 0.5)
    assert torch.equal(pairs, different_pairs(labels, len(pairs)))
    shares = torch.bincount(labels[pairs[:, 0]] * 3 + labels[pairs[:, 1]], minlength=9).view(3, 3).double()
    assert (shares.diagonal() == 0).all()
    assert (shares[~torch.eye(3).bool()] - 500).abs().max() < 4.5 * 500**0.5


def test_labels_that_do_not_differ_have_no_pairs():
    alone = torch.zeros(400).long()
    alone[123] = 7  # makes one pair, and one is too few
    for labels in (torch.zeros(20).long(), torch.zeros(0).long(), torch.tensor([1]), torch.tensor([1, 2]), alone):
        with pytest.raises(UserError, match="too few images have different labels"):
            different_pairs(labels, 5)


def test_pairs_are_named_after_their_images():
    pairs = torch.tensor([[0, 2], [2, 0], [1, 0]])
    assert pair_ids(["a", "b", "c"], pairs) == ["a to c", "c to a", "b to a"]


# the metric


@pytest.mark.parametrize("model", [Straight, Folded, Snapping])
def test_a_known_path_has_a_known_number(model):
    """Classes 1 and 3 have class 2 between them on a straight way; on a folded one class 0 as well, and 1-2 has it."""
    expected = {
        Straight: {(1, 2): 0, (1, 3): 1, (2, 3): 0},
        Folded: {(1, 2): 1, (1, 3): 2, (2, 3): 0},
        Snapping: {(1, 2): 1, (1, 3): 0, (2, 3): 0},
    }[model]
    data = data_of(600)
    score, metric = measured(model(), data, pairs=300)
    labels = data.labels[different_pairs(data.labels, 300)].sort(dim=1).values
    counts = [expected[tuple(pair)] for pair in labels.tolist()]
    n = len(counts)
    assert n > 150 and score.per_image.tolist() == counts
    assert score.value == pytest.approx(sum(counts) / n, abs=1e-12)
    spread = torch.tensor(counts).double().std().item()
    assert (score.n, score.std_error) == (n, pytest.approx(spread / n**0.5))
    assert metric.extractor_sha256 == "of the reader"


def test_two_models_are_compared_pair_by_pair():
    data = data_of(300)
    (one, first), (other, second) = (measured(model(), data, pairs=80) for model in (Straight, Folded))
    assert one.ids == other.ids and len(set(one.ids)) == 80
    assert one.ids == tuple(pair_ids(data.ids, different_pairs(data.labels, 80)))
    assert first.spec.protocol == second.spec.protocol == "reader/11-frames/pairs=80"
    assert one.value < other.value
    assert not one.influence


@pytest.mark.parametrize(("part", "batch", "small"), [(1, 500, 16), (7, 3, 5), (1_000, 11, 1)])
def test_the_value_does_not_depend_on_batches(monkeypatch, part, batch, small):
    whole, _ = measured(Folded(), data_of(200), pairs=60)
    monkeypatch.setattr(module, "_BATCH", part)
    monkeypatch.setattr("vaebench.evaluation.source.BATCH", batch)
    monkeypatch.setattr(feature_extraction, "ON_CPU", Way(small))
    score, _ = measured(Folded(), data_of(200), pairs=60)
    assert whole.n == 60 and score == whole and torch.equal(score.per_image, whole.per_image)


def test_more_frames_see_more():
    values = [measured(Folded(), data_of(500), pairs=200, frames=frames)[0].value for frames in (3, 5, 21, 41)]
    assert values == sorted(values) and values[0] < values[-1]


def test_what_it_declares():
    (metric,) = interpolation_surprises(judge="mnist_cnn", pairs=20, frames=5)
    assert metric.spec.protocol == "mnist_cnn/5-frames/pairs=20"
    assert (metric.spec.direction, str(metric.spec.space)) == ("lower", "mnist_cnn-logits")
    assert metric.spec.needs == Need.CODE | Need.ATTRIBUTES  # no batch carries it: images go through the model once
    assert not metric.spec.of_real and not metric.spec.of_baselines


@pytest.mark.parametrize("options", [{}, {"judge": "judge-1", "attributes": True}, {"judge": "", "attributes": True}])
def test_faces_and_images_that_no_classifier_knows_are_refused(options):
    (metric,) = interpolation_surprises(**options)
    score = metric.score(None)
    assert score.value is None and "labelled classes" in score.note
    assert metric.spec.name == "interpolation_surprises"


def test_what_cannot_be_measured_says_why():
    alike, _ = measured(Straight(), data_of(labels=torch.full((60,), 2)), pairs=10)
    assert alike.value is None and "too few images have different labels" in alike.note
    data = data_of()
    bare = ImageDataset(name="bare", split="test", images=data.images, ids=data.ids)
    assert measured(Straight(), bare, pairs=10)[0].note == "needs labels or attributes"
    for options in ({"pairs": 1}, {"frames": 2}):
        with pytest.raises(UserError, match="2 pairs and 3 frames"):
            interpolation_surprises(judge="reader", **options)


class Misreading(Reader):
    """Takes class 3 for class 2."""

    def forward(self, images):
        logits = super().forward(images)
        return torch.cat([logits[:, :3], logits[:, 3:] - 1], dim=1)


@pytest.mark.parametrize(("n", "reader", "share"), [(60, Reader, "100.0"), (60, Misreading, "66.7"), (1, Reader, "")])
def test_the_note_says_how_well_the_classifier_reads_real_images(n, reader, share):
    score, _ = measured(Straight(), data_of(n), reader=reader)
    if share:
        assert score.note == f"the classifier reads {share} % of the images right"
    else:
        assert score.value is None and "classifier" not in score.note


class Broken(Straight):
    """Its latents are not finite."""

    def posterior(self, x):
        mean, spread = super().posterior(x)
        return mean / 0, spread


def test_a_broken_model_has_no_value():
    score, _ = measured(Broken(), data_of(), pairs=10)
    assert score.value is None and "NaN" in score.note


def test_pinned():
    assert measured(Folded(), data_of(245), pairs=100)[0].value == pytest.approx(PINNED, abs=1e-9)


PINNED = 65 / 68
