"""What a shell is told when a name is completed."""

import pytest

from vaebench.cli import completion
from vaebench.core.paths import runs_dir


@pytest.fixture
def folders():
    for name in (
        *("vae-digits/seed-0", "vae-digits/seed-1", "realvae/seed-0", "baseline-vae/seed-0"),
        *("external/mine", "real/digits-test", "baseline/pca", "studies/digits", ".hidden/seed-0"),
    ):
        (runs_dir() / name).mkdir(parents=True)
    (runs_dir() / "vae-digits" / "notes.txt").write_text("no run")


def test_runs_and_recipes_are_completed_and_folders_of_other_things_are_not(folders):
    assert completion.runs("") == [
        *("baseline-vae", "baseline-vae/seed-0", "external/mine", "realvae", "realvae/seed-0"),
        *("vae-digits", "vae-digits/seed-0", "vae-digits/seed-1"),
    ]
    assert completion.runs("vae-digits/") == ["vae-digits/seed-0", "vae-digits/seed-1"]


def test_a_runs_folder_that_is_not_there_or_is_a_file_completes_nothing():
    assert completion.runs("") == []
    runs_dir().parent.mkdir(parents=True, exist_ok=True)
    runs_dir().write_text("no folder")
    assert completion.runs("") == []


def test_the_last_of_several_metrics_is_completed():
    assert completion.metrics("blur,ssi") == ["blur,ssim"]
    assert "ssim" in completion.metric("s")
