"""Compute metrics as pure functions of tensors: ``from vaebench.metrics.functional import structural_similarity``.

What they take and return stands in each function's docstring. Images are (n, c, h, w) in [0, 1], features are (n, d)
of any network, one row an image; nothing is looked up, cached or drawn unless a function says so.

===========================  ==========================================================================
of images                    ``squared_error``, ``peak_signal_noise_ratio``, ``structural_similarity``,
                             ``bernoulli_nll``, ``laplacian_variance``: (n,), a value an image
of two sets of features      ``frechet_distance`` with ``Moments.of(features)``, ``kernel_distance``,
                             ``polynomial_mmd``, ``precision_recall``, ``density_coverage``
of one set of features       ``vendi_score``, ``mean_pairwise_distance``
of codes                     ``codebook_entropy``, ``codebook_usage``
===========================  ==========================================================================
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaebench.metrics.codebook import entropy_of as codebook_entropy
    from vaebench.metrics.codebook import usage_of as codebook_usage
    from vaebench.metrics.frechet import Moments, frechet_distance
    from vaebench.metrics.functional.diversity import mean_pairwise_distance, vendi_score
    from vaebench.metrics.functional.neighbours import density_coverage, precision_recall
    from vaebench.metrics.kernel import kernel_distance, polynomial_mmd
    from vaebench.metrics.latent import bernoulli_nll
    from vaebench.metrics.reconstruction import peak_signal_noise_ratio, squared_error, structural_similarity
    from vaebench.metrics.sharpness import laplacian_variance

__all__ = [
    "Moments",
    "bernoulli_nll",
    "codebook_entropy",
    "codebook_usage",
    "density_coverage",
    "frechet_distance",
    "kernel_distance",
    "laplacian_variance",
    "mean_pairwise_distance",
    "peak_signal_noise_ratio",
    "polynomial_mmd",
    "precision_recall",
    "squared_error",
    "structural_similarity",
    "vendi_score",
]

_PLACES = {  # module and name there; imported when asked for, since these modules import this package's others
    "Moments": "frechet:Moments",
    "bernoulli_nll": "latent:bernoulli_nll",
    "codebook_entropy": "codebook:entropy_of",
    "codebook_usage": "codebook:usage_of",
    "density_coverage": "functional.neighbours:density_coverage",
    "frechet_distance": "frechet:frechet_distance",
    "kernel_distance": "kernel:kernel_distance",
    "laplacian_variance": "sharpness:laplacian_variance",
    "mean_pairwise_distance": "functional.diversity:mean_pairwise_distance",
    "peak_signal_noise_ratio": "reconstruction:peak_signal_noise_ratio",
    "polynomial_mmd": "kernel:polynomial_mmd",
    "precision_recall": "functional.neighbours:precision_recall",
    "squared_error": "reconstruction:squared_error",
    "structural_similarity": "reconstruction:structural_similarity",
    "vendi_score": "functional.diversity:vendi_score",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        import importlib  # noqa: PLC0415  (only where a function is asked for)

        module, _, attribute = _PLACES[name].partition(":")
        return getattr(importlib.import_module(f"vaebench.metrics.{module}"), attribute)
    raise AttributeError(f"module 'vaebench.metrics.functional' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
