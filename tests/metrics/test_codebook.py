"""Usage, entropy and bits of a codebook, beside scipy's entropy and beside leaving one image out."""

import numpy as np
import pytest
import torch
from scipy import stats

from vaebench.core.context import Context
from vaebench.core.errors import UserError
from vaebench.core.metric import EvalBatch
from vaebench.metrics.codebook import Codes, bits_per_pixel, codebook_entropy, codebook_usage, entropy_of, usage_of


def drawn(n=40, places=9, size=64, seed=0):
    shares = np.random.default_rng(seed).dirichlet(np.full(size, 0.3))
    return torch.from_numpy(np.random.default_rng(seed + 1).choice(size, (n, places), p=shares))


def test_entropy_is_scipys_and_its_derivative_that_of_weighing_an_image_more():
    codes = drawn()
    entropy, derivatives = entropy_of(codes, 64)
    assert entropy == pytest.approx(stats.entropy(np.bincount(codes.flatten(), minlength=64), base=2), abs=1e-12)
    assert float(derivatives.mean()) == pytest.approx(0, abs=1e-12)
    for image in (0, 7):
        weights, step = np.ones(len(codes)), 1e-6
        weights[image] += step
        counts = sum(w * np.bincount(row, minlength=64) for w, row in zip(weights, codes.numpy(), strict=True))
        moved = (stats.entropy(counts, base=2) - entropy) / step * len(codes)
        assert float(derivatives[image]) == pytest.approx(moved, abs=1e-4)


def test_usage_and_what_each_image_alone_holds_up():
    codes = drawn()
    usage, derivatives = usage_of(codes, 64)
    assert usage == len(set(codes.flatten().tolist())) / 64
    for image in range(len(codes)):
        rest = torch.cat([codes[:image], codes[image + 1 :]])
        lost = usage - len(set(rest.flatten().tolist())) / 64
        assert float(derivatives[image]) == pytest.approx(lost * (len(codes) - 1), abs=1e-12)


def test_all_metrics_of_batches():
    codes, images = drawn(), torch.zeros(40, 3, 6, 6)
    whole, first, second = Codes(), Codes(), Codes()
    whole.update(EvalBatch(real=images, codes=codes))
    first.update(EvalBatch(real=images[:15], codes=codes[:15]))
    second.update(EvalBatch(real=images[15:], codes=codes[15:]))
    first.merge(second)
    context = Context(codebook_size=64)
    scores = whole.scores(context)
    assert {name: score.value for name, score in scores.items()} == {
        name: score.value for name, score in first.scores(context).items()
    }
    assert scores["bits"].value == pytest.approx(entropy_of(codes, 64)[0] * 9 / 36)
    assert scores["usage"].protocol == "entries=64/n=40"
    names = [metric.spec.name for metric in (*codebook_usage(), *codebook_entropy(), *bits_per_pixel())]
    assert names == ["codebook_usage", "codebook_entropy", "bits_per_pixel"]


def test_one_entry_everywhere_takes_no_bits():
    entropy, derivatives = entropy_of(torch.zeros(5, 4, dtype=torch.int64), 8)
    assert entropy == 0 and not derivatives.any()
    assert usage_of(torch.zeros(5, 4, dtype=torch.int64), 8)[0] == 1 / 8


@pytest.mark.parametrize(("size", "said"), [(None, "give it codebook_size"), (3, "no entries of a codebook of 3")])
def test_codes_of_another_codebook_are_refused(size, said):
    measurement = Codes()
    measurement.update(EvalBatch(real=torch.zeros(40, 1, 2, 2), codes=drawn()))
    with pytest.raises(UserError, match=said):
        measurement.scores(Context(codebook_size=size))
