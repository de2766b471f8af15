"""Frozen networks for feature spaces and perceptual losses: one file each; the table of them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from vaebench.core.registry import Entry, Registry

if TYPE_CHECKING:
    from vaebench.core.dataset import DatasetSource as DatasetSource
    from vaebench.core.metric import Metric as Metric
    from vaebench.core.perceptual import Perceptual
    from vaebench.core.recipe import Recipe as Recipe


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
            target="vaebench.perceptual.mnist_cnn:mnist_cnn",
            summary="digit classifier of the MNIST article, trained by vaebench and shipped with it",
        ),
        "toyfaces_cnn": Entry(
            target="vaebench.perceptual.toyfaces_cnn:toyfaces_cnn",
            summary="40-attribute classifier of toy faces, trained by vaebench and shipped with it",
        ),
    },
)
