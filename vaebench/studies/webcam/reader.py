"""Read faces by a run: attributes, reconstruction, a manipulated face, and how unusual a face is to it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vaebench.core.dataset import to_float
from vaebench.core.errors import UserError
from vaebench.core.model import Autoencoder, GenerativeModel
from vaebench.core.registry import did_you_mean
from vaebench.datasets.images.face_detection import Detector
from vaebench.metrics.probes.attribute_vectors import position_of
from vaebench.metrics.probes.novelty import Strangeness
from vaebench.runs.recipes import dataset_of_run, load_split
from vaebench.runs.record import RunFolder, RunRecord
from vaebench.studies.webcam.detected import measure_detected
from vaebench.studies.webcam.fitting import Fitted, fit_reader, held_out, log, named
from vaebench.studies.webcam.saved_fit import SavedFit, load_fit, save_fit, words_file

USUAL = "Smiling"  # what is read where nothing is chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What was read of n faces, on the CPU.

    Attributes:
        scores: signed distance from each chosen attribute's boundary times its weights' norm, float64 (n, k).
        reconstruction: uint8 (n, 3, h, w).
        changed: the manipulated faces, likewise, or ``None`` where nothing is to be changed.
        strangeness: against the dataset's test images.
    """

    scores: Tensor
    reconstruction: Tensor
    changed: Tensor | None
    strangeness: Strangeness


class Reader:
    """A run's model and what was fitted for it, all on one device, for faces that ``detector`` finds.

    ``attributes`` are the chosen ones, in order.
    """

    def __init__(
        self,
        model: Autoencoder,
        kept: SavedFit,
        detector: str,
        *,
        image_shape: tuple[int, int, int],
        attributes: Sequence[str],
        changes: Mapping[str, float],
        device: str,
    ) -> None:
        fitted, self.detected = kept.fitted, kept.detected[detector]
        self.framing, self.image_shape = self.detected.framing, image_shape
        self.attributes = chosen_attributes(attributes, fitted)
        self.trust = {name: fitted.trust[name] for name in self.attributes}
        self.changes = dict(changes)
        self._model, self._device, self._familiar = model, device, fitted.familiar
        columns = [fitted.classified.index(name) for name in self.attributes]
        self._weights, self._bias = fitted.svms.weights[:, columns], fitted.svms.bias[columns]
        self._change = _direction(changes, fitted, model.latent_dim).to(device)

    @torch.inference_mode()
    def read(self, faces: Tensor) -> Readings:
        """Read faces uint8 (n, 3, h, w), cropped as the dataset's images and of their size; n of 1 or more."""
        if tuple(faces.shape[1:]) != self.image_shape:
            raise ValueError(f"faces are {tuple(faces.shape[1:])}, the run's images {self.image_shape}")
        images = to_float(faces.to(self._device))
        mean = self._model.posterior(images)[0]
        wanted = torch.cat([mean, mean + self._change]) if self.changes else mean
        decoded = self._model.decode(wanted)
        latents, reconstruction = mean.cpu(), decoded[: len(faces)]
        return Readings(
            scores=latents.double() @ self._weights + self._bias,
            reconstruction=_as_bytes(reconstruction),
            changed=_as_bytes(decoded[len(faces) :]) if self.changes else None,
            strangeness=self._familiar.judge(images.cpu(), reconstruction.cpu(), latents),
        )


def _as_bytes(images: Tensor) -> Tensor:
    return images.float().mul(255).round_().clamp_(0, 255).to(torch.uint8).cpu()


def _direction(changes: Mapping[str, float], fitted: Fitted, latent_dim: int) -> Tensor:
    """The sum of the attributes' directions, each as often as asked for: (d,)."""
    total = torch.zeros(latent_dim)
    for name, amount in changes.items():
        position_of(name, fitted.attributes)
        if name not in fitted.directions:
            raise UserError(f"{name} has too few training images for a direction: manipulate another attribute")
        total += amount * fitted.directions[name].direction
    return total


def chosen_attributes(names: Sequence[str], fitted: Fitted) -> tuple[str, ...]:
    """Those asked for; without any, smiling, or what is told best where that is unknown.

    Raises :class:`UserError` for unknown names and for those that training has one kind only of.
    """
    for name in names:
        position_of(name, fitted.attributes)
        if name not in fitted.classified:
            raise UserError(
                f"{name} cannot be told: the training images are all of one kind; "
                f"{did_you_mean(name, fitted.classified)}"
            )
    if names:
        return tuple(dict.fromkeys(names))
    if USUAL in fitted.classified:
        return (USUAL,)
    return (max(fitted.classified, key=lambda name: fitted.trust[name].balanced or 0.0),)


def parsed_changes(texts: Sequence[str]) -> dict[str, float]:
    """``NAME=AMOUNT`` each; :class:`UserError` for another form or an amount that is no finite number."""
    changes: dict[str, float] = {}
    for text in texts:
        name, _, amount = text.partition("=")
        try:
            value = float(amount)
        except ValueError:
            value = math.nan
        if not name or not math.isfinite(value):
            raise UserError(f"--manipulate {text!r} is no change: write --manipulate NAME=AMOUNT, e.g. Eyeglasses=1.0")
        changes[name] = value
    return changes


def check_readable(record: RunRecord, model: GenerativeModel) -> Autoencoder:
    """The model as one that encodes colour images; :class:`UserError` for a GAN and for grey images."""
    if not isinstance(model, Autoencoder):
        raise UserError(
            f"{record.recipe} is a GAN: it has no encoder, so it cannot read a face; "
            "choose a run that encodes, such as a VAE's"
        )
    if record.image_shape[0] != 3:
        raise UserError(f"{record.recipe} was trained on grey images of {record.dataset}: choose a run on colour faces")
    return model


def open_saved_fit(
    folder: RunFolder,
    record: RunRecord,
    model: Autoencoder,
    detector: Detector,
    device: str,
    wanted: Sequence[str] = (),
) -> SavedFit:
    """Load the fit for the run and this detector from the run's folder, or fit now and save it.

    ``wanted`` are attributes that must exist, which is said before anything is fitted.
    """
    kept = load_fit(folder, record)
    if kept is not None and detector.name in kept.detected:
        return kept
    source = dataset_of_run(record, folder)
    training = load_split(source, "train")
    names = named(training)
    for name in wanted:
        position_of(name, names)
    if training.fingerprint != record.data_fingerprint:
        log.warning("webcam: %s is not what %s was trained on: fitting on it all the same", source.name, folder.path)
    if kept is None:
        kept = SavedFit(fitted=fit_reader(model, source, training, device), detected={})
    log.info("webcam: looking for faces in the images of %s", source.name)
    tested = load_split(source, held_out(source)[0])
    detected = measure_detected(model, kept.fitted, training.images, tested, detector, device)
    kept = replace(kept, detected={**kept.detected, detector.name: detected})
    try:
        save_fit(folder, record, kept)
        log.info("webcam: kept in %s", words_file(folder))
    except UserError as unwritable:
        log.info("webcam: what was fitted is not kept: %s", unwritable)
    return kept


def one_run(folders: Sequence[RunFolder]) -> tuple[RunFolder, str]:
    """Choose the first of the runs that a name stands for, and say so if there are more."""
    if not folders:
        raise UserError("no run lies there: train one, or name another")
    others = len(folders) - 1
    said = f"{folders[0].path}: the first of {others + 1} seeds" if others else ""
    return folders[0], said


def run_name(path: Path) -> str:
    """Name a run by its last two folders."""
    return "/".join(path.parts[-2:])
