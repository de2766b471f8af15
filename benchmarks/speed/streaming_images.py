"""Peak memory and time of `vaebench evaluate --images` as images of 256 x 256 grow in number and in kind of file.

    python benchmarks/speed/streaming_images.py [--images 500 5000] [--metrics blur,fid] [--inception 64]

Each row is the command line in a process of its own: images made up, as a npz (np.savez), as one that is compressed
(np.savez_compressed), and as PNG files, against a folder of 500 real ones. Its peak is the largest resident memory that
the kernel saw (VmHWM), mapped pages included. Decoded and unpacked images lie in a cache of their own, which each row
finds empty. 50,000 images (9.8 GB) need some 40 GB of disk and an hour: `--images 50000`. Linux only.
"""

import argparse
import functools
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from vaebench.core.machine import machine

SIDE, REFERENCE, BLOCK = 256, 500, 250


@functools.cache
def waves() -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """Make one block of smooth images with a little noise; uint8 (BLOCK, 256, 256, 3)."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    made = np.empty((BLOCK, SIDE, SIDE, 3), np.uint8)
    for row in range(BLOCK):
        random = np.random.default_rng(row)
        channels = [np.sin(random.uniform(2, 20) * x + random.uniform(2, 20) * y + random.uniform(0, 6)) for _ in "rgb"]
        made[row] = np.clip(np.stack(channels, -1) * 100 + 128 + random.integers(-8, 9, (SIDE, SIDE, 1)), 0, 255)
    return made


def pictures(start: int, stop: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """Make images ``start`` to ``stop`` of an endless row of blocks, each a little lighter and shifted from the one
    before; uint8 (n, 256, 256, 3).
    """
    block = start // BLOCK
    return np.roll(waves()[: stop - start], block % SIDE, axis=2) + np.uint8(block % 50)


def as_npz(folder: Path, n: int) -> Path:
    """Write them as np.savez does, a block at a time."""
    whole = np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=(n, SIDE, SIDE, 3))
    for start in range(0, n, BLOCK):
        whole[start : start + BLOCK] = pictures(start, min(start + BLOCK, n))
    whole.flush()
    return _zipped(folder, zipfile.ZIP_STORED)


def as_compressed_npz(folder: Path, n: int) -> Path:
    """Write them as np.savez_compressed does."""
    as_npz(folder, n).unlink()
    return _zipped(folder, zipfile.ZIP_DEFLATED)


def _zipped(folder: Path, kind: int) -> Path:
    with zipfile.ZipFile(folder / "images.npz", "w", kind, compresslevel=1) as archive:
        archive.write(folder / "images.npy", "images.npy")
    (folder / "images.npy").unlink()
    return folder / "images.npz"


def as_pngs(folder: Path, n: int) -> Path:
    """Write them as PNG files."""
    target = folder / "pngs"
    target.mkdir()
    for start in range(0, n, BLOCK):
        for row, image in enumerate(pictures(start, min(start + BLOCK, n))):
            Image.fromarray(image).save(target / f"{start + row:06d}.png", compress_level=1)
    return target


FORMS: dict[str, Callable[[Path, int], Path]] = {"npz": as_npz, "npz, compressed": as_compressed_npz, "PNG": as_pngs}


# the kernel's account of the process itself: what wait4 says of a child may be its parent's, which made the images
PROGRAM = """
import atexit, pathlib, re, sys
from vaebench.__main__ import main

target = pathlib.Path(sys.argv.pop())
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: target.write_text(re.search("VmHWM: *([0-9]+)", status.read_text().replace(chr(9), " "))[1]))
main()
"""


def measure(images: Path, reference: Path, place: Path, metrics: str, inception: int) -> tuple[float, float]:
    """Run the command; return its peak in MB and its seconds."""
    environment = {**os.environ, "VAEBENCH_RUNS": str(place / "runs"), "VAEBENCH_CACHE": str(place / "cache")}
    command = [sys.executable, "-c", PROGRAM, "evaluate", "--images", str(images), "--name", "made", "--reference"]
    command += [str(reference), "--metrics", metrics, "--inception", str(inception), "--out", str(place / "reports")]
    began = time.perf_counter()
    subprocess.run([*command, str(place / "peak")], check=True, env=environment, stdout=subprocess.DEVNULL)
    return int((place / "peak").read_text()) * 1024 / 1e6, time.perf_counter() - began


def main() -> None:
    """One process a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 5_000])
    parser.add_argument("--metrics", default="blur,fid")
    parser.add_argument("--inception", type=int, default=64)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--scratch", type=Path, help="folder with enough space; by default the system's")
    given = parser.parse_args()
    print(f"{machine('cpu')}; {given.metrics} at layer {given.inception} against {REFERENCE} images\n")
    print(f"{'images as':16} {'number':>8} {'pixels, MB':>11} {'peak, MB':>9} {'seconds':>8}")
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        reference = Path(scratch, "real")
        reference.mkdir()
        as_pngs(reference, REFERENCE)
        for name in given.forms:
            for n in given.images:
                with tempfile.TemporaryDirectory(dir=scratch) as place:
                    images = FORMS[name](Path(place), n)
                    peak, seconds = measure(images, reference, Path(place), given.metrics, given.inception)
                pixels = n * SIDE * SIDE * 3 / 1e6
                print(f"{name:16} {n:8,} {pixels:11,.0f} {peak:9,.0f} {seconds:8.1f}", flush=True)


if __name__ == "__main__":
    main()
