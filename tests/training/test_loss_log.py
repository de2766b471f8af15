"""The meter against means taken at once; losses that are not finite are found late, and named by their step."""

import pytest
import torch
from torch import nn

from vaebench.core.distributed import Group
from vaebench.core.errors import Elsewhere, UserError
from vaebench.training.loss_log import LossLog, Terms


def meter(start: int = 0) -> LossLog:
    return LossLog(steps=100, batch_size=4, per_epoch=10, spent=5.0, start=start)


def terms(step, *values, phase="vae", names=("reconstruction", "kl")):
    return Terms(step, phase, names[: len(values)], torch.tensor(values))


def test_a_row_has_the_means_since_the_last_one():
    found = meter()
    found.add(terms(0, 1.0, 10.0))
    found.add(terms(1, 3.0, 20.0))
    found.add(terms(1, 7.0, phase="critic", names=("real",)))
    row = found.read(2, lambda: {"samples/diversity": 0.5})
    assert row.terms == {"vae/reconstruction": 2.0, "vae/kl": 15.0, "critic/real": 7.0, "samples/diversity": 0.5}
    assert (row.step, row.steps, row.epoch) == (2, 100, 0.2)
    assert row.seconds >= 5.0
    found.begin(2)
    found.add(terms(2, 4.0, 0.0))
    assert found.read(3).terms == {"vae/reconstruction": 4.0, "vae/kl": 0.0}


def test_a_term_that_comes_and_goes_is_a_mean_over_the_steps_that_had_it():
    found = meter()
    found.add(terms(0, 1.0))
    found.add(terms(1, 3.0, 8.0))
    found.add(Terms(2, "vae", (), torch.empty(0)))  # a phase that sat the step out
    assert found.read(3).terms == {"vae/reconstruction": 2.0, "vae/kl": 8.0}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((1.0, float("nan")), "at step 7: vae/kl is nan: lower learning_rate"),
        ((float("inf"), float("nan")), "vae/reconstruction is inf, vae/kl is nan"),
        ((3e38, 3e38), "the sum of vae's terms is not finite"),
    ],
)
def test_the_first_step_that_went_wrong_is_named(values, says):
    found = meter()
    found.add(terms(8, float("nan"), phase="critic", names=("late",)))
    found.add(terms(6, 1.0, 1.0))
    found.add(terms(7, *values))
    found.add(terms(9, float("nan"), 1.0))
    for ask in (lambda: found.check(10, {}), lambda: found.read(10)):
        with pytest.raises(UserError, match=says):
            ask()


def test_weights_that_are_not_finite_are_found_though_no_loss_saw_them():
    found, modules = meter(), {"encoder": nn.Linear(2, 2), "decoder": nn.Linear(2, 2)}
    found.add(terms(9, 1.0, 1.0))
    found.check(10, modules)
    modules["decoder"].weight.data[1, 1] = float("inf")
    with pytest.raises(UserError, match="weights of decoder not finite after step 10: lower learning_rate"):
        found.check(10, modules)
    said = meter()
    said._group = Group(1, 1)
    with pytest.raises(Elsewhere):  # of several processes the first one says it
        said.check(10, modules)
