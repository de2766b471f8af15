"""The cache of decoded images: parallel, resumable, verified, safe against full disks and company."""

import errno
import io
import json
import logging
import multiprocessing
import os
import shutil
import struct
import sys
import threading
import time
import warnings
import zlib
from collections import Counter, namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vaebench.core import files as files_module
from vaebench.core import paths
from vaebench.core.errors import UserError
from vaebench.datasets import image_cache as module
from vaebench.datasets.image_cache import Pictures, prepare
from vaebench.datasets.images.decoding import decode

SIZE = (4, 6)  # height, width
NAMES = [f"{index:03d}.png" for index in range(40)]


@pytest.fixture(autouse=True)
def warnings_only(caplog):
    """Whatever other tests left the program's log at."""
    caplog.set_level(logging.WARNING, logger="vaebench")


def packed(picture, kind="png", **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def pixels_of(name):
    return np.random.default_rng(int(name[:3])).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


EXPECTED = np.stack([pixels_of(name).transpose(2, 0, 1) for name in NAMES])


class Source:
    """Reads pictures that are made on the spot, and counts."""

    def __init__(self, bad=(), fails_at=None):
        self.read_names, self.bad, self.fails_at, self.lock = [], bad, fails_at, threading.Lock()

    def __call__(self, name):
        with self.lock:
            self.read_names.append(name)
        if name == self.fails_at:
            raise self.error
        return b"no picture" if name in self.bad else packed(Image.fromarray(pixels_of(name)))

    error = KeyboardInterrupt()


def pictures(read, **changes):
    fields = {"name": "made/train", "names": NAMES, "identity": "1", "size": SIZE, "fit": lambda picture: picture}
    return Pictures(**{**fields, "read": read, **changes})


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 8)


def files(places):
    return [path for path in (places / "cache").rglob("*") if path.is_file() and not path.name.startswith(".")]


def never(name):
    raise AssertionError(f"{name} is read again")


def test_pixels_lie_in_order_in_a_map(places):
    made = prepare(pictures(Source()))
    assert made.names == NAMES and made.unreadable == {}
    assert made.images.dtype == torch.uint8 and np.array_equal(made.images.numpy(), EXPECTED)
    (folder,) = (places / "cache" / "images" / "made" / "train").iterdir()
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["manifest.json", "pixels.uint8"]
    assert (folder / "pixels.uint8").read_bytes() == EXPECTED.tobytes()


def test_prepared_once():
    first = prepare(pictures(Source()))
    again = prepare(pictures(never))
    assert torch.equal(first.images, again.images) and first.names == again.names


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux' list of memory maps")
def test_images_are_a_map_of_the_file_and_writing_to_them_leaves_it(places):
    made = prepare(pictures(Source()))
    (pixels,) = (places / "cache").rglob("pixels.uint8")
    assert str(pixels) in Path("/proc/self/maps").read_text()
    made.images.fill_(0)
    assert pixels.read_bytes() == EXPECTED.tobytes()
    assert np.array_equal(prepare(pictures(never)).images.numpy(), EXPECTED)


@pytest.mark.parametrize(
    "change", [{"identity": "2"}, {"names": NAMES[:-1]}, {"names": NAMES[::-1]}, {"name": "b/test"}]
)
def test_other_pictures_lie_elsewhere(change):
    prepare(pictures(Source()))
    source = Source()
    made = prepare(pictures(source, **change))
    assert sorted(source.read_names) == sorted(change.get("names", NAMES))
    assert made.names == change.get("names", NAMES)
    prepare(pictures(never))


def test_the_key_is_pinned():
    """A new key would have every user decode everything anew."""
    key = pictures(never).folder.relative_to(paths.cache_dir())
    assert key == Path("images/made/train/969bcb087cf1895c")


def test_unreadable_files_are_counted_named_and_left_out(caplog):
    bad = NAMES[3:10]
    for read in (Source(bad=bad), never):
        caplog.clear()
        made = prepare(pictures(read))
        assert made.names == [name for name in NAMES if name not in bad] and list(made.unreadable) == bad
        assert np.array_equal(made.images.numpy(), EXPECTED[[name not in bad for name in NAMES]])
        (message,) = caplog.messages
        assert message.startswith("made/train: 7 of 40 images cannot be read and are left out: 003.png (no image, or")
        assert message.endswith(" and 2 more") and "008.png" not in message


def test_what_the_fit_refuses_is_left_out():
    def fit(picture):
        if np.array_equal(np.asarray(picture), pixels_of(NAMES[5])):
            raise ValueError("I do not like it\nat all")
        return picture

    assert prepare(pictures(Source(), fit=fit)).unreadable == {NAMES[5]: "I do not like it"}


def test_nothing_readable_is_an_error_each_time(places):
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"made/train: no image is left \(40 of 40 images.* 35 more\): check"
        ) as raised:
            prepare(pictures(Source(bad=NAMES)))
        assert "\n" not in str(raised.value)
        assert files(places) == []
    assert len(prepare(pictures(Source(bad=NAMES[1:]))).names) == 1


@pytest.mark.parametrize("at", [0, 7, 8, 21, 39])
def test_an_interrupted_call_is_gone_on_with(small_chunks, at):
    with pytest.raises(KeyboardInterrupt):
        prepare(pictures(Source(bad=NAMES[2:4], fails_at=NAMES[at])))
    rest = Source(bad=NAMES[2:4])
    made = prepare(pictures(rest))
    assert sorted(rest.read_names) == NAMES[at // 8 * 8 :]
    assert made.names == NAMES[:2] + NAMES[4:] and list(made.unreadable) == NAMES[2:4]
    assert np.array_equal(made.images.numpy(), np.delete(EXPECTED, [2, 3], 0))


def half_written(folder):
    with (folder / "pixels.uint8").open("ab") as out:
        out.write(b"a piece of an image")


def pixel_flipped(folder):
    flip(folder / "pixels.uint8", 100)


def pixels_cut(folder):
    os.truncate(folder / "pixels.uint8", 100)


def pixels_gone(folder):
    (folder / "pixels.uint8").unlink()


def journal_cut(folder):
    os.truncate(folder / "journal.json", 10)


def journal_of_an_older_version(folder):
    (folder / "journal.json").write_text(json.dumps({"done": 16, "unreadable": {}}))


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.unlink()  # not in place: an image that is mapped would change with it
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (half_written, 16),
        (pixel_flipped, 0),
        (pixels_cut, 0),
        (pixels_gone, 0),
        (journal_cut, 0),
        (journal_of_an_older_version, 0),
    ],
)
def test_a_damaged_beginning(small_chunks, damage, kept):
    with pytest.raises(KeyboardInterrupt):
        prepare(pictures(Source(fails_at=NAMES[20])))
    damage(pictures(never).folder)
    rest = Source()
    assert np.array_equal(prepare(pictures(rest)).images.numpy(), EXPECTED)
    assert sorted(rest.read_names) == NAMES[kept:]


def manifest_of_other_colours(folder):
    manifest = folder / "manifest.json"
    noted = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**noted, "grey": not noted["grey"]}))


def manifest_of_odd_remarks(folder):
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "remarks": {"x": "y"}}))


def manifest_cut(folder):
    os.truncate(folder / "manifest.json", 30)


def manifest_a_list(folder):
    (folder / "manifest.json").write_text("[]")


def name_changed(folder):
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("005.png", "905.png", 1))


def name_lost(folder):
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"005.png", ', "", 1))


def none_left(folder):
    (folder / "manifest.json").write_text(json.dumps({"names": [], "unreadable": {}, "sha256": ""}))


DAMAGES = [
    pixel_flipped,
    pixels_cut,
    pixels_gone,
    half_written,
    manifest_of_other_colours,
    manifest_of_odd_remarks,
    manifest_cut,
    manifest_a_list,
    name_changed,
    name_lost,
    none_left,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_and_made_anew(caplog, damage):
    prepare(pictures(Source()))
    damage(pictures(never).folder)
    again = Source()
    assert np.array_equal(prepare(pictures(again)).images.numpy(), EXPECTED)
    assert sorted(again.read_names) == NAMES
    assert "are damaged (" in caplog.text and "made anew" in caplog.text
    prepare(pictures(never))


def test_a_lost_manifest_has_all_made_anew(caplog):
    prepare(pictures(Source()))
    (pictures(never).folder / "manifest.json").unlink()
    assert np.array_equal(prepare(pictures(Source())).images.numpy(), EXPECTED)


def test_damage_made_good_leaves_images_in_use_alone():
    held = prepare(pictures(Source()))
    (pictures(never).folder / "manifest.json").write_text("[]")
    prepare(pictures(Source()))
    assert np.array_equal(held.images.numpy(), EXPECTED)


def test_a_disk_that_does_not_keep_what_is_written(monkeypatch):
    monkeypatch.setattr(module, "sha256_of", lambda path: "0" * 64)
    with pytest.raises(UserError, match="does not read back as it was written: check the disk"):
        prepare(pictures(Source()))


Usage = namedtuple("Usage", "total used free")


def test_too_little_space_is_said_before(monkeypatch, places):
    needed = len(NAMES) * 3 * SIZE[0] * SIZE[1]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, needed - 1))
    with pytest.raises(
        UserError, match=r"0\.00 GB are needed in .*free some space or set VAEBENCH_CACHE=DIR"
    ) as raised:
        prepare(pictures(never))
    assert str(places / "cache") in str(raised.value) and files(places) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, needed))
    prepare(pictures(Source()))


class Full:
    """A file that takes so many writes."""

    def __init__(self, file, writes, code):
        self.file, self.left, self.code = file, writes, code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, content):
        if self.left == 0:
            raise OSError(self.code, os.strerror(self.code))
        self.left -= 1
        return self.file.write(content)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("writes", [0, 20])
def test_a_disk_that_fills_up_is_left_clean(small_chunks, monkeypatch, places, code, writes):
    opened = Path.open
    with monkeypatch.context() as full:
        full.setattr(
            Path,
            "open",
            lambda path, mode="r", *rest, **more: (
                Full(opened(path, mode), writes, code) if mode == "ab" else opened(path, mode, *rest, **more)
            ),
        )
        with pytest.raises(UserError, match=r"cannot write .* free some space or set VAEBENCH_CACHE=DIR") as raised:
            prepare(pictures(Source()))
    assert "\n" not in str(raised.value) and os.strerror(code) in str(raised.value)
    assert files(places) == []
    assert np.array_equal(prepare(pictures(Source())).images.numpy(), EXPECTED)


@pytest.mark.parametrize("name", ["journal.json", "manifest.json"])
def test_a_disk_that_is_full_at_the_notes(monkeypatch, places, name):
    def full(path, text):
        if path.name == name:
            files_module.write_atomic(path, lambda temporary: no_space())
        files_module.write_text(path, text)

    def no_space():
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_text", full)
        with pytest.raises(UserError, match=f"cannot write .*{name} .No space left on device"):
            prepare(pictures(Source()))
    assert files(places) == []


def test_a_write_that_fails_otherwise_keeps_what_is_done(small_chunks, monkeypatch, places):
    opened = Path.open
    with monkeypatch.context() as broken:
        broken.setattr(
            Path,
            "open",
            lambda path, mode="r", *rest, **more: (
                Full(opened(path, mode), 20, errno.EIO) if mode == "ab" else opened(path, mode, *rest, **more)
            ),
        )
        with pytest.raises(UserError, match=r"cannot write .*Input/output error"):
            prepare(pictures(Source()))
    rest = Source()
    assert np.array_equal(prepare(pictures(rest)).images.numpy(), EXPECTED)
    assert sorted(rest.read_names) == NAMES[16:]


def test_a_file_that_may_not_be_read_is_no_corrupt_image(small_chunks):
    """What can be mended outside is not kept as unreadable for ever."""
    source = Source(fails_at=NAMES[20])
    source.error = PermissionError(errno.EACCES, "Permission denied")
    with pytest.raises(UserError, match=r"made/train: 020\.png cannot be read \(Permission denied\): make it readable"):
        prepare(pictures(source))
    rest = Source()
    assert prepare(pictures(rest)).names == NAMES
    assert sorted(rest.read_names) == NAMES[16:]


def second_process(start, answer):
    source = Source()
    start.recv()
    made = prepare(pictures(source))
    answer.send((len(source.read_names), np.array_equal(made.images.numpy(), EXPECTED)))


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="needs fork: a new torch takes seconds"
)
def test_two_processes_at_once_decode_once():
    context = multiprocessing.get_context("fork")
    (start, started), (answer, answered) = context.Pipe(), context.Pipe()
    other = context.Process(target=second_process, args=(started, answered), daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking where threads run
        other.start()

    def read(name):
        if name == NAMES[0]:
            start.send("we are inside")
            assert not answer.poll(0.3)
        return Source()(name)

    assert np.array_equal(prepare(pictures(read)).images.numpy(), EXPECTED)
    assert answer.poll(30) and answer.recv() == (0, True)
    other.join(30)
    assert other.exitcode == 0


def test_waiting_for_one_that_fails():
    """The second call goes on where the first, for want of space, left nothing."""
    inside, answers = threading.Event(), []

    def full(name):
        inside.set()
        time.sleep(0.05)
        raise UserError("the first fails") from OSError(errno.ENOSPC, "No space left on device")

    def second():
        inside.wait(30)
        answers.append(prepare(pictures(Source())))

    waiting = threading.Thread(target=second)
    waiting.start()
    with pytest.raises(UserError, match="the first fails"):
        prepare(pictures(full))
    waiting.join(30)
    assert np.array_equal(answers[0].images.numpy(), EXPECTED)


def test_decoding_is_spread_over_the_processors_we_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5}, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert module.cores() == 3
    meeting, seen = threading.Barrier(3), Counter()

    def read(name):
        if int(name[:3]) < 3:
            meeting.wait(30)  # passes only where three threads read at once
        seen[threading.current_thread().name] += 1
        return Source()(name)

    assert np.array_equal(prepare(pictures(read)).images.numpy(), EXPECTED)
    assert len(seen) == 3
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert module.cores() == 1


def test_large_images_are_held_few_at_a_time(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    noted = []
    monkeypatch.setattr(
        module, "write_text", lambda path, text: (noted.append(path.name), files_module.write_text(path, text))
    )
    assert np.array_equal(prepare(pictures(Source())).images.numpy(), EXPECTED)
    assert Counter(noted) == {"journal.json": len(NAMES), "manifest.json": 1}


def test_a_fit_of_another_size_is_a_fault():
    with pytest.raises(AssertionError):
        prepare(pictures(Source(), fit=lambda picture: picture.resize((5, 5))))


# decode


PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8))


@pytest.mark.parametrize("bits", [1, 8])
def test_decode_grey(bits):
    grey = PICTURE.convert("1" if bits == 1 else "L")
    assert np.array_equal(np.asarray(decode(packed(grey))), np.asarray(grey.convert("RGB")))


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_decode_16_bits(kind):
    deep = np.random.default_rng(0).integers(0, 65536, (9, 13), dtype=np.uint16)
    deep[0, :4] = (0, 255, 256, 65535)
    found = np.asarray(decode(packed(Image.fromarray(deep), kind)))
    assert found.shape == (9, 13, 3) and found[0, :4, 0].tolist() == [0, 0, 1, 255]
    assert np.array_equal(found, np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, 2))


@pytest.mark.parametrize("mode", ["F", "I"])
def test_decode_numbers_of_unknown_range(mode):
    values = np.linspace(-1, 70_000, 12).reshape(3, 4)
    with pytest.raises(OSError, match="unknown range") as raised:
        decode(packed(Image.fromarray(values.astype({"F": np.float32, "I": np.int32}[mode])), "tiff"))
    assert raised.value.errno is None


def test_decode_makes_transparent_parts_white():
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0], rgba[0, 1], rgba[1, 0] = (200, 0, 0, 255), (200, 0, 0, 0), (0, 0, 0, 128)
    found = np.asarray(decode(packed(Image.fromarray(rgba))))
    assert found[0].tolist() == [[200, 0, 0], [255, 255, 255]]
    assert abs(int(found[1, 0, 0]) - 127) <= 1


def test_decode_palette_with_transparency():
    palette = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode=None).convert("P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    for transparency in (1, bytes([255, 0, 255])):
        found = np.asarray(decode(packed(palette, transparency=transparency)))
        assert found.tolist() == [[[255, 0, 0], [255, 255, 255]], [[0, 0, 255], [255, 255, 255]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_turns_as_exif_says(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = np.asarray(decode(packed(PICTURE, exif=exif)))
    plain = np.asarray(PICTURE)
    turned = {
        1: plain,
        2: plain[:, ::-1],
        3: plain[::-1, ::-1],
        4: plain[::-1],
        5: plain.transpose(1, 0, 2),
        6: plain[::-1].transpose(1, 0, 2),
        7: plain[::-1, ::-1].transpose(1, 0, 2),
        8: plain[:, ::-1].transpose(1, 0, 2),
    }
    assert np.array_equal(found, turned[orientation])


def test_decode_takes_the_first_frame():
    other = Image.fromarray(255 - np.asarray(PICTURE))
    content = packed(PICTURE, save_all=True, append_images=[other, other])
    assert np.array_equal(np.asarray(decode(content)), np.asarray(PICTURE))


def bomb():
    """A PNG of a few bytes that says it has 20,000 x 20,000 pixels."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize("content", [b"", b"no picture", bomb(), packed(PICTURE)[:60], packed(PICTURE, "jpeg")[:400]])
def test_decode_refuses(content):
    with pytest.raises(OSError, match=r"\w") as raised:
        decode(content)
    assert raised.value.errno is None and "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "tiff", "bmp", "webp", "ppm"])
def test_decode_of_damage_gives_a_picture_or_an_os_error(kind):
    content, rng = packed(PICTURE, kind), np.random.default_rng(0)
    for _ in range(25):
        damaged = bytearray(content)
        for at in rng.integers(0, min(len(content), 200), 3):
            damaged[at] = int(rng.integers(256))
        try:
            assert decode(bytes(damaged)).mode == "RGB"
        except OSError as refused:
            assert refused.errno is None


def test_no_global_random_numbers(global_rng_untouched):
    prepare(pictures(Source()))
