"""The page and its stream on this machine's loopback: two routes, one viewer, no file."""

import contextlib
import errno
import logging
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2

from vaebench.core.errors import UserError
from vaebench.datasets.images.face_detection import Pixels
from vaebench.studies.webcam.page import POLICY

HOST, PORT = "127.0.0.1", 8765
_BOUNDARY = "frame"
_QUALITY = 85
_STALLED = 5.0  # seconds that a client may keep its line busy with nothing
_REQUEST = 10.0  # seconds that a client may take to say what it wants
_LEAVING = 2.0  # seconds that a page which is loaded again waits for its former stream to be let go
_MOVED = 0.25  # seconds between looks at whether to stop
log = logging.getLogger(__name__)


class Server(ThreadingHTTPServer):
    """Shows frames to one viewer at a time: they are taken while somebody watches.

    Raises :class:`UserError` where the port is in use or may not be taken. ``port`` 0 takes any free one.
    """

    def __init__(self, page: str, port: int, stop: threading.Event) -> None:
        self.page, self.stop, self.watched = page.encode(), stop, threading.Lock()
        self.frames: Iterator[Pixels] = iter(())
        self.failure: BaseException | None = None
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            reason = "is in use" if taken else f"cannot be taken ({error})"
            raise UserError(f"port {port} {reason}: give --port {port + 1 if taken else PORT}, or 0 for any") from error

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    def show(self, frames: Iterator[Pixels]) -> None:
        """Serve until the frames end or ``stop`` is set; raises what taking a frame raised."""
        self.frames = frames
        thread = threading.Thread(target=partial(self.serve_forever, poll_interval=_MOVED), daemon=True)
        thread.start()
        try:
            while not self.stop.wait(_MOVED):  # in pieces: some systems deliver no signal during a long wait
                pass
        finally:
            self.stop.set()
            self.shutdown()
            thread.join()
            self.watched.acquire(timeout=_STALLED)  # kept: the viewer's thread is done with the frames
            self.server_close()
        if self.failure is not None:
            raise self.failure

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing to stderr: a viewer that leaves is no fault."""
        log.debug("webcam: a request from %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "vaebench", ""
    timeout = _STALLED

    def setup(self) -> None:
        """A client that drips its request, a byte before each time-out, has so long altogether."""
        super().setup()
        self._deadline = threading.Timer(_REQUEST, self._cut_off)
        self._deadline.daemon = True
        self._deadline.start()

    def _cut_off(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Whatever became of the request, its deadline is over."""
        self._deadline.cancel()
        super().finish()

    def do_GET(self) -> None:
        self._deadline.cancel()  # the request is here; how long an answer takes is another matter
        port = self.server.server_port
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            # a name of somebody else's that leads here would let their page read ours (DNS rebinding)
            self._say(403, f"This page is only at {self.server.url}\n")
        elif self.path == "/":
            self._send(200, "text/html; charset=utf-8", self.server.page)
        elif self.path != "/stream":
            self._say(404, "There is nothing here: the page is at /\n")
        elif self.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            self._say(403, "Another site's page may not show this stream.\n")
        elif not self.server.watched.acquire(timeout=_LEAVING):
            self._say(503, "Somebody is watching already: close the other page, then load this one again.\n")
        else:
            try:
                self._stream()
            finally:
                self.server.watched.release()

    def _stream(self) -> None:
        if self.server.stop.is_set():
            self._say(503, "The video has ended.\n")
            return
        self.send_response(200)
        self._common(f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        try:
            for frame in self.server.frames:
                part = jpeg(frame)
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(part)}\r\n\r\n"
                self.wfile.write(head.encode() + part + b"\r\n")
                if self.server.stop.is_set():
                    break
            else:
                self.server.stop.set()
            self.wfile.write(f"--{_BOUNDARY}--\r\n".encode())
        except OSError:  # the viewer left, or stopped reading
            log.debug("webcam: the viewer is gone")
        except Exception as error:  # told to the thread that waits for the end
            self.server.failure = error
            self.server.stop.set()

    def _say(self, status: int, text: str) -> None:
        self._send(status, "text/plain; charset=utf-8", text.encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self._common(kind)
        self.wfile.write(body)

    def _common(self, kind: str) -> None:
        """Headers of every answer, and their end."""
        for name, value in (
            ("Content-Type", kind),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", POLICY),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("webcam: %s", format % args)


def jpeg(frame: Pixels) -> bytes:
    """An RGB frame as a JPEG file."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)[1].tobytes()
