"""Crops: Pillow's own within a picture, edges repeated beyond it; and a face framed as the dataset frames it."""

import math

import numpy as np
import pytest
from PIL import Image

from vaebench.datasets import celeba
from vaebench.datasets.images.cropping import Framing, cropped

FRAMING = Framing(left=0.2, top=0.25, side=0.6, left_eye=(0.38, 0.45), right_eye=(0.62, 0.43), aspect=1.0)


def picture(width=178, height=218, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("box", celeba.CROPS.values())
def test_a_box_within_the_picture_is_pillow_s_crop_byte_for_byte(box):
    image = picture()
    expected = image.crop(box).resize((64, 64), Image.Resampling.BICUBIC)
    assert cropped(image, box, (64, 64)).tobytes() == expected.tobytes()
    assert celeba._cropped(image, box).tobytes() == expected.tobytes()


@pytest.mark.parametrize("box", [(-20, 5, 100, 90), (100, 150, 200, 250), (-50, -60, 300, 300), (300, 300, 340, 350)])
def test_a_box_beyond_the_picture_repeats_its_edge(box):
    image, margin = picture(), 200
    padded = Image.fromarray(np.pad(np.asarray(image), ((margin, margin), (margin, margin), (0, 0)), mode="edge"))
    moved = tuple(side + margin for side in box)
    expected = padded.crop(moved).resize((48, 32), Image.Resampling.BICUBIC)
    assert cropped(image, box, (48, 32)).tobytes() == expected.tobytes()


@pytest.mark.parametrize("box", [(10, 10, 10, 20), (20, 10, 10, 20), (-5, 5, -5, 20), (-5, -5, -9, 20)])
def test_an_empty_box_is_refused(box):
    with pytest.raises(ValueError):
        cropped(picture(), box, (64, 64))


@pytest.mark.parametrize("aspect", [1.0, 1.25, 0.8])
@pytest.mark.parametrize("width", [64, 150, 301])
def test_a_face_box_widens_to_the_image_that_it_came_from(aspect, width):
    framing = Framing(left=0.2, top=0.3, side=0.5, left_eye=(0.4, 0.4), right_eye=(0.6, 0.4), aspect=aspect)
    left, top = 37, -12  # where the dataset's image would lie in a larger picture
    box = framing.around(left + 0.2 * width, top + 0.3 * width, 0.5 * width)
    assert box == (left, top, left + width, top + round(width * aspect))


def test_a_tiny_face_still_has_a_crop():
    left, top, right, bottom = FRAMING.around(5, 5, 0.1)
    assert right > left and bottom > top


@pytest.mark.parametrize("degrees", [-170, -30, 0, 12, 90])
@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_placing_undoes_any_similarity(degrees, scale):
    """A face that lies as the dataset has it, then turned, scaled and shifted, comes back to where it was."""
    angle, width = math.radians(degrees), 64
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shift = np.array([14.0, -9.0])
    eyes = [tuple(turn @ (np.array(eye) * width) + shift) for eye in (FRAMING.left_eye, FRAMING.right_eye)]
    back = FRAMING.placing((eyes[0], eyes[1]), FRAMING.side * width * scale, width)
    whole = np.vstack([back, [0, 0, 1]]) @ np.vstack([np.column_stack([turn, shift]), [0, 0, 1]])
    np.testing.assert_allclose(whole, np.eye(3), atol=1e-9)


def test_eyes_as_the_dataset_has_them_give_its_face_box():
    width = 150  # of the dataset's image as it lies in a larger picture, at (40, -7)
    eyes = tuple((40 + width * x, -7 + width * y) for x, y in (FRAMING.left_eye, FRAMING.right_eye))
    box = FRAMING.by_eyes((eyes[0], eyes[1]), 0.6 * width)
    np.testing.assert_allclose(box, (40 + 0.2 * width, -7 + 0.25 * width, 0.6 * width))
    assert FRAMING.around(*box) == (40, -7, 190, 143)


def test_eyes_and_side_that_disagree_share_the_scale():
    eyes = tuple((64 * x, 64 * y) for x, y in (FRAMING.left_eye, FRAMING.right_eye))
    placed = FRAMING.placing((eyes[0], eyes[1]), FRAMING.side * 64 * 1.21, 64)
    assert math.hypot(*placed[:, 0]) == pytest.approx(1 / 1.1)
    middle = np.mean(eyes, axis=0)
    np.testing.assert_allclose(placed[:, :2] @ middle + placed[:, 2], middle)


def test_one_point_has_no_direction():
    with pytest.raises(ValueError, match="one point"):
        FRAMING.placing(((3.0, 4.0), (3.0, 4.0)), 30, 64)
