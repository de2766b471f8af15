"""List the models and their recipes: one file a family, recipes beside the model, and a line each in these tables.

To add a recipe of a listed model on another dataset, write a function ``<model>_<dataset>`` in the model's file and add
the dataset to the model's line in ``_FAMILIES``. Hyperparameters that a recipe does not name are the defaults of the
function that builds its model.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vaebench.core.registry import Entry, Registry

if TYPE_CHECKING:
    from vaebench.core.dataset import DatasetSource as DatasetSource
    from vaebench.core.metric import Metric as Metric
    from vaebench.core.perceptual import Perceptual as Perceptual
    from vaebench.core.recipe import Recipe


_GREY, _FACES = ("digits", "mnist"), ("toyfaces", "celeba", "lfw", "folder")


_FAMILIES = {  # model -> its module, what it is, and the datasets of its recipes
    "vae": ("vae", "plain VAE", _GREY + _FACES),
    "dfcvae": ("dfcvae", "deep-feature-consistent VAE", _GREY + _FACES),
    "dfcvae345": ("dfcvae", "deep-feature-consistent VAE, deeper layers (VAE-345)", ("celeba", "lfw", "folder")),
    "dcgan": ("dcgan", "deep convolutional GAN", _GREY + _FACES),
    "vaewgan": ("vaewgan", "DFC-VAE with a Wasserstein critic", _GREY + _FACES),
    "blend": ("blend", "adversarial autoencoder for feature blending", _GREY + _FACES),
    "blendw": ("blend", "adversarial autoencoder for feature blending, Wasserstein critic,", _GREY + _FACES),
}


_NETWORKS = {"digits": "mnist_cnn", "mnist": "mnist_cnn", "toyfaces": "toyfaces_cnn"}  # otherwise VGG-19


def _recipe(model: str, dataset: str, note: str = "") -> Entry:
    """The line of a pair: its function is ``<model>_<dataset>`` in the model's module."""
    module, words, _ = _FAMILIES[model]
    network = (f"perceptual:{_NETWORKS.get(dataset, 'vgg19')}",) if model.startswith(("dfcvae", "vaewgan")) else ()
    return Entry(
        target=f"vaebench.models.{module}:{model}_{dataset}",
        summary=f"{words} on {dataset}{note}",
        needs=(f"datasets:{dataset}", *network),
    )


RECIPES: "Registry[Callable[[], Recipe]]" = Registry(
    "recipes",
    {f"{name}-{data}": _recipe(name, data) for name, (_, _, datasets) in _FAMILIES.items() for data in datasets}
    | {
        "dfcvae-celeba-eteke": replace(
            _recipe("dfcvae", "celeba", " with the settings of its replication"),
            target="vaebench.models.dfcvae:dfcvae_celeba_eteke",
        )
    },
)


MODELS: Registry[Any] = Registry(
    "models",
    {
        "vae": Entry(target="vaebench.models.vae:plain_vae", summary="variational autoencoder, pixel likelihood"),
        "dfcvae": Entry(
            target="vaebench.models.dfcvae:dfc_vae",
            summary="variational autoencoder, perceptual (deep-feature-consistent) loss; faces: dfc_face_vae",
        ),
        "dcgan": Entry(target="vaebench.models.dcgan:DCGAN", summary="deep convolutional GAN"),
        "vaewgan": Entry(
            target="vaebench.models.vaewgan:vae_wgan",
            summary="DFC-VAE whose images a Wasserstein critic judges as well",
        ),
        "blend": Entry(
            target="vaebench.models.blend:blend",
            summary="autoencoder whose decoded mean of two latents must pass for real",
        ),
    },
)
