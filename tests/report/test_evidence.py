"""Evidence holds what a report shows, makes the same report again, and may be pruned where it lies."""

import numpy as np
import pytest
from handmade import FINGERPRINT, drawn, write_real, write_run

from vaebench.core.paths import runs_dir
from vaebench.runs.galleries import gallery_file, load_gallery, save_gallery

N = 30
KEPT = {"real/toy-test-ffffffffffff": {"reconstructions": 4}, "gan/seed-1": {"samples": 32}}
KEPT["vae/seed-0"] = {"reconstructions": 4, "samples": 32}


def images(seed, count):
    return np.random.default_rng(seed).integers(0, 256, (count, 40, 36, 3), dtype=np.uint8)


@pytest.fixture
def report(cli, tmp_path):
    def make(*more, out="reports"):
        answer = cli(["report", "--out", tmp_path / out, "--published", tmp_path / "none", *more])
        assert answer.code == 0, answer.err
        return tmp_path / out / "toy"

    return make


@pytest.fixture
def measured():
    """Runs of several seeds, with more images than a report shows; one seed of gan has none."""
    write_real({"mse": np.zeros(N)}, [i % 3 for i in range(N)])
    save_gallery(
        gallery_file(runs_dir() / "real/toy-test-ffffffffffff", FINGERPRINT), {"reconstructions": images(9, 4)}
    )
    for place, (recipe, seed) in enumerate([("vae", 0), ("vae", 1), ("gan", 0), ("gan", 1)]):
        folder = write_run(recipe, seed, {"mse": drawn(place, N, place)}).path
        arrays = {"samples": images(place, 60)} | ({"reconstructions": images(7, 4)} if recipe == "vae" else {})
        if (recipe, seed) != ("gan", 0):
            save_gallery(gallery_file(folder, FINGERPRINT), arrays, "")


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def galleries(evidence):
    return {
        str(path.parent.relative_to(evidence)): {name: len(found) for name, found in load_gallery(path).items()}
        for path in sorted(evidence.rglob("gallery-*.npz"))
    }


def test_evidence_holds_the_images_that_the_report_shows_and_makes_it_again(report, measured, monkeypatch):
    folder = report("--evidence")
    before = tree(folder)
    assert galleries(folder / "evidence") == KEPT
    monkeypatch.setenv("VAEBENCH_RUNS", str(folder / "evidence"))
    assert tree(report("--evidence", out="again")) == before


def test_evidence_is_made_again_in_its_place(report, measured, monkeypatch):
    folder = report("--evidence")
    before = tree(folder)
    monkeypatch.setenv("VAEBENCH_RUNS", str(folder / "evidence"))
    (folder / "evidence" / "vae" / "seed-0" / "mine.txt").write_text("else nothing is new")
    report("--evidence")
    (folder / "evidence" / "vae" / "seed-0" / "mine.txt").unlink()
    assert tree(folder) == before


def test_images_shown_no_longer_leave_the_evidence(report, measured):
    evidence = report("--evidence") / "evidence"
    gone = gallery_file(evidence / "vae" / "seed-1", FINGERPRINT)
    save_gallery(gone, {"samples": images(1, 60)}, "")
    gallery_file(runs_dir() / "gan" / "seed-1", FINGERPRINT).unlink()
    report("--evidence")
    assert galleries(evidence) == {name: known for name, known in KEPT.items() if not name.startswith("gan")}


def test_snapshots_of_trainings_are_in_the_evidence(cli, tmp_path, monkeypatch):
    plain = ["--threads", "1", "--device", "cpu"]
    assert cli(["train", "vae-digits", "--steps", "4", "--snapshots", "1/2", "--precision", "fp32", *plain]).code == 0
    measured = ["evaluate", "vae-digits", "--snapshots", "--metrics", "mse", "--out", tmp_path / "reports", *plain]
    assert cli(measured).code == 0
    written = cli(["report", "--evidence", "--out", tmp_path / "reports"])
    assert written.code == 0, written.err
    folder = tmp_path / "reports" / "digits"
    assert (folder / "compute.csv").exists()
    before = tree(folder)
    assert not [name for name in before if name.endswith(".safetensors")]
    monkeypatch.setenv("VAEBENCH_RUNS", str(folder / "evidence"))
    again = cli(["report", "--evidence", "--out", tmp_path / "again"])
    assert again.code == 0, again.err
    assert tree(tmp_path / "again" / "digits") == before
