"""From a video to a page or another video, as the command line asks for it; and every bad input in one line."""

import os
import signal
import socket
import threading
from dataclasses import replace

import chromium
import films
import numpy as np
import pytest
import torch

from vaebench.core.errors import UserError
from vaebench.runs.recipes import open_dataset
from vaebench.studies import webcam
from vaebench.studies.webcam import Options, run_webcam
from vaebench.studies.webcam.drawing import GREEN, RED

RUN = "vae-toyfaces/seed-0"
WAIT = 60


@pytest.fixture
def video(root):
    return films.write(root / "face.avi", films.moving(films.face(4), 12))


def near(frame, colour):
    """How many pixels are about of a colour: what was compressed is not quite what was drawn."""
    return int((np.abs(frame.astype(int) - colour).max(axis=-1) < 60).sum())


def test_a_video_becomes_a_video(root, video):
    said = []
    options = Options(source=video, attributes=("Smiling", "Male"), manipulate=("Smiling=1.5",), out=root / "out.mp4")
    run_webcam(RUN, replace(options, device="cpu"), said.append)
    assert said == [f"{root / 'out.mp4'}: 12 frames"]
    before, after = films.read(video), films.read(root / "out.mp4")
    assert len(after) == 12
    for plain, drawn, (left, top) in zip(before, after, films.places(12), strict=True):
        box = drawn[top : top + films.SIDE, left - 30 : left + films.SIDE + 30]
        assert max(near(box, GREEN), near(box, RED)) > 150
        assert np.abs(drawn.astype(int) - plain).mean() < 30
    assert not any(path.name.startswith(".") for path in root.iterdir())


def test_all_seeds_are_the_first_one(root, video):
    said = []
    run_webcam("vae-toyfaces", Options(source=video, out=root / "out.avi", device="cpu"), said.append)
    assert said[0].endswith("vae-toyfaces/seed-0: the first of 2 seeds")
    assert len(films.read(root / "out.avi")) == 12


def test_a_signal_leaves_a_whole_video(root, monkeypatch):
    """A camera does not end by itself."""
    count = 0

    class Endless:
        def __init__(self, name):
            self.name, self.live, self.fps = name, True, 20.0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __iter__(self):
            nonlocal count
            for count in range(1000):
                if count == 5:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield films.backdrop()

    monkeypatch.setattr(webcam, "Source", Endless)
    before = signal.getsignal(signal.SIGTERM)
    run_webcam(RUN, Options(out=root / "out.mp4", device="cpu"), lambda _: None)
    assert count < 10 and len(films.read(root / "out.mp4")) in (5, 6)
    assert signal.getsignal(signal.SIGTERM) is before


class Shown:
    """The program in a thread of its own, and the address that it says."""

    def __init__(self, options):
        self.said, self.error, self.there = [], None, threading.Event()
        self.thread = threading.Thread(target=self._run, args=(options,))
        self.thread.start()
        assert self.there.wait(WAIT), self.error

    def _run(self, options):
        try:
            run_webcam(RUN, options, self._say)
        except Exception as error:
            self.error = error
        finally:
            self.there.set()

    def _say(self, text):
        self.said.append(text)
        self.there.set()

    @property
    def url(self):
        return next(word for word in self.said[0].split() if word.startswith("http")).rstrip(":")


@pytest.mark.skipif(chromium.found() is None, reason=f"no browser: install one of {', '.join(chromium.NAMES)}")
def test_a_browser_sees_the_faces_and_the_end_of_the_video_ends_it(root, tmp_path):
    video = films.write(root / "long.avi", films.moving(films.face(4), 60), fps=15)
    shown = Shown(Options(source=video, attributes=("Smiling",), port=0, device="cpu"))
    assert shown.said[0].startswith(f"{RUN} reads {video} at http://127.0.0.1:")
    with chromium.browser(tmp_path / "profile") as tab:
        # what is open for ever keeps the page from being loaded: the tab is looked at when there is an image
        tab.send("Page.navigate", url=shown.url)
        image = "document.querySelector('img')"
        tab.evaluate(
            f"new Promise(done => {{ const look = () => {image} && {image}.naturalWidth ? done() : "
            "setTimeout(look, 50); look(); })"
        )
        assert tab.evaluate(f"[{image}.naturalWidth, {image}.naturalHeight]") == [640, 480]
        colours = tab.evaluate(
            f"(() => {{ const c = document.createElement('canvas'); c.width = 640; c.height = 480;"
            f"const g = c.getContext('2d'); g.drawImage({image}, 0, 0);"
            "const seen = new Set(), d = g.getImageData(0, 0, 640, 480).data; let box = 0;"
            "for (let i = 0; i < d.length; i += 4) { seen.add(d[i] >> 4 << 8 | d[i + 1] >> 4 << 4 | d[i + 2] >> 4);"
            f"const near = c => Math.max(...c.map((v, k) => Math.abs(v - d[i + k]))) < 60;"
            f"if (near({list(GREEN)}) || near({list(RED)})) box++; }} return [seen.size, box]; }})()"
        )
        assert colours[0] > 40 and colours[1] > 150  # a picture, with a box in it
        text = tab.evaluate("document.body.innerText")
        assert RUN in text and "Smiling" in text and "balanced accuracy" in text
        assert tab.evaluate("getComputedStyle(document.querySelector('td')).textAlign") == "left"  # styles apply
        shown.thread.join(WAIT)
        assert not shown.thread.is_alive()
        assert tab.of("Log.entryAdded") == []  # among them what the security policy forbids
        asked = {sent["request"]["url"] for sent in tab.of("Network.requestWillBeSent")}
        assert {url for url in asked if not url.startswith("data:")} == {shown.url, f"{shown.url}stream"}
    assert shown.error is None and shown.said[-1] == "ended"


@pytest.fixture
def refused(root, video):
    """What is said of a run and options; nothing may have been fitted or written."""

    def call(run=RUN, **options):
        with pytest.raises(UserError) as refusal:
            run_webcam(run, Options(**{"source": video, "out": root / "out.mp4", "device": "cpu", **options}), print)
        assert "\n" not in str(refusal.value)
        assert not (root / "out.mp4").exists()
        return str(refusal.value)

    return call


def test_bad_input_is_said_in_one_line(root, refused):
    (root / "there.avi").touch()
    (root / "bad.onnx").write_bytes(b"x")
    assert "missing.avi does not exist" in refused(source="missing.avi")
    assert "camera 97 cannot be opened" in refused(source="97")
    assert "end it in .mp4 or .avi" in refused(out=root / "out.gif")
    assert "exists: move it away" in refused(out=root / "there.avi")
    assert "--port 70000 is no port" in refused(port=70000, out=None)
    assert "no attribute is named 'Smilling': did you mean 'Smiling'?" in refused(attributes=("Smilling",))
    assert "no attribute is named 'Glasses': did you mean 'Eyeglasses'?" in refused(manipulate=("Glasses=1",))
    assert "write --manipulate NAME=AMOUNT" in refused(manipulate=("Eyeglasses",))
    assert "cannot be read as YuNet" in refused(detector=root / "bad.onnx")
    assert "none.onnx does not exist" in refused(detector=root / "none.onnx")
    assert "device 'gpu9' is not here" in refused(device="gpu9")
    assert "no run 'vae-toyface'" in refused("vae-toyface")
    assert "dcgan-toyfaces is a GAN: it has no encoder, so it cannot read a face" in refused("dcgan-toyfaces")


def test_a_port_in_use_is_said_before_anything_is_fitted(folder, refused, monkeypatch):
    (folder.path / "reader.json").unlink()
    monkeypatch.setattr(webcam, "open_saved_fit", lambda *_: pytest.fail("fitted"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} is in use: give --port {port + 1}" in refused(out=None, port=port)


def test_misspelt_names_are_said_before_anything_is_fitted(folder, refused, monkeypatch):
    (folder.path / "reader.json").unlink()
    monkeypatch.setattr("vaebench.studies.webcam.reader.fit_reader", lambda *_: pytest.fail("fitted"))
    monkeypatch.setattr("vaebench.studies.webcam.reader.measure_detected", lambda *_, **__: pytest.fail("measured"))
    assert "did you mean 'Smiling'" in refused(attributes=("Smilling",))
    assert "did you mean 'Male'" in refused(manipulate=("Mael=1",))


def test_grey_images_and_images_without_attributes_are_refused(folder, refused, monkeypatch):
    record = folder.read_record()
    real = webcam.open_run

    def grey(*given):
        return replace(record, image_shape=[1, 28, 28], recipe="vae-digits", dataset="digits"), real(*given)[1]

    monkeypatch.setattr(webcam, "open_run", grey)
    assert "vae-digits was trained on grey images of digits: choose a run on colour faces" in refused()
    monkeypatch.setattr(webcam, "open_run", real)
    (folder.path / "reader.json").unlink()
    data = webcam.reader.load_split(open_dataset("toyfaces"), "train")
    bare = replace(data, attributes=None, attribute_names=(), labels=torch.zeros(len(data), dtype=torch.int64))
    monkeypatch.setattr("vaebench.studies.webcam.reader.load_split", lambda *_: bare)
    assert "toyfaces has no attributes, which webcam needs to read" in refused()
