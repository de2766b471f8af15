"""Stages of long work reach whoever watches, and nobody else."""

import pytest

from vaebench.core import stages


def test_nobody_is_told_where_nobody_watches():
    stages.tell("reading", 1, 2)


def test_the_watcher_is_told_until_it_looks_away():
    told = []
    with stages.watched(lambda *stage: told.append(stage)):
        stages.tell("one", 1, 2)
        stages.tell("two")
    stages.tell("three")
    assert told == [("one", 1, 2), ("two", 0, 0)]


def test_the_former_watcher_is_back_after_an_error():
    told = []
    with stages.watched(lambda *stage: told.append(stage)):
        with pytest.raises(ValueError), stages.watched(lambda *stage: None):
            stages.tell("inner")
            raise ValueError
        stages.tell("outer")
    assert [what for what, _, _ in told] == ["outer"]


def test_an_evaluation_tells_its_images_to_the_last_and_each_score(cli, tmp_path):
    told = []
    cli(["train", "vae-digits", "--steps", "1"])
    from vaebench.evaluation.evaluate import evaluate_runs
    from vaebench.evaluation.protocol import Protocol

    protocol = Protocol(metrics=("mse", "blur"), samples=40, device="cpu")
    with stages.watched(lambda *stage: told.append(stage)):
        evaluate_runs(["vae-digits"], protocol, every=False, dataset=None, say=lambda text: None)
    images = [stage for stage in told if stage[0] == "vae-digits/seed-0: images"]
    assert images[-1][1:] == (400, 400)  # 360 test images and 40 samples
    assert [done for _, done, _ in images] == sorted(done for _, done, _ in images)
    assert {"vae-digits/seed-0: mse", "vae-digits/seed-0: blur"} <= {what for what, _, _ in told}
