"""Codes of vector-quantised models in the forms that published code returns them in; what cannot be told is n/a."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import vaebench as vb
from vaebench.adapters.codebooks import entries_of
from vaebench.core import results
from vaebench.core.dataset import to_float
from vaebench.core.errors import UserError
from vaebench.core.paths import runs_dir
from vaebench.datasets import DATASETS

ENTRIES, CHANNELS = 16, 3


class Quantiser(nn.Module):
    """As taming-transformers': (quantised, loss, (perplexity, one-hot, indices)), places of all images in one row."""

    def __init__(self, shape=(-1,)):
        super().__init__()
        self.embedding = nn.Embedding(ENTRIES, CHANNELS)
        self.embedding.weight.data = torch.randn(ENTRIES, CHANNELS, generator=torch.Generator().manual_seed(1))
        self.shape = shape

    def numbers(self, latents):
        return torch.cdist(latents.movedim(1, 3).flatten(0, 2), self.embedding.weight).argmin(1)

    def forward(self, latents):
        indices = self.numbers(latents)
        one_hot = nn.functional.one_hot(indices, ENTRIES).float()
        quantised = self.embedding(indices).unflatten(0, (len(latents), 7, 7)).movedim(3, 1)
        return quantised, torch.zeros(()), (torch.ones(()), one_hot, indices.reshape(self.shape))


class VQ(nn.Module):
    """Encodes to 7 x 7 places; ``form`` says what ``encode`` returns."""

    def __init__(self, form, shape=(-1,)):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.encoder = nn.Conv2d(1, CHANNELS, 4, stride=4)
            self.decoder = nn.ConvTranspose2d(CHANNELS, 1, 4, stride=4)
        self.quantize, self.form = Quantiser(shape), form

    def encode(self, images):
        latents = 3 * self.encoder(images)
        return self.form(self, latents)

    def decode(self, latents):
        return self.decoder(self.quantize(latents)[0]).sigmoid()


def taming(model, latents):
    return model.quantize(latents)


def lucidrains(model, latents):
    quantised, loss, (_, _, indices) = model.quantize(latents)
    return quantised, indices.view(len(latents), 7, 7), loss[None]


def an_object(model, latents):
    quantised, _, (_, _, indices) = model.quantize(latents)
    return SimpleNamespace(latents=quantised, indices=indices.view(len(latents), -1))


def a_mapping(model, latents):
    quantised, _, (_, _, indices) = model.quantize(latents)
    return {"quantized": quantised, "codes": indices.int()}


def before_the_quantiser(model, latents):
    return latents


def after_the_quantiser(model, latents):
    return model.quantize(latents)[0]


def declared(model, latents):
    quantised, _, (_, _, indices) = model.quantize(latents)
    return vb.Posterior(mean=quantised, codes=indices.view(len(latents), -1))


def measured(model, name="vq"):
    metrics = ["mse", "codebook_usage", "codebook_entropy", "bits_per_pixel"]
    vb.evaluate(model, dataset="digits", name=name, metrics=metrics, samples=10)
    return {
        line.metric: line
        for line in results.read(runs_dir() / "external" / name / "results.jsonl")
        if line.stratum == "all"
    }


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
@pytest.mark.parametrize(
    "form", [taming, lucidrains, an_object, a_mapping, before_the_quantiser, after_the_quantiser, declared]
)
def test_every_form_reads_the_same_codes(form, shape):
    model = VQ(form, shape).eval()
    images = to_float(DATASETS.get("digits")().load("test").images)
    with torch.inference_mode():
        codes = model.quantize.numbers(3 * model.encoder(images))
    shares = torch.bincount(codes, minlength=ENTRIES).double() / len(codes)
    entropy = -sum(float(share) * math.log2(float(share)) for share in shares if share > 0)
    found = measured(model)
    assert 1 < (shares > 0).sum() <= ENTRIES
    assert found["codebook_usage"].value == pytest.approx(float((shares > 0).double().mean()))
    assert found["codebook_entropy"].value == pytest.approx(entropy)
    assert found["bits_per_pixel"].value == pytest.approx(entropy * 49 / 784)
    assert found["codebook_usage"].protocol == f"entries={ENTRIES}/n={len(images)}"
    assert found["mse"].value > 0


def two_of_them(model, latents):
    quantised, indices, _ = lucidrains(model, latents)
    return quantised, indices, indices.flip(0)


def labels(model, latents):
    return latents.flatten(1), torch.arange(len(latents))


def place_by_place(model, latents):
    quantised, indices, loss = lucidrains(model, latents)
    return quantised, indices.flatten(1).T.contiguous(), loss


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (two_of_them, "which of the integers (2, 7, 7), (2, 7, 7) are its codes cannot be told: return vaebench.Post"),
        (labels, "which of the integers (2,) are its codes cannot be told"),
        (place_by_place, "its codes do not lie image by image"),
    ],
)
def test_what_cannot_be_told_is_na_with_the_way(form, said):
    model = VQ(form)
    if form is labels:
        model.decode = lambda latents: model.decoder(latents.unflatten(1, (CHANNELS, 7, 7))).sigmoid()
    found = measured(model)
    for metric in ("codebook_usage", "codebook_entropy", "bits_per_pixel"):
        assert found[metric].value is None
        assert found[metric].note.startswith("needs a codebook: ") and said in found[metric].note
        assert "Posterior(mean=..., codes=...)" in found[metric].note
    assert found["mse"].value > 0


def test_a_quantiser_that_does_not_take_the_latents_is_na_with_the_reason():
    model = VQ(before_the_quantiser)
    whole = model.quantize
    model.decode = lambda latents: model.decoder(whole(latents)[0]).sigmoid()
    model.quantize = nn.Linear(5, 5)
    found = measured(model)
    assert "its quantiser does not take what encode gives" in found["codebook_usage"].note
    assert found["mse"].value > 0


def test_integers_are_no_latents():
    model = VQ(lambda model, latents: model.quantize(latents)[2][2].view(len(latents), 7, 7))
    with pytest.raises(UserError, match="integers, which are codes and no latents"):
        measured(model)


def test_integers_of_the_latents_shape_are_no_variance():
    class Line(VQ):
        def encode(self, images):
            latents = self.encoder(images)
            return latents, latents.round().long()

    found = measured(Line(None))
    assert "cannot be told" in found["codebook_usage"].note


def test_a_model_without_a_codebook_needs_one():
    class Plain(nn.Module):
        def encode(self, images):
            return nn.functional.avg_pool2d(images, 2)

        def decode(self, latents):
            return latents.repeat_interleave(2, 2).repeat_interleave(2, 3)

    assert measured(Plain())["codebook_usage"].note == "needs a codebook"


def test_the_number_of_entries():
    model = VQ(taming)
    assert entries_of(model) == ENTRIES
    model.quantize.n_e = ENTRIES + 1  # contradicts its embedding
    assert entries_of(model) is None
    model.codebook_size = 99
    assert entries_of(model) == 99
    assert entries_of(nn.Linear(2, 2)) is None


def test_a_codebook_of_unknown_size_is_na_with_the_way():
    model = VQ(an_object)
    model.quantize.n_e = ENTRIES + 1
    assert "give it codebook_size" in measured(model)["codebook_usage"].note
