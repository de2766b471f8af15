"""A headless Chromium driven over its DevTools pipe: no port, no network, nothing to install but the browser."""

import itertools
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT = 60  # seconds that one answer may take: a machine may be busy, a browser that hangs must not hang the tests


def found():
    """The browser's path, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab: commands, what it evaluates, and every event that it reported."""

    def __init__(self, to_browser, from_browser):
        self._to, self._messages, self._numbers = to_browser, queue.Queue(), itertools.count(1)
        self.events, self._session = [], None
        threading.Thread(target=self._listen, args=(from_browser,), daemon=True).start()
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def _listen(self, pipe):
        waiting = b""
        while chunk := os.read(pipe, 1 << 16):
            *whole, waiting = (waiting + chunk).split(b"\0")
            for message in whole:
                self._messages.put(json.loads(message))
        os.close(pipe)
        self._messages.put(None)

    def _next(self):
        message = self._messages.get(timeout=TIMEOUT)
        if message is None:
            raise ConnectionError("the browser went away")
        if "method" in message:
            self.events.append(message)
        return message

    def send(self, method, **parameters):
        """A command's result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while (answer := self._next()).get("id") != number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def open(self, url, width=1280, height=900, dark=False):
        """Load a page at a window's size, and wait until it is there."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.send("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._next()

    def evaluate(self, expression):
        """The value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def press(self, key, code):
        """A key, as a keyboard sends it."""
        text = {"Enter": "\r"}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if kind == "keyDown" and text else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **typed)

    def of(self, method):
        """Parameters of the events of one kind since the page was opened."""
        return [event["params"] for event in self.events if event["method"] == method]


@contextmanager
def browser(profile: Path):
    """A tab of a fresh browser; it and all its children are gone afterwards."""
    to_browser, from_browser = os.pipe(), os.pipe()
    # Chromium reads commands from file descriptor 3 and answers on 4
    plumbing = f'exec "$0" "$@" 3<&{to_browser[0]} 4>&{from_browser[1]}'
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]
    command = ["bash", "-c", plumbing, found(), *flags, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        command,
        pass_fds=(to_browser[0], from_browser[1]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    try:
        yield Page(to_browser[1], from_browser[0])
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the browser's own process group: nobody else's
        process.wait(timeout=TIMEOUT)
        os.close(to_browser[1])
