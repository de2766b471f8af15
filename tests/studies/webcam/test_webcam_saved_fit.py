"""What is fitted for a run is kept beside it: read back alike, and fitted anew where weights or files changed."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from vaebench.core.dataset import to_float
from vaebench.core.errors import UserError
from vaebench.core.files import sha256_of
from vaebench.datasets.images.cropping import cropped
from vaebench.datasets.images.face_detection import Cascade, sighted
from vaebench.datasets.toyfaces import ToyFaces
from vaebench.metrics.probes.attribute_vectors import attribute_vector
from vaebench.runs.load import open_run
from vaebench.studies.webcam import reader
from vaebench.studies.webcam.fitting import classifiers
from vaebench.studies.webcam.reader import open_saved_fit
from vaebench.studies.webcam.saved_fit import load_fit, tensors_file, words_file


@pytest.fixture
def counted(monkeypatch):
    """How often something was fitted, and how often a framing was measured."""
    calls = []
    for name in ("fit_reader", "measure_detected"):
        real = getattr(reader, name)
        monkeypatch.setattr(reader, name, lambda *a, _name=name, _real=real, **k: calls.append(_name) or _real(*a, **k))
    return calls


@pytest.fixture
def canned(folder, monkeypatch):
    """What would be fitted is what lies there already; the calls that ask for it."""
    kept, calls = load_fit(folder, folder.read_record()), []
    answers = {"fit_reader": kept.fitted, "measure_detected": kept.detected[Cascade.name]}
    for name, answer in answers.items():
        monkeypatch.setattr(reader, name, lambda *_, _name=name, _answer=answer: calls.append(_name) or _answer)
    return calls


def kept_of(folder, detector=None):
    record, model = open_run(folder, "cpu")
    return open_saved_fit(folder, record, model, detector or Cascade(), "cpu")


def latents_of(folder, split):
    _, model = open_run(folder, "cpu")
    data = ToyFaces().load(split)
    with torch.inference_mode():
        return model.posterior(to_float(data.images))[0].clone(), data


def test_classifiers_are_linear_svc_s_on_standardised_latents(folder):
    """As scikit-learn fits them, with the C that does best on the validation images."""
    means, data = latents_of(folder, "train")
    choosing, valid = latents_of(folder, "valid")
    testing, test = latents_of(folder, "test")
    kept = kept_of(folder).fitted
    decisions = kept.svms.decision(testing)
    scaler = StandardScaler().fit(means.double().numpy())
    for name in ("Smiling", "Male", "Eyeglasses"):
        column = list(data.attribute_names).index(name)
        best = None
        for cost in (0.001, 0.01, 0.1, 1.0):
            svm = LinearSVC(dual=False, C=cost, tol=1e-9, max_iter=100_000)
            svm.fit(scaler.transform(means.double().numpy()), data.attributes[:, column].numpy())
            right = svm.score(scaler.transform(choosing.double().numpy()), valid.attributes[:, column].numpy())
            if best is None or right > best[0]:
                best = (right, svm)
        expected = best[1].decision_function(scaler.transform(testing.double().numpy()))
        found = decisions[:, kept.classified.index(name)]
        assert torch.allclose(found, torch.from_numpy(expected), atol=2e-3)
        truth = test.attributes[:, column]
        assert kept.trust[name].accuracy == pytest.approx(((found > 0) == truth).double().mean().item())
        assert kept.trust[name].share == pytest.approx(truth.double().mean().item())
        halves = [((found > 0) == truth)[truth == kind].double().mean().item() for kind in (True, False)]
        assert kept.trust[name].balanced == pytest.approx(sum(halves) / 2)


def test_without_validation_images_c_is_1():
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(200, 6, generator=generator) * torch.tensor([1.0, 5, 0.1, 1, 1, 0]) + 3
    targets = (latents[:, :2] + torch.randn(200, 2, generator=generator)) > 3
    found = classifiers(latents, targets)
    scaler = StandardScaler().fit(latents.double().numpy())
    svm = LinearSVC(dual=False, C=1.0, tol=1e-10, max_iter=100_000)
    for column in range(2):
        svm.fit(scaler.transform(latents.double().numpy()), targets[:, column].numpy())
        expected = svm.decision_function(scaler.transform(latents.double().numpy()))
        assert torch.allclose(found.decision(latents)[:, column], torch.from_numpy(expected), atol=1e-3)


def test_directions_and_quantiles_are_of_the_splits(folder):
    kept = kept_of(folder).fitted
    means, data = latents_of(folder, "train")
    names = list(data.attribute_names)
    expected = attribute_vector("Smiling", means, data.attributes, names)
    assert torch.allclose(kept.directions["Smiling"].direction, expected.direction, atol=1e-6)
    assert (kept.directions["Smiling"].with_it, kept.directions["Smiling"].without_it) == (
        expected.with_it,
        expected.without_it,
    )
    rare = [name for column, name in enumerate(names) if data.attributes[:, column].sum() < 10]
    assert rare and not set(rare) & set(kept.directions)
    testing, _ = latents_of(folder, "test")
    norms = testing.double().norm(dim=1)
    assert kept.familiar.norms[0] == pytest.approx(norms.min().item(), rel=1e-5)
    assert kept.familiar.norms[-1] == pytest.approx(norms.max().item(), rel=1e-5)


def test_how_often_readings_are_right_on_faces_that_are_found(folder):
    kept = kept_of(folder)
    detected = kept.detected[Cascade.name]
    data, detector, right = ToyFaces().load("test"), Cascade(), []
    _, model = open_run(folder, "cpu")
    for image, has in zip(data.images, data.attributes, strict=True):
        face = sighted(image.permute(1, 2, 0).contiguous().numpy(), detector, turns=(0,))
        if face is None:
            continue
        box = detected.framing.around(*detected.framing.by_eyes(face.eyes, face.side))
        picture = cropped(Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()), box, (64, 64))
        crop = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            score = kept.fitted.svms.decision(model.posterior(to_float(crop))[0])[0]
        smiling = kept.fitted.classified.index("Smiling")
        right.append(bool(score[smiling] > 0) == bool(has[list(data.attribute_names).index("Smiling")]))
    assert detected.images == len(right) >= 40
    assert detected.accuracy["Smiling"] == pytest.approx(sum(right) / len(right), abs=1.5 / len(right))
    assert set(detected.accuracy) == set(kept.fitted.classified)


def test_what_is_kept_comes_back_without_data(folder, counted, monkeypatch):
    first = load_fit(folder, folder.read_record())
    assert first is not None
    monkeypatch.setattr(ToyFaces, "load", lambda *_: pytest.fail("the dataset was read"))
    again = kept_of(folder)
    assert counted == []
    assert again.detected == first.detected and again.fitted.trust == first.fitted.trust
    assert torch.equal(again.fitted.svms.weights, first.fitted.svms.weights)
    assert again.fitted.classified == first.fitted.classified and "Smiling" in again.fitted.classified


def test_the_files_say_what_they_are(folder):
    words, record = json.loads(words_file(folder).read_text()), folder.read_record()
    assert words["weights_sha256"] == record.weights_sha256
    assert words["data_fingerprint"] == record.data_fingerprint
    assert words["tensors_sha256"] == sha256_of(tensors_file(folder))
    assert len(words["attributes"]) == 40 and "torch" in words["versions"]
    tensors = load_file(tensors_file(folder))
    assert tensors["weights"].shape[1] == len(words["classifiers"]) == len(tensors["bias"])


def test_a_fit_made_anew_is_the_same(folder, counted):
    before = load_fit(folder, folder.read_record())
    for path in (words_file(folder), tensors_file(folder)):
        path.unlink()
    after = kept_of(folder)
    assert counted == ["fit_reader", "measure_detected"]
    assert torch.allclose(after.fitted.svms.weights, before.fitted.svms.weights)
    assert after.detected == before.detected


def damage_words(folder):
    words_file(folder).write_text("{")


def damage_tensors(folder):
    content = bytearray(tensors_file(folder).read_bytes())
    content[-1] ^= 1
    tensors_file(folder).write_bytes(content)


def lose_tensors(folder):
    tensors_file(folder).unlink()


def other_weights(folder):
    folder.write_record(replace(folder.read_record(), weights_sha256="0" * 64))


def drop_words(folder):
    words = json.loads(words_file(folder).read_text())
    del words["classifiers"][0]
    words_file(folder).write_text(json.dumps(words))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (damage_words, "is not used"),
        (damage_tensors, "the numbers are not those"),
        (lose_tensors, ""),
        (other_weights, "of other weights or data"),
        (drop_words, "differ in number"),
    ],
)
def test_what_does_not_fit_is_not_used(folder, spoil, said, caplog):
    assert load_fit(folder, folder.read_record()) is not None
    spoil(folder)
    with caplog.at_level(logging.INFO):
        assert load_fit(folder, folder.read_record()) is None
    assert said in caplog.text


def test_other_weights_are_fitted_anew(folder, cli, canned):
    before = words_file(folder).read_text()
    options = ["--device", "cpu", "--threads", "1", "--precision", "fp32"]
    assert cli(["train", "vae-toyfaces", "--steps", "9", "--resume", *options]).code == 0
    kept_of(folder)
    assert canned == ["fit_reader", "measure_detected"]
    words = json.loads(words_file(folder).read_text())
    assert words["weights_sha256"] == folder.read_record().weights_sha256
    assert words_file(folder).read_text() != before


class Other(Cascade):
    name = "another"


def test_another_detector_has_a_framing_of_its_own(folder, canned):
    kept = kept_of(folder, Other())
    assert canned == ["measure_detected"]  # the classifiers are as they were
    assert set(kept.detected) == {Cascade.name, "another"}
    assert set(kept_of(folder).detected) == {Cascade.name, "another"}
    assert canned == ["measure_detected"]


def test_a_folder_that_cannot_be_written_to_is_no_hindrance(folder, canned, monkeypatch, caplog):
    words_file(folder).unlink()

    def refuse(*_):
        raise UserError("cannot write here")

    monkeypatch.setattr(reader, "save_fit", refuse)
    with caplog.at_level(logging.INFO):
        assert "Smiling" in kept_of(folder).fitted.classified
    assert "what was fitted is not kept: cannot write here" in caplog.text
