"""Frames come as they were written, at their rate; what gives none is said."""

import logging

import films
import numpy as np
import pytest

from vaebench.core.errors import UserError
from vaebench.studies.webcam.source import Source
from vaebench.studies.webcam.writer import check_out, write_video


def test_a_video_s_frames_in_order_in_rgb(tmp_path):
    frames = [np.full((480, 640, 3), colour, np.uint8) for colour in ((250, 10, 10), (10, 250, 10), (10, 10, 250))]
    with Source(films.write(tmp_path / "three.avi", frames, fps=12)) as source:
        assert (source.width, source.height, source.live) == (640, 480, False)
        assert source.fps == pytest.approx(12)
        read = list(source)
    assert len(read) == 3
    for found, written in zip(read, frames, strict=True):
        assert found.dtype == np.uint8 and found.shape == (480, 640, 3)
        assert np.abs(found.astype(int) - written).max() < 12


def test_what_gives_no_frame_is_said(tmp_path, capfd):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no video\n" * 100)
    films.write(tmp_path / "none.avi", [])
    for name, said in (
        ("missing.mp4", r"missing\.mp4 does not exist: give a video file, or a camera's number"),
        ("empty.mp4", r"empty\.mp4 is empty"),
        ("text.mp4", r"text\.mp4 cannot be read as a video: convert it"),
        ("none.avi", r"none\.avi cannot be read as a video"),
    ):
        with pytest.raises(UserError, match=said):
            Source(str(tmp_path / name))
    assert capfd.readouterr().err == ""  # neither OpenCV nor FFmpeg has a say


@pytest.mark.parametrize("name", ["http://127.0.0.1:1/video.mp4", "", "-1", "frame_%03d.png", "²"])
def test_only_files_and_camera_numbers_are_sources(name):
    with pytest.raises(UserError, match="does not exist"):
        Source(name)


def test_a_camera_that_is_not_there_is_said(capfd):
    with pytest.raises(UserError, match=r"camera 97 cannot be opened or gives no picture: check .* --source"):
        Source("97")
    assert capfd.readouterr().err == ""


def test_a_video_cut_short_ends_with_a_warning(tmp_path, caplog):
    path = tmp_path / "cut.avi"
    films.write(path, films.moving(films.face(0), 40))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING), Source(str(path)) as source:
        count = len(list(source))
    assert 10 <= count <= 30
    assert "frames can be read: the file is damaged" in caplog.text


class Camera:
    """A camera that gives a few pictures, the last of another size, and is then pulled out."""

    def __init__(self, *_):
        self.left = 3

    def isOpened(self):
        return True

    def set(self, *_):
        return True

    def get(self, _):
        return 0.0

    def release(self):
        pass

    def read(self):
        self.left -= 1
        size = (240, 320) if self.left == 0 else (480, 640)
        return (True, np.zeros((*size, 3), np.uint8)) if self.left >= 0 else (False, None)


def test_a_camera_that_goes_away_is_said(monkeypatch):
    monkeypatch.setattr("cv2.VideoCapture", Camera)
    with Source("0") as source:
        assert source.live and source.fps == 25
        seen = []
        with pytest.raises(UserError, match="camera 0 gives no more pictures"):
            seen.extend(frame.shape for frame in source)
    assert seen == [(480, 640, 3)] * 3


@pytest.mark.parametrize("name", ["out.mp4", "out.avi", "OUT.MP4"])
def test_what_is_written_reads_back(tmp_path, name):
    frames = films.moving(films.face(1), 7)
    assert write_video(tmp_path / name, iter(frames), 20) == 7
    back = films.read(tmp_path / name)
    assert len(back) == 7
    assert np.abs(back[3].astype(int) - frames[3]).mean() < 5
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]


def test_frames_of_odd_sizes_can_be_written(tmp_path):
    frames = [np.full((121, 163, 3), 90, np.uint8)] * 3
    assert write_video(tmp_path / "odd.mp4", frames, 10) == 3
    assert len(films.read(tmp_path / "odd.mp4")) == 3


def test_where_no_video_can_be_written_is_said(tmp_path):
    (tmp_path / "there.mp4").write_bytes(b"mine")
    for name, said in (("out.webm", r"end it in \.mp4 or \.avi"), ("out", "no ending"), ("there.mp4", "exists: move")):
        with pytest.raises(UserError, match=said):
            check_out(tmp_path / name)
    with pytest.raises(UserError, match="no frame came"):
        write_video(tmp_path / "none.mp4", iter(()), 20)
    with pytest.raises(UserError, match="cannot write"):
        write_video(tmp_path / "there.mp4" / "out.mp4", films.moving(films.face(1), 1), 20)
    assert (tmp_path / "there.mp4").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["there.mp4"]


def test_a_source_that_fails_leaves_no_file(tmp_path):
    def failing():
        yield from films.moving(films.face(1), 2)
        raise UserError("camera 0 gives no more pictures")

    with pytest.raises(UserError, match="no more pictures"):
        write_video(tmp_path / "out.mp4", failing(), 20)
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []
