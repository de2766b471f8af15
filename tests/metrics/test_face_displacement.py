"""Displaced images against slices, OpenCV and a plain loop; what is kept of them; and drawn faces put back."""

import itertools
import math

import cv2
import numpy as np
import pytest
import torch

from vaebench.core.dataset import ImageDataset
from vaebench.core.errors import UserError
from vaebench.core.paths import cache_dir
from vaebench.datasets.toyface.attributes import draw_attributes
from vaebench.datasets.toyface.drawing import draw_face
from vaebench.metrics.functional import face_displacement as module
from vaebench.metrics.functional.face_displacement import (
    CONDITIONS,
    UNTOUCHED,
    Displacement,
    displaced,
    faces_out_of_place,
)

WAYS = ((1, 0), (-1, 0), (0, 1), (0, -1))  # right, left, down, up


def noise(n=24, shape=(3, 16, 16), seed=0):
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def smooth(n=16, channels=3, height=64, width=64):
    """Coarse noise, enlarged: what it is between two pixels hardly depends on how one interpolates."""
    draw = np.random.default_rng(0)
    coarse = draw.integers(20, 236, (n, 8, 8, channels)).astype(np.float32)
    fine = [cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) for image in coarse]
    images = np.stack(fine).reshape(n, height, width, channels).transpose(0, 3, 1, 2)
    return torch.from_numpy(images.round().clip(0, 255).astype(np.uint8))


def data_of(images, split="test"):
    return ImageDataset(name="faces", split=split, images=images, ids=[f"{split}/{row}" for row in range(len(images))])


# displaced


def sliced(image, right, down):
    """(c, h, w) moved by whole pixels, its edge repeated."""
    _, height, width = image.shape
    rows = (np.arange(height) - down).clip(0, height - 1)
    columns = (np.arange(width) - right).clip(0, width - 1)
    return image[:, rows][:, :, columns]


def ways_of(images, moved, pixels):
    """Which of the four ways each image went; exactly one must fit, to the last level."""
    found = []
    for image, after in zip(images.numpy(), moved.numpy(), strict=True):
        fitting = [way for way, (x, y) in enumerate(WAYS) if (sliced(image, pixels * x, pixels * y) == after).all()]
        assert len(fitting) == 1
        found.append(fitting[0])
    return found


@pytest.mark.parametrize("pixels", [1, 2, 4, 15])
@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 16, 16)])
def test_shifts_by_whole_pixels_are_slices(pixels, shape):
    images = noise(shape=shape)
    ways_of(images, displaced(images, Displacement(shift=pixels / 16)), pixels)


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 64, 64), (3, 9, 14)])
def test_untouched_images_are_themselves(shape):
    images = noise(shape=shape)
    found = displaced(images, Displacement())
    assert torch.equal(found, images) and found is not images
    assert torch.equal(displaced(images, CONDITIONS[UNTOUCHED]), images)


def matrix_of(turn, scale, right, down, size):
    """From an old image's pixels to a new one's, as OpenCV counts them: from the first one's middle."""
    width, height = size
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn, scale)
    matrix[:, 2] += right * width, down * height
    return matrix


def by_opencv(image, matrix):
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    size = (pixels.shape[1], pixels.shape[0])
    warped = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return warped.reshape(pixels.shape).transpose(2, 0, 1).astype(int)


def by_loop(image, matrix):
    """Keys's cubic convolution with a = -0.75, pixel by pixel, in float64; the edge's pixels stand for those beyond."""
    old, (_, height, width) = image.double().numpy(), image.shape
    back = cv2.invertAffineTransform(matrix)
    new = np.zeros_like(old)

    def weights(t):
        near, far = np.array([t, 1 - t]), np.array([1 + t, 2 - t])
        inner = (2 - 0.75) * near**3 - (3 - 0.75) * near**2 + 1
        outer = -0.75 * (far**3 - 5 * far**2 + 8 * far - 4)
        return np.array([outer[0], inner[0], inner[1], outer[1]])

    for y, x in itertools.product(range(height), range(width)):
        u, v = back[:, :2] @ (x, y) + back[:, 2]
        columns = (math.floor(u) + np.arange(-1, 3)).clip(0, width - 1)
        rows = (math.floor(v) + np.arange(-1, 3)).clip(0, height - 1)
        part = old[:, rows][:, :, columns]
        new[:, y, x] = np.einsum("crk,r,k->c", part, weights(v - math.floor(v)), weights(u - math.floor(u)))
    return np.round(new.clip(0, 255)).astype(int)


CASES = {name: by for name, by in CONDITIONS.items() if name != UNTOUCHED}
CASES |= {
    "all at once": Displacement(shift=0.1, scale=1.2, turn=25),
    "nearly round": Displacement(turn=170),
    "fourfold": Displacement(scale=4, shift=0.05),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("side", [64, 33])
def test_it_is_what_opencv_makes_of_one_way_and_one_turn(name, side):
    """OpenCV counts places in 32nds of a pixel: some levels are lost to it where an image is steep."""
    by, images = CASES[name], smooth(height=side, width=side)
    for image, after in zip(images, displaced(images, by).numpy(), strict=True):
        misses = []
        for (x, y), sense in itertools.product(WAYS if by.shift else WAYS[:1], (1, -1) if by.turn else (1,)):
            matrix = matrix_of(sense * by.turn, by.scale, by.shift * x, by.shift * y, (side, side))
            misses.append(np.abs(by_opencv(image, matrix) - after).max())
        assert min(misses) <= 3, misses
        assert sum(miss <= 3 for miss in misses) == 1


@pytest.mark.parametrize("by", [Displacement(scale=0.75), Displacement(scale=4 / 3), Displacement(shift=0.03)], ids=str)
def test_it_is_cubic_convolution(by):
    """Of noise, the steepest of images, to a level's rounding."""
    images = noise(3, (3, 20, 20), seed=1)
    for image, after in zip(images, displaced(images, by).numpy(), strict=True):
        ways = WAYS if by.shift else WAYS[:1]
        tried = [by_loop(image, matrix_of(0, by.scale, by.shift * x, by.shift * y, (20, 20))) for x, y in ways]
        assert min(np.abs(one - after).max() for one in tried) <= 1


def test_images_that_are_no_square_are_turned_and_not_sheared():
    images = smooth(12, height=48, width=64)
    matrices = [matrix_of(turn, 1, 0, 0, (64, 48)) for turn in (30, -30)]
    for image, after in zip(images, displaced(images, Displacement(turn=30)).numpy(), strict=True):
        assert min(np.abs(by_opencv(image, matrix) - after).max() for matrix in matrices) <= 3


def test_each_image_goes_its_own_way_and_always_the_same(global_rng_untouched):
    images = noise(400, (1, 8, 8))
    by = Displacement(shift=1 / 8)
    first = displaced(images, by)
    assert torch.equal(first, displaced(images, by)) and torch.equal(first, displaced(images, by, seed=0))
    ways = np.array(ways_of(images, first, 1))
    counts = np.bincount(ways, minlength=4)
    assert np.abs(counts - 100).max() < 4.5 * math.sqrt(400 * 3 / 16)
    others = np.array(ways_of(images, displaced(images, by, seed=1), 1))
    assert (ways == others).mean() == pytest.approx(1 / 4, abs=4.5 * math.sqrt(3 / 16 / 400))
    farther = ways_of(images, displaced(images, Displacement(shift=1 / 4)), 2)
    assert ways.tolist() == farther  # the same way, however far


def senses_of(images, turn, seed=0):
    """Which way images of 16 x 16 were turned: 0 or 1."""
    after = displaced(images, Displacement(turn=turn), seed=seed).numpy()
    matrices = [matrix_of(sense * turn, 1, 0, 0, (16, 16)) for sense in (1, -1)]
    misses = [
        [np.abs(by_opencv(image, matrix) - one).mean() for matrix in matrices]
        for image, one in zip(images, after, strict=True)
    ]
    return np.argmin(misses, axis=1)


def test_each_image_is_turned_its_own_way_and_always_the_same():
    images = smooth(200, channels=1, height=16, width=16)
    first = senses_of(images, 15)
    assert abs(first.sum() - 100) < 4.5 * math.sqrt(50)
    assert (first == senses_of(images, 30)).all()
    assert (first == senses_of(images, 15, seed=1)).mean() == pytest.approx(1 / 2, abs=4.5 / 2 / math.sqrt(200))
    ways = np.array(ways_of(noise(200), displaced(noise(200), Displacement(shift=1 / 16)), 1))
    for way in range(4):  # neither says anything of the other
        part = first[ways == way]
        assert part.mean() == pytest.approx(1 / 2, abs=4.5 / 2 / math.sqrt(len(part)))


@pytest.mark.parametrize("name", CONDITIONS)
def test_levels_stay_within_their_range(name):
    """Cubic convolution overshoots beside an edge: what is beyond black or white is cut off, and does not wrap."""
    stripes = torch.zeros(16, 1, 32, 32, dtype=torch.uint8)
    stripes[:, :, :, 10:20] = 255
    found = displaced(stripes, CONDITIONS[name])
    assert found.dtype == torch.uint8 and found.shape == stripes.shape
    assert found.float().mean().item() == pytest.approx(stripes.float().mean().item(), rel=0.5)
    assert (displaced(torch.full_like(stripes, 255), CONDITIONS[name]) == 255).all()
    assert (displaced(torch.zeros_like(stripes), CONDITIONS[name]) == 0).all()


def test_the_conditions_are_those_that_their_names_say():
    assert CONDITIONS[UNTOUCHED] == Displacement()
    for name, by in CASES.items():
        what, _, value = name.partition(" ")
        if name in CONDITIONS:
            top, _, bottom = value.partition("/")
            known = {"shift": 0.0, "scale": 1.0, "turn": 0.0} | {what: float(top) / float(bottom or 1)}
            assert (by.shift, by.turn) == (known["shift"], known["turn"])
            assert by.scale == pytest.approx(known["scale"], abs=0.005)


# what is kept


@pytest.fixture
def looked(monkeypatch):
    """Eyes are not looked for: images come back mirrored, and every third is found. How often each was asked."""
    seen = {"framed": 0, "aligned": 0}

    def framed(images):
        seen["framed"] += 1
        return "a framing"

    def aligned(images, framing):
        assert framing == "a framing"
        seen["aligned"] += 1
        return images.flip(3), torch.arange(len(images)) % 3 == 0

    monkeypatch.setattr(module, "measure_framing", framed)
    monkeypatch.setattr(module, "aligned", aligned)
    return seen


ROWS = torch.tensor([1, 4, 5, 9, 20])


def kept():
    return sorted((cache_dir() / "realigned").glob("*.npz"))


def equal(first, second):
    assert first.keys() == second.keys()
    return all(
        torch.equal(getattr(first[name], part), getattr(second[name], part))
        for name in first
        for part in ("displaced", "realigned", "found")
    )


def test_every_condition_is_made_of_the_chosen_rows(looked):
    data = data_of(noise())
    found = faces_out_of_place(data, data_of(noise(seed=1), "train"), ROWS)
    assert list(found) == list(CONDITIONS)
    for name, faces in found.items():
        assert torch.equal(faces.displaced, displaced(data.images[ROWS], CONDITIONS[name]))
        assert torch.equal(faces.realigned, faces.displaced.flip(3))
        assert faces.found.tolist() == [True, False, False, True, False]
        assert faces.found.dtype == torch.bool and faces.realigned.dtype == torch.uint8


def test_what_is_kept_is_found_again_without_looking(looked):
    data, training = data_of(noise()), data_of(noise(seed=1), "train")
    first = faces_out_of_place(data, training, ROWS)
    assert looked == {"framed": 1, "aligned": len(CONDITIONS)} and len(kept()) == 1
    before = kept()[0].read_bytes()
    assert equal(faces_out_of_place(data_of(noise()), data_of(noise(seed=1), "train"), ROWS.clone()), first)
    assert looked == {"framed": 1, "aligned": len(CONDITIONS)}
    assert kept()[0].read_bytes() == before


def flipped(raw):
    place = len(raw) // 2
    return raw[:place] + bytes([raw[place] ^ 0xFF]) + raw[place + 1 :]


def other_size(raw):
    name = kept()[0]
    with np.load(name) as archive:
        arrays = {key: part[..., :-1] if key.startswith("image") else part for key, part in archive.items()}
    np.savez(name, **arrays)
    return name.read_bytes()


def one_lost(raw):
    name = kept()[0]
    with np.load(name) as archive:
        arrays = {key: part for key, part in archive.items() if key != "found turn 15"}
    np.savez(name, **arrays)
    return name.read_bytes()


@pytest.mark.parametrize(
    "damage", [lambda raw: b"", lambda raw: b"damaged", lambda raw: raw[:-100], flipped, other_size, one_lost]
)
def test_a_damaged_file_is_made_again(looked, damage):
    data, training = data_of(noise()), data_of(noise(seed=1), "train")
    first = faces_out_of_place(data, training, ROWS)
    (path,) = kept()
    path.write_bytes(damage(path.read_bytes()))
    for _ in range(2):  # mended at the first time
        assert equal(faces_out_of_place(data, training, ROWS), first)
        assert looked["framed"] == 2
    assert kept() == [path]


def test_other_data_other_training_and_other_rows_are_kept_apart(looked):
    data, training = data_of(noise()), data_of(noise(seed=1), "train")
    pixel = noise()
    pixel[23, 0, 0, 0] ^= 1  # of a row that is not even chosen
    for asked in (
        (data, training, ROWS),
        (data_of(pixel), training, ROWS),
        (data, data_of(noise(seed=2), "train"), ROWS),
        (data, training, ROWS[:-1]),
        (data, training, ROWS.flip(0)),
    ):
        faces_out_of_place(*asked)
    assert len(kept()) == looked["framed"] == 5


def test_a_failed_search_leaves_nothing(looked, monkeypatch):
    def interrupted(images, framing):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "aligned", interrupted)
    with pytest.raises(KeyboardInterrupt):
        faces_out_of_place(data_of(noise()), data_of(noise(seed=1), "train"), ROWS)
    assert not kept()


def test_training_images_without_faces_are_refused():
    with pytest.raises(UserError, match="upright faces"):
        faces_out_of_place(data_of(noise(4)), data_of(noise(22, seed=1), "train"), torch.arange(2))
    assert not kept()


# drawn faces

COUNT = 30


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """Drawn faces, and what became of them under every condition; eyes are really looked for, once."""
    attributes = draw_attributes(range(2 * COUNT))
    drawn = np.stack([draw_face(attributes[index], index) for index in range(2 * COUNT)]).transpose(0, 3, 1, 2)
    images = torch.from_numpy(drawn.copy())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        found = faces_out_of_place(data_of(images[COUNT:]), data_of(images[:COUNT], "train"), torch.arange(COUNT))
    torch.set_num_threads(threads)
    return images[COUNT:], found


def apart(first, second):
    """Mean absolute difference of each image, in levels of 255."""
    return (first.double() - second.double()).abs().flatten(1).mean(dim=1)


@pytest.mark.parametrize("name", CONDITIONS)
def test_eyes_are_found_in_most_faces_and_the_others_are_left_alone(toys, name):
    faces = toys[1][name]
    assert faces.found.double().mean() >= 0.7
    assert torch.equal(faces.realigned[~faces.found], faces.displaced[~faces.found])


@pytest.mark.parametrize("name", [name for name in CONDITIONS if name != UNTOUCHED])
def test_faces_that_were_put_back_are_nearer_to_the_untouched_ones(toys, name):
    """On average to the face as it is drawn; each, and by half at least, to that face laid as the dataset has it."""
    images, found = toys
    faces, laid = found[name], found[UNTOUCHED]
    before, after = (apart(part, images)[faces.found] for part in (faces.displaced, faces.realigned))
    assert after.mean() < 0.8 * before.mean()
    both = faces.found & laid.found
    before, after = (apart(part, laid.realigned)[both] for part in (faces.displaced, faces.realigned))
    assert (after < before).double().mean() >= 0.9
    assert after.mean() < before.mean() / 2
