"""Noise by position is the noise of one draw of all, in whatever batches it is asked for."""

import pytest
import torch

from vaebench.core import seeding
from vaebench.evaluation.noise import ByPosition


@pytest.mark.parametrize("shape", [(1,), (5,), (32,), (3, 4, 4)])
@pytest.mark.parametrize("count", [1, 3, 17, 512, 513, 700, 1537])
@pytest.mark.parametrize("step", [1, 64, 600])
def test_it_is_one_draw(count, shape, step):
    whole = torch.randn(count, *shape, generator=seeding.generator(3, "test"))
    noise = ByPosition(3, "test", count, shape)
    parts = [noise.rows(rows) for rows in torch.arange(count).split(step)]
    assert torch.equal(torch.cat(parts), whole)


def test_one_of_several_processes_begins_at_its_share():
    whole = torch.randn(1100, 7, generator=seeding.generator(3, "test"))
    noise = ByPosition(3, "test", 1100, (7,))
    assert torch.equal(noise.rows(torch.arange(530, 540)), whole[530:540])
    assert torch.equal(noise.rows(torch.arange(540, 1100)), whole[540:])
