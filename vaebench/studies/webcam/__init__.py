"""Faces from a camera or a video, read by a trained run: shown in a page on this machine, or written to a video."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from vaebench.core.device import pick_device
from vaebench.core.errors import UserError
from vaebench.core.interrupts import noted
from vaebench.datasets.images.face_detection import Cascade, Detector, Pixels, YuNet
from vaebench.runs.find import find_runs
from vaebench.runs.load import open_run
from vaebench.studies.webcam.page import page
from vaebench.studies.webcam.reader import Reader, check_readable, one_run, open_saved_fit, parsed_changes, run_name
from vaebench.studies.webcam.server import PORT, Server
from vaebench.studies.webcam.show import Show, paced
from vaebench.studies.webcam.source import Source, check_source
from vaebench.studies.webcam.tracking import Tracker
from vaebench.studies.webcam.writer import check_out, write_video


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says.

    Attributes:
        source: a camera's number or a video file.
        attributes: what to read, the first decides the box's colour; empty for the usual one.
        manipulate: ``NAME=AMOUNT`` each, multiples of the attribute's direction in the latents.
        out: a video to write instead of showing a page.
        port: of the page; 0 for any free one.
        detector: YuNet's file; the cascade without.
        device: as ``--device`` takes it.
    """

    source: str = "0"
    attributes: Sequence[str] = ()
    manipulate: Sequence[str] = ()
    out: Path | None = None
    port: int = PORT
    detector: Path | None = None
    device: str = "auto"


def run_webcam(run: str, options: Options, say: Callable[[str], None]) -> None:
    """Read a source's faces by a run until it ends, or until SIGINT or SIGTERM: into a page, or into ``options.out``.

    Raises :class:`UserError` for bad input, before anything is fitted; an attribute of a run that was read before is
    looked up in what was kept. What is written when a signal comes is a whole video of the frames until then.
    """
    changes = parsed_changes(options.manipulate)
    if not 0 <= options.port <= 65535:
        raise UserError(f"--port {options.port} is no port: give 1024 to 65535, or 0 for any free one")
    check_source(options.source)
    if options.out is not None:
        check_out(options.out)
    detector: Detector = Cascade() if options.detector is None else YuNet(options.detector)
    device = pick_device(options.device)
    folder, said = one_run(find_runs([run]))
    record, opened = open_run(folder, device)
    model = check_readable(record, opened)
    if said:
        say(said)
    stop = threading.Event()
    with Source(options.source) as source:
        server = Server("", options.port, stop) if options.out is None else None
        try:
            wanted = [*options.attributes, *changes]
            kept = open_saved_fit(folder, record, model, detector, device, wanted)
            reader = Reader(
                model,
                kept,
                detector.name,
                image_shape=(record.image_shape[0], record.image_shape[1], record.image_shape[2]),
                attributes=options.attributes,
                changes=changes,
                device=device,
            )
            shown = Show(reader, Tracker(detector, reader.framing)).frames(_until(source, stop))
            with noted(lambda number: stop.set()), _one_thread():
                if server is not None:
                    _serve(server, run_name(folder.path), reader, source, shown, say)
                elif options.out is not None:
                    count = write_video(options.out, shown, source.fps)
                    say(f"{options.out}: {count:,} frames")
        finally:
            if server is not None:
                server.server_close()


def _serve(
    server: Server, name: str, reader: Reader, source: Source, shown: Iterator[Pixels], say: Callable[[str], None]
) -> None:
    described = f"camera {source.name}" if source.live else source.name
    server.page = page(name, described, reader.trust, reader.detected, reader.changes).encode()
    say(f"{name} reads {described} at {server.url}: open it in a browser; Ctrl-C ends")
    server.show(shown if source.live else paced(shown, source.fps, server.stop.wait))
    say("ended")


@contextmanager
def _one_thread() -> Iterator[None]:
    """While inside, torch computes in one thread: a few small images gain nothing by more, and wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _until(source: Source, stop: threading.Event) -> Iterator[Pixels]:
    for frame in source:
        if stop.is_set():
            return
        yield frame
