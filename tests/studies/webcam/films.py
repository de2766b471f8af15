"""What the webcam's tests look at: videos of a toy face that moves over a background, at places that are known."""

import math

import cv2
import numpy as np

from vaebench.datasets.toyface.attributes import draw_attributes
from vaebench.datasets.toyface.drawing import draw_face

WIDTH, HEIGHT, SIDE = 640, 480, 192


def backdrop():
    """A frame without a face."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([60 + columns / 8, 80 + rows / 8, np.full((HEIGHT, WIDTH), 110)], -1).astype(np.uint8)


def face(index):
    """One of the toy faces, uint8 (64, 64, 3)."""
    return draw_face(draw_attributes(range(index, index + 1))[0], index)


def pasted(frame, image, left, top, side=SIDE):
    """The frame with an image laid at whole pixels, enlarged."""
    frame = frame.copy()
    frame[top : top + side, left : left + side] = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
    return frame


def places(count):
    """Corners of a face that swings across the frame, a few pixels a frame."""
    return [(60 + 4 * step, 120 + round(60 * math.sin(step / 9))) for step in range(count)]


def moving(image, count, side=SIDE):
    """Frames of a face on the move."""
    return [pasted(backdrop(), image, left, top, side) for left, top in places(count)]


def write(path, frames, fps=20):
    """An AVI of whole JPEGs; returns its path as text."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (WIDTH, HEIGHT))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return str(path)


def read(path):
    """All frames of a video, RGB."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while (answer := capture.read())[0]:
        frames.append(cv2.cvtColor(answer[1], cv2.COLOR_BGR2RGB))
    capture.release()
    return frames
