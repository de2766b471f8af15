"""Boxes follow a moving face, whatever is between two searches; a face that is missed for a moment is not lost."""

import math

import cv2
import films
import numpy as np
import pytest
import torch

from vaebench.datasets.images.face_detection import Cascade, Face, measure_framing
from vaebench.studies.webcam.tracking import MOST, Track, Tracker, found, largest, surer


class Scripted:
    """A detector that finds what the script says of each search."""

    name = "scripted"

    def __init__(self, *searches):
        self.searches = list(searches)
        self.count = 0

    def faces(self, picture, smallest):
        found = self.searches[min(self.count, len(self.searches) - 1)]
        self.count += 1
        return [Face(left=x - side / 2, top=y - side / 2, side=side, score=1) for x, y, side in found]


FRAME = np.zeros((240, 320, 3), np.uint8)


@pytest.fixture(scope="module")
def framing():
    pictures = np.stack([films.face(index) for index in range(25)])
    return measure_framing(torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy()))


def offset(framing, track, left, top):
    """How far a track's crop lies off a toy face's own place in the frame: across, down, and its width as a share."""
    box = framing.around(*track.corner, track.side)
    middle = ((box[0] + box[2]) / 2 - left - films.SIDE / 2, (box[1] + box[3]) / 2 - top - films.SIDE / 2)
    return *middle, (box[2] - box[0]) / films.SIDE


def test_boxes_stay_with_a_moving_face(framing):
    """A toy face is not always in the middle of its image, so that in a still frame is what it is held against."""
    image = films.face(2)
    still = offset(
        framing, Tracker(Cascade(), framing).follow(films.pasted(films.backdrop(), image, 200, 140))[0], 200, 140
    )
    assert np.abs(still[:2]).max() < 8 and still[2] == pytest.approx(1, abs=0.12)  # of 192 pixels
    tracker, misses = Tracker(Cascade(), framing), []
    for frame, (left, top) in zip(films.moving(image, 40), films.places(40), strict=True):
        (track,) = tracker.follow(frame)
        misses.append(np.abs(np.subtract(offset(framing, track, left, top)[:2], still[:2])).max())
    assert np.median(misses[8:]) < 3 and max(misses[8:]) < 10  # the first frames learn the speed


def test_eyes_make_boxes_surer(framing):
    """Against the eyes' middle as it is drawn, over faces of many sizes: nearer than by the face box alone."""
    by_box, by_eyes = [], []
    for index in range(16):
        side = 120 + 13 * index
        frame = films.backdrop()
        frame[100 : 100 + side, 200 : 200 + side] = cv2.resize(
            films.face(index), (side, side), interpolation=cv2.INTER_CUBIC
        )
        for face in found(frame, Cascade())[:1]:
            sure = surer(frame, face, framing, Cascade())
            if sure.eyes is not None:
                by_box.append(math.log(face.side / framing.side / side))
                by_eyes.append(math.log(sure.side / framing.side / side))
    assert len(by_eyes) >= 12
    assert abs(np.median(by_eyes)) < 0.05
    assert np.square(by_eyes).mean() < np.square(by_box).mean()


def test_a_face_without_eyes_stays_as_it_was(framing):
    face = Face(left=100, top=100, side=80, score=1)
    assert surer(films.backdrop(), face, framing, Cascade()) is face


def test_the_side_waits_for_eyes_once_they_were_seen():
    eyes = ((80.0, 90.0), (120.0, 90.0))
    track = Track(x=100, y=100, side=100)
    seen = track.corrected(Face(left=60, top=60, side=80, score=1, eyes=eyes), 2)
    assert seen.seen and seen.side == 80  # the first sight of the eyes is believed
    assert seen.corrected(Face(left=40, top=40, side=120, score=1), 2).side == 80
    again = seen.corrected(Face(left=50, top=50, side=100, score=1, eyes=eyes), 2)
    assert 80 < again.side < 100


def test_a_face_that_comes_nearer_is_kept_up_with():
    sides = [100 * 1.01**step for step in range(80)]
    tracker = Tracker(Scripted(*([(100, 100, side)] for side in sides)), every=1)
    seen = [tracker.follow(FRAME)[0].side for _ in range(80)]
    assert seen[-1] == pytest.approx(sides[-1], rel=0.02)


def test_the_more_faces_the_rarer_the_search():
    detector = Scripted([(60, 60, 40)], [(60, 60, 40), (160, 60, 40)])
    tracker = Tracker(detector, every=2)
    searches = []
    for _ in range(11):
        before = detector.count
        tracker.follow(FRAME)
        searches.append(detector.count - before)
    assert searches == [1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]


def test_between_searches_a_face_goes_on_at_its_speed():
    detector = Scripted(*([(50 + 12 * step, 100, 40)] for step in range(20)))
    tracker = Tracker(detector, every=3)  # so 4 pixels a frame
    places = [tracker.follow(FRAME)[0].x for _ in range(36)]
    assert detector.count == 12
    late = np.array(places[18:])
    assert np.abs(late - (50 + 4 * np.arange(18, 36))).max() < 2
    assert np.diff(late).min() > 2  # it does not jump from search to search


def test_the_side_is_smoothed():
    sides = [100 if step % 2 else 110 for step in range(20)]
    tracker = Tracker(Scripted(*([(100, 100, side)] for side in sides)), every=1)
    seen = [tracker.follow(FRAME)[0].side for _ in range(20)]
    assert np.ptp(seen[6:]) < 5


def test_a_face_that_is_missed_twice_stays_and_then_goes():
    here, gone = [(100, 100, 50)], []
    tracker = Tracker(Scripted(here, gone, gone, here, gone, gone, gone), every=1)
    counts = [len(tracker.follow(FRAME)) for _ in range(7)]
    assert counts == [1, 1, 1, 1, 1, 1, 0]


def test_faces_keep_their_order_and_their_places():
    first, second = (60, 60, 40), (200, 100, 60)
    tracker = Tracker(Scripted([first, second], [second, first], [second, (20, 200, 30), first]), every=1)
    for _ in range(4):  # two faces are looked for in every second frame
        assert [track.x for track in tracker.follow(FRAME)] == pytest.approx([60, 200])
    assert [track.x for track in tracker.follow(FRAME)] == pytest.approx([60, 200, 20])


def test_of_many_faces_the_largest_are_read():
    many = [(20 + 40 * place, 60, 20 + place) for place in range(MOST + 3)]
    tracks = Tracker(Scripted(many)).follow(FRAME)
    assert len(tracks) == MOST + 3
    assert [track.side for track in largest(tracks)] == [20 + place for place in range(3, MOST + 3)]
