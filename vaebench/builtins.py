"""What vaebench brings: name -> where it lives. Strings only: importing this file imports no plugin."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vaebench.core.registry import Entry, Registry

if TYPE_CHECKING:
    from vaebench.core.dataset import DatasetSource
    from vaebench.core.metric import Metric
    from vaebench.core.perceptual import Perceptual
    from vaebench.core.recipe import Recipe

_MNIST_FILES = (
    "mnist/train-images-idx3-ubyte",
    "mnist/train-labels-idx1-ubyte",
    "mnist/t10k-images-idx3-ubyte",
    "mnist/t10k-labels-idx1-ubyte",
)
_DFC = ("perceptual:mnist_cnn",)

RECIPES: "Registry[Callable[[], Recipe]]" = Registry(
    "recipes",
    {
        "vae-digits": Entry(
            target="vaebench.models.vae:vae_digits",
            summary="plain VAE, 5 latents, on scikit-learn's digits",
            needs=("datasets:digits",),
        ),
        "vae-mnist": Entry(
            target="vaebench.models.vae:vae_mnist",
            summary="plain VAE, 5 latents, with the MNIST article's hyperparameters",
            needs=("datasets:mnist",),
        ),
        "dfcvae-digits": Entry(
            target="vaebench.models.dfcvae:dfcvae_digits",
            summary="deep-feature-consistent VAE on scikit-learn's digits",
            needs=("datasets:digits", *_DFC),
        ),
        "dfcvae-mnist": Entry(
            target="vaebench.models.dfcvae:dfcvae_mnist",
            summary="deep-feature-consistent VAE with the MNIST article's hyperparameters",
            needs=("datasets:mnist", *_DFC),
        ),
    },
)

MODELS: Registry[Any] = Registry(
    "models",
    {
        "vae": Entry(target="vaebench.models.vae:plain_vae", summary="variational autoencoder, pixel likelihood"),
        "dfcvae": Entry(
            target="vaebench.models.dfcvae:dfc_vae",
            summary="variational autoencoder, perceptual (deep-feature-consistent) loss",
        ),
    },
)

DATASETS: "Registry[Callable[..., DatasetSource]]" = Registry(
    "datasets",
    {
        "digits": Entry(
            target="vaebench.datasets.digits:Digits",
            summary="1,797 handwritten digits that come with scikit-learn, resized to 28 x 28",
        ),
        "mnist": Entry(
            target="vaebench.datasets.mnist:Mnist",
            summary="MNIST: 70,000 handwritten digits, 28 x 28",
            files=_MNIST_FILES,
        ),
    },
)

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
        "parameters": Entry(target="vaebench.metrics.cost:parameters", summary="trained parameters"),
        "throughput": Entry(target="vaebench.metrics.cost:throughput", summary="training images per second"),
    },
)

PERCEPTUAL: "Registry[Callable[[], Perceptual]]" = Registry(
    "perceptual",
    {
        "mnist_cnn": Entry(
            target="vaebench.perceptual.small_cnn:mnist_cnn",
            summary="digit classifier of the MNIST article, trained by vaebench and shipped with it",
        ),
    },
)

KINDS: dict[str, Registry[Any]] = {
    "recipes": RECIPES,
    "models": MODELS,
    "datasets": DATASETS,
    "metrics": METRICS,
    "perceptual": PERCEPTUAL,
}
