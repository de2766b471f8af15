"""List the metrics: one file a subject, and a line each in this table."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from vaebench.core.registry import Entry, Registry

if TYPE_CHECKING:
    from vaebench.core.dataset import DatasetSource as DatasetSource
    from vaebench.core.metric import Metric, MetricSpec
    from vaebench.core.perceptual import Perceptual as Perceptual
    from vaebench.core.recipe import Recipe as Recipe
    from vaebench.core.results import Facts, Result


_FIDELITY = {
    "fid": "Fréchet Inception distance",
    "kid": "kernel Inception distance",
    "precision": "share of generated images within the real ones' manifold",
    "recall": "share of real images within the generated ones' manifold",
    "density": "real neighbourhoods a generated image lies in, over k",
    "coverage": "share of real images with a generated one nearby",
}


_MANIPULATION = {
    "effect": "what adding an attribute's direction to latents does to that attribute",
    "leakage": "what adding an attribute's direction to latents does to all other attributes",
    "identity": "what adding an attribute's direction to latents does to the face, by eigenfaces",
    "background": "what adding an attribute's direction to latents does to the picture's corners",
}


_PROBES = {
    "svm_accuracy": "accuracy of linear SVMs on latents: 40 attributes, or digit classes",
    "svm_balanced_accuracy": "accuracy of linear SVMs on latents, classes weighted alike",
    "svm_lift": "accuracy of linear SVMs on latents, above always naming the majority class",
}


def _inception_metric(name: str, words: str) -> Entry:
    return Entry(target=f"vaebench.metrics.fidelity:{name}", summary=words, needs=("perceptual:inception",))


METRICS: "Registry[Callable[..., Sequence[Metric]]]" = Registry(
    "metrics",
    {
        "blur": Entry(
            target="vaebench.metrics.sharpness:blur",
            summary="Laplacian variance (sharpness); closeness to the real images' value counts",
        ),
        "mse": Entry(target="vaebench.metrics.reconstruction:mse", summary="mean squared pixel error"),
        "psnr": Entry(target="vaebench.metrics.reconstruction:psnr", summary="peak signal-to-noise ratio"),
        "ssim": Entry(target="vaebench.metrics.reconstruction:ssim", summary="structural similarity"),
        "nll": Entry(
            target="vaebench.metrics.latent:nll",
            summary="negative log-likelihood of the pixels under posterior draws",
        ),
        "kl": Entry(target="vaebench.metrics.latent:kl", summary="Kullback-Leibler divergence of posterior from prior"),
        "elbo": Entry(target="vaebench.metrics.latent:elbo", summary="evidence lower bound, -(nll + kl)"),
        "active_units": Entry(
            target="vaebench.metrics.latent:active_units",
            summary="latent dimensions whose posterior mean varies over images",
        ),
        "posterior_mismatch": Entry(
            target="vaebench.metrics.latent:posterior_mismatch",
            summary="distance of encoded images' latents from the prior (MMD)",
        ),
        "codebook_usage": Entry(
            target="vaebench.metrics.codebook:codebook_usage",
            summary="share of a codebook's entries in use",
        ),
        "codebook_entropy": Entry(
            target="vaebench.metrics.codebook:codebook_entropy",
            summary="entropy of a codebook's entries, in bits",
        ),
        "bits_per_pixel": Entry(
            target="vaebench.metrics.codebook:bits_per_pixel",
            summary="bits a pixel that the codes of a codebook take",
        ),
        "interpolation_smoothness": Entry(
            target="vaebench.metrics.latent:interpolation_smoothness",
            summary="largest step over mean step between two samples' latents",
        ),
        **{name: _inception_metric(name, words) for name, words in _FIDELITY.items()},
        "fcd": Entry(
            target="vaebench.metrics.fidelity:fcd",
            summary="Fréchet distance in the features of the data's own classifier",
        ),
        "lpips": Entry(
            target="vaebench.metrics.lpips:lpips",
            summary="learned perceptual distance (AlexNet, v0.1) of reconstructions",
            needs=("perceptual:alexnet",),
        ),
        **{name: Entry(target=f"vaebench.metrics.attributes:{name}", summary=words) for name, words in _PROBES.items()},
        "interpolation_surprises": Entry(
            target="vaebench.metrics.interpolation:interpolation_surprises",
            summary="classes that neither end is, shown between two images of labelled classes",
        ),
        **{
            f"manipulation_{part}": Entry(target=f"vaebench.metrics.manipulation:manipulation_{part}", summary=words)
            for part, words in _MANIPULATION.items()
        },
        "blend_realism": Entry(
            target="vaebench.metrics.blend_realism:blend_realism",
            summary="realism of images blended half and half, beside classical ways of blending",
        ),
        "blend_adversary": Entry(
            target="vaebench.metrics.blend_realism:blend_adversary",
            summary="how real the run's own discriminator takes blended images to be",
        ),
        "shift_accuracy": Entry(
            target="vaebench.metrics.domain_shift:shift_accuracy",
            summary="attribute accuracy on faces moved, scaled or turned, and put back by their eyes",
        ),
        "shift_flagged": Entry(
            target="vaebench.metrics.domain_shift:shift_flagged",
            summary="share of such faces that the run calls unlike its data",
        ),
        "diversity": Entry(
            target="vaebench.metrics.diversity:diversity",
            summary="spread of samples: Vendi score, mean distance; flags collapse",
        ),
        "memorisation": Entry(
            target="vaebench.metrics.diversity:memorisation",
            summary="share of samples nearer to a training image than its neighbours are",
        ),
        "parameters": Entry(target="vaebench.metrics.cost:parameters", summary="trained parameters"),
        "throughput": Entry(target="vaebench.metrics.cost:throughput", summary="training images per second"),
        "training_seconds": Entry(target="vaebench.metrics.cost:training_seconds", summary="seconds of training"),
        "training_steps": Entry(target="vaebench.metrics.cost:training_steps", summary="steps trained"),
        "training_images": Entry(target="vaebench.metrics.cost:training_images", summary="training images seen"),
        "peak_memory": Entry(target="vaebench.metrics.cost:peak_memory", summary="largest memory of the training"),
    },
)


def facts_of(line: "Result") -> "Facts":
    """Return how a report shows a result's metric: as the line says, or, in lines of versions before 0.2, as it
    declares now.

    A metric that is not installed here is shown as one that declares nothing.
    """
    return line.facts or _declared(line.metric, line.protocol)


def _declared(metric: str, protocol: str) -> "Facts":
    from vaebench.core.results import Facts  # noqa: PLC0415

    spec = declared_today(metric, protocol)
    return spec.facts() if spec else Facts()


@cache
def declared_today(metric: str, protocol: str) -> "MetricSpec | None":
    """Return what the metric's protocol declares that shares most words with ``protocol``, which may say more: its n.

    Imports torch. None for a metric that is not installed here.
    """
    from vaebench.core.errors import UserError  # noqa: PLC0415

    try:
        specs = [made.spec for made in METRICS.get(metric)()]
    except UserError:
        return None
    words = set(protocol.split("/"))
    return max(specs, key=lambda spec: len(words & set(spec.protocol.split("/"))))
