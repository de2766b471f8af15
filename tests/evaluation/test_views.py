"""Views of a face: the same size, shifted by a sixteenth, mirrored, nothing invented."""

import pytest
import torch

from vaebench.evaluation.views import VIEWS


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_has_the_shape_of_its_image(name, images):
    assert VIEWS[name](images).shape == images.shape


def test_views_are_what_they_are_called(images):
    assert torch.equal(VIEWS["whole"](images), images)
    assert torch.equal(VIEWS["mirrored"](images), images.flip(-1))
    assert torch.equal(VIEWS["right"](images)[..., 3:], images[..., :-3])
    assert torch.equal(VIEWS["left"](images)[..., :-3], images[..., 3:])
    assert torch.equal(VIEWS["down"](images)[..., 2:, :], images[..., :-2, :])
    assert torch.equal(VIEWS["up"](images)[..., :-2, :], images[..., 2:, :])


def test_the_border_is_repeated(images):
    edge = images[..., :, :1].expand(2, 3, 32, 3)
    assert torch.equal(VIEWS["right"](images)[..., :3], edge)
