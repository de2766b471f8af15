"""Frames a second of the webcam at 640 x 480, by stage; faces looked for in every frame and in every n-th.

    python benchmarks/speed/webcam.py RUN [--frames 120] [--every 1 2 3] [--faces 1] [--rounds 3] [--threads 1]

A run on coloured faces, such as vae-toyfaces/seed-0; what is fitted for it is kept in its folder. The video is made:
faces of the test images, enlarged, that swing over a background. Stages are decoding the video, following the faces,
cropping and reading them (encoder, classifiers, decoder, a manipulation), drawing, and JPEG for the page. The settings
take turns in every round; prints the median over rounds of milliseconds a frame, and frames a second.
"""

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from vaebench.core.machine import machine
from vaebench.datasets.images.face_detection import Cascade, Pixels
from vaebench.runs.find import find_runs
from vaebench.runs.load import open_run
from vaebench.runs.recipes import load_split, open_dataset
from vaebench.studies.webcam.drawing import annotated, marks
from vaebench.studies.webcam.reader import Reader, check_readable, open_saved_fit
from vaebench.studies.webcam.server import jpeg
from vaebench.studies.webcam.show import crops
from vaebench.studies.webcam.source import Source
from vaebench.studies.webcam.tracking import Tracker, largest

WIDTH, HEIGHT = 640, 480
STAGES = ("decode", "follow", "read", "draw", "jpeg")


def film(path: Path, images: torch.Tensor, frames: int) -> None:
    """A video of faces, uint8 (n, 3, h, w), side by side on the move."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    backdrop = np.stack([60 + columns / 8, 80 + rows / 8, np.full((HEIGHT, WIDTH), 110)], -1).astype(np.uint8)
    side = min(200, WIDTH // len(images) - 20)
    pictures = [cv2.resize(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), (side, side)) for image in images]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
    for step in range(frames):
        frame = backdrop.copy()
        for place, picture in enumerate(pictures):
            left = round(10 + place * WIDTH / len(pictures) + 8 * math.sin(step / 7))
            top = round((HEIGHT - side) / 2 + 60 * math.sin(step / 11))
            frame[top : top + side, left : left + side] = picture
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def measure(path: Path, reader: Reader, every: int) -> tuple[dict[str, float], float]:
    """Seconds of each stage over the whole video, and the share of frames in which a face is marked."""
    spent, tracker, marked = dict.fromkeys(STAGES, 0.0), Tracker(Cascade(), reader.framing, every), []

    def timed(stage: str, began: float) -> float:
        now = time.perf_counter()
        spent[stage] += now - began
        return now

    with Source(str(path)) as source:
        began = time.perf_counter()
        for frame in source:
            at = timed("decode", began)
            boxes = [reader.framing.around(*track.corner, track.side) for track in largest(tracker.follow(frame))]
            at = timed("follow", at)
            found = (
                marks(boxes, reader.attributes, reader.read(crops(frame, boxes, reader.image_shape))) if boxes else []
            )
            at = timed("read", at)
            drawn: Pixels = annotated(frame, found, ["25.0 frames/s"])
            at = timed("draw", at)
            jpeg(drawn)
            began = timed("jpeg", at)
            marked.append(bool(found))
    return spent, statistics.mean(marked)


def main() -> None:
    """All settings in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--every", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--faces", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="torch's: the webcam takes one")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    folder = find_runs([given.run])[0]
    record, model = open_run(folder, "cpu")
    detector = Cascade()
    kept = open_saved_fit(folder, record, check_readable(record, model), detector, "cpu")
    reader = Reader(
        check_readable(record, model),
        kept,
        detector.name,
        image_shape=(record.image_shape[0], record.image_shape[1], record.image_shape[2]),
        attributes=kept.fitted.classified[:3],
        changes={next(iter(kept.fitted.directions)): 1.0},
        device="cpu",
    )
    images = load_split(open_dataset(record.dataset, record.dataset_options), "test").images[: given.faces]
    print(f"{machine('cpu')}; {folder.path}, {given.faces} faces, torch threads {given.threads}, {given.rounds} rounds")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "faces.avi"
        film(path, images, given.frames)
        measured = [{every: measure(path, reader, every) for every in given.every} for _ in range(given.rounds)]
    print(f"{'search in':>10} {' '.join(f'{stage:>8}' for stage in STAGES)}    total  frames/s  marked  (ms a frame)")
    for every in given.every:
        stages = [1000 / given.frames * statistics.median(one[every][0][stage] for one in measured) for stage in STAGES]
        shown = " ".join(f"{value:8.1f}" for value in stages)
        print(f"every {every:>4} {shown} {sum(stages):8.1f} {1000 / sum(stages):9.1f} {measured[0][every][1]:7.0%}")


if __name__ == "__main__":
    main()
