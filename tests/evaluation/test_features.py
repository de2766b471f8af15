"""Extraction and what is kept of it: batches, devices, stops, shares, signs of life."""

import itertools
import logging
import threading
import warnings
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from vaebench.core import trials
from vaebench.core.context import FeatureSpace
from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.errors import UserError
from vaebench.core.perceptual import Perceptual
from vaebench.core.trials import Measured
from vaebench.evaluation import feature_extraction, features, resumable_rows
from vaebench.evaluation.feature_extraction import ON_GPU, Extractor, Pace, Way
from vaebench.evaluation.features import CachedFeatures, Networks

N, SPACE, PIXELS = 83, FeatureSpace("tiny", "one"), FeatureSpace("pixels")


class Stage(nn.Module):
    """A fixed map of the pixels and of what else is in the batch, so that batches show; may be stopped."""

    def __init__(self, channels=3):
        super().__init__()
        self.register_buffer("weight", torch.randn(channels * 64, 5, generator=torch.Generator().manual_seed(0)))
        self.batches, self.stop_after = [], 10**9

    def forward(self, images):
        if sum(self.batches) + len(images) > self.stop_after:
            raise KeyboardInterrupt
        self.batches.append(len(images))
        return images.flatten(1) @ self.weight + images.mean()


def tiny(stage, channels=3):
    networks = Networks()
    networks.provide("tiny", lambda: Perceptual("tiny", {"one": stage}, channels=channels, sha256="tiny"))
    return networks


def dataset(n=N, channels=3, name="made-up"):
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (n, channels, 8, 8), generator=draw, dtype=torch.uint8)
    return ImageDataset(name, "test", images, [str(row) for row in range(n)])


def kept(stage, space=SPACE, **options):
    return CachedFeatures(dataset(**options), space, tiny(stage))


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Batches of 4, in chunks of 16; states are saved at once."""
    monkeypatch.setattr(feature_extraction, "ON_CPU", Way(4))
    monkeypatch.setattr(features, "CHUNK", 16)
    monkeypatch.setattr(resumable_rows, "SAVED_EVERY", 0.0)


@pytest.fixture
def whole(monkeypatch, tmp_path):
    """The features of a pass that nothing stops, made in a cache of its own."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("VAEBENCH_CACHE", str(tmp_path / "elsewhere"))
        return kept(Stage()).features.clone()


def test_images_are_rounded_to_8_bits_and_go_through_in_batches():
    stage, images = Stage(), 1.2 * torch.rand(10, 3, 8, 8, generator=torch.Generator().manual_seed(2)) - 0.1
    found = tiny(stage).extract(images, [SPACE, PIXELS])
    rounded = (images.clamp(0, 1) * 255).round() / 255
    expected = [part.flatten(1) @ stage.weight + part.mean() for part in rounded.split(4)]
    torch.testing.assert_close(found[SPACE], torch.cat(expected))
    assert torch.equal(found[PIXELS], rounded.flatten(1))
    assert stage.batches == [4, 4, 2]


@pytest.mark.parametrize("space", [SPACE, PIXELS])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_images_that_are_not_finite_have_no_features(space, bad):
    images = torch.rand(10, 3, 8, 8)
    images[7, 1, 2, 3] = bad
    with pytest.raises(UserError, match="NaN or infinite"):
        tiny(Stage()).extract(images, [space])


def test_no_images_have_no_features():
    assert tiny(Stage()).extract(torch.zeros(0, 3, 8, 8), [PIXELS])[PIXELS].shape == (0, 192)


def test_precision_flags_are_left_as_they_were():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    tiny(Stage()).extract(torch.rand(3, 3, 8, 8), [SPACE])
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


@pytest.mark.parametrize("stop_after", [3, 16, 40, 82])
def test_a_stopped_extraction_is_gone_on_with(stop_after, whole):
    stage = Stage()
    stage.stop_after = stop_after
    with pytest.raises(KeyboardInterrupt):
        _ = kept(stage).features
    done, again = 16 * (stop_after // 16), Stage()
    found = kept(again)
    assert torch.equal(found.features, whole)
    assert sum(again.batches) == N - done
    assert {path.name for path in found.folder.glob("[!.]*")} == {"features.npy", "features.npy.sha256"}


def test_a_file_half_done_with_other_weights_is_not_gone_on_with():
    stage = Stage()
    stage.stop_after = 40
    with pytest.raises(KeyboardInterrupt):
        _ = kept(stage).features
    other, networks = Stage(), Networks()
    networks.provide("tiny", lambda: Perceptual("tiny", {"one": other}, channels=3, sha256="other"))
    assert len(CachedFeatures(dataset(), SPACE, networks).features) == N
    assert sum(other.batches) == N


@pytest.mark.parametrize("bounds", [[0, N], [0, 1, 2, N], [0, 16, 48, N], [0, 27, 55, N], [0, 0, 41, 41, N]])
@pytest.mark.parametrize("space", [SPACE, PIXELS])
def test_shares_joined_are_the_whole_to_the_bit(bounds, space, monkeypatch, tmp_path):
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("VAEBENCH_CACHE", str(tmp_path / "elsewhere"))
        expected = kept(Stage(), space)
        assert len(expected.features) == N
    for start, stop in reversed(list(itertools.pairwise(bounds))):
        kept(Stage(), space).extract_rows(start, stop)
    stage = Stage()
    found = kept(stage, space)
    found.join_rows()
    assert torch.equal(found.features, expected.features)
    assert (found.folder / "features.npy").read_bytes() == (expected.folder / "features.npy").read_bytes()
    assert not stage.batches
    assert {path.name for path in found.folder.glob("[!.]*")} == {"features.npy", "features.npy.sha256"}


def test_shares_are_extracted_side_by_side(whole):
    stages = [Stage() for _ in range(3)]
    threads = [
        threading.Thread(target=kept(stage).extract_rows, args=(rank * N // 3, (rank + 1) * N // 3))
        for rank, stage in enumerate(stages)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = kept(Stage())
    found.join_rows()
    assert torch.equal(found.features, whole)
    assert N <= sum(sum(stage.batches) for stage in stages) <= N + 2 * 2 * 3  # batches at the bounds, twice


def test_a_share_that_was_stopped_is_gone_on_with(whole):
    stage = Stage()
    stage.stop_after = 24
    with pytest.raises(KeyboardInterrupt):
        kept(stage).extract_rows(10, 60)
    again = Stage()
    kept(again).extract_rows(10, 60)
    assert sum(again.batches) == 60 - 32  # 22 rows were done, to the end of a chunk
    kept(again).extract_rows(10, 60)
    assert sum(again.batches) == 60 - 32  # it is there
    for bounds in ((0, 10), (60, N)):
        kept(Stage()).extract_rows(*bounds)
    found = kept(Stage())
    found.join_rows()
    assert torch.equal(found.features, whole)


def test_shares_of_an_earlier_division_may_lie_there(whole):
    for bounds in ((0, 50), (50, 60), (0, 41), (41, N)):
        kept(Stage()).extract_rows(*bounds)
    found = kept(Stage())
    found.join_rows()
    assert torch.equal(found.features, whole)


def test_what_is_missing_is_said():
    kept(Stage()).extract_rows(0, 30)
    kept(Stage()).extract_rows(40, N)
    with pytest.raises(UserError, match="rows from 30 on, of 83 of made-up:test have no features in tiny-one yet"):
        kept(Stage()).join_rows()
    (path,) = kept(Stage()).folder.glob("rows/0-30/features.npy")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="rows from 0 on"):
        kept(Stage()).join_rows()


def test_where_the_whole_is_there_nothing_is_done():
    first = kept(Stage())
    assert len(first.features) == N
    stage = Stage()
    found = kept(stage)
    found.extract_rows(0, 40)
    found.join_rows()
    assert torch.equal(found.features, first.features) and not stage.batches


@pytest.mark.parametrize("rows", [(-1, 4), (5, 4), (0, N + 1)])
def test_rows_that_are_not_there_are_a_fault(rows):
    with pytest.raises(ValueError, match=f"rows {rows[0]} to {rows[1]} of {N}"):
        kept(Stage()).extract_rows(*rows)


def test_a_split_without_images_is_refused():
    with pytest.raises(UserError, match="made-up:test has no images"):
        _ = kept(Stage(), n=0).features


class Clock:
    """A clock that an extraction moves by a second for each batch."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(feature_extraction.time, "monotonic", lambda: self.now)


def messages(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]


def test_a_long_extraction_gives_signs_of_life(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "vaebench")
    monkeypatch.setattr(features, "STATED", 80)
    clock, stage = Clock(monkeypatch), Stage()
    monkeypatch.setattr(stage, "forward", lambda images: setattr(clock, "now", clock.now + 3) or images.flatten(1))
    assert len(kept(stage).features) == N
    first, *later = messages(caplog)
    assert first == "made-up/test: 83 images through tiny-one, once"
    assert later == [  # 16 images in 12 s
        "made-up/test: 16 of 83, 1.3 images/s, 50 s left",
        "made-up/test: 32 of 83, 1.3 images/s, 38 s left",
        "made-up/test: 48 of 83, 1.3 images/s, 26 s left",
        "made-up/test: 64 of 83, 1.3 images/s, 14 s left",
        "made-up/test: 80 of 83, 1.3 images/s, 2 s left",
    ]


def test_one_gone_on_with_says_so_and_counts_what_it_does_itself(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "vaebench")
    monkeypatch.setattr(features, "STATED", 80)
    stage = Stage()
    stage.stop_after = 50
    with pytest.raises(KeyboardInterrupt):
        _ = kept(stage).features
    caplog.clear()
    clock, stage = Clock(monkeypatch), Stage()
    monkeypatch.setattr(
        stage, "forward", lambda images: setattr(clock, "now", clock.now + 30) or images.flatten(1)[:, :5]
    )
    assert len(kept(stage).features) == N
    assert messages(caplog) == [
        "made-up/test: 83 images through tiny-one, once (48 of them done before)",
        "made-up/test: 64 of 83, 0.1 images/s, 2 min left",
        "made-up/test: 80 of 83, 0.1 images/s, 22 s left",
    ]


def test_few_images_and_pixels_are_not_worth_a_message(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "vaebench")
    Clock(monkeypatch)
    assert len(kept(Stage()).features) == N
    monkeypatch.setattr(features, "STATED", 80)
    assert len(kept(Stage(), PIXELS).features) == N
    assert not messages(caplog)


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, 9), (0.5, 4), (30.0, 9), (0.01, 0)])
def test_signs_of_life_are_a_tenth_apart_and_not_too_frequent(seconds, expected, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "test")
    clock = Clock(monkeypatch)
    pace = Pace(logging.getLogger("test"), "work", 100)
    for done in range(1, 101):
        clock.now += seconds
        pace.at(done)
    assert len(messages(caplog)) == expected


def test_time_left_is_in_minutes_where_it_is_long(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "test")
    clock = Clock(monkeypatch)
    pace = Pace(logging.getLogger("test"), "work", 10_000)
    clock.now = 100.0
    pace.at(1_000)
    assert messages(caplog) == ["work: 1,000 of 10,000, 10.0 images/s, 15 min left"]


@pytest.fixture
def nothing_may_wait():
    """Return a context manager in which waiting for the GPU is an error."""

    @contextmanager
    def guard():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # torch says that the mode is a prototype
                torch.cuda.set_sync_debug_mode("error")
            yield
        finally:  # or every later test in this process fails where it reads a number
            torch.cuda.set_sync_debug_mode("default")

    return guard


@pytest.mark.gpu
@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_extraction_on_a_gpu_is_that_of_the_cpu_and_waits_for_nothing(place, monkeypatch, nothing_may_wait):
    monkeypatch.setattr(feature_extraction, "ON_GPU", (Way(4, graph=True),))
    images = to_float(dataset().images)
    stage = nn.Sequential(nn.Conv2d(3, 7, 3), nn.ReLU())
    network = Perceptual("tiny", {"one": stage}, channels=3, sha256="tiny")
    (expected,) = Extractor(torch.device("cpu")).features(network, images, ["one"])
    networks = Networks("cuda")
    networks.provide("tiny", lambda: network)
    found = networks.extract(images.to(place), [SPACE])[SPACE]
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-5)
    images = images.to(place)  # a copy that waits
    with torch.inference_mode(), nothing_may_wait():  # in that mode it was captured, as in every extraction
        networks._extractor.features(network, images, ["one"])


@pytest.mark.parametrize("name", ["16", "128/contiguous", "256/timed/graph", "64/contiguous/timed/graph"])
def test_a_way_is_its_name(name):
    assert str(Way.parse(name)) == name


def test_on_a_gpu_the_way_is_what_a_trial_found_fastest_and_kept(monkeypatch):
    """Of a stand-in for the GPU: its rates are made up."""
    asked = []

    def tried(self, network, layers, shape):
        asked.append((network.name, tuple(layers), shape, self.allow_tf32))
        return Measured({"64/graph": 1_800.0, "256/contiguous/timed/graph": 4_500.0, "128/graph": 3_000.0})

    monkeypatch.setattr(Extractor, "_tried", tried)
    monkeypatch.setattr(feature_extraction, "machine", lambda device: "Stand-in")
    network = Perceptual("tiny", {"one": nn.Identity(), "two": nn.Identity()}, channels=3, sha256="tiny")
    for _ in range(2):  # two processes: the second reads what the first one kept
        way = Extractor(torch.device("cuda")).way(network, ["one"], (3, 64, 64))
        assert way == Way(256, channels_last=False, timed=True, graph=True)
    assert len(asked) == 1
    Extractor(torch.device("cuda")).way(network, ["two"], (3, 64, 64))
    Extractor(torch.device("cuda"), allow_tf32=True).way(network, ["one"], (3, 64, 64))
    Extractor(torch.device("cuda")).way(network, ["one"], (3, 128, 128))
    assert len(asked) == 4  # another layer, another precision, another size
    assert set(trials.known_rates()) >= {"Stand-in, tiny to one of 64 x 64", "Stand-in, tiny to one of 64 x 64 in TF32"}
    assert all(512 % way.batch == 0 for way in ON_GPU)  # chunks of cached features are whole batches


def test_features_in_tf32_are_kept_apart_from_those_in_full_precision():
    data = dataset()
    full, rounded = (CachedFeatures(data, PIXELS, Networks(allow_tf32=allowed)) for allowed in (False, True))
    assert full.folder != rounded.folder


def test_layout_and_batch_change_no_feature_but_its_last_bits():
    network = Perceptual("tiny", {"one": nn.Sequential(nn.Conv2d(3, 7, 3), nn.ReLU())}, channels=3, sha256="tiny")
    images = to_float(dataset().images)
    extractor = Extractor(torch.device("cpu"))
    (expected,) = extractor.features(network, images, ["one"])
    for way in (Way(5), Way(83, channels_last=False), Way(16, timed=True)):
        (found,) = extractor._in_way(way, network, images, ["one"])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
