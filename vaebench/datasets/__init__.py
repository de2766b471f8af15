"""List the datasets: one file each, and a line each in the table ``DATASETS``.

To add one, write ``datasets/NAME.py`` with a :class:`vaebench.core.dataset.DatasetSource` (``digits.py`` is the
shortest) and add its line below; another package adds one by the entry-point group ``vaebench.datasets``. To train the
built-in models on it, add recipes to ``vaebench/models/__init__.py``. ``images/`` holds what datasets share (decoding,
cropping, face detection), ``toyface/`` the drawing of ``toyfaces``.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from vaebench.core.registry import Entry, Registry

if TYPE_CHECKING:
    from vaebench.core.dataset import DatasetSource
    from vaebench.core.metric import Metric as Metric
    from vaebench.core.perceptual import Perceptual as Perceptual
    from vaebench.core.recipe import Recipe as Recipe


_MNIST_FILES = (
    "mnist/train-images-idx3-ubyte",
    "mnist/train-labels-idx1-ubyte",
    "mnist/t10k-images-idx3-ubyte",
    "mnist/t10k-labels-idx1-ubyte",
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
        summary=f"CelebA: 202,599 faces with 40 attributes, {crop} at 64 x 64 (dataset.size)",
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
            summary="16,000 drawn (synthetic) faces with CelebA's 40 attributes, 64 x 64 (dataset.size)",
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
