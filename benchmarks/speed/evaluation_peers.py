"""What evaluate.py times vaebench against: torch-fidelity, pytorch-fid and clean-fid, called as their manuals show.

All get the same weights: torch-fidelity from a file, the other two in place of what they would download.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics

try:
    from pytorch_fid import fid_score, inception
except ImportError:
    fid_score = inception = None
try:
    from cleanfid import fid as clean_fid
    from cleanfid import inception_pytorch
except ImportError:
    clean_fid = inception_pytorch = None

Values = Iterator[dict[str, float]]
Pictures = Callable[[int, int], Tensor]  # number of images, number of the set -> uint8 images

SETS = 4
SUBSETS = 100  # of the kernel distance, both tools' default; of 1,000 images or as many as there are
WEIGHTS = "inception.pth"
WORKERS = 2  # processes that read files
MISSING = {
    name: f"{name} is missing and left out: pip install --no-deps {needed}"
    for name, needed, found in (
        ("pytorch-fid", "pytorch-fid", fid_score),
        ("clean-fid", "clean-fid, and pip install requests", clean_fid),
    )
    if found is None
}


class Rows(Dataset):
    """Images as torch-fidelity takes them in."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Tensor:
        return self.images[row]


def torch_fidelity_values(n: int, layer: int, scratch: Path, pictures: Pictures, *, cached: bool) -> Values:
    """``calculate_metrics`` once a set; ``cached`` keeps the real images' features and statistics on disk."""
    real = Rows(pictures(n, 0))
    for number in range(1, SETS + 1):
        found = calculate_metrics(
            input1=Rows(pictures(n, number)),
            input2=real,
            input2_cache_name="real" if cached else None,
            cache=cached,
            cache_root=str(scratch / "fidelity cache"),
            cuda=False,
            fid=True,
            kid=True,
            prc=True,
            feature_extractor="inception-v3-compat",
            feature_extractor_weights_path=str(scratch / WEIGHTS),
            **{f"feature_layer_{metric}": str(layer) for metric in ("fid", "kid", "prc")},
            kid_subsets=SUBSETS,
            kid_subset_size=min(1000, n),
            verbose=False,
        )
        fid, kid = found["frechet_inception_distance"], found["kernel_inception_distance_mean"]
        yield {"fid": fid, "kid": kid, "precision": found["precision"], "recall": found["recall"]}


def pytorch_fid_values(layer: int, scratch: Path, *, saved: bool) -> Values:
    """``calculate_fid_given_paths`` once a set; ``saved`` keeps the real images' statistics in a file first."""
    state = torch.load(scratch / WEIGHTS, weights_only=True)
    fid_score.tqdm = lambda batches: batches
    real, options = str(scratch / "0"), {"batch_size": 50, "device": "cpu", "dims": layer, "num_workers": WORKERS}
    with patch.object(inception, "load_state_dict_from_url", lambda *_, **__: state):
        if saved:
            fid_score.save_fid_stats([real, str(scratch / "real.npz")], **options)
            real = str(scratch / "real.npz")
        for number in range(1, SETS + 1):
            yield {"fid": float(fid_score.calculate_fid_given_paths([str(scratch / str(number)), real], **options))}


def clean_fid_values(layer: int, scratch: Path, *, kept: bool) -> Values:
    """``compute_fid`` once a set; ``kept`` takes the real images' features once, and the distance from features.

    Its own Inception, cut at the layer and built once. Resized as in its mode ``legacy_pytorch``, so that its values
    can be held against pytorch-fid's; its mode ``clean`` would download a network of the same shape.
    """
    state = torch.load(scratch / WEIGHTS, weights_only=True)
    with patch.object(inception_pytorch, "load_state_dict_from_url", lambda *_, **__: state):
        block = inception_pytorch.InceptionV3.BLOCK_INDEX_BY_DIM[layer]
        network = inception_pytorch.InceptionV3([block], resize_input=False).eval()

    def features(images: Tensor) -> Tensor:
        return network(images / 255)[0].mean((2, 3))

    device = torch.device("cpu")
    options = {"mode": "legacy_pytorch", "num_workers": WORKERS, "batch_size": 32, "device": device, "verbose": False}
    folders = [str(scratch / str(number)) for number in range(SETS + 1)]
    real = clean_fid.get_folder_features(folders[0], features, **options) if kept else None
    for folder in folders[1:]:
        if real is None:
            value = clean_fid.compute_fid(folder, folders[0], custom_feat_extractor=features, **options)
        else:
            value = clean_fid.fid_from_feats(clean_fid.get_folder_features(folder, features, **options), real)
        yield {"fid": float(value)}
