"""Judges: they learn what is easy, are trained once and found again, and name what they were trained for."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from vaebench.core.context import FeatureSpace
from vaebench.core.dataset import DatasetSource, ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of
from vaebench.core.paths import cache_dir
from vaebench.evaluation import judges
from vaebench.evaluation.features import Networks
from vaebench.evaluation.judges import judge_network, judge_of
from vaebench.evaluation.split_context import SplitContext
from vaebench.perceptual import attribute_cnn, toyfaces_cnn
from vaebench.perceptual.attribute_cnn import attribute_network

NAMES = ("Bright", "High", "Wide")
SIZES = {"train": 600, "test": 300}


def made(split="train", side=16, seed=None, channels=1):
    """A bar on noise: on bright or dark ground, high or low, wide or narrow; a mirror image has the same of each."""
    n = SIZES[split]
    draw = torch.Generator().manual_seed(len(split) if seed is None else seed)
    has = torch.rand(n, 3, generator=draw) < torch.tensor([0.5, 0.5, 0.3])
    images = torch.where(has[:, 0], 150, 90)[:, None, None, None].repeat(1, channels, side, side).float()
    across = (torch.arange(side) - (side - 1) / 2).abs()[None] < torch.where(has[:, 2], side * 0.45, side * 0.2)[
        :, None
    ]
    down = torch.arange(side)[None] // (side // 2) == (~has[:, 1]).long()[:, None]
    images = images + 60 * (down[:, None, :, None] & across[:, None, None, :])
    images = images + 30 * torch.randn(images.shape, generator=draw)
    return ImageDataset(
        name="bars",
        split=split,
        images=images.clamp(0, 255).to(torch.uint8),
        ids=[f"{split}/{row}" for row in range(n)],
        attributes=has,
        attribute_names=NAMES,
    )


class Bars(DatasetSource):
    name, splits = "bars", ("train", "test")

    def load(self, split):
        return made(split)

    def fetch(self, source):
        return ""


@pytest.fixture
def trainings(monkeypatch):
    """Names of the data that judges were trained on; each training is a short one."""
    seen = []
    real = attribute_cnn.fit

    def counted(network, data, epochs, say):
        seen.append((data.name, epochs))
        real(network, data, epochs, say)

    monkeypatch.setattr(judges, "SEEN", 600)
    monkeypatch.setattr(judges, "fit", counted)
    return seen


def test_a_judge_reads_what_it_was_taught(monkeypatch):
    monkeypatch.setattr(judges, "SEEN", 3_000)
    judge, test = judge_of("judge-bars", made()), made("test")
    (logits,) = judge.features(to_float(test.images), ["logits"])
    right = ((logits > 0) == test.attributes).double().mean(dim=0)
    assert (right > 0.9).all(), right  # by chance 0.5, 0.5 and 0.7
    assert judge.layers == ("conv1", "conv2", "conv3", "conv4", "dense", "logits")
    assert (judge.name, judge.channels) == ("judge-bars", 1)
    assert not any(parameter.requires_grad for stage in judge.stages.values() for parameter in stage.parameters())


def test_a_judge_is_trained_once_and_found_again(trainings):
    first, again = judge_of("judge-a", made()), judge_of("judge-b", made())
    assert trainings == [("bars", 1)]
    assert first.sha256 == again.sha256 == sha256_of(*(cache_dir() / "judges").glob("*.safetensors"))
    images = to_float(made("test").images)
    assert torch.equal(*(judge.features(images, ["logits"])[0] for judge in (first, again)))


def test_the_same_data_teach_the_same_judge(trainings, monkeypatch, tmp_path):
    first = judge_of("judge", made()).sha256
    monkeypatch.setenv("VAEBENCH_CACHE", str(tmp_path / "elsewhere"))
    assert judge_of("judge", made()).sha256 == first
    assert len(trainings) == 2


def test_other_data_or_another_schedule_teach_another(trainings, monkeypatch):
    known = {judge_of("judge", made()).sha256}
    data = made()
    flipped = data.attributes.clone()
    flipped[0, 0] = ~flipped[0, 0]
    for other in (made(seed=9), replace(data, attributes=flipped), replace(data, attribute_names=("A", "B", "C"))):
        known.add(judge_of("judge", other).sha256)
    assert len(trainings) == 4
    assert len(known) == 3  # names are part of the content, but teach nothing
    monkeypatch.setattr(judges, "SEEN", 1_200)
    assert judge_of("judge", data).sha256 not in known
    assert trainings[-1] == ("bars", 2)


@pytest.mark.parametrize("damage", [lambda raw: b"", lambda raw: b"damaged", lambda raw: raw[: len(raw) // 2]])
def test_a_damaged_file_is_replaced(trainings, damage):
    first = judge_of("judge", made())
    (path,) = (cache_dir() / "judges").glob("*.safetensors")
    path.write_bytes(damage(path.read_bytes()))
    assert judge_of("judge", made()).sha256 == first.sha256 == sha256_of(path)
    assert len(trainings) == 2


def test_weights_of_another_shape_are_replaced(trainings):
    judge_of("judge", made())
    (path,) = (cache_dir() / "judges").glob("*.safetensors")
    whole = path.read_bytes()
    judge_of("judge", made(channels=3))
    (other,) = set((cache_dir() / "judges").glob("*.safetensors")) - {path}
    path.write_bytes(other.read_bytes())
    judge_of("judge", made())
    assert path.read_bytes() == whole


def test_the_global_generator_is_left_alone(trainings, global_rng_untouched):
    judge_of("judge", made())
    assert trainings


def test_training_goes_on_after_an_interruption(trainings, monkeypatch):
    def stopped(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(judges, "fit", stopped)
        with pytest.raises(KeyboardInterrupt):
            judge_of("judge", made())
    assert not list((cache_dir() / "judges").glob("[!.]*"))
    assert judge_of("judge", made()).sha256


def test_images_without_attributes_cannot_teach():
    bare = replace(made(), attributes=None, attribute_names=())
    with pytest.raises(UserError, match="bars has no attributes"):
        judge_of("judge", bare)


def test_names():
    data = made("test")
    name = judge_network(data)
    assert name == f"judge-{data.fingerprint[:8]}"
    assert judge_network(made("test", seed=3)) not in (name, "")
    assert judge_network(replace(data, classifier="mnist_cnn/dense")) == "mnist_cnn"
    bare = replace(data, attributes=None, attribute_names=())
    assert judge_network(bare) == ""
    assert judge_network(replace(bare, classifier="mnist_cnn/dense")) == "mnist_cnn"
    assert judge_network(replace(data, images=data.images[..., :15, :15])) == ""  # too small to be halved four times
    assert judge_network(replace(data, images=data.images[..., :12])) == ""  # not square


@pytest.mark.parametrize("side", [16, 17, 28, 31, 32, 47, 64])
def test_every_size_goes_through(side):
    network = nn.Sequential(attribute_network(3, side, 7))
    assert network(torch.rand(2, 3, side, side)).shape == (2, 7)


def test_it_is_the_shipped_networks_kind():
    network = nn.Sequential(attribute_network(3, 64, 40))
    assert sum(parameter.numel() for parameter in network.parameters()) == 310_144
    shipped = load_file(toyfaces_cnn.WEIGHTS)
    assert {name: value.shape for name, value in network.state_dict().items()} == {
        name: value.shape for name, value in shipped.items()
    }
    network.load_state_dict(shipped)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    opened = toyfaces_cnn.toyfaces_cnn()
    torch.testing.assert_close(network(images).detach(), opened.features(images, ["logits"])[0])


def test_filters_begin_centred_and_of_one_size():
    data = made(side=32)
    network = nn.Sequential(attribute_network(1, 32, 3))
    attribute_cnn.begin(network, data.images[:200])
    hidden = to_float(data.images[:200])
    for stage in list(network)[:-1]:
        for layer in stage:
            hidden = layer(hidden)
            if isinstance(layer, nn.Conv2d | nn.Linear):
                answers = hidden.transpose(0, 1).flatten(1).detach()
                torch.testing.assert_close(answers.mean(1), torch.zeros(len(answers)), rtol=0, atol=1e-3)
                torch.testing.assert_close(answers.std(1), torch.ones(len(answers)), rtol=0, atol=1e-3)


def test_an_evaluation_finds_it_by_name(trainings):
    networks = Networks()
    surroundings = SplitContext.of_split(Bars(), "test", networks)
    assert not trainings  # nobody asked for it yet
    space = FeatureSpace(judge_network(surroundings.data), "logits")
    kept = surroundings.context().reference(space, "test").features
    expected = judge_of("judge", made()).features(to_float(made("test").images), ["logits"])[0]
    torch.testing.assert_close(kept, expected, rtol=1e-4, atol=1e-4)
    assert trainings == [("bars", 1)]


def test_whoever_asks_for_features_first_has_it_trained(trainings):
    surroundings = SplitContext.of_split(Bars(), "test", Networks())
    space = FeatureSpace(judge_network(surroundings.data), "logits")
    images = to_float(surroundings.data.images[:2])
    found = surroundings.context().features(space, images)
    assert trainings == [("bars", 1)]
    torch.testing.assert_close(found, judge_of("judge", made()).features(images, ["logits"])[0], rtol=1e-4, atol=1e-4)


def test_it_is_trained_alike_inside_inference_mode(trainings, monkeypatch, tmp_path):
    first = judge_of("judge", made()).sha256
    monkeypatch.setenv("VAEBENCH_CACHE", str(tmp_path / "elsewhere"))
    with torch.inference_mode():
        assert judge_of("judge", made()).sha256 == first
    with torch.no_grad():
        assert judge_of("judge", made()).sha256 == first
    assert len(trainings) == 2 and torch.is_grad_enabled()


class TestOnly(Bars):
    """Nothing to train a judge on."""

    __test__ = False
    splits = ("test",)


def test_without_a_training_split_the_reason_is_said():
    surroundings = SplitContext.of_split(TestOnly(), "test", Networks())
    with pytest.raises(UserError, match="bars has no split 'train': choose from test"):
        surroundings.context().reference(FeatureSpace(judge_network(surroundings.data), "logits"), "test")


def test_pinned(monkeypatch):
    """Sums of the weights a short training ends in; bfloat16 on another processor may round a little otherwise."""
    monkeypatch.setattr(judges, "SEEN", 600)
    judge = judge_of("judge", made())
    found = [sum(p.abs().sum().item() for p in stage.parameters()) for stage in judge.stages.values()]
    assert found == pytest.approx(PINNED, rel=1e-3)


PINNED = [554.969, 1141.057, 1971.292, 3163.684, 1758.419, 17.796]
