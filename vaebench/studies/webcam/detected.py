"""How well a detector's crops serve: what classifiers make of held-out faces that it found, not the dataset."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaebench.core.dataset import ImageDataset, to_float
from vaebench.core.model import Autoencoder
from vaebench.datasets.images.cropping import Framing, cropped
from vaebench.datasets.images.face_detection import Detector, measure_framing, sighted
from vaebench.studies.webcam.fitting import Fitted

TRIED = 300  # held-out images, evenly chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """A detector's framing of the training images, and the classifiers' accuracy on ``images`` faces that it framed."""

    framing: Framing
    accuracy: Mapping[str, float]
    images: int


def measure_detected(
    model: Autoencoder, fitted: Fitted, training: Tensor, tested: ImageDataset, detector: Detector, device: str
) -> Detected:
    """From training images uint8 (n, 3, h, w), and held-out images with their attributes.

    Raises :class:`UserError` where too few of the training images show a face to the detector.
    """
    framing = measure_framing(training, detector=detector)
    rows = torch.linspace(0, len(tested) - 1, min(len(tested), TRIED)).round().long()
    found = [
        (row, crop) for row in rows.tolist() if (crop := framed(tested.images[row], framing, detector)) is not None
    ]
    if not found:
        return Detected(framing=framing, accuracy={}, images=0)
    with torch.inference_mode():
        means = model.posterior(to_float(torch.stack([crop for _, crop in found]).to(device)))[0].cpu()
    assert tested.attributes is not None
    columns = [fitted.attributes.index(name) for name in fitted.classified]
    truth = tested.attributes[[row for row, _ in found]][:, columns]
    right = ((fitted.svms.decision(means) > 0) == truth).double().mean(dim=0).tolist()
    return Detected(framing=framing, accuracy=dict(zip(fitted.classified, right, strict=True)), images=len(found))


def framed(image: Tensor, framing: Framing, detector: Detector) -> Tensor | None:
    """An image's face, uint8 (3, h, w), found and cropped anew as in a camera's frame; ``None`` where none is found."""
    picture = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    face = sighted(picture, detector, turns=(0,))
    if face is None or face.eyes is None:
        return None
    box = framing.around(*framing.by_eyes(face.eyes, face.side))
    size = (picture.shape[1], picture.shape[0])
    return torch.from_numpy(np.array(cropped(Image.fromarray(picture), box, size))).permute(2, 0, 1)
