"""Archives and parquet files that are odd, damaged or made to harm: one line each, and never a set without a word."""

import io
import json
import tarfile
import warnings
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from vaebench.core.errors import UserError
from vaebench.datasets.images import parquet_files
from vaebench.datasets.images.loading import load_images


def packed(seed):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def member(name, content=b"", kind=tarfile.REGTYPE, target="", size=None):
    """A member's header and content, as a tar has them."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(content)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if size is not None:
        header[124:136] = (size % 256**12).to_bytes(12, "big") if size < 0 else b"\x80" + size.to_bytes(11, "big")
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % 512)


def saved_tar(path, *members):
    path.write_bytes(b"".join(members) + bytes(1024))
    return path


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE], ids=["hard", "symbolic"])
def test_links_in_a_tar_are_the_files_that_they_lead_to(tmp_path, places, kind):
    """As in the folder unpacked from it; without them it would be another set of images."""
    targets = {"d/b.png": "d/a.png", "d/c.png": "d/b.png"}
    if kind == tarfile.SYMTYPE:
        targets = {"d/b.png": "a.png", "d/c.png": "../d/b.png"}
    links = [member(name, kind=kind, target=target) for name, target in targets.items()]
    found = load_images(saved_tar(tmp_path / "x.tar", member("d/a.png", packed(0)), *links))
    assert found.ids == ["d/a.png", "d/b.png", "d/c.png"]
    assert torch.equal(found.images[0], found.images[1]) and torch.equal(found.images[0], found.images[2])


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "b.png"),
        (tarfile.SYMTYPE, "../out.png"),
        (tarfile.SYMTYPE, "/etc/hostname"),
        (tarfile.LNKTYPE, "gone.png"),
        (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_what_is_no_file_in_a_tar_is_named(tmp_path, places, kind, target):
    (tmp_path / "out.png").write_bytes(packed(1))
    (tmp_path / "in").mkdir()
    made = saved_tar(tmp_path / "in" / "x.tar", member("a.png", packed(0)), member("b.png", kind=kind, target=target))
    with pytest.raises(UserError, match=r"x\.tar: b\.png is named as images are, but no regular file"):
        load_images(made)


@pytest.mark.parametrize(
    "damage",
    [
        member("b.png", size=-512),
        member("b.png", size=2**80),
        member("././@LongLink", b"a", kind=tarfile.GNUTYPE_LONGNAME) * 3000,
    ],
    ids=["backwards", "far", "deep"],
)
@pytest.mark.parametrize("first", [True, False])
def test_headers_that_tarfile_goes_round_with_or_stumbles_over(tmp_path, places, damage, first):
    begun = () if first else (member("a.png", packed(0)),)
    with pytest.raises(UserError, match=r"x\.tar is no "):
        load_images(saved_tar(tmp_path / "x.tar", *begun, damage))


def test_a_tar_that_the_cache_has_no_room_for(tmp_path, places, monkeypatch):
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as archive:
        info = tarfile.TarInfo("a.png")
        info.size = len(packed(0))
        archive.addfile(info, io.BytesIO(packed(0)))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 100}))
    with pytest.raises(UserError, match="free some space or set VAEBENCH_CACHE=DIR"):
        load_images(tmp_path / "x.tgz")


def test_a_zip_that_holds_a_name_twice(tmp_path, places):
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        warnings.simplefilter("ignore")
        for seed, name in enumerate(("a.png", "b.png", "./b.png")):
            archive.writestr(name, packed(seed))
    with pytest.raises(UserError, match=r"holds b\.png twice: take one out of the archive"):
        load_images(tmp_path / "x.zip")


def test_a_zip_with_a_member_without_a_name(tmp_path, places):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("b", b"nothing")
        archive.writestr("a.png", packed(0))
        archive.filelist[0].filename = ""
    assert load_images(tmp_path / "x.zip").ids == ["a.png"]


IMAGES = [{"bytes": packed(seed), "path": f"{seed}.png"} for seed in range(4)]
BARE = [each["bytes"] for each in IMAGES]


def saved_parquet(path, columns, metadata=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path, **options)
    return path


def test_shards_of_one_name_in_two_folders_are_told_apart(tmp_path, places):
    """The key of what was decoded once held only the second."""
    for folder, content in (("a", BARE[:1]), ("b", BARE[1:2])):
        saved_parquet(tmp_path / "x" / folder / "0.parquet", {"image": content})
    before = load_images(tmp_path / "x").images.clone()
    saved_parquet(tmp_path / "x" / "a" / "0.parquet", {"image": BARE[2:3]})
    after = load_images(tmp_path / "x").images
    assert not torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])


@pytest.mark.parametrize(
    "image",
    [
        pa.array(BARE, pa.binary()).dictionary_encode(),
        pa.array(BARE, pa.binary_view()),
        pa.array(BARE, pa.large_binary()),
    ],
    ids=["dictionary", "view", "large"],
)
def test_bytes_of_every_kind(tmp_path, places, image):
    plain = load_images(saved_parquet(tmp_path / "a.parquet", {"image": BARE})).images
    assert torch.equal(load_images(saved_parquet(tmp_path / "b.parquet", {"image": image})).images, plain)


def test_shards_that_differ(tmp_path, places):
    saved_parquet(tmp_path / "x" / "0.parquet", {"image": IMAGES[:2], "label": [0, 1]})
    saved_parquet(tmp_path / "x" / "1.parquet", {"image": IMAGES[2:]})
    found = load_images(tmp_path / "x")
    assert (found.labels, found.ids) == (None, ["0.png", "1.png", "2.png", "3.png"])
    for column, values in (("img", IMAGES), ("image", BARE)):
        saved_parquet(tmp_path / "x" / "1.parquet", {column: values})
        with pytest.raises(UserError, match="give files whose columns are alike"):
            load_images(tmp_path / "x")


def test_what_lies_beside_parquet_files_is_counted(tmp_path, places):
    saved_parquet(tmp_path / "x" / "0.PARQUET", {"image": IMAGES})
    (tmp_path / "x" / "README.md").write_text("of images")
    assert load_images(tmp_path / "x").remarks == [f"{tmp_path / 'x'}: passed over 1 other file (README.md)"]
    (tmp_path / "x" / "b.heic").write_bytes(b"")
    with pytest.raises(UserError, match="1 image of a format that Pillow does not read here"):
        load_images(tmp_path / "x")


def test_labels_and_metadata_that_are_none(tmp_path, places):
    columns = {"image": IMAGES, "label": pa.array([0, 1, 2, 2**64 - 1], pa.uint64())}
    assert load_images(saved_parquet(tmp_path / "a.parquet", columns)).labels is None
    columns["label"] = [0, 1, 2, 0]
    found = load_images(saved_parquet(tmp_path / "b.parquet", columns, {"huggingface": "[" * 200_000}))
    assert (found.labels.tolist(), found.classes) == ([0, 1, 2, 0], [])


def test_damage_anywhere_in_a_parquet_file_is_one_line(tmp_path, places):
    names = json.dumps({"info": {"features": {"label": {"names": ["a", "b"]}}}})
    columns = {"image": IMAGES, "label": [0, 1, 0, 1]}
    content = saved_parquet(tmp_path / "x.parquet", columns, {"huggingface": names}, row_group_size=2).read_bytes()
    draw = np.random.default_rng(0)
    for place in draw.integers(4, len(content), 300):
        damaged = bytearray(content)
        damaged[place : place + 4] = draw.integers(0, 256, 4, dtype=np.uint8).tobytes()
        (tmp_path / "x.parquet").write_bytes(bytes(damaged[: len(content)]))
        try:
            load_images(tmp_path / "x.parquet")
        except UserError as refused:
            assert len(str(refused).splitlines()) == 1


def test_row_groups_are_bounded_and_so_are_the_rows(tmp_path, places, monkeypatch):
    made = saved_parquet(tmp_path / "x.parquet", {"image": IMAGES})
    monkeypatch.setattr(parquet_files, "GROUP", 500)
    with pytest.raises(
        UserError, match=r"a row group holds .* write it with smaller ones, such as row_group_size=1000"
    ):
        load_images(made)
    monkeypatch.undo()
    many = saved_parquet(tmp_path / "y.parquet", {"image": pa.nulls(10**6, pa.binary())})
    with pytest.raises(UserError, match="it states 1,000,000 rows"):
        load_images(many)
