"""The webcam's fit of a run, saved in the run's folder: ``reader.safetensors`` and ``reader.json``. No pickle."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vaebench.core import input_files, validation
from vaebench.core.errors import UserError, first_line
from vaebench.core.files import sha256_of, write_atomic, write_text
from vaebench.datasets.images.cropping import Framing
from vaebench.metrics.probes.attribute_vectors import AttributeVector
from vaebench.metrics.probes.linear_svm import LinearSVMs
from vaebench.metrics.probes.novelty import NoveltyDetector
from vaebench.perceptual.weight_files import save_tensors
from vaebench.runs.provenance import package_versions
from vaebench.runs.record import RunFolder, RunRecord
from vaebench.studies.webcam.detected import Detected
from vaebench.studies.webcam.fitting import Fitted, Trust

FORMAT = 1
REMEDY = "delete it"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedFit:
    """What was fitted, and how each detector frames faces, by the detector's name."""

    fitted: Fitted
    detected: Mapping[str, Detected]


def tensors_file(folder: RunFolder) -> Path:
    """Path of the tensors."""
    return folder.path / "reader.safetensors"


def words_file(folder: RunFolder) -> Path:
    """Path of the description: of which weights and data; written last, with the tensors' hash."""
    return folder.path / "reader.json"


def save_fit(folder: RunFolder, record: RunRecord, kept: SavedFit) -> None:
    """Write the fit atomically, tensors first. Raises :class:`UserError` if the folder cannot be written to."""
    fitted = kept.fitted
    tensors = {"weights": fitted.svms.weights, "bias": fitted.svms.bias, **fitted.familiar.tensors()}
    tensors |= {f"direction.{name}": vector.direction for name, vector in fitted.directions.items()}

    numbers = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_atomic(tensors_file(folder), lambda temporary: save_tensors(numbers, temporary))
    words = {
        "format": FORMAT,
        "weights_sha256": record.weights_sha256,
        "data_fingerprint": record.data_fingerprint,
        "tensors_sha256": sha256_of(tensors_file(folder)),
        "versions": package_versions(),
        "attributes": fitted.attributes,
        "classifiers": [{"name": name, **asdict(fitted.trust[name])} for name in fitted.classified],
        "directions": {
            name: {"with_it": vector.with_it, "without_it": vector.without_it}
            for name, vector in fitted.directions.items()
        },
        "detectors": {name: asdict(detected) for name, detected in kept.detected.items()},
    }
    write_text(words_file(folder), json.dumps(words, indent=2) + "\n")


def load_fit(folder: RunFolder, record: RunRecord) -> SavedFit | None:
    """Load the fit of this run's weights and data; ``None``, which is logged, if it is of others or damaged."""
    try:
        content = input_files.read_bytes(words_file(folder), most=input_files.SMALL, remedy=REMEDY, inside=folder.path)
        words = validation.from_json(content, dict[str, Any], str(words_file(folder)), REMEDY)
        input_files.checked(tensors_file(folder), most=input_files.LARGE, remedy=REMEDY, inside=folder.path)
        if words["format"] != FORMAT:
            raise ValueError(f"format {words['format']}")
        if (words["weights_sha256"], words["data_fingerprint"]) != (record.weights_sha256, record.data_fingerprint):
            raise ValueError("it is of other weights or data")
        if sha256_of(tensors_file(folder)) != words["tensors_sha256"]:
            raise ValueError("the numbers are not those it describes")
        return _saved_fit(words, load_file(tensors_file(folder)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError, UserError) as error:
        log.info("webcam: %s is not used (%s): fitting anew", words_file(folder), first_line(error))
        return None


def _saved_fit(words: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SavedFit:
    trust = {row["name"]: Trust(**{key: row[key] for key in row if key != "name"}) for row in words["classifiers"]}
    svms = LinearSVMs(weights=tensors["weights"], bias=tensors["bias"])
    if svms.weights.shape[1:] != (len(trust),) or svms.bias.shape != (len(trust),):
        raise ValueError("classifiers and names differ in number")
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise ValueError("numbers are not finite")
    return SavedFit(
        fitted=Fitted(
            attributes=tuple(words["attributes"]),
            classified=tuple(trust),
            svms=svms,
            trust=trust,
            directions={
                name: AttributeVector(name=name, direction=tensors[f"direction.{name}"], **counts)
                for name, counts in words["directions"].items()
            },
            familiar=NoveltyDetector(errors=tensors["errors"], norms=tensors["norms"]),
        ),
        detected={
            name: Detected(**{**fields, "framing": _framing(fields["framing"])})
            for name, fields in words["detectors"].items()
        },
    )


def _framing(fields: Mapping[str, Any]) -> Framing:
    """JSON has lists where points are tuples."""
    (left_x, left_y), (right_x, right_y) = fields["left_eye"], fields["right_eye"]
    return Framing(**{**fields, "left_eye": (left_x, left_y), "right_eye": (right_x, right_y)})
