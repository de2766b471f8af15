"""What changes between two images, and means of it: against numpy, scikit-learn, the jackknife and the bootstrap."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from vaebench.core.errors import UserError
from vaebench.core.metric import Score
from vaebench.metrics import manipulation as module
from vaebench.metrics.manipulation import ALIKE, Eigenfaces, change, corners, mean_over

PARTS = ("effect", "leakage", "identity", "background")


def shades(n):
    """Images uint8 (n, 1, 8, 8): a shade each, and noise."""
    draw = np.random.default_rng(0)
    images = 128 + draw.normal(0, 25, (n, 1, 1, 1)) + draw.integers(-20, 21, (n, 1, 8, 8))
    return torch.from_numpy(images.clip(0, 255).astype(np.uint8))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_change_is_what_loops_give():
    draw = np.random.default_rng(0)
    before, after = draw.random((6, 3, 8, 8)), draw.random((6, 3, 8, 8))
    logits = draw.normal(size=(2, 6, 5)) * 3
    projection = draw.normal(size=(3 * 64, 7))
    parts = [torch.from_numpy(part) for part in (before, after)]
    found = change(*parts, tuple(torch.from_numpy(logits)), 2, lambda x: x.flatten(1) @ torch.from_numpy(projection))
    outside = [(y, x) for y in range(8) for x in range(8) if (2 * y / 7 - 1) ** 2 + (2 * x / 7 - 1) ** 2 > 1]

    def apart(a, b):
        return math.sqrt(np.mean([(a[c, y, x] - b[c, y, x]) ** 2 for c in range(3) for y, x in outside]))

    def between(a, b):
        return np.linalg.norm((a - b).reshape(-1) @ projection)

    scenery = np.mean([apart(before[i - 1], before[i]) for i in range(6)])
    strangers = np.mean([between(before[i - 1], before[i]) for i in range(6)])
    for i in range(6):
        gained = sigmoid(logits[1, i]) - sigmoid(logits[0, i])
        assert found.effect[i] == pytest.approx(gained[2])
        assert found.leakage[i] == pytest.approx(np.mean([abs(gained[k]) for k in (0, 1, 3, 4)]))
        assert found.background[i] == pytest.approx(apart(before[i], after[i]) / scenery)
        assert found.identity[i] == pytest.approx(between(before[i], after[i]) / strangers)


def test_nothing_changed_is_nothing():
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = images.flatten(1)[:, :4]
    found = change(images, images, (logits, logits), 0, Eigenfaces((images * 255).to(torch.uint8)))
    for part in PARTS:
        assert getattr(found, part).tolist() == [0] * 5


@pytest.mark.parametrize("shape", [(8, 8), (9, 14), (64, 64)])
def test_corners_are_symmetric(shape):
    found = corners(*shape)
    assert found.shape == shape and found.dtype == torch.bool
    assert torch.equal(found, found.flip(0)) and torch.equal(found, found.flip(1))
    assert torch.equal(corners(*shape[::-1]), found.T)
    assert found[0, 0] and not found[shape[0] // 2, shape[1] // 2]


def test_corners_are_what_a_circle_leaves_of_a_square():
    assert corners(2_000, 1_000).double().mean().item() == pytest.approx(1 - math.pi / 4, abs=0.002)
    assert corners(64, 64).double().mean().item() == pytest.approx(1 - math.pi / 4, abs=0.03)


@pytest.mark.parametrize("shape", [(300, 1, 8, 8), (40, 3, 8, 8)])
def test_eigenfaces_are_scikit_learns_whitened_components(shape, global_rng_untouched):
    """Of 64 pixels the first 63, of 40 images 39: signs are free, distances are not; scikit-learn divides by n - 1."""
    draw = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.rand(shape, generator=draw), 3, 1, 1) * 1.5
    images = (255 * smooth.clamp(0, 1)).to(torch.uint8)
    ours = Eigenfaces(images)(images.float() / 255)
    rows = images.flatten(1).double().numpy() / 255
    size = min(100, shape[0] - 1, rows.shape[1] - 1)
    theirs = PCA(size, whiten=True, svd_solver="full").fit_transform(rows) * math.sqrt(shape[0] / (shape[0] - 1))
    assert ours.shape == theirs.shape and ours.dtype == torch.float64
    np.testing.assert_allclose(ours.abs(), np.abs(theirs), atol=0.01)
    expected = np.linalg.norm(theirs[1:] - theirs[:-1], axis=1)
    np.testing.assert_allclose((ours[1:] - ours[:-1]).norm(dim=1), expected, rtol=1e-3)


def test_eigenfaces_are_fitted_on_a_part_of_many_images(monkeypatch):
    images = shades(640)
    part = Eigenfaces(images[::3])
    monkeypatch.setattr(module, "FITTED_ON", 250)
    found = Eigenfaces(images)  # 640 images, every third
    torch.testing.assert_close(found.mean, part.mean)
    faces = images[:9].float() / 255
    torch.testing.assert_close(found(faces).abs(), part(faces).abs(), rtol=1e-3, atol=1e-3)


def test_images_of_few_independent_components_have_no_others():
    """Twelve images, each many times: eleven components, and nothing beside them."""
    few = shades(12)
    images = few.repeat(20, 1, 1, 1)
    faces = few.float() / 255
    ours = Eigenfaces(images)(faces)
    theirs = PCA(11, whiten=True, svd_solver="full").fit(images.flatten(1).double().numpy() / 255)
    theirs = theirs.transform(faces.flatten(1).double().numpy())
    assert ours.shape == (12, 11)
    np.testing.assert_allclose(
        (ours[1:] - ours[:-1]).norm(dim=1), np.linalg.norm(np.diff(theirs, axis=0), axis=1), 0.01
    )


def test_one_attribute_has_no_others_to_leak_into():
    images = shades(4).float() / 255
    logits = torch.zeros(4, 1)
    with pytest.raises(UserError, match="one attribute"):
        change(images, images, (logits, logits), 0, Eigenfaces(shades(40)))


@pytest.mark.parametrize(("spread", "known"), [(0, False), (0.9, False), (1.1, True), (20, True)])
def test_images_that_differ_by_less_than_a_level_are_alike(spread, known):
    """Every other image is lighter by so many of 255 levels: so far apart are the corners of any two in turn."""
    before = 0.5 + torch.tensor([0.0, spread / 255] * 3)[:, None, None, None] * torch.ones(6, 1, 8, 8)
    logits = torch.zeros(6, 2)
    found = change(before, before + 0.1, (logits, logits), 0, Eigenfaces(shades(40)))
    assert ALIKE == 1 / 255
    assert (found.effect == 0).all() and (found.leakage == 0).all()
    for values in (found.identity, found.background):
        assert values.isfinite().all() if known else values.isnan().all()
    if known:
        assert found.background.tolist() == pytest.approx([0.1 * 255 / spread] * 6, rel=1e-4)


def test_faces_before_one_background_still_differ():
    """Corners of one shade have no unit to measure their change in; faces have."""
    before = shades(12).float() / 255
    before[..., corners(8, 8)] = 0.5
    logits = torch.zeros(12, 2)
    eigenfaces = Eigenfaces(shades(100))
    found = change(before, before.flip(3), (logits, logits), 0, eigenfaces)
    assert found.background.isnan().all()
    faces, mirrored = eigenfaces(before), eigenfaces(before.flip(3))
    strangers = (faces.roll(1, 0) - faces).norm(dim=1).mean()
    torch.testing.assert_close(found.identity, (mirrored - faces).norm(dim=1) / strangers)


def overlapping(sizes=(250, 140, 70), n=300):
    """Three parts of different sizes that share images, whose values correlate."""
    draw = np.random.default_rng(0)
    ids = np.array([f"image/{row:03d}" for row in range(n)])
    base = draw.normal(size=n)
    chosen = [np.sort(draw.choice(n, size, replace=False)) for size in sizes]
    return (
        ids,
        chosen,
        [base[rows] + draw.normal(size=len(rows)) + shift for rows, shift in zip(chosen, (0, 3, -1), strict=True)],
    )


def as_parts(ids, chosen, values):
    return {
        f"attribute={k}": Score.mean_of(torch.from_numpy(part), tuple(ids[rows]))
        for k, (rows, part) in enumerate(zip(chosen, values, strict=True))
    }


def test_a_mean_over_parts_errs_as_leaving_images_out_says():
    ids, chosen, values = overlapping()
    score = mean_over(as_parts(ids, chosen, values), "why")
    assert score.value == pytest.approx(np.mean([part.mean() for part in values]))
    union = sorted({name for rows in chosen for name in ids[rows]})
    assert (score.n, score.ids, score.note, score.influence) == (len(union), tuple(union), "why", True)
    assert score.per_image.mean().item() == pytest.approx(score.value)

    def without(name):
        return np.mean([part[ids[rows] != name].mean() for rows, part in zip(chosen, values, strict=True)])

    left = np.array([without(name) for name in union])
    n = len(union)
    jackknife = math.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum())
    assert score.std_error == pytest.approx(jackknife, rel=0.02)
    pseudo = n * score.value - (n - 1) * left
    assert np.corrcoef(score.per_image, pseudo)[0, 1] > 0.999


def test_a_mean_over_parts_errs_as_drawing_images_anew_says():
    ids, chosen, values = overlapping()
    score = mean_over(as_parts(ids, chosen, values))
    draw = np.random.default_rng(1)
    found = []
    for _ in range(3_000):
        weight = np.bincount(draw.integers(len(ids), size=len(ids)), minlength=len(ids))
        found.append(
            np.mean([np.average(part, weights=weight[rows]) for rows, part in zip(chosen, values, strict=True)])
        )
    assert score.std_error == pytest.approx(np.std(found), rel=0.08)


def test_one_part_is_its_own_mean():
    ids, chosen, values = overlapping()
    parts = as_parts(ids, chosen[1:2], values[1:2])
    score, part = mean_over(parts), parts["attribute=0"]
    assert (score.value, score.n, score.std_error) == pytest.approx((part.value, part.n, part.std_error))
    torch.testing.assert_close(score.per_image, part.per_image)
    assert score.parts == parts


def test_parts_that_share_no_image_err_apart():
    ids, _, values = overlapping((150, 90, 60))
    chosen = [np.arange(150), np.arange(150, 240), np.arange(240, 300)]
    parts = as_parts(ids, chosen, values)
    score = mean_over(parts)
    expected = math.sqrt(sum(part.std_error**2 for part in parts.values())) / 3
    assert score.std_error == pytest.approx(expected, rel=0.02)  # n - 1 images of each, or of all
