"""vaebench's classifiers inside torch-fidelity: its Fréchet and kernel distance are then our own."""

import pytest
import torch
from torch_fidelity import calculate_metrics
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from vaebench.core.context import FeatureSpace
from vaebench.core.dataset import ImageDataset
from vaebench.core.metric import Need
from vaebench.evaluation import evaluator, sources
from vaebench.evaluation.features import Networks
from vaebench.evaluation.split_context import Surroundings
from vaebench.metrics.fidelity import fcd
from vaebench.perceptual.torch_fidelity_extractors import EXTRACTORS, register

CASES = [("mnist_cnn", 1, 28), ("toyfaces_cnn", 3, 64)]


@pytest.fixture(autouse=True)
def _registered():
    register()


class Rows(torch.utils.data.Dataset):
    """uint8 RGB images one by one."""

    def __init__(self, images):
        self.images = images.expand(-1, 3, -1, -1)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, row):
        return self.images[row]


def pictures(n, channels, side, seed):
    """uint8, blots of light and dark."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 4, 4, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)
    return (255 * smooth).round().to(torch.uint8)


def theirs(name, made, real, **options):
    return calculate_metrics(
        input1=Rows(made),
        input2=Rows(real),
        feature_extractor=f"vaebench-{name}",
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
        **options,
    )


@pytest.mark.parametrize("layer", ["dense", "conv2"])
@pytest.mark.parametrize(("name", "channels", "side"), CASES)
def test_fcd_is_torch_fidelity_s_distance_with_the_same_network(name, channels, side, layer):
    real, made = pictures(60, channels, side, 0), pictures(50, channels, side, 1)
    data = ImageDataset("made-up", "test", real, [str(row) for row in range(len(real))])
    networks = Networks()
    subject = sources.of_images(
        made, data, kind=Need.SAMPLE, paired=False, context=Surroundings(data, None, networks).context()
    )
    (ours,) = (
        score.value
        for metric, score in evaluator.measure(fcd(classifier=f"{name}/{layer}"), subject, networks)
        if metric.needs == Need.SAMPLE
    )
    options = {} if layer == "dense" else {"feature_layer_fid": layer}
    expected = theirs(name, made, real, fid=True, **options)["frechet_inception_distance"]
    assert ours == pytest.approx(expected, rel=1e-4)
    assert ours > 0


@pytest.mark.parametrize(("name", "channels", "side"), CASES)
def test_every_layer_is_what_an_evaluation_extracts(name, channels, side):
    extractor_class = EXTRACTORS[f"vaebench-{name}"]
    layers = list(extractor_class.get_provided_features_list())
    extractor, networks = extractor_class(f"vaebench-{name}", layers), Networks()
    images = pictures(5, channels, side, 2)
    spaces = [FeatureSpace(name, layer) for layer in layers]
    assert networks.network(spaces[0]).layers == tuple(layers)
    expected = networks.extract(images.float() / 255, spaces)
    found = extractor.convert_features_tuple_to_dict(extractor(images.expand(-1, 3, -1, -1)))
    for space in spaces:
        assert found[space.layer].dtype == torch.float32
        assert torch.allclose(found[space.layer], expected[space], rtol=1e-5, atol=1e-5)
    assert extractor(extractor_class.get_dummy_input_for_compile())[0].shape[0] == 1
    assert not extractor.state_dict() and not extractor_class.can_be_compiled()


def test_all_of_torch_fidelity_s_metrics_can_be_taken():
    real, made = pictures(40, 1, 28, 0), pictures(40, 1, 28, 1)
    found = theirs("mnist_cnn", made, real, isc=True, kid=True, prc=True, kid_subset_size=30, kid_subsets=3)
    assert {"inception_score_mean", "kernel_inception_distance_mean", "precision", "recall"} <= found.keys()


def test_registering_again_changes_nothing():
    assert register() == register() == ("vaebench-mnist_cnn", "vaebench-toyfaces_cnn")
    assert FEATURE_EXTRACTORS_REGISTRY["vaebench-mnist_cnn"] is EXTRACTORS["vaebench-mnist_cnn"]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(2, 3, 28, 28), "wants uint8 images"),
        (torch.zeros(2, 1, 28, 28, dtype=torch.uint8), r"not torch\.uint8 \(2, 1, 28, 28\)"),
        (torch.arange(2352).view(1, 3, 28, 28).to(torch.uint8), "sees grey images only"),
    ],
)
def test_images_that_it_cannot_see_are_refused(images, words):
    with pytest.raises(ValueError, match=words):
        EXTRACTORS["vaebench-mnist_cnn"]("vaebench-mnist_cnn", ["dense"])(images)


def test_a_layer_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="not on the list"):
        EXTRACTORS["vaebench-mnist_cnn"]("vaebench-mnist_cnn", ["pool"])
