"""Inception-v3 against torch-fidelity's own extractor: features, files of every form, import, and all metrics."""

import os
import threading
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from vaebench.core.context import FeatureSpace
from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of
from vaebench.core.metric import Need
from vaebench.core.paths import weights_dir
from vaebench.evaluation import evaluator, image_sources
from vaebench.evaluation.features import Networks
from vaebench.evaluation.split_context import SplitContext
from vaebench.metrics import fidelity
from vaebench.perceptual import inception as module
from vaebench.perceptual.inception import EPSILON, PUBLISHED, STORED, TO_768, Prepare, fetch_inception, inception

LAYERS = ["64", "192", "768", "2048"]
REAL, MADE = 40, 36  # images: the network takes a tenth of a second for each


@cache
def blank() -> dict[str, torch.Tensor]:
    """torch-fidelity's tensors by name, without content."""
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patch.setattr(torch, "load", lambda *_, **__: {})
        return FeatureExtractorInceptionV3("blank", ["2048"], feature_extractor_weights_path="none").state_dict()


def random_state(*prefixes: str) -> dict[str, torch.Tensor]:
    """Random weights that keep activations near 1, and batch normalisation that is no identity; all, or of these."""
    draw = torch.Generator().manual_seed(0)
    state = {}
    for name, tensor in (part(blank(), *prefixes) if prefixes else blank()).items():
        value = torch.randn(tensor.shape, generator=draw)
        if name.endswith("conv.weight"):
            value *= (2 / tensor[0].numel()) ** 0.5
        elif name.endswith(("bn.weight", "running_var")):
            value = 1 + 0.2 * value.clamp(-2, 2)
        elif name.endswith("num_batches_tracked"):
            value = torch.zeros((), dtype=torch.long)
        else:
            value *= 0.1
        state[name] = value
    return state


def folded(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Batch normalisation folded into each convolution, in float64 and by hand."""
    made = {}
    for name in [name.removesuffix(".conv.weight") for name in state if name.endswith(".conv.weight")]:
        mean, variance, weight, bias = (
            state[f"{name}.bn.{part}"].double() for part in ("running_mean", "running_var", "weight", "bias")
        )
        scale = weight / (variance + EPSILON).sqrt()
        made[f"{name}.weight"] = (state[f"{name}.conv.weight"].double() * scale.view(-1, 1, 1, 1)).float()
        made[f"{name}.bias"] = (bias - mean * scale).float()
    return made


def unfolded(content: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What torch-fidelity loads, of a folded file: NaN for what is not in it."""
    state = {
        name: torch.full(tensor.shape, float("nan"))
        if tensor.is_floating_point()
        else torch.zeros_like(tensor, device="cpu")
        for name, tensor in blank().items()
    }
    for name in {key.rpartition(".")[0] for key in content}:
        bias = content[f"{name}.bias"]
        state[f"{name}.conv.weight"], state[f"{name}.bn.bias"] = content[f"{name}.weight"], bias
        state[f"{name}.bn.weight"], state[f"{name}.bn.running_mean"] = torch.ones_like(bias), torch.zeros_like(bias)
        state[f"{name}.bn.running_var"] = torch.full_like(bias, 1 - EPSILON)
    return state


def part(state: dict[str, torch.Tensor], *prefixes: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if name.startswith(prefixes)}


def first_layer() -> dict[str, torch.Tensor]:
    """Of the three convolutions up to layer 64: a small file."""
    return random_state("Conv2d_1a", "Conv2d_2a", "Conv2d_2b")


def store(content: dict[str, torch.Tensor], name: str = STORED) -> Path:
    weights_dir().mkdir(parents=True, exist_ok=True)
    save_file(content, weights_dir() / name)
    return weights_dir() / name


def pictures(n: int, channels: int, side: int, seed: int = 0) -> torch.Tensor:
    """uint8, smooth with some noise, as pictures are."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 5, 5, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)
    noise = torch.rand(n, channels, side, side, generator=draw) - 0.5
    return (255 * (smooth + 0.1 * noise).clamp(0, 1)).to(torch.uint8)


def theirs(path: Path, images: torch.Tensor, layers: list[str]) -> list[torch.Tensor]:
    with torch.no_grad():
        return list(FeatureExtractorInceptionV3("inception", layers, feature_extractor_weights_path=str(path))(images))


def ours(images: torch.Tensor, layers: list[str]) -> list[torch.Tensor]:
    """As an evaluation extracts them, grey images included."""
    spaces = [FeatureSpace("inception", layer) for layer in layers]
    found = Networks().extract(images.float() / 255, spaces)
    return [found[space] for space in spaces]


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative, of whole feature vectors; the largest of all images."""
    assert found.shape == expected.shape and found.dtype == torch.float32
    norms = torch.linalg.vector_norm((found - expected).double(), dim=1)
    return (norms / torch.linalg.vector_norm(expected.double(), dim=1)).max().item()


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same random weights as ``whole.pth``, as torch-fidelity reads it, and folded."""
    folder = tmp_path_factory.mktemp("inception")
    state = random_state()
    torch.save(state, folder / "whole.pth")
    save_file(folded(state), folder / "folded.safetensors")
    return folder


def use(monkeypatch: pytest.MonkeyPatch, folder: Path, source: Path, name: str = STORED) -> None:
    """Let that file stand in the weights folder under that name."""
    folder.mkdir(exist_ok=True)
    (folder / name).symlink_to(source)
    monkeypatch.setenv("VAEBENCH_WEIGHTS", str(folder))


@pytest.fixture(scope="module")
def expected(random_weights: Path) -> dict[int, list[torch.Tensor]]:
    """torch-fidelity's features of grey 28 x 28 and of colour 64 x 64 images, by side."""
    grey, colour = pictures(3, 1, 28), pictures(3, 3, 64)
    return {
        28: theirs(random_weights / "whole.pth", grey.expand(-1, 3, -1, -1), LAYERS),
        64: theirs(random_weights / "whole.pth", colour, LAYERS),
    }


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (28, 28), (64, 64), (63, 100), (299, 299), (298, 300), (400, 512)])
def test_images_are_resized_to_torch_fidelity_s_very_bits(shape, layout):
    images = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    eight_bit = (images * 255).round()
    expected = interpolate_bilinear_2d_like_tensorflow1x(eight_bit, size=(299, 299), align_corners=False)
    found = Prepare()(eight_bit / 255)
    assert torch.equal(found, (expected - 128) / 128)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_gradients_flow_through_the_resizing():
    images = torch.rand(1, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda part: Prepare()(part)[..., ::70, ::70], images)


@pytest.mark.parametrize("form", ["fetched", "folded"])
def test_every_layer_is_torch_fidelity_s(form, random_weights, expected, monkeypatch, tmp_path):
    if form == "folded":
        use(monkeypatch, tmp_path / "weights", random_weights / "folded.safetensors")
    else:
        assert "layers up to 2048" in fetch_inception(random_weights / "whole.pth")
    assert inception().layers == tuple(LAYERS) and not inception().remedy
    for images in (pictures(3, 1, 28), pictures(3, 3, 64)):
        found = ours(images, LAYERS)
        for layer, part_found, part_expected in zip(LAYERS, found, expected[images.shape[-1]], strict=True):
            assert distance(part_found, part_expected) < 1e-5, layer
            assert part_found.std(dim=0).mean() > 0.001 * part_found.abs().mean()  # the images are told apart


def test_one_layer_alone_is_the_same_layer(random_weights, expected, monkeypatch, tmp_path):
    use(monkeypatch, tmp_path / "weights", random_weights / "folded.safetensors")
    for layer in ("768", "64"):
        assert distance(ours(pictures(3, 3, 64), [layer])[0], expected[64][LAYERS.index(layer)]) < 1e-5


def test_a_file_to_768_serves_its_layers_and_says_what_to_do_for_2048(random_weights, expected):
    content = load_file(random_weights / "folded.safetensors")
    store(part(content, "Conv2d", "Mixed_5", "Mixed_6"), TO_768)
    network = inception()
    assert network.layers == ("64", "192", "768")
    assert distance(ours(pictures(3, 3, 64), ["768"])[0], expected[64][2]) < 1e-5
    message = rf"no layer '2048': choose from 64, 192, 768, or get the whole network .*fetch inception.*{TO_768} ends"
    with pytest.raises(UserError, match=message):
        network.check(["2048"], 3)
    with pytest.raises(UserError, match=message):
        ours(pictures(1, 3, 64), ["768", "2048"])


def test_a_file_unfolded_with_nan_behind_its_end_serves_what_it_holds(tmp_path):
    torch.save(unfolded(folded(first_layer())), tmp_path / "cut.pth")
    assert "layers up to 64" in fetch_inception(tmp_path / "cut.pth")
    assert inception().layers == ("64",)
    (found,), (wanted,) = (
        ours(pictures(1, 3, 64), ["64"]),
        theirs(tmp_path / "cut.pth", pictures(1, 3, 64), ["64"]),
    )
    assert distance(found, wanted) < 1e-5


def test_the_whole_network_is_preferred_to_its_beginning():
    whole = store(first_layer(), STORED)
    store(folded(first_layer()), TO_768)
    assert inception().sha256 == sha256_of(whole)


def test_loading_draws_no_random_number(global_rng_untouched):
    store(folded(first_layer()))
    inception()


def test_torch_fidelity_s_own_file_is_found_where_it_downloads_to(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = published(tmp_path / "hub" / "checkpoints", monkeypatch).name
    assert inception().layers == ("64",)
    (tmp_path / "hub" / "checkpoints" / name).rename(tmp_path / name)
    with pytest.raises(UserError, match=r"vaebench fetch inception.*--from FILE"):
        inception()


def published(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file as torch-fidelity publishes it, under a name that ends in its own sha256's first digits."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(first_layer(), folder / "draft.pth")
    name = f"weights-inception-{sha256_of(folder / 'draft.pth')[:8]}.pth"
    monkeypatch.setattr(module, "PUBLISHED", name)
    return (folder / "draft.pth").rename(folder / name)


def test_another_content_under_the_published_name_is_refused(tmp_path):
    torch.save(first_layer(), tmp_path / PUBLISHED)
    with pytest.raises(UserError, match="is not the published file"):
        fetch_inception(tmp_path / PUBLISHED)
    weights_dir().mkdir(parents=True)
    (tmp_path / PUBLISHED).rename(weights_dir() / PUBLISHED)
    with pytest.raises(UserError, match="is not the published file"):
        inception()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"foo": torch.zeros(1)}, "holds no Inception-v3"),
        (
            {**first_layer(), "Conv2d_2a_3x3.conv.weight": torch.zeros(32, 32, 1, 1)},
            "is no Inception-v3",
        ),
        (part(first_layer(), "Conv2d_1a"), "holds no Inception-v3"),
    ],
)
def test_an_import_that_fails_leaves_what_was_there(content, words, tmp_path):
    kept = store(first_layer()).read_bytes()
    save_file(content, tmp_path / "bad.safetensors")
    with pytest.raises(UserError, match=words) as caught:
        fetch_inception(tmp_path / "bad.safetensors")
    assert "\n" not in str(caught.value) and "bad.safetensors" in str(caught.value)
    assert (weights_dir() / STORED).read_bytes() == kept


def test_what_is_imported_is_kept_as_safetensors(tmp_path):
    save_file(folded(first_layer()), tmp_path / "mine.safetensors")
    assert "layers up to 64" in fetch_inception(tmp_path / "mine.safetensors")
    assert set(load_file(weights_dir() / STORED)) == set(folded(first_layer()))
    with pytest.raises(UserError, match="is no file"):
        fetch_inception(tmp_path / "absent.pth")


class _Bomb:
    def __reduce__(self):
        return os.system, ("touch bomb-went-off",)


def test_a_pickle_that_runs_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({**first_layer(), "fc.bias": _Bomb()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="holds more than tensors"):
        fetch_inception(tmp_path / "evil.pth")
    assert not (tmp_path / "bomb-went-off").exists() and not weights_dir().exists()


class _Quiet(BaseHTTPRequestHandler):
    """Serves the one file it is given, and nothing for any other name."""

    def __init__(self, *arguments, path: Path):
        self._path = path
        super().__init__(*arguments)

    def do_GET(self):
        content = self._path.read_bytes() if self.path == f"/{self._path.name}" else b""
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Nothing."""


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A published file behind a local web server, where ``fetch`` downloads from."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    path = published(tmp_path / "server", monkeypatch)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, path=path))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(module, "URL", f"http://127.0.0.1:{server.server_port}/{path.name}")
    yield path
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_download_is_checked_and_kept(served, monkeypatch, tmp_path):
    original, prefix = torch.hub.download_url_to_file, served.stem.rpartition("-")[2]

    def download(url, target, hash_prefix, progress):
        assert hash_prefix == "6726825d" and hash_prefix in PUBLISHED
        original(url, target, prefix, progress)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert "layers up to 64" in fetch_inception(None)
    assert sha256_of(tmp_path / "torch" / "hub" / "checkpoints" / served.name) == sha256_of(served)
    served.unlink()
    assert "layers up to 64" in fetch_inception(None)  # what was downloaded is not asked for again


def test_a_download_of_other_content_is_refused(served, tmp_path):
    with pytest.raises(UserError, match=r"invalid hash value.*fetch inception --from FILE") as caught:
        fetch_inception(None)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "torch" / "hub" / "checkpoints").glob("*.pth")) and not weights_dir().exists()


def test_a_download_that_fails_ends_in_advice(served, monkeypatch):
    monkeypatch.setattr(module, "URL", module.URL + "-gone")
    with pytest.raises(UserError, match=r"could not be downloaded \(.*404.*--from FILE"):
        fetch_inception(None)


@pytest.fixture
def real_weights() -> Path:
    """The real network to layer 768, where it is at hand."""
    given = os.environ.get("VAEBENCH_TEST_WEIGHTS")
    folder = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data" / "weights"
    if not (folder / TO_768).is_file():
        pytest.skip(f"no {folder / TO_768}: set VAEBENCH_TEST_WEIGHTS to the folder that holds it")
    return folder / TO_768


class _Rows(torch.utils.data.Dataset):
    """Images (n, 3, h, w) as torch-fidelity takes them in."""

    def __init__(self, images: torch.Tensor):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def test_metrics_are_torch_fidelity_s_end_to_end(real_weights, monkeypatch, tmp_path):
    """Fréchet and kernel distance, precision and recall of 8-bit images, through the real network."""
    torch.save(unfolded(load_file(real_weights)), tmp_path / "inception.pth")
    real, made = pictures(REAL, 3, 64, seed=1), pictures(MADE, 3, 64, seed=2)
    blurred = torch.nn.functional.avg_pool2d(made.float(), 3, stride=1, padding=1)
    made[::2] = blurred[::2].round().to(torch.uint8)  # half of them, so that either share lies between 0 and 1
    reference = calculate_metrics(
        input1=_Rows(made),
        input2=_Rows(real),
        cuda=False,
        batch_size=32,
        fid=True,
        kid=True,
        prc=True,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(tmp_path / "inception.pth"),
        **{f"feature_layer_{name}": "768" for name in ("fid", "kid", "prc")},
        kid_subsets=20,
        kid_subset_size=30,
        cache=False,
        save_cpu_ram=True,  # no worker processes
        verbose=False,
    )
    use(monkeypatch, tmp_path / "weights", real_weights, TO_768)
    data = ImageDataset("made-up", "test", real, [f"made-up/{row}" for row in range(REAL)])
    networks = Networks()
    subject = image_sources.of_images(
        made, data, kind=Need.SAMPLE, partners=None, context=SplitContext(data, None, networks).context()
    )
    metrics = [
        *fidelity.fid(inception=768),
        *fidelity.kid(inception=768, subsets=20, size=30),
        *fidelity.precision(inception=768),
        *fidelity.recall(inception=768),
    ]
    asked = [metric for metric in metrics if metric.spec.needs == Need.SAMPLE]
    found = {metric.spec.name: score.value for metric, score in evaluator.measure(asked, subject, networks)}
    assert found["fd"] == pytest.approx(reference["frechet_inception_distance"], rel=1e-4)
    assert found["kid"] == pytest.approx(reference["kernel_inception_distance_mean"], rel=1e-4)
    assert found["precision"] == pytest.approx(reference["precision"], abs=1e-6)
    assert found["recall"] == pytest.approx(reference["recall"], abs=1e-6)
    assert 0 < found["precision"] < 1 and 0 < found["recall"] < 1
