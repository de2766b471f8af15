"""TF32: a protocol of its own, refused on a CPU at every door, and off in evaluations that do not ask for it."""

import numpy as np
import pytest
import torch

from vaebench.core.device import tf32
from vaebench.core.metric import Need
from vaebench.evaluation.protocol import Protocol

SAMPLER = "import torch\n\n\ndef sampler(n, generator):\n    return torch.rand(n, 1, 28, 28, generator=generator)\n"


@pytest.mark.parametrize("door", ["model", "images", "runs"])
def test_on_a_cpu_it_is_refused_in_one_line(door, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SAMPLER)
    np.savez(tmp_path / "made.npz", np.zeros((4, 28, 28, 1), np.uint8))
    asked = {
        "model": ["--model", "./mine.py:sampler", "--dataset", "digits", "--name", "mine"],
        "images": ["--images", "made.npz", "--reference", "digits", "--name", "made"],
        "runs": ["vae-digits"],
    }
    if door == "runs":
        assert cli(["train", "vae-digits", "--steps", "1"]).code == 0
    answer = cli(["evaluate", *asked[door], "--metrics", "blur", "--tf32", "--out", str(tmp_path / "reports")])
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "--tf32 is a GPU's way to multiply, and this evaluation runs on the CPU: leave it away" in answer.err
    assert not (tmp_path / "reports").exists()


def test_it_stands_in_the_protocol_of_all_that_is_computed_from_images():
    rounded, full = (Protocol(tf32=allowed).build() for allowed in (True, False))
    for metric, usual in zip(rounded, full, strict=True):
        of_images = bool(metric.spec.needs & ~Need.TRAINING)
        expected = usual.protocol_of()
        assert metric.protocol_of() == (f"{expected}/tf32" if of_images else expected)


@pytest.mark.parametrize("allowed", [True, False])
def test_switches_are_given_back(allowed):
    def switches():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = switches()
    with pytest.raises(KeyError), tf32(allowed):
        assert switches() == (allowed, allowed)
        raise KeyError
    assert switches() == before
