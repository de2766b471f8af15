"""The screen of float32 products: its bounds hold, and what is found through it is what float64 finds."""

import math

import pytest
import torch

from vaebench.metrics.functional import nearest_pairs, screening
from vaebench.metrics.functional.nearest_pairs import inside_balls, nearest
from vaebench.metrics.functional.screening import Screen


def gaussian(n, d, seed=0, dtype=torch.float32):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def narrow(n, d, seed=0):
    """Rows that differ in the fifth digit only."""
    return 1 + 1e-5 * gaussian(n, d, seed)


def outlying(n, d, seed=0):
    """One row in eight is a thousand times as long."""
    rows = gaussian(n, d, seed)
    rows[::8] *= 1e3
    return rows


def copied(n, d, seed=0):
    """Few different rows, many times each."""
    return gaussian(5, d, 3)[torch.randint(0, 5, (n,), generator=torch.Generator().manual_seed(seed))]


def constant(n, d, seed=0):
    return torch.full((n, d), 0.7)


def small(n, d, seed=0):
    return gaussian(n, d, seed, torch.float64) * 1e-60


def large(n, d, seed=0):
    return gaussian(n, d, seed) * 1e25


def far(n, d, seed=0):
    return gaussian(n, d, seed, torch.float64) + 1e6


KINDS = [gaussian, narrow, outlying, copied, constant, small, large, far]


def distances_by_hand(first, second):
    """(n, m) float64, from differences."""
    return torch.linalg.vector_norm(first.double()[:, None] - second.double()[None], dim=2)


@pytest.fixture(params=[32, 96])
def block(request, monkeypatch):
    monkeypatch.setattr(screening, "BLOCK", request.param)
    monkeypatch.setattr(screening, "SHELF", 1000)
    return request.param


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("d", [1, 40, 3000])
@pytest.mark.parametrize("make", KINDS)
def test_bounds_hold_for_every_pair(make, d, same, block):
    rows = make(75, d)
    columns = rows if same else make(50, d, 1)
    screen, seen = Screen(rows, columns, same=same), torch.zeros(75, len(columns))
    exact = distances_by_hand(rows, columns)
    extent = max(part.abs().max().item() for part in (rows.double(), columns.double())) or 1.0
    scale = 2.0 ** -math.frexp(extent)[1]
    for some, others, block_of_bounds in screen.blocks():
        upper = block_of_bounds[: some.count, : others.count].double()
        closeness = screen.least_closeness(exact[some.here, others.here]).double()
        lower = upper - some.error[: some.count, None] - others.error[: others.count]
        rounding = 1e-12 * scale**2 + 2.0**-23 * closeness.abs()
        assert (upper >= closeness).all()
        assert (lower <= closeness + rounding).all()
        assert (upper - lower <= 5e-4 * max(1, d / 1000) * (1 + closeness.abs().max())).all()  # they say something
        seen[some.here, others.here] += 1
        if same and some.first != others.first:
            seen[others.here, some.here] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("k", [1, 3, 40])
@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("waiting", [50, 2**21])
def test_the_nearest_are_float64_s(make, k, waiting, block, monkeypatch):
    monkeypatch.setattr(nearest_pairs, "WAITING", waiting)
    rows, keys = make(100, 12), make(90, 12, 1)
    for queries, same in ((rows, False), (keys, True)):
        expected = distances_by_hand(queries, keys)
        if same:
            expected.fill_diagonal_(math.inf)
        found, numbers = nearest(queries, keys, k, same=same)
        torch.testing.assert_close(found, expected.sort(dim=1).values[:, :k], rtol=1e-12, atol=0)
        torch.testing.assert_close(found, expected.gather(1, numbers), rtol=1e-12, atol=0)
        assert all(len(set(row)) == k for row in numbers.tolist())
        if same:
            assert (numbers != torch.arange(len(keys))[:, None]).all()


@pytest.mark.parametrize("make", KINDS)
def test_what_lies_in_balls_is_float64_s(make, block):
    """Radii are distances of pairs: for each ball there is a point on its sphere, and points hardly inside or not."""
    rows, columns = make(70, 12), make(80, 12, 1)
    exact = distances_by_hand(rows, columns)
    radii = exact.sort(dim=1).values[:, [5, 20]] * torch.tensor([1.0, 1 - 1e-9])
    others = exact.T.sort(dim=1).values[:, [7]] * (1 + 1e-9)
    found = torch.zeros(70, 80, 3, dtype=torch.bool)
    for of_rows, of_columns in inside_balls(rows, columns, row_radii=radii, column_radii=others):
        assert not found[of_rows.centre, of_rows.point, :2].any()  # each pair once
        found[of_rows.centre, of_rows.point, :2] = of_rows.within
        found[of_columns.point, of_columns.centre, 2:] = of_columns.within
    within = [exact <= radius for radius in (radii[:, :1], radii[:, 1:], others.T)]
    origin = columns.double().mean(dim=0)
    lengths = (rows.double() - origin).square().sum(dim=1)[:, None] + (columns.double() - origin).square().sum(dim=1)
    spheres = (radii[:, :1], radii[:, 1:], others.T)
    for number, (expected, radius) in enumerate(zip(within, spheres, strict=True)):
        clear = (exact.square() - radius.square()).abs() > 3e-12 * lengths
        asked = found[:, :, number]
        assert torch.equal(asked[clear], expected[clear])
        assert asked[exact == radius].all()  # a ball is closed
        assert clear.float().mean() > 0.9 or make in (narrow, copied, constant, far)


def test_few_pairs_are_taken_in_float64(monkeypatch):
    asked = []
    original = Screen.distances
    monkeypatch.setattr(
        Screen, "distances", lambda self, rows, columns: asked.append(len(rows)) or original(self, rows, columns)
    )
    rows, columns = gaussian(2000, 300), gaussian(2000, 300, 1)
    found, _ = nearest(rows, rows, 3, same=True)
    assert sum(asked) < 2000 * 8
    asked.clear()
    for _ in inside_balls(rows, columns, row_radii=found[:, -1:], column_radii=found[:, -1:]):
        pass
    assert sum(asked) < 2000


def test_where_too_many_are_alike_products_in_float64_choose(monkeypatch):
    asked = []
    original = nearest_pairs.squared
    monkeypatch.setattr(nearest_pairs, "squared", lambda *a, **b: asked.append(a[0].shape) or original(*a, **b))
    found, _ = nearest(constant(80, 9), constant(80, 9), 2, same=True)
    assert asked and (found == 0).all()


@pytest.mark.parametrize("setting", ["medium", "autocast"])
def test_shorter_products_are_not_used_and_the_setting_is_left_as_it_was(setting):
    rows = gaussian(300, 500)
    expected = nearest(rows, rows, 3, same=True)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium" if setting == "medium" else before)
        with torch.autocast("cpu", torch.bfloat16, enabled=setting == "autocast"):
            blocks = [upper.dtype for _, _, upper in Screen(rows, rows).blocks()]
            found = nearest(rows, rows, 3, same=True)
        assert torch.get_float32_matmul_precision() == ("medium" if setting == "medium" else before)
    finally:
        torch.set_float32_matmul_precision(before)
    assert set(blocks) == {torch.float32}
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.gpu
def test_a_gpu_finds_the_same():
    rows = gaussian(500, 300)
    expected, found = nearest(rows, rows, 3, same=True), nearest(rows.cuda(), rows.cuda(), 3, same=True)
    torch.testing.assert_close(found[0].cpu(), expected[0], rtol=1e-12, atol=0)
    assert torch.equal(found[1].cpu(), expected[1])
