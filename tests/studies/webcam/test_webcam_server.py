"""The page's server: two routes on loopback, one viewer, nobody else's name, an end when the frames end."""

import contextlib
import http.client
import itertools
import socket
import threading
import time
from contextlib import closing, contextmanager

import cv2
import numpy as np
import pytest

from vaebench.core.errors import UserError
from vaebench.datasets.images.cropping import Framing
from vaebench.studies.webcam.detected import Detected
from vaebench.studies.webcam.fitting import Trust
from vaebench.studies.webcam.page import page
from vaebench.studies.webcam.server import Server

WAIT = 20  # seconds that a test waits at most before it fails


def frames(count=None):
    """Frames that differ by their grey."""
    for number in itertools.count() if count is None else range(count):
        yield np.full((48, 64, 3), 10 * (number % 20), np.uint8)


class Running:
    """A server that shows frames in a thread of its own, as the program does in its main one."""

    def __init__(self, shown):
        self.stop, self.error = threading.Event(), None
        self.server = Server("<p>the page</p>", 0, self.stop)
        self.thread = threading.Thread(target=self._run, args=(shown,))
        self.thread.start()

    def _run(self, shown):
        try:
            self.server.show(shown)
        except Exception as error:
            self.error = error

    @contextmanager
    def get(self, path, host=None, method="GET", **headers):
        """The answer to a request as a browser sends it; inside, the connection is open."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=WAIT)
        connection.putrequest(method, path, skip_host=True)
        if host != "":
            connection.putheader("Host", host or f"127.0.0.1:{self.server.server_port}")
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        with closing(connection), connection.getresponse() as answer:
            yield answer

    def said(self, path, **given):
        """Status and text of an answer that ends."""
        with self.get(path, **given) as answer:
            return answer.status, answer.read().decode()

    def ended(self):
        self.thread.join(WAIT)
        return not self.thread.is_alive()


@pytest.fixture
def running():
    started = []

    def start(shown):
        started.append(Running(shown))
        return started[-1]

    yield start
    for one in started:
        one.stop.set()
        assert one.ended()


def pictures(answer):
    """JPEGs of a stream, decoded to RGB; to its end."""
    while (line := answer.readline()).startswith(b"--frame"):
        if line.startswith(b"--frame--"):
            return
        fields = dict(iter(lambda: answer.readline().strip().partition(b": ")[::2], (b"", b"")))
        assert fields[b"Content-Type"] == b"image/jpeg"
        data = answer.read(int(fields[b"Content-Length"]))
        assert answer.readline() == b"\r\n"
        yield cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def test_the_stream_has_every_frame_and_then_the_program_ends(running):
    one = running(frames(7))
    with one.get("/stream") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        seen = [int(picture.mean().round()) for picture in pictures(answer)]
    assert seen == pytest.approx([10 * number for number in range(7)], abs=2)
    assert one.ended() and one.error is None


def test_the_page_and_nothing_else_is_there(running):
    one = running(frames())
    assert one.said("/") == (200, "<p>the page</p>")
    for path in (
        "/favicon.ico",
        "/index.html",
        "/stream/",
        "/../../etc/passwd",
        "//etc/passwd",
        "/%2e%2e/",
        "/?a",
        "*",
    ):
        assert one.said(path)[0] == 404, path
    with one.get("/") as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Python" not in answer.headers["Server"]


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE"])
def test_only_reading_is_known(running, method):
    one = running(frames())
    with one.get("/", method=method) as answer:
        assert answer.status == 501


def test_another_s_name_for_this_machine_is_refused(running):
    one = running(frames())
    port = one.server.server_port
    assert one.said("/", host=f"localhost:{port}")[0] == 200
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        f"127.0.0.1:{port + 1}",
        f"127.0.0.1:{port}.x",
        "",
    ):
        for path in ("/", "/stream"):
            status, said = one.said(path, host=host)
            assert status == 403 and f"http://127.0.0.1:{port}/" in said


def test_another_site_s_page_may_not_show_the_stream(running):
    one = running(frames(2))
    for site in ("cross-site", "same-site"):
        assert one.said("/stream", Sec_Fetch_Site=site)[0] == 403
    with one.get("/stream", Sec_Fetch_Site="same-origin") as answer:
        assert len(list(pictures(answer))) == 2


def test_a_second_viewer_is_told_to_wait_and_gets_it_when_the_first_leaves(running, monkeypatch):
    monkeypatch.setattr("vaebench.studies.webcam.server._LEAVING", 0.05)
    one = running(frames())
    with one.get("/stream") as answer:
        assert next(pictures(answer)) is not None
        status, said = one.said("/stream")
        assert status == 503 and "Somebody is watching already: close the other page" in said
        assert one.said("/")[0] == 200
    monkeypatch.setattr("vaebench.studies.webcam.server._LEAVING", WAIT)
    with one.get("/stream") as answer:
        assert answer.status == 200 and next(pictures(answer)) is not None


def test_who_drips_a_request_is_cut_off(running, monkeypatch):
    """A byte before each time-out would hold a thread for ever."""
    monkeypatch.setattr("vaebench.studies.webcam.server._REQUEST", 0.3)
    one = running(frames())
    began = time.monotonic()
    with closing(socket.create_connection(("127.0.0.1", one.server.server_port), timeout=WAIT)) as client:
        with contextlib.suppress(OSError):  # a reset, once it is cut off
            while time.monotonic() - began < WAIT:
                client.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - began < WAIT
    assert one.said("/")[0] == 200  # others are served
    with one.get("/stream") as answer:  # and an answer may take longer
        shown = pictures(answer)
        while time.monotonic() - began < 1.5:
            assert next(shown) is not None


def test_nothing_is_taken_while_nobody_watches(running):
    taken = []

    def counted():
        for frame in frames():
            taken.append(1)
            yield frame

    one = running(counted())
    assert one.said("/")[0] == 200
    assert taken == []


def test_stopping_ends_a_stream_that_would_go_on_for_ever(running):
    one = running(frames())
    with one.get("/stream") as answer:
        shown = pictures(answer)
        next(shown)
        one.stop.set()
        for _ in shown:
            pass
    assert one.ended() and one.error is None


def test_what_a_frame_raises_is_raised_where_the_program_waits(running):
    def failing():
        yield from frames(2)
        raise UserError("camera 0 gives no more pictures")

    one = running(failing())
    with one.get("/stream") as answer:
        list(pictures(answer))
    assert one.ended()
    assert isinstance(one.error, UserError) and "no more pictures" in str(one.error)


def test_a_connection_that_says_nothing_does_not_hold_the_end_up(running):
    one = running(frames(3))
    with socket.create_connection(("127.0.0.1", one.server.server_port)):
        with one.get("/stream") as answer:
            assert len(list(pictures(answer))) == 3
        assert one.ended()


def test_a_port_in_use_is_said():
    with Server("", 0, threading.Event()) as first:
        assert first.server_address[0] == "127.0.0.1"
        taken = first.server_port
        with pytest.raises(UserError, match=rf"port {taken} is in use: give --port {taken + 1}, or 0 for any"):
            Server("", taken, threading.Event())


def test_the_page_says_how_far_to_trust_what_is_read():
    trust = {
        "Smiling": Trust(accuracy=0.91, balanced=0.905, share=0.48),
        "Bald": Trust(accuracy=0.98, balanced=None, share=0.0),
    }
    framing = Framing(left=0.2, top=0.2, side=0.6, left_eye=(0.4, 0.4), right_eye=(0.6, 0.4), aspect=1.0)
    detected = Detected(framing=framing, accuracy={"Smiling": 0.812}, images=287)
    text = page("<b>run</b>", "a & b.avi", trust, detected, {"Smiling": -1.5})
    assert "<td>Smiling</td><td>81.2 %</td><td>91.0 %</td><td>90.5 %</td><td>48.0 %</td>" in text
    assert "<td>Bald</td><td></td><td>98.0 %</td><td></td><td>0.0 %</td>" in text
    assert "on 287 of them framed as here" in text
    assert "&lt;b&gt;run&lt;/b&gt;" in text and "<b>run" not in text and "a &amp; b.avi" in text
    assert "with Smiling -1.5" in text and "<script" not in text
    assert "Beside each face" not in page("run", "0", trust, detected, {})
