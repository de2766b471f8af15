"""MNIST's idx files: read plain or compressed, verified, imported and downloaded; nothing good is ever lost."""

import gc
import gzip
import hashlib
import http.server
import shutil
import socket
import struct
import threading
import warnings
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
import torchvision

from vaebench.core.errors import UserError
from vaebench.datasets import mnist
from vaebench.datasets.mnist import FILES, Mnist

PINNED = {
    "train": (60_000, "77a7df8c4bbbad1a8d5ba5ce22f0a8f1f4f24ed95b0d5f6808f4b466b49dec5b"),
    "test": (10_000, "ea58f4a9fdc70b56ab4c3976a89f4dcce5a3ff5776759ad8d73cda0331544c51"),
}
NAMES = tuple(FILES)


def idx_files():
    """Content of four small idx files: 12 training and 7 test images."""
    rng, contents = np.random.default_rng(0), {}
    for stem, n in (("train", 12), ("t10k", 7)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        contents[f"{stem}-images-idx3-ubyte"] = struct.pack(">4i", 0x803, n, 28, 28) + images.tobytes()
        contents[f"{stem}-labels-idx1-ubyte"] = struct.pack(">2i", 0x801, n) + labels.tobytes()
    return contents


CONTENTS = idx_files()
assert tuple(CONTENTS) == NAMES


@pytest.fixture
def small(monkeypatch):
    """The four small files take the place of the published ones."""
    for name, content in CONTENTS.items():
        monkeypatch.setitem(FILES, name, hashlib.md5(content, usedforsecurity=False).hexdigest())


def lay(folder, *, packed=False):
    """Write the four files into a folder, plain or compressed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENTS.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


@pytest.fixture
def home(places):
    """Where vaebench keeps MNIST in this test."""
    return places / "data" / "mnist"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("split", "stem", "n"), [("train", "train", 12), ("test", "t10k", 7)])
def test_load(small, home, packed, split, stem, n):
    lay(home, packed=packed)
    data = Mnist().load(split)
    assert data.images.shape == (n, 1, 28, 28)
    assert data.images.numpy().tobytes() == CONTENTS[f"{stem}-images-idx3-ubyte"][16:]
    assert data.labels.tolist() == [index % 10 for index in range(n)]
    assert data.labels.dtype == torch.int64
    assert (data.ids[0], data.ids[-1]) == (f"{split}/00000", f"{split}/{n - 1:05d}")


def test_plain_and_compressed_have_the_same_fingerprint(small, home):
    lay(home)
    plain = Mnist().load("test").fingerprint
    shutil.rmtree(home)
    lay(home, packed=True)
    assert Mnist().load("test").fingerprint == plain


def test_showcase_is_the_article_s_selection_on_the_test_split(small, home):
    lay(home)
    assert Mnist().load("test").showcase == mnist.ARTICLE_SELECTION
    assert Mnist().load("train").showcase_indices() == list(range(10))


DAMAGES = {
    "truncated": lambda raw: raw[: len(raw) // 2],
    "empty": lambda raw: b"",
    "no gzip": lambda raw: b"<html>404 not found</html>",
    "one bit off": lambda raw: raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 4]) + raw[len(raw) // 2 + 1 :],
    "another file": lambda raw: gzip.compress(b"something else"),
    "trailing bytes": lambda raw: raw + b"x",
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_damaged_file_is_named_in_one_line(small, home, packed, damage, name):
    lay(home, packed=packed)
    file = home / (f"{name}.gz" if packed else name)
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(UserError, match=r"vaebench fetch mnist --from FOLDER") as raised:
        Mnist().load("test")
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_missing_file_is_named_with_the_command_that_gets_it(small, home, name):
    lay(home)
    (home / name).unlink()
    with pytest.raises(UserError, match=f"{name} is not in {home}: run 'vaebench fetch mnist'"):
        Mnist().load("test")


def test_no_folder_at_all(home):
    with pytest.raises(UserError, match="run 'vaebench fetch mnist'"):
        Mnist().load("train")


def as_folder(tmp_path, packed):
    return lay(tmp_path / "from", packed=packed)


def as_torchvision_root(tmp_path, packed):
    lay(tmp_path / "from" / "MNIST" / "raw", packed=packed)
    return tmp_path / "from"


def as_data_folder(tmp_path, packed):
    lay(tmp_path / "from" / "mnist", packed=packed)
    return tmp_path / "from"


def as_zip(tmp_path, packed, inside="", folders=()):
    lay(tmp_path / "packed", packed=packed)
    with zipfile.ZipFile(tmp_path / "from.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((tmp_path / "packed").iterdir()):
            archive.write(path, inside + path.name)
        for folder in folders:
            archive.mkdir(folder)
        archive.writestr("README.txt", "not ours")
    return tmp_path / "from.zip"


as_nested_zip = partial(as_zip, inside="archive/raw/")
as_zip_with_folders_of_that_name = partial(as_zip, folders=NAMES)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "form",
    [as_folder, as_torchvision_root, as_data_folder, as_zip, as_nested_zip, as_zip_with_folders_of_that_name],
)
def test_import(small, home, tmp_path, form, packed):
    said = Mnist().fetch(form(tmp_path, packed))
    assert str(home) in said
    assert snapshot(home) == CONTENTS
    assert len(Mnist().load("train")) == 12


def test_importing_from_where_it_lies_already(small, home):
    lay(home)
    Mnist().fetch(home)
    assert snapshot(home) == CONTENTS


def no_such(tmp_path):
    return tmp_path / "absent"


def empty_folder(tmp_path):
    (tmp_path / "from").mkdir()
    return tmp_path / "from"


def one_file_lacking(tmp_path):
    (lay(tmp_path / "from") / "t10k-labels-idx1-ubyte").unlink()
    return tmp_path / "from"


def last_file_damaged(tmp_path):
    file = lay(tmp_path / "from", packed=True) / "t10k-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-9])
    return tmp_path / "from"


def no_zip(tmp_path):
    (tmp_path / "from.zip").write_text("no zip")
    return tmp_path / "from.zip"


def truncated_zip(tmp_path):
    file = as_zip(tmp_path, packed=False)
    file.write_bytes(file.read_bytes()[:-200])
    return file


def corrupt_zip(tmp_path):
    file = as_zip(tmp_path, packed=True)
    raw = bytearray(file.read_bytes())
    raw[2000:2100] = bytes(100)
    file.write_bytes(bytes(raw))
    return file


def encrypted_zip(tmp_path):
    file = as_zip(tmp_path, packed=True)
    raw = bytearray(file.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = raw.find(magic)
        while at >= 0:
            raw[at + offset] |= 1
            at = raw.find(magic, at + 1)
    file.write_bytes(bytes(raw))
    return file


def empty_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "from.zip", "w") as archive:
        archive.writestr("README.txt", "nothing else")
    return tmp_path / "from.zip"


BAD_SOURCES = [
    no_such,
    empty_folder,
    one_file_lacking,
    last_file_damaged,
    no_zip,
    truncated_zip,
    corrupt_zip,
    encrypted_zip,
    empty_zip,
]


@pytest.mark.parametrize("source", BAD_SOURCES)
def test_a_failed_import_is_one_line_and_good_files_survive(small, home, tmp_path, source):
    lay(home)
    before = snapshot(home)
    with pytest.raises(UserError) as raised:
        Mnist().fetch(source(tmp_path))
    assert "\n" not in str(raised.value)
    assert snapshot(home) == before


def test_a_failed_import_into_an_empty_place_leaves_nothing(small, home, tmp_path):
    with pytest.raises(UserError):
        Mnist().fetch(last_file_damaged(tmp_path))
    assert snapshot(home) == {}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(small, tmp_path, monkeypatch):
    """torchvision downloads from this folder, over the loopback interface."""
    folder = lay(tmp_path / "mirror", packed=True)
    resources = [
        (path.name, hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest())
        for path in sorted(folder.iterdir())
    ]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
        for proxy in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.delenv(proxy, raising=False)
        yield folder
        server.shutdown()
        thread.join()
    with warnings.catch_warnings():  # torchvision leaves the socket of a failed download to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_download(mirror, home):
    said = Mnist().fetch(None)
    assert str(home) in said
    assert snapshot(home) == CONTENTS


def test_download_of_something_else_is_refused(mirror, home):
    lay(home)
    (home / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    kept = snapshot(home)
    (mirror / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(UserError, match=r"MNIST could not be downloaded \(.*\): .*--from FOLDER") as raised:
        Mnist().fetch(None)
    assert "\n" not in str(raised.value)
    assert snapshot(home) == kept


def test_what_is_at_hand_is_not_downloaded(small, home):
    """No mirror stands behind this: a download would fail."""
    lay(home)
    assert "at hand" in Mnist().fetch(None)


def test_download_without_a_file_is_refused(mirror, home):
    (mirror / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match="MNIST could not be downloaded"):
        Mnist().fetch(None)
    assert snapshot(home) == {}


def test_download_without_a_network_says_what_to_do(mirror, home, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{port}/"])
    with pytest.raises(UserError, match=r"could not be downloaded .*'vaebench fetch mnist --from FOLDER'") as raised:
        Mnist().fetch(None)
    assert "\n" not in str(raised.value)
    assert snapshot(home) == {}


def test_fetch_through_the_command_line(small, home, cli, tmp_path):
    answer = cli(["fetch", "mnist", "--from", as_zip(tmp_path, packed=True)])
    assert (answer.code, answer.err) == (0, "")
    assert str(home) in answer.out
    assert snapshot(home) == CONTENTS


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_real_mnist(mnist_folder, monkeypatch, split):
    monkeypatch.setenv("VAEBENCH_DATA", str(mnist_folder))
    data = Mnist().load(split)
    assert (len(data), data.fingerprint) == PINNED[split]
    if split == "test":
        assert data.labels[data.showcase_indices()].tolist() == list(range(10))


def dotted(name, content):
    return name.replace("-idx", ".idx"), content


def in_a_folder_of_its_own(name, content):
    return f"{name}/{name}", content


def unpacked_but_called_gz(name, content):
    return f"{name}.gz", content


def packed_but_not_called_so(name, content):
    return name, gzip.compress(content)


def of_no_meaning(name, content):
    return f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}.bin", content


NAMINGS = [dotted, in_a_folder_of_its_own, unpacked_but_called_gz, packed_but_not_called_so, of_no_meaning]


@pytest.mark.parametrize("form", ["folder", "zip", "MNIST/raw"])
@pytest.mark.parametrize("naming", NAMINGS)
def test_content_decides_which_file_is_which(small, home, tmp_path, naming, form):
    files = dict(naming(name, content) for name, content in CONTENTS.items())
    source = tmp_path / ("from.zip" if form == "zip" else "from")
    if form == "zip":
        with zipfile.ZipFile(source, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    for name, content in files.items() if form != "zip" else ():
        path = source / ("" if form == "folder" else form) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    Mnist().fetch(source)
    assert {path.name: path.read_bytes() for path in home.iterdir()} == CONTENTS


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_in_place_is_read_whatever_its_ending_says(small, home, packed):
    lay(home)
    for name in NAMES:
        content = (home / name).read_bytes()
        (home / name).unlink()
        (home / (name if packed else f"{name}.gz")).write_bytes(gzip.compress(content) if packed else content)
    assert len(Mnist().load("train")) == 12
