"""What is read of faces, held against the model asked by hand; drawn as it was read."""

from dataclasses import replace

import films
import numpy as np
import pytest
import torch

from vaebench.core.dataset import to_float
from vaebench.core.errors import UserError
from vaebench.datasets.images.face_detection import Cascade
from vaebench.datasets.toyfaces import ToyFaces
from vaebench.metrics.probes.novelty import Strangeness
from vaebench.runs.load import open_run
from vaebench.studies.webcam.drawing import AMBER, GREEN, RED, WHITE, Mark, annotated, marks, warning
from vaebench.studies.webcam.reader import Reader, Readings, chosen_attributes, parsed_changes
from vaebench.studies.webcam.saved_fit import load_fit
from vaebench.studies.webcam.show import Show, crops, paced
from vaebench.studies.webcam.tracking import Tracker


@pytest.fixture
def kept(folder):
    return load_fit(folder, folder.read_record())


@pytest.fixture
def model(folder):
    return open_run(folder, "cpu")[1]


@pytest.fixture
def reader_of(model, kept):
    def build(attributes=("Smiling", "Male"), changes=None):
        return Reader(
            model,
            kept,
            Cascade.name,
            image_shape=(3, 64, 64),
            attributes=attributes,
            changes=changes or {},
            device="cpu",
        )

    return build


def test_scores_and_pictures_are_the_model_s(reader_of, model, kept):
    images = ToyFaces().load("test").images[:5]
    found = reader_of(changes={"Smiling": 1.5, "Male": -2.0}).read(images)
    with torch.inference_mode():
        means = model.posterior(to_float(images))[0]
        step = 1.5 * kept.fitted.directions["Smiling"].direction - 2 * kept.fitted.directions["Male"].direction
        expected, changed = model.decode(means), model.decode(means + step)
    for column, name in enumerate(("Smiling", "Male")):
        place = kept.fitted.classified.index(name)
        by_hand = means.double() @ kept.fitted.svms.weights[:, place] + kept.fitted.svms.bias[place]
        assert torch.allclose(found.scores[:, column], by_hand, atol=1e-6)
    assert found.reconstruction.dtype == torch.uint8
    assert (found.reconstruction.float() / 255 - expected).abs().max() < 1 / 255
    assert (found.changed.float() / 255 - changed).abs().max() < 1 / 255
    assert reader_of().read(images).changed is None


def test_noise_is_unlike_the_faces_and_a_face_is_not(reader_of):
    faces = ToyFaces().load("test").images
    noise = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    reader = reader_of()
    assert reader.read(noise).strangeness.outside.all()
    assert reader.read(faces).strangeness.outside.double().mean() < 0.1
    lines = warning(reader.read(noise).strangeness, 0)
    assert lines[:2] == ["unlike the training faces:", "error above 100 % of them"]
    usual = int((~reader.read(faces).strangeness.outside).nonzero()[0])
    assert warning(reader.read(faces).strangeness, usual) == []


def test_faces_of_another_shape_are_a_fault(reader_of):
    with pytest.raises(ValueError, match=r"\(3, 32, 32\)"):
        reader_of().read(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def test_which_attributes_are_read(kept):
    fitted = kept.fitted
    assert chosen_attributes((), fitted) == ("Smiling",)
    assert chosen_attributes(("Male", "Young", "Male"), fitted) == ("Male", "Young")
    with pytest.raises(UserError, match=r"no attribute is named 'Smilin': did you mean 'Smiling'\?"):
        chosen_attributes(("Smilin",), fitted)
    some = replace(fitted, classified=("Male", "Young"))
    with pytest.raises(UserError, match=r"Bald cannot be told: the training images are all of one kind; choose from"):
        chosen_attributes(("Bald",), some)
    best = max(("Male", "Young"), key=lambda name: fitted.trust[name].balanced)
    assert chosen_attributes((), some) == (best,)


def test_what_cannot_be_manipulated_is_said(reader_of, kept):
    with pytest.raises(UserError, match="did you mean 'Eyeglasses'"):
        reader_of(changes={"Eyeglass": 1.0})
    rare = next(name for name in kept.fitted.attributes if name not in kept.fitted.directions)
    with pytest.raises(UserError, match=f"{rare} has too few training images for a direction"):
        reader_of(changes={rare: 1.0})


def test_changes_as_typed():
    assert parsed_changes(["Smiling=1", "Male=-0.5"]) == {"Smiling": 1.0, "Male": -0.5}
    for text in ("Smiling", "Smiling=", "=1", "Smiling=much", "Smiling=nan", "Smiling=inf"):
        with pytest.raises(UserError, match=r"is no change: write --manipulate NAME=AMOUNT"):
            parsed_changes([text])


def strange(error, norm):
    return Strangeness(error=torch.tensor([error]), norm=torch.tensor([norm]))


def readings(score, error=0.5, norm=0.5, changed=None):
    picture = torch.full((1, 3, 64, 64), 200, dtype=torch.uint8)
    return Readings(
        scores=torch.tensor([[score]], dtype=torch.float64),
        reconstruction=picture,
        changed=changed,
        strangeness=strange(error, norm),
    )


FRAME = np.full((480, 640, 3), 128, np.uint8)


def has(drawn, colour, part=np.s_[:, :], within=0):
    """How many pixels are of a colour, to so much in each channel: thin text is mixed with what lies behind it."""
    return int((np.abs(drawn[part].astype(int) - colour) <= within).all(axis=-1).sum())


@pytest.mark.parametrize(("score", "colour", "other"), [(0.7, GREEN, RED), (-0.7, RED, GREEN)])
def test_the_box_says_whether_the_attribute_is_there(score, colour, other):
    box = (200, 100, 400, 300)
    (mark,) = marks([box], ["Smiling"], readings(score))
    assert mark.lines == [(f"Smiling {'yes' if score > 0 else 'no'} {score:+.2f}", colour)]
    drawn = annotated(FRAME, [mark], [])
    for edge in (np.s_[100, 200:400], np.s_[299, 200:400], np.s_[100:300, 200], np.s_[100:300, 399]):
        assert (drawn[edge] == np.array(colour)).all()
    assert has(drawn, other) == 0
    assert (drawn[150:250, 250:350] == 128).all()  # the face itself is left as it is
    assert (FRAME == 128).all()


def test_what_is_unusual_is_said_in_words():
    (mark,) = marks([(200, 100, 400, 300)], ["Smiling"], readings(1.0, error=0.999, norm=0.2))
    assert [text for text, _ in mark.lines[1:]] == [
        "unlike the training faces:",
        "error above 100 % of them",
        "norm above 20 % of them",
    ]
    assert has(annotated(FRAME, [mark], []), AMBER, within=60) > 50


def test_the_changed_face_stands_beside():
    changed = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    changed[:, 2] = 255
    (mark,) = marks([(100, 100, 300, 300)], ["Smiling"], readings(1.0, changed=changed))
    drawn = annotated(FRAME, [mark], [])
    assert (drawn[100:190, 310:400] == 200).all()  # the reconstruction, then the change
    assert has(drawn, (0, 0, 255)) > 90 * 90
    near_the_edge = Mark(box=(440, 100, 640, 300), colour=GREEN, lines=mark.lines, beside=mark.beside)
    assert has(annotated(FRAME, [near_the_edge], []), (0, 0, 255), np.s_[:, :440]) > 90 * 90


@pytest.mark.parametrize(
    "box",
    [(-50, -80, 100, 60), (600, 440, 800, 700), (0, 0, 640, 480), (-100, -100, 900, 900), (639, 479, 645, 490)],
)
@pytest.mark.parametrize("shape", [(480, 640), (48, 64), (1080, 1920)])
def test_boxes_beyond_the_frame_are_drawn_as_far_as_they_go(box, shape):
    frame = np.full((*shape, 3), 128, np.uint8)
    picture = np.zeros((64, 64, 3), np.uint8)
    mark = Mark(box=box, colour=RED, lines=[("Wearing_Necklace no -12.34", RED)] * 3, beside=[picture, picture])
    drawn = annotated(frame, [mark, mark], ["12.3 frames/s", "7 faces, the 5 largest are read"])
    assert drawn.shape == frame.shape
    assert has(drawn, RED) > 0 or shape == (48, 64)  # text covers a frame that small


def test_labels_of_neighbours_do_not_cover_each_other():
    lines = [("Smiling yes +1.00", GREEN), ("Male no -1.00", RED)]
    boxes = [(20, 200, 120, 300), (100, 205, 200, 305)]
    alone = [annotated(FRAME, [Mark(box=box, colour=WHITE, lines=lines)], []) for box in boxes]
    together = annotated(FRAME, [Mark(box=box, colour=WHITE, lines=lines) for box in boxes], [])
    assert has(together, GREEN) == sum(has(drawn, GREEN) for drawn in alone)


def show_of(reader, seconds=0.05):
    ticks = iter(np.arange(0, 1e6, seconds))
    return Show(reader, Tracker(Cascade(), reader.framing), clock=lambda: float(next(ticks)))


def test_a_frame_s_face_is_cropped_as_the_dataset_is_and_read(reader_of):
    """A test image that lies in a frame is read much as the image itself."""
    reader = reader_of(attributes=("Male",))
    framing = reader.framing
    images, scores = ToyFaces().load("test").images[:20], []
    for image in images:
        frame = films.pasted(films.backdrop(), image.permute(1, 2, 0).contiguous().numpy(), 200, 140)
        tracks = Tracker(Cascade(), framing).follow(frame)
        if len(tracks) != 1:
            continue
        box = framing.around(*tracks[0].corner, tracks[0].side)
        assert np.abs(np.subtract(box, (200, 140, 392, 332))).max() < 40
        cropped = crops(frame, [box], reader.image_shape)
        assert cropped.shape == (1, 3, 64, 64) and cropped.dtype == torch.uint8
        own = (cropped.float() - image.float()).abs().mean()
        others = (cropped.float() - images.float()).abs().mean(dim=(1, 2, 3)).median()
        scores.append(float(own / others))
    assert len(scores) >= 16
    assert np.median(scores) < 0.5


def test_what_is_shown_of_frames(reader_of, monkeypatch):
    notes = []
    monkeypatch.setattr(
        "vaebench.studies.webcam.show.annotated",
        lambda frame, faces, said: notes.append((len(faces), list(said))) or frame,
    )
    show = show_of(reader_of(changes={"Smiling": 1.0}))
    face, empty = films.pasted(films.backdrop(), films.face(3), 200, 140), films.backdrop()
    many = films.backdrop()
    for place in range(6):
        many = films.pasted(many, films.face(3), 20 + 210 * (place % 3), 20 + 230 * (place // 3), 170)
    list(show.frames([face, face]))
    assert notes[0] == (1, ["beside a face: as decoded, then Smiling +1"])
    assert notes[1][0] == 1 and notes[1][1][0].endswith(" frames/s")
    show = show_of(reader_of())
    list(show.frames([empty, many, many]))
    assert notes[2] == (0, ["no face found"])
    assert notes[-1][0] == 5 and "6 faces, the 5 largest are read" in notes[-1][1]


def test_frames_a_second_are_counted(reader_of, monkeypatch):
    said = []
    monkeypatch.setattr(
        "vaebench.studies.webcam.show.annotated", lambda frame, faces, notes: said.append(notes[0]) or frame
    )
    times = iter([time for frame in range(50) for time in ((frame + 1) * 0.04, (frame + 1) * 0.04)][1:])
    show = Show(reader_of(), Tracker(Cascade()), clock=lambda: next(times))
    list(show.frames([films.backdrop()] * 40))
    assert said[0] == "no face found" and said[-1] == "25.0 frames/s"


def test_a_video_is_shown_no_faster_than_it_was_taken():
    now, waits = [0.0], []

    def wait(seconds):
        waits.append(seconds)
        now[0] += seconds

    for number, _ in enumerate(paced(range(6), 10, wait, lambda: now[0])):
        now[0] += 0.35 if number == 2 else 0.02  # one frame takes long
    assert waits == pytest.approx([0, 0.08, 0.08, 0, 0, 0.06])  # one frame is caught up with, no more
