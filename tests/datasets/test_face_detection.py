"""Faces and eyes where they are known to be: in drawn faces, whose eyes' places follow from how they are drawn."""

import math

import cv2
import numpy as np
import pytest
import torch

from vaebench.core.errors import UserError
from vaebench.datasets.images import face_detection
from vaebench.datasets.images.face_detection import Cascade, Face, YuNet, aligned, measure_framing, sighted
from vaebench.datasets.toyface.attributes import attribute_names, draw_attributes
from vaebench.datasets.toyface.canvas import NECK
from vaebench.datasets.toyface.drawing import SEED, draw_face
from vaebench.datasets.toyface.features import EYE_HEIGHT, EYE_OFF
from vaebench.datasets.toyface.person import Person, chances

COUNT = 40
ATTRIBUTES = draw_attributes(range(COUNT))


def eyes_of(index):
    """Middles of a toy face's eyes, (2, 2), as it is drawn: moved by the head's pose about the neck."""
    person = Person(dict(zip(attribute_names(), ATTRIBUTES[index].tolist(), strict=True)), chances((SEED, index)))
    shift = np.array([person.sway("shift_x", 2.2), person.sway("shift_y", 1.2) + 0.3])
    tilt, scale = person.sway("tilt", 0.11), 1.11 + person.sway("scale", 0.045)
    cosine, sine = scale * math.cos(tilt), scale * math.sin(tilt)
    gap = EYE_OFF + person.sway("eye_gap", 0.35)
    eyes = [
        (side * gap + person.turn, EYE_HEIGHT + person.uneven("uneven_eyes", 0.75) * side - NECK) for side in (-1, 1)
    ]
    return np.array(eyes) @ np.array([[cosine, sine], [-sine, cosine]]) + (32, NECK) + shift


EYES = np.array([eyes_of(index) for index in range(COUNT)])


@pytest.fixture(scope="module")
def images():
    drawn = np.stack([draw_face(ATTRIBUTES[index], index) for index in range(COUNT)])
    return torch.from_numpy(drawn.transpose(0, 3, 1, 2).copy())


@pytest.fixture(scope="module")
def framing(images):
    return measure_framing(images)


def changed(images, degrees=0.0, scale=1.0, right=0.0, down=0.0):
    """The images turned, scaled about their middle and shifted; and the matrix (2, 3) that does it to points."""
    matrix = cv2.getRotationMatrix2D((32, 32), degrees, scale)
    matrix[:, 2] += right, down
    by_middles = matrix.copy()
    by_middles[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    warped = [
        cv2.warpAffine(image, by_middles, (64, 64), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        for image in np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
    ]
    return torch.from_numpy(np.stack(warped).transpose(0, 3, 1, 2).copy()), matrix


def test_a_framing_has_the_eyes_where_they_are_drawn(framing):
    true = np.median(EYES, axis=0) / 64
    np.testing.assert_allclose([framing.left_eye, framing.right_eye], true, atol=1.5 / 64)
    assert framing.left + framing.side / 2 == pytest.approx(0.5, abs=0.03)
    assert 0.5 < framing.side < 0.75 and framing.aspect == 1


def test_grey_images_and_other_sizes_are_framed_alike(images, framing):
    grey = measure_framing(images.float().mean(dim=1, keepdim=True).to(torch.uint8))
    large = torch.nn.functional.interpolate(images.float(), size=(128, 128), mode="bicubic").clamp(0, 255)
    for other in (grey, measure_framing(large.to(torch.uint8))):
        assert other.side == pytest.approx(framing.side, abs=0.03)
        np.testing.assert_allclose(other.left_eye, framing.left_eye, atol=1 / 64)


def test_images_that_are_no_square_keep_their_aspect(images, framing):
    tall = torch.nn.functional.pad(images.float(), (0, 0, 8, 8), mode="replicate").to(torch.uint8)
    found = measure_framing(tall)
    assert found.aspect == 80 / 64
    assert found.top - framing.top == pytest.approx(8 / 64, abs=0.02)


def test_too_few_faces_are_said(images):
    noise = torch.randint(0, 256, (40, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match=r"found in 0 of 40 images.*upright faces"):
        measure_framing(noise)
    with pytest.raises(UserError, match="of 12 images, too few"):
        measure_framing(images[:12])


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"degrees": -30},
        {"degrees": 42},
        {"scale": 0.75},
        {"right": 8, "down": -5},
        {"degrees": 20, "scale": 0.85, "right": -6, "down": 3},
    ],
    ids=str,
)
def test_changed_faces_are_laid_as_the_dataset_has_them(images, framing, change):
    some = images[:20]
    moved, matrix = changed(some, **change)
    detector = Cascade()
    wanted = 64 * np.array([framing.left_eye, framing.right_eye])
    misses, before = [], []
    for picture, eyes in zip(moved.permute(0, 2, 3, 1).contiguous().numpy(), EYES, strict=False):
        face = sighted(picture, detector)
        if face is None:
            continue
        true = eyes @ matrix[:, :2].T + matrix[:, 2]
        placed = framing.placing(face.eyes, face.side, 64)
        offset = np.array([0, -0.7])  # the cascade's middle of an eye lies above the drawn one
        misses.append(np.abs(true @ placed[:, :2].T + placed[:, 2] + offset - wanted).max())
        before.append(np.abs(true + offset - wanted).max())
    assert len(misses) >= 0.8 * len(some)
    assert np.median(misses) < 1.0 and np.percentile(misses, 80) < 1.6
    if change:
        assert np.median(misses) < 0.5 * np.median(before)


def test_what_is_laid_looks_like_the_unchanged_face(images, framing):
    some = images[:20]
    moved, _ = changed(some, degrees=25, scale=0.9, right=5)
    reference, known = aligned(some, framing)
    laid, found = aligned(moved, framing)
    assert laid.dtype == torch.uint8 and laid.shape == some.shape and found.dtype == torch.bool
    both = known & found
    assert both.float().mean() >= 0.7
    inner = (slice(None), slice(None), slice(16, 48), slice(16, 48))  # beyond it the border was repeated
    after = (laid.float() - reference.float())[both][inner].abs().mean()
    before = (moved.float() - some.float())[both][inner].abs().mean()
    assert after < 0.5 * before


def test_where_no_face_is_found_the_image_stays_as_it_is(images, framing):
    noise = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    both = torch.cat([noise, images[:1]])
    laid, found = aligned(both, framing)
    assert found.tolist() == [False, True]
    assert torch.equal(laid[0], noise[0]) and not torch.equal(laid[1], images[0])


def test_no_images_are_no_fault(framing):
    laid, found = aligned(torch.zeros(0, 3, 64, 64, dtype=torch.uint8), framing)
    assert laid.shape == (0, 3, 64, 64) and found.shape == (0,)


def test_the_same_again_whatever_the_threads(images, framing):
    before = cv2.getNumThreads()
    try:
        answers = []
        for threads in (1, 2, 2):
            cv2.setNumThreads(threads)
            answers.append((measure_framing(images, at_most=30), *aligned(images[:3], framing)))
    finally:
        cv2.setNumThreads(before)
    for other in answers[1:]:
        assert other[0] == answers[0][0]
        assert torch.equal(other[1], answers[0][1]) and torch.equal(other[2], answers[0][2])


def test_boxes_about_the_same_middle_are_one_face():
    sure = Face(left=10, top=10, side=50, score=9)
    inner = Face(left=22, top=20, side=25, score=3)
    other = Face(left=200, top=10, side=40, score=1)
    assert face_detection._apart([other, inner, sure]) == [sure, other]


def test_a_missing_or_unreadable_yunet_is_said(tmp_path, capfd):
    with pytest.raises(UserError, match=r"none\.onnx does not exist: give YuNet's \.onnx file"):
        YuNet(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match=r"bad\.onnx cannot be read as YuNet"):
        YuNet(tmp_path / "bad.onnx")


class StandIn:
    """Answers as OpenCV documents YuNet's rows: box, right eye, left eye, nose, mouth's corners, score."""

    ROW = (10, 20, 40, 60, 18, 40, 42, 41, 30, 52, 20, 65, 40, 65, 0.9)

    def __init__(self):
        self.size = None

    def setInputSize(self, size):
        self.size = size

    def detect(self, picture):
        assert picture.shape[1::-1] == (self.size or picture.shape[1::-1])
        return 1, None if picture.max() == 0 else np.array([self.ROW], np.float32)


def test_yunet_s_rows_become_squares_with_eyes(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *given, **options: StandIn())
    (tmp_path / "model.onnx").write_bytes(b"stand-in")
    detector = YuNet(tmp_path / "model.onnx")
    assert detector.name.startswith("yunet-")
    picture = np.full((90, 70, 3), 128, np.uint8)
    (face,) = detector.faces(picture, 20)
    assert (face.left, face.top, face.side) == (5, 25, 50)
    assert detector.eyes(picture, face) == ((18, 40), (42, 41))  # a person's right eye is on the picture's left
    assert detector.faces(picture, 60) == []
    assert detector.faces(np.zeros((90, 70, 3), np.uint8), 20) == []
