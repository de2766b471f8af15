"""Conformance checks that a plugin author runs against a plugin.

    from vaebench.testing import check_adapter, check_dataset, check_metric, check_perceptual, check_recipe

    def test_my_recipe():
        check_recipe(my_recipe())

Each raises ``AssertionError`` that names what is broken. They need no GPU, no network and seconds.
"""

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaebench.core.context import Context, FeatureSpace, Reference
from vaebench.core.dataset import DatasetSource, ImageDataset, to_float
from vaebench.core.distributed import ALONE
from vaebench.core.errors import Interrupted, UserError
from vaebench.core.image_model import Capability, ImageModel
from vaebench.core.margin import read_margin
from vaebench.core.metric import EvalBatch, Metric, Need, Score
from vaebench.core.model import Autoencoder, GenerativeModel, trained_modules
from vaebench.core.opening import Opening
from vaebench.core.perceptual import Perceptual
from vaebench.core.recipe import Recipe
from vaebench.core.training_facts import TrainingFacts
from vaebench.evaluation import image_sources
from vaebench.evaluation.accumulator_transfer import pack, unpack
from vaebench.evaluation.trial import try_model
from vaebench.runs import history
from vaebench.runs.recipes import build_model
from vaebench.runs.record import RunFolder
from vaebench.runs.weights import load_weights, save_weights
from vaebench.training.compute import Compute
from vaebench.training.loop import Plan, train

# as trainings run by default on a CPU; contiguous weights under plain optimisers hide what a resume may mix up
_COMPUTE = Compute(device="cpu", precision="fp32", channels_last=True, compile=False, threads=1, fused=True)
FEATURES = 6  # dimensions of made-up features


def random_images(image_shape: tuple[int, int, int], n: int = 32) -> ImageDataset:
    """Noise of a shape, labelled 0 and 1 in turn: enough to run a model, not to judge it."""
    generator = torch.Generator().manual_seed(0)
    return ImageDataset(
        name="noise",
        split="train",
        images=torch.randint(0, 256, (n, *image_shape), dtype=torch.uint8, generator=generator),
        ids=[f"noise/{index}" for index in range(n)],
        labels=torch.arange(n) % 2,
    )


def check_recipe(recipe: Recipe, image_shape: tuple[int, int, int] = (1, 28, 28), steps: int = 4) -> None:
    """Check that a few steps train every module of every phase, and that sampling, encoding, saving, seeding and
    resuming keep their contracts.
    """
    data = random_images(image_shape)
    before = _parameters(build_model(recipe, image_shape, seed=0))
    model, terms = _trained(recipe, data, steps)
    modules = trained_modules(model, model.phases())
    for name, parameter in _parameters(model).items():
        if name.startswith(tuple(f"{module}." for module in modules)):
            assert not torch.equal(parameter, before[name]), f"{recipe.name}: {steps} steps left {name} as it was"
    twin, again = _trained(recipe, data, steps, pause_at=steps // 2)
    resumed = twin.state_dict()
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, resumed[name])]
    assert not changed, (
        f"{recipe.name}: the same seed, stopped and resumed, gave other weights: {changed[0]} "
        "(draw from step.generator only, and keep no state outside modules and optimisers)"
    )
    assert terms == again, f"{recipe.name}: stopped and resumed, its history has other terms: {again}, not {terms}"
    _check_decoder(model.eval(), recipe, image_shape)
    _check_round_trip(model, recipe, image_shape)


def _trained(
    recipe: Recipe, data: ImageDataset, steps: int, pause_at: int = 0
) -> tuple[GenerativeModel, list[Mapping[str, float]]]:
    """Train in one go, or stop at a step and resume in a model built anew; return the model and the history's terms."""
    plan = Plan(seed=0, batch_size=4, steps=steps, compute=_COMPUTE, save_every=float("inf"))
    with tempfile.TemporaryDirectory() as scratch:
        for last in (pause_at, steps) if pause_at else (steps,):
            model = build_model(replace(recipe, batch_size=4), data.image_shape, seed=0)
            asked = itertools.count(1)
            with contextlib.suppress(Interrupted):
                train(
                    model,
                    data,
                    plan,
                    RunFolder(Path(scratch)),
                    on_progress=lambda row: None,
                    should_stop=lambda last=last, asked=asked: next(asked) == last,  # type: ignore[misc]
                )
        terms = [row.terms for row in history.read(RunFolder(Path(scratch)).history)]
    return model, terms


def _parameters(model: GenerativeModel) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@torch.inference_mode()
def _check_decoder(model: GenerativeModel, recipe: Recipe, image_shape: tuple[int, int, int]) -> None:
    latents = torch.randn(5, model.latent_dim, generator=torch.Generator().manual_seed(0))
    images = model.decode(latents)
    assert images.shape == (5, *image_shape), f"{recipe.name}: decode gave {tuple(images.shape)}"
    assert images.dtype == torch.float32, f"{recipe.name}: decode gave {images.dtype}, not float32"
    assert images.min() >= 0 and images.max() <= 1, f"{recipe.name}: decode left [0, 1]"
    assert torch.equal(images, model.decode(latents)), f"{recipe.name}: the same latents gave other images"
    if isinstance(model, Autoencoder):
        for part in model.posterior(images):
            assert part.shape == (5, model.latent_dim), f"{recipe.name}: posterior gave {tuple(part.shape)}"
            assert part.dtype == torch.float32, f"{recipe.name}: posterior gave {part.dtype}, not float32"


@torch.inference_mode()
def _check_round_trip(model: GenerativeModel, recipe: Recipe, image_shape: tuple[int, int, int]) -> None:
    other = build_model(recipe, image_shape, seed=1).eval()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "weights.safetensors"
        save_weights(path, trained_modules(model, model.phases()))
        load_weights(path, trained_modules(other, other.phases()))
    latents = torch.zeros(2, model.latent_dim)
    model.to(memory_format=torch.contiguous_format)  # as what was loaded lies: layouts round differently
    assert torch.equal(model.decode(latents), other.decode(latents)), f"{recipe.name}: weights did not survive a file"


def check_dataset(source: DatasetSource) -> None:
    """Check that every split loads, twice alike, with ids of its own and images of one shape."""
    seen: set[str] = set()
    shapes, attributes = set(), set()
    for split in source.splits:
        data = source.load(split)
        assert data.split == split, f"{source.name}: split {split} calls itself {data.split}"
        assert data.name == source.name, f"{source.name}: {split} calls itself {data.name}"
        assert data.fingerprint == source.load(split).fingerprint, f"{source.name}: {split} differs from load to load"
        assert not seen & set(data.ids), f"{source.name}: image ids of {split} stand in another split too"
        seen |= set(data.ids)
        shapes.add(data.image_shape)
        attributes.add(tuple(data.attribute_names))
    assert len(shapes) == 1, f"{source.name}: splits have images of different shapes {shapes}"
    assert len(attributes) == 1, f"{source.name}: splits have different attributes"


def check_perceptual(network: Perceptual, side: int = 64) -> None:
    """Check that a network stays frozen and in evaluation mode, passes gradients to its input, and treats each image by
    itself.
    """
    holder = torch.nn.Module()
    holder.network = network  # type: ignore[assignment]
    holder.train().requires_grad_(True)
    assert not holder.state_dict(), f"{network.name}: a model that holds it would save it"
    for layer, stage in network.stages.items():
        assert not any(part.training for part in stage.modules()), f"{network.name}: {layer} is in training mode"
        assert not any(part.requires_grad for part in stage.parameters()), f"{network.name}: {layer} can be trained"
    pixels = random_images((network.channels, side, side), 4).images
    images = (pixels.float() / 255).requires_grad_()
    for layer, features in zip(network.layers, network.features(images, network.layers), strict=True):
        (gradient,) = torch.autograd.grad(features.float().square().sum(), images, retain_graph=True)
        assert gradient.any(), f"{network.name}: no gradient passes from {layer} to the images"
        (alone,) = network.features(images[:1], [layer])
        close = torch.allclose(alone, features[:1], rtol=1e-3, atol=1e-4)
        assert close, f"{network.name}: {layer}'s features depend on the other images of the batch"


@torch.inference_mode()
def check_adapter(
    adapter: Callable[[str, Opening], ImageModel], what: str, image_shape: tuple[int, int, int] = (1, 28, 28)
) -> None:
    """Check what an adapter opens: it passes the trial that every outside model passes, keeps the shapes that it
    declares, and opened again gives the same images.

    Args:
        adapter: the function of the entry point.
        what: what stands behind ``NAME:`` in ``--model NAME:WHAT``.
        image_shape: (c, h, w) of images that the model takes.
    """
    opening = Opening(image_shape=image_shape)
    model, twin = adapter(what, opening), adapter(what, opening)
    name = f"{type(model).__name__} of '{what}'"
    assert isinstance(model, ImageModel), f"the adapter gave a {name}, no ImageModel"
    data = random_images(image_shape)
    images = to_float(data.images)
    try:
        try_model(model, data, opening)
    except UserError as error:
        raise AssertionError(f"{name}: {error}") from error
    made: list[Tensor] = []
    if Capability.ENCODE in model.can:
        posterior = model.encode(images)
        found, declared = tuple(posterior.mean.shape), (len(images), *(model.latent_shape or ()))
        assert found == declared, f"{name}: latents are {found}, not (n, *latent_shape) = {declared}"
        with_variance, with_codes = Capability.VARIANCE in model.can, Capability.CODES in model.can
        assert (posterior.log_variance is not None) == with_variance, f"{name}: can it VARIANCE or not?"
        assert (posterior.codes is not None) == with_codes, f"{name}: can it CODES or not?"
        assert not with_codes or model.codebook_size, f"{name}: codes without codebook_size"
        made += [posterior.mean, twin.encode(images).mean]
    if Capability.DECODE in model.can:
        assert model.latent_shape is not None, f"{name} decodes, and declares no latent_shape"
        latents = model.prior(3, torch.Generator().manual_seed(0))
        made += [model.decode(latents), twin.decode(latents)]
        assert made[-1].dtype == torch.float32, f"{name}: images are {made[-1].dtype}, not float32"
    if Capability.SAMPLE in model.can:
        made += [one.sample(3, torch.Generator().manual_seed(0)) for one in (model, twin)]
    for first, second in zip(made[::2], made[1::2], strict=True):
        assert torch.equal(first, second), f"{name}: opened again, the same model gave something else"


def check_metric(
    build: Callable[[], list[Metric]], image_shape: tuple[int, int, int] = (1, 28, 28), n: int = 20
) -> None:
    """Check that a metric declares itself, does not depend on batch size, and merges: two halves merged score as one
    pass does.

    Before they merge, the second one travels as between processes. Values per image, or what images contribute,
    mean the value.
    """
    data = random_images(image_shape, n)
    for position, metric in enumerate(build()):
        spec = metric.spec
        assert spec.name and spec.unit and spec.protocol, f"{metric}: name, unit and protocol must be declared"
        assert spec.direction in ("higher", "lower", "target"), f"{spec.name}: direction {spec.direction!r}"
        read_margin(spec.margin, spec.name)
        (batch,) = image_sources.of_images(
            data.images, data, kind=Need.RECONSTRUCTION, partners=torch.arange(len(data))
        ).batches(Need(0), ALONE)
        batch = replace(batch, **_more(batch.real, n))
        fresh = partial(_built, build, position)
        one = _taken(fresh, [batch], data)
        two = _taken(fresh, [_rows(batch, slice(n // 3)), _rows(batch, slice(n // 3, n))], data)
        assert one.n == two.n, f"{spec.name}: merged halves count {two.n} images, one pass {one.n}"
        if one.value is not None and two.value is not None:
            close = abs(one.value - two.value) <= 1e-5 * max(abs(one.value), 1e-12)
            assert close, f"{spec.name}: merged halves score {two.value}, one pass {one.value}"
        if one.value is not None and one.per_image is not None:
            close = abs(one.per_image.mean().item() - one.value) <= 1e-6 * max(abs(one.value), 1e-12)
            assert close, f"{spec.name}: its values per image do not mean its value"
        assert (one.value is None) == (two.value is None), f"{spec.name}: {one.note or two.note}, in one way only"


def _built(build: Callable[[], list[Metric]], position: int) -> Metric:
    return build()[position]


def _taken(build: Callable[[], Metric], batches: list[EvalBatch], data: ImageDataset) -> Score:
    """Return the score of batches that a metric each took in, merged; a refusal has its reason."""
    metrics = [build() for _ in batches]
    try:
        for metric, batch in zip(metrics, batches, strict=True):
            metric.update(batch)
        for other in metrics[1:]:
            (known,), (stuck,) = unpack(pack([other], [""]), [build()])
            assert not stuck, f"{other.spec.name}: {stuck}"
            metrics[0].merge(known)
        return metrics[0].score(_context_of(data))
    except UserError as error:
        return Score(value=None, n=0, note=str(error))


class _Noise(Reference):
    """Final: random features of as many real images as there are, nothing kept."""

    def __init__(self, data: ImageDataset) -> None:
        self._data = data

    @property
    def features(self) -> Tensor:
        return torch.randn(len(self._data), FEATURES, generator=torch.Generator().manual_seed(2))

    def statistic(self, name: str, compute: Callable[[Tensor], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        return compute(self.features)


def _context_of(data: ImageDataset) -> Context:
    def reference(space: FeatureSpace, split: str) -> Reference:
        return _Noise(data)

    def latents(split: str, view: str) -> Tensor:
        return torch.randn(len(data), 5, generator=torch.Generator().manual_seed(3))

    splits = ("train", "valid", "test")
    facts = TrainingFacts(parameters=1, images_per_second=1.0, seconds=1.0, steps=1)
    return Context(
        training=facts, splits=splits, data=lambda split: data, reference=reference, latents=latents, codebook_size=8
    )


def _more(real: Tensor | None, n: int) -> dict[str, Any]:
    """Return what the images of a batch do not bring: samples, paths, latents and features, all noise."""
    assert real is not None
    generator = torch.Generator().manual_seed(1)
    features = {name: torch.randn(n, FEATURES, generator=generator) for name in ("reconstruction", "sample")}
    latents = {name: torch.randn(n, 5, generator=generator) for name in ("mean", "log_variance")}
    path = torch.rand(n, 3, *real.shape[1:], generator=generator)
    codes = torch.randint(0, 8, (n, 4), generator=generator)
    return {"sample": real, "draw": real, "path": path, "features": features, "codes": codes, **latents}


def _rows(batch: EvalBatch, rows: slice) -> EvalBatch:
    filled = {name: getattr(batch, name) for name in type(batch).__slots__ if name != "features"}
    cut: dict[str, Any] = {name: None if value is None else value[rows] for name, value in filled.items()}
    return EvalBatch(**cut, features={name: value[rows] for name, value in batch.features.items()})
