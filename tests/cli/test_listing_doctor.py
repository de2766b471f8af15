"""list and doctor: what there is, whether it is at hand, and the command that gets what is not."""

import json
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import torch

from vaebench.cli import doctor as doctor_command
from vaebench.cli import listing
from vaebench.cli.listing import KINDS
from vaebench.core import registry, trials
from vaebench.training import autotune
from vaebench.training.compute import Compute

MNIST = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte.gz",
)


@pytest.fixture
def plugins(monkeypatch):
    """Installed packages bring these entry points: (group, name, package)."""

    def install(*claims):
        points = [
            SimpleNamespace(
                name=name,
                value="module_that_is_not_there:thing",
                group=f"vaebench.{kind}",
                dist=SimpleNamespace(name=package, metadata={"Summary": f"brought by {package}"}),
            )
            for kind, name, package in claims
        ]

        def chosen(group):
            return [point for point in points if point.group == group]

        monkeypatch.setattr(registry, "_entry_points_of", lambda: chosen)
        registry.installed.cache_clear()

    install()
    yield install
    registry.installed.cache_clear()


@pytest.fixture
def mnist_there(places):
    folder = places / "data" / "mnist"
    folder.mkdir(parents=True)
    for name in MNIST:
        (folder / name).touch()
    return folder


def states(kind):
    return {line.name: line.state for line in listing.listing(kind)}


def test_everything_built_in_is_listed(plugins):
    listed = {(line.kind, line.name) for line in listing.listing()}
    assert listed == {(kind, name) for kind, known in KINDS.items() for name in known.names()}
    assert all(line.summary and "\n" not in line.summary for line in listing.listing())
    assert {line.origin for line in listing.listing()} == {"built-in"}


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind(plugins, kind):
    assert [line.name for line in listing.listing(kind)] == KINDS[kind].names()


def test_missing_data_is_said_with_its_command_wherever_it_is_needed(plugins):
    missing = "data missing: vaebench fetch mnist"
    assert (states("datasets")["digits"], states("datasets")["mnist"]) == ("ready", missing)
    assert states("recipes")["vae-mnist"] == states("recipes")["dfcvae-mnist"] == missing
    assert states("recipes")["vae-digits"] == states("recipes")["dfcvae-digits"] == "ready"


def test_data_at_hand_plain_or_compressed(plugins, mnist_there):
    assert states("datasets")["mnist"] == "ready"
    assert states("recipes")["vae-mnist"] == "ready"


@pytest.mark.parametrize("name", MNIST)
def test_one_file_of_four_is_missed(plugins, mnist_there, name):
    (mnist_there / name).unlink()
    assert states("datasets")["mnist"] == "data missing: vaebench fetch mnist"


def test_a_plugin_is_listed_with_its_package_and_not_imported(plugins):
    plugins(("recipes", "gan-faces", "face-models"))
    (line,) = [line for line in listing.listing("recipes") if line.name == "gan-faces"]
    assert (line.origin, line.summary) == ("face-models", "brought by face-models")
    assert line.state.startswith("not checked")


def test_a_clash_is_listed_with_both_who_claim_the_name(plugins):
    plugins(("metrics", "blur", "other-metrics"))
    (line,) = [line for line in listing.listing("metrics") if line.name == "blur"]
    assert line.origin == "built-in and other-metrics"
    assert line.state == "name clash on blur: uninstall or rename one"


def test_a_clash_stands_in_the_way_of_what_needs_that_name(plugins):
    plugins(("datasets", "digits", "more-data"))
    assert states("recipes")["vae-digits"] == "name clash on digits: uninstall or rename one"


def test_list_as_json(plugins, cli):
    plugins(("datasets", "letters", "more-data"))
    answer = cli(["list", "datasets", "--json"])
    assert (answer.code, answer.err) == (0, "")
    lines = {line["name"]: line for line in json.loads(answer.out)}
    assert list(lines) == sorted(lines)
    assert {"digits", "letters", "mnist"} <= set(lines)
    assert lines["letters"]["origin"] == "more-data"
    assert lines["mnist"]["state"] == "data missing: vaebench fetch mnist"
    assert set(lines["digits"]) == {"kind", "name", "summary", "origin", "state"}


def test_list_as_a_table(plugins, cli):
    plugins(("recipes", "gan-faces", "face-models"))
    answer = cli(["list"])
    assert (answer.code, answer.err) == (0, "")
    header, *rows = answer.out.splitlines()
    assert header.split() == ["kind", "name", "what", "source", "state"]
    assert len([row for row in rows if row.strip(" -─")]) >= len(listing.listing())
    (row,) = [row for row in rows if "gan-faces" in row]
    assert "face-models" in row
    (row,) = [row for row in rows if row.split()[:2] == ["datasets", "mnist"]]
    assert row.rstrip().endswith("vaebench fetch mnist")


@pytest.fixture
def doctor(cli, monkeypatch):
    """What the doctor says, a line a finding, with speeds that take no time to measure."""
    monkeypatch.setattr(autotune, "measured", lambda device: {"fp32/1": 100.0, "bf16/1": 50.0})

    def call():
        answer = cli(["doctor"])
        assert (answer.code, answer.err) == (0, "")
        return answer.out.splitlines()

    return call


def recipes_on(dataset):
    """Names of the recipes that declare this dataset, sorted; at least two."""
    entries = KINDS["recipes"].entries().items()
    names = [name for name, claims in entries if f"datasets:{dataset}" in claims[0].needs]
    assert len(names) >= 2
    return names


def line_with(lines, *words):
    (line,) = [line for line in lines if all(word in line for word in words)]
    return line


def test_doctor_names_missing_data_what_that_disables_and_the_command(plugins, doctor):
    line = line_with(doctor(), "datasets", "mnist")
    assert f"mnist: data missing, which disables {', '.join(recipes_on('mnist'))}:" in line
    assert line.endswith(": vaebench fetch mnist")


def test_doctor_finds_data_at_hand(plugins, doctor, mnist_there):
    lines = doctor()
    assert line_with(lines, "datasets", "mnist").endswith("mnist: ready")
    assert not [line for line in lines if "vaebench fetch mnist" in line]


def test_doctor_says_what_is_ready(plugins, doctor):
    lines = doctor()
    assert line_with(lines, "digits: ready").startswith("datasets")
    assert line_with(lines, "mnist_cnn: ready").startswith("perceptual")


def test_doctor_says_versions_devices_and_places(plugins, doctor, places):
    lines = doctor()
    assert line_with(lines, "package", " torch ").endswith(f"torch {version('torch')}")
    assert line_with(lines, "device", "cpu:")
    for place in ("RUNS", "DATA", "WEIGHTS", "CACHE"):
        assert f"VAEBENCH_{place}: {places / place.lower()} (" in line_with(lines, f"VAEBENCH_{place}:")


def test_doctor_says_what_training_would_use(plugins, doctor):
    lines = doctor()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert line_with(lines, "training", f"{device}, fp32, 1 threads")
    assert line_with(lines, "training", "fp32/1 100, bf16/1 50")


def test_doctor_on_a_busy_machine_measures_once_and_shows_no_rates_as_kept(plugins, cli, places, monkeypatch):
    (places / "cache" / "compute.json").unlink()
    tried = []

    def busy(device):
        tried.append(device)
        return trials.Measured({"fp32/1": 100.0}, disturbed="somebody else computes")

    monkeypatch.setattr(autotune, "measure", busy)
    lines = cli(["doctor"]).out.splitlines()
    assert len(tried) == 2  # once, and once more since it was disturbed
    assert not [line for line in lines if "kept in" in line]


def test_doctor_on_a_gpu_names_the_way_and_what_it_gains(plugins, cli, monkeypatch):
    """Of a stand-in for the card: rates as an H200 had them, images/s."""
    way = Compute(
        device="cuda", precision="bf16", channels_last=True, compile=False, threads=16, fused=True, cuda_graphs=True
    )
    kept = {
        "Stand-in, dfcvae-celeba": {"fp32/16/contiguous": 4_050.0, "bf16/16/graphs": 19_400.0},
        "Stand-in, dfcvae-celeba, trained": {"bf16/16/graphs": 18_000.0},
        "Other card, vae-celeba": {"fp32/8/contiguous": 1.0},
    }
    monkeypatch.setattr(doctor_command, "choose", lambda workload: way)
    monkeypatch.setattr(doctor_command, "machine", lambda device: "Stand-in")
    monkeypatch.setattr(doctor_command, "cores", lambda: 16)
    monkeypatch.setattr(trials, "known_rates", lambda: kept)
    lines = cli(["doctor"]).out.splitlines()
    line_with(
        lines, "training", "cuda, bf16, 16 threads, channels_last, fused optimisers, CUDA graphs, torch.compile off"
    )
    found = line_with(lines, "images/s in trials of dfcvae-celeba")
    assert "bf16/16/graphs 19400; the fastest is 4.8 times as fast as the plain way" in found
    assert not [line for line in lines if "trained:" in line or "vae-celeba: fp32/8" in line]


def test_doctor_creates_no_folder(plugins, doctor, places):
    (places / "cache" / "compute.json").unlink()  # what tests share
    (places / "cache").rmdir()
    doctor()
    assert list(places.iterdir()) == []


def test_doctor_says_which_place_cannot_be_written_to(plugins, doctor, monkeypatch):
    monkeypatch.setattr("vaebench.cli.doctor.os.access", lambda path, mode: False)
    line = line_with(doctor(), "VAEBENCH_RUNS:")
    assert line.endswith("cannot be written to: export VAEBENCH_RUNS=DIR")


def test_a_file_where_a_place_should_be_cannot_be_written_to(plugins, doctor, places, monkeypatch):
    (places / "taken").touch()
    monkeypatch.setenv("VAEBENCH_RUNS", str(places / "taken"))
    assert "cannot be written to" in line_with(doctor(), "VAEBENCH_RUNS:")


def test_a_dataset_plugin_is_not_called_missing(plugins, doctor):
    plugins(("datasets", "letters", "more-data"))
    assert "letters: not checked" in line_with(doctor(), "letters")


def test_a_clash_is_not_called_missing_data(plugins, doctor):
    plugins(("datasets", "digits", "more-data"))
    line = line_with(doctor(), "datasets", "digits")
    assert f"name clash on digits, which disables {', '.join(recipes_on('digits'))}:" in line
    assert "missing" not in line


@pytest.mark.parametrize(("name", "says"), [("digits", "come with scikit-learn"), ("mnist_cnn", "ships with")])
def test_fetching_what_is_there_already(cli, name, says):
    answer = cli(["fetch", name])
    assert (answer.code, answer.err) == (0, "")
    assert says in answer.out
