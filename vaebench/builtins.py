"""What vaebench brings: name -> where it lives. Strings only: importing this file imports no plugin."""

from collections.abc import Callable, Sequence
from dataclasses import replace
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
            summary="variational autoencoder, perceptual (deep-feature-consistent) loss",
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

_CROPS = {
    "celeba": "138 x 138 crop",
    "celeba-crop108": "108 x 108 crop",
    "celeba-crop140": "140 x 140 crop",
    "celeba-crop148": "148 x 148 crop",
    "celeba-crop178": "178 x 178 crop",
}


def _celeba(name: str, crop: str) -> Entry:
    return Entry(
        target=f"vaebench.datasets.celeba:{name.replace('-', '_')}",
        summary=f"CelebA: 202,599 faces with 40 attributes, {crop} at 64 x 64",
        files=(
            "celeba/img_align_celeba.zip|celeba/img_align_celeba",
            "celeba/list_attr_celeba.txt",
            "celeba/list_eval_partition.txt",
        ),
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
        "toyfaces": Entry(
            target="vaebench.datasets.toyfaces:ToyFaces",
            summary="16,000 drawn (synthetic) faces with CelebA's 40 attributes, 64 x 64",
        ),
        **{name: _celeba(name, words) for name, words in _CROPS.items()},
        "lfw": Entry(
            target="vaebench.datasets.lfw:LFW",
            summary="Labeled Faces in the Wild: 13,233 faces of 5,749 people",
            files=("lfw",),
        ),
        "folder": Entry(
            target="vaebench.datasets.folder:Folder",
            summary="your own images: --set dataset.path=DIR",
        ),
    },
)

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
    "leakage": "the same, to all other attributes",
    "identity": "the same, to the face, by eigenfaces",
    "background": "the same, to the picture's corners",
}
_PROBES = {
    "svm_accuracy": "accuracy of linear SVMs on latents: 40 attributes, or digit classes",
    "svm_balanced_accuracy": "the same, classes weighted alike",
    "svm_lift": "the same, above naming the majority class",
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
            target="vaebench.metrics.perceptual_distance:lpips",
            summary="learned perceptual distance (AlexNet, v0.1) of reconstructions",
            needs=("perceptual:alexnet",),
        ),
        **{name: Entry(target=f"vaebench.metrics.attributes:{name}", summary=words) for name, words in _PROBES.items()},
        "interpolation_surprises": Entry(
            target="vaebench.metrics.surprises:interpolation_surprises",
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
        "peak_memory": Entry(target="vaebench.metrics.cost:peak_memory", summary="largest memory of the training"),
    },
)

PERCEPTUAL: "Registry[Callable[[], Perceptual]]" = Registry(
    "perceptual",
    {
        "vgg19": Entry(
            target="vaebench.perceptual.vgg19:vgg19",
            summary="VGG-19 with torchvision's ImageNet weights, relu1_1 to relu5_4",
            files=("vgg19.safetensors|vgg19-dcbb9e9d.pth",),
            fetch="vaebench.perceptual.vgg19:fetch_vgg19",
        ),
        "vgg19-normalised": Entry(
            target="vaebench.perceptual.vgg19:vgg19_normalised",
            summary="VGG-19, filters scaled to a mean activation of 1, relu1_1 to relu3_1",
            files=("vgg19_normalised_relu3_1.safetensors",),
            fetch="vaebench.perceptual.vgg19:fetch_vgg19_normalised",
            mend="vaebench fetch vgg19-normalised --from FILE",
        ),
        "vgg19-fc": Entry(
            target="vaebench.perceptual.vgg19:vgg19_fc",
            summary="VGG-19's fully connected features fc6 and fc7 of images resized to 224 x 224",
            files=("vgg19-dcbb9e9d.pth",),
            fetch="vaebench.perceptual.vgg19:fetch_vgg19_fc",
        ),
        "alexnet": Entry(
            target="vaebench.perceptual.alexnet:alexnet",
            summary="AlexNet's convolutions with torchvision's ImageNet weights, relu1 to relu5",
            files=("alexnet_features.safetensors|alexnet-owt-7be5be79.pth",),
            fetch="vaebench.perceptual.alexnet:fetch_alexnet",
        ),
        "inception": Entry(
            target="vaebench.perceptual.inception:inception",
            summary="Inception-v3 of 2015-12-05, on which FID is defined; 64, 192, 768, 2048",
            files=(
                "inception_2015_12_05.safetensors|weights-inception-2015-12-05-6726825d.pth|"
                "inception_2015_12_05_to768.safetensors",
            ),
            fetch="vaebench.perceptual.inception:fetch_inception",
        ),
        "mnist_cnn": Entry(
            target="vaebench.perceptual.small_cnn:mnist_cnn",
            summary="digit classifier of the MNIST article, trained by vaebench and shipped with it",
        ),
        "toyfaces_cnn": Entry(
            target="vaebench.perceptual.toyfaces_cnn:toyfaces_cnn",
            summary="40-attribute classifier of toy faces, trained by vaebench and shipped with it",
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
