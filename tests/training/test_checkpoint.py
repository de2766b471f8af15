"""Checkpoints written beside the training: what was saved is what was, failures are told, nothing is lost."""

import threading

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from vaebench.core.errors import UserError
from vaebench.training import checkpoint
from vaebench.training.checkpoint import Position, Saver, load_state


def parts(fused: bool = False):
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1, fused=fused)
    return module, optimizer


def stepped(module, optimizer):
    optimizer.zero_grad()
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return module.weight.detach().clone()


@pytest.fixture(autouse=True)
def _rng(global_rng_untouched):
    before = torch.random.get_rng_state()
    yield
    torch.random.set_rng_state(before)


def test_what_is_saved_is_the_state_at_that_moment(tmp_path, monkeypatch):
    """The training goes on while the file is written, and must not be seen in it."""
    go = threading.Event()
    write = checkpoint.write_tensors
    monkeypatch.setattr(checkpoint, "write_tensors", lambda *given: (go.wait(30), write(*given)))
    module, optimizer = parts()
    with Saver(tmp_path / "state", {"m": module}, [optimizer], every=9) as saver:
        then = stepped(module, optimizer)
        saver.save(Position(step=1, seconds=0.0), {tmp_path / "history.csv": "a\n"})
        now = stepped(module, optimizer)
        go.set()
    assert not torch.equal(then, now)
    assert torch.equal(load_file(tmp_path / "state")["model.m.weight"], then)
    assert (tmp_path / "history.csv").read_text() == "a\n"
    fresh, other = parts()
    assert load_state(tmp_path / "state", {"m": fresh}, [other], 9) == (Position(step=1, seconds=0.0), {})
    assert torch.equal(fresh.weight, then)
    assert torch.equal(stepped(fresh, other), now)  # the optimiser's state is there, too


def test_a_failed_write_is_told_at_the_next_save_or_at_the_end(tmp_path):
    (tmp_path / "file").write_text("")
    module, optimizer = parts()
    reached = []
    for times in (1, 2):
        saver = Saver(tmp_path / "file" / "state", {"m": module}, [optimizer], every=9)
        with pytest.raises(UserError, match="cannot write to"), saver:
            for _ in range(times):
                saver.save(Position(step=0, seconds=0.0), {})
            reached.append(times)
    assert reached == [1]  # the second save tells of the first


def test_how_an_optimiser_computes_is_this_machine_s_not_the_file_s(tmp_path):
    module, optimizer = parts(fused=True)
    stepped(module, optimizer)
    with Saver(tmp_path / "state", {"m": module}, [optimizer], every=9) as saver:
        saver.save(Position(step=0, seconds=0.0), {})
    plain, other = parts(fused=False)
    other.param_groups[0]["lr"] = 0.7
    load_state(tmp_path / "state", {"m": plain}, [other], 9)
    assert not other.param_groups[0]["fused"]
    assert other.param_groups[0]["lr"] == 0.1
    assert torch.allclose(stepped(module, optimizer), stepped(plain, other), atol=1e-6)


def test_it_is_due_when_the_time_has_passed(tmp_path):
    module, optimizer = parts()
    with Saver(tmp_path / "state", {"m": module}, [optimizer], every=1e9) as saver:
        assert not saver.is_due()
    with Saver(tmp_path / "state", {"m": module}, [optimizer], every=-1) as saver:
        assert saver.is_due()


def test_a_learning_rate_that_is_a_tensor_is_kept_as_a_number(tmp_path):
    """As a CUDA graph wants it."""
    module, optimizer = parts()
    optimizer.param_groups[0]["lr"] = torch.tensor(0.25)
    with Saver(tmp_path / "state", {"m": module}, [optimizer], every=9) as saver:
        saver.save(Position(step=0, seconds=0.0), {})
    fresh, other = parts()
    load_state(tmp_path / "state", {"m": fresh}, [other], 9)
    assert other.param_groups[0]["lr"] == 0.25
