"""Images made elsewhere: every accepted form arrives as the same pixels, and every bad one is refused in one line."""

import numpy as np
import pytest
import torch
from PIL import Image

from vaebench.core import results
from vaebench.core.errors import UserError
from vaebench.datasets.digits import Digits
from vaebench.datasets.images.loading import load_images
from vaebench.evaluation import external
from vaebench.evaluation.external import External, evaluate_external
from vaebench.evaluation.features import Networks
from vaebench.evaluation.protocol import Protocol
from vaebench.runs import per_image

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
GREY = PIXELS[..., 0]
QUIET = Protocol(metrics=("blur", "mse"), samples=10)


def npz(folder, array, *, packed=False, **others):
    save = np.savez_compressed if packed else np.savez
    save(folder / "made.npz", images=array, **others)
    return folder / "made.npz"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, GREY[:, None]),
        (GREY[:, None], GREY[:, None]),
        (GREY[..., None], GREY[:, None]),
        (PIXELS, PIXELS.transpose(0, 3, 1, 2)),
        (PIXELS.transpose(0, 3, 1, 2), PIXELS.transpose(0, 3, 1, 2)),
        (np.asfortranarray(PIXELS), PIXELS.transpose(0, 3, 1, 2)),
        (GREY[:1], GREY[:1, None]),
    ],
)
def test_npz_shapes(tmp_path, array, expected, packed):
    loaded = load_images(npz(tmp_path, array, packed=packed)).images
    assert loaded.dtype == torch.uint8
    assert np.array_equal(loaded.numpy(), expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", ">f8"])
def test_npz_floats(tmp_path, dtype):
    given = (GREY / 255).astype(dtype)
    loaded = load_images(npz(tmp_path, given)).images
    assert loaded.dtype == torch.float32
    assert np.array_equal(loaded.numpy()[:, 0], given.astype(np.float32))


def test_npz_bounds_are_included(tmp_path):
    loaded = load_images(npz(tmp_path, np.linspace(0, 1, 32).reshape(2, 4, 4))).images
    assert (loaded.min().item(), loaded.max().item()) == (0.0, 1.0)


def test_npz_other_arrays_are_left_alone(tmp_path):
    assert len(load_images(npz(tmp_path, GREY, labels=np.arange(5))).images) == 5


def with_value(value):
    floats = (GREY / 255).astype(np.float32)
    floats[3, 2, 1], floats[0, 0, 0] = value, 1
    return floats


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((6, 7), np.uint8), r"images have shape \(6, 7\), not \(n,h,w\)"),
        (np.zeros((), np.uint8), r"images have shape \(\)"),
        (np.zeros((5, 6, 7, 4), np.uint8), r"images have shape \(5, 6, 7, 4\)"),
        (np.zeros((5, 2, 6, 7), np.uint8), r"images have shape \(5, 2, 6, 7\)"),
        (np.zeros((2, 5, 6, 7, 3), np.uint8), r"images have shape \(2, 5, 6, 7, 3\)"),
        (np.zeros((0, 6, 7), np.uint8), r"images have shape \(0, 1, 6, 7\)"),
        (np.zeros((5, 0, 7), np.uint8), "images have shape"),
        (GREY.astype(np.int64), r"images are int64: save uint8 \(0 to 255\) or float \(0 to 1\)"),
        (GREY.astype(np.int8), "images are int8"),
        (GREY > 9, "images are bool"),
        (GREY.astype(np.complex64), "images are complex64"),
        (GREY.astype(str), "images are <U"),
        (with_value(np.nan), "1 images hold NaN or infinite values"),
        (with_value(np.inf), "1 images hold NaN or infinite values"),
        (with_value(-0.1), r"floats lie in \[-0.1, 1.0\], not in \[0, 1\]"),
        (with_value(1.001), r"floats lie in \[0.0, 1.001\], not in \[0, 1\]"),
        (with_value(255.0), r"floats lie in \[0.0, 255.0\], not in \[0, 1\]"),
    ],
)
def test_bad_arrays(tmp_path, array, message):
    refused(npz(tmp_path, array), message)


def refused(path, message):
    with pytest.raises(UserError, match=message) as raised:
        load_images(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_pickled_objects_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was executed",))

    array = np.empty(1, object)
    array[0] = Trap()
    refused(npz(tmp_path, array), "is no readable npz")


@pytest.mark.parametrize("others", [{}, {"labels": np.arange(5)}, {"ids": np.array(list("abcde"))}])
@pytest.mark.parametrize("name", ["arr_0", "samples"])
def test_the_only_array_of_images_whatever_its_name(tmp_path, name, others):
    np.savez(tmp_path / "made.npz", **{name: GREY}, **others)
    loaded = load_images(tmp_path / "made.npz")
    assert np.array_equal(loaded.images.numpy(), GREY[:, None])
    assert loaded.ids == (list("abcde") if "ids" in others else None)


def test_several_arrays_that_may_be_the_images(tmp_path):
    np.savez(tmp_path / "made.npz", samples=GREY, others=GREY, labels=np.arange(5))
    refused(tmp_path / "made.npz", "holds samples, others, labels, no array 'images'")


def test_without_any_array(tmp_path):
    np.savez(tmp_path / "made.npz")
    refused(tmp_path / "made.npz", "holds nothing, no array 'images'")


def test_a_bare_array_file(tmp_path):
    np.save(tmp_path / "made.npy", PIXELS)
    assert np.array_equal(load_images(tmp_path / "made.npy").images.numpy(), PIXELS.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(60), b"\x80\x04\x95"])
def test_something_else(tmp_path, content):
    (tmp_path / "made.npz").write_bytes(content)
    refused(tmp_path / "made.npz", "is no readable npz")


def test_nothing_there(tmp_path):
    refused(tmp_path / "absent.npz", "does not exist: give a folder, a zip")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_truncated_npz(tmp_path, packed, part):
    file = npz(tmp_path, PIXELS, packed=packed)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * part)])
    refused(file, "is no readable npz")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("position", range(60, 300, 24))
def test_damaged_npz_is_refused(tmp_path, packed, position):
    file = npz(tmp_path, PIXELS, packed=packed)
    raw = bytearray(file.read_bytes())
    raw[position : position + 8] = bytes(byte ^ 0xA5 for byte in raw[position : position + 8])
    file.write_bytes(bytes(raw))
    refused(file, "is no readable npz")


@pytest.mark.parametrize(("local", "central", "value"), [(6, 8, 1), (8, 10, 97)])
def test_npz_that_is_encrypted_or_packed_in_an_unknown_way(tmp_path, local, central, value):
    file = npz(tmp_path, PIXELS)
    raw = bytearray(file.read_bytes())
    raw[raw.find(b"PK\x03\x04") + local] = value
    raw[raw.find(b"PK\x01\x02") + central] = value
    file.write_bytes(bytes(raw))
    refused(file, "is no readable npz")


@pytest.fixture
def folder(tmp_path):
    """Three grey images as files of several kinds, and a text beside them."""
    made = tmp_path / "made"
    made.mkdir()
    for name, pixels in zip(("b.png", "a.bmp", "c.TIF"), GREY, strict=False):
        Image.fromarray(pixels).save(made / name)
    (made / "notes.txt").write_text("no image")
    return made


def test_folder_is_read_by_name(folder):
    assert np.array_equal(load_images(folder).images.numpy(), GREY[[1, 0, 2], None])


def test_folder_of_colour(folder):
    for file in folder.iterdir():
        file.unlink()
    Image.fromarray(PIXELS[0]).save(folder / "a.png")
    Image.fromarray(GREY[1]).save(folder / "b.png")
    expected = np.stack([PIXELS[0], GREY[1][..., None].repeat(3, 2)])
    assert np.array_equal(load_images(folder).images.numpy(), expected.transpose(0, 3, 1, 2))


def test_folder_as_reference_has_file_names_as_ids(folder):
    data = external.reference(given(reference=str(folder)), load_images(folder), Networks())[0].data
    assert (data.name, data.split, data.ids) == ("folder-made", "all", ["a.bmp", "b.png", "c.TIF"])


def corrupt_image(folder):
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:-30])
    return r"b.png is no readable image"


def text_as_image(folder):
    (folder / "b.png").write_text("no image")
    return r"b.png is no readable image"


def empty_image(folder):
    (folder / "b.png").write_bytes(b"")
    return r"b.png is no readable image"


def oversized_image(folder):
    raw = bytearray((folder / "a.bmp").read_bytes())
    raw[18:26] = (100_000).to_bytes(4, "little") * 2
    (folder / "a.bmp").write_bytes(bytes(raw))
    return r"a.bmp is no readable image"


def other_size(folder):
    Image.fromarray(GREY[0, :5]).save(folder / "c.png")
    return r"holds images of several sizes, 7 x 6 \(a.bmp\) and 7 x 5: add --size 8"


def of_another_format(folder):
    (folder / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    return r"holds 1 image of a format that Pillow does not read here \(IMG_1.HEIC\): convert"


def floating_point(folder):
    Image.fromarray(GREY[0].astype(np.float32)).save(folder / "c.TIF")
    return "c.TIF is no readable image .pixels are floating-point numbers of unknown range"


def no_images(folder):
    for file in folder.iterdir():
        file.rename(file.with_suffix(".bak"))
    return r"made holds no image files"


BAD_FOLDERS = [
    corrupt_image,
    text_as_image,
    empty_image,
    oversized_image,
    other_size,
    of_another_format,
    floating_point,
    no_images,
]


@pytest.mark.parametrize("spoil", BAD_FOLDERS)
def test_bad_folders(folder, spoil):
    refused(folder, spoil(folder))


def given(**changes):
    return External(**{"name": "peer", "reference": "digits", "paired": "", "kind": "", **changes})


def measured(folder):
    """Metric and protocol -> value, of stratum ``all``, as they lie in the runs folder."""
    lines = results.read(folder / "results.jsonl")
    assert {(line.recipe, line.seed, line.dataset, line.split) for line in lines} == {
        ("external/peer", None, "digits", "test")
    }
    return {(line.metric, line.protocol): line.value for line in lines if line.stratum == "all"}


def test_paired_images_are_measured_against_their_own(places, capsys):
    test = Digits().load("test")
    darker = test.images.numpy() // 2
    assert evaluate_external(npz(places, darker), given(paired="position"), QUIET, print) == {"digits": []}
    values = measured(places / "runs" / "external" / "peer")
    real = test.images.double() / 255
    expected = ((real - torch.from_numpy(darker).double() / 255) ** 2).mean().item()
    assert values["mse", "recon"] == pytest.approx(expected, rel=1e-6)
    assert values["blur", "recon"] > 0
    assert values["blur", "samples"] is None


@pytest.mark.parametrize("paired", [True, False])
def test_values_belong_to_the_split_s_images_only_where_they_are_paired(places, paired):
    """As many reconstructions as there are test images: without --paired they are nobody's, and not cut into strata."""
    test = Digits().load("test")
    evaluate_external(
        npz(places, test.images.numpy()),
        given(paired="position" if paired else "", kind="reconstructions"),
        QUIET,
        print,
    )
    folder = places / "runs" / "external" / "peer"
    kept = per_image.read(folder / "per_image.parquet")
    (ids,) = {values.ids for series, values in kept.items() if (series.metric, series.protocol) == ("blur", "recon")}
    assert (ids == tuple(test.ids)) is paired
    assert any(line.stratum.startswith("label") for line in results.read(folder / "results.jsonl")) is paired


def test_unpaired_images_are_samples(places):
    evaluate_external(npz(places, GREY.repeat(5, 1)[:, :28].repeat(4, 2)[:, :, :28]), given(), QUIET, lambda _: None)
    values = measured(places / "runs" / "external" / "peer")
    assert values["blur", "samples"] > 0
    assert values["blur", "recon"] is None
    assert values["mse", "recon"] is None


FITTING = np.zeros((360, 28, 28), np.uint8)
COLOURED = np.zeros((360, 28, 28, 3), np.uint8)
COLOURED[7, 3, 3, 0] = 1


@pytest.mark.parametrize(
    ("array", "changes", "message"),
    [
        (FITTING[:359], {"paired": "position"}, "359 images cannot be paired with the 360 of digits:test"),
        (FITTING, {"paired": "position", "reference": "digits:train"}, "360 images cannot be paired with the 1437"),
        (FITTING[:, :27], {}, r"images are 28 x 27, those of digits are 28 x 28: add --size 28"),
        (COLOURED, {}, r"images have colours, those of digits are grey: save them as grey"),
        (FITTING, {"paired": "name"}, "names no image, so none can be paired by name: save an array ids"),
        (FITTING, {"paired": "index"}, "--paired 'index' is unknown"),
        (FITTING, {"reference": ""}, "--images needs --reference"),
        (FITTING, {"reference": "digist"}, r"did you mean 'digits'\?"),
        (FITTING, {"reference": "digits:tset"}, r"digits has no split 'tset': did you mean 'test'\?"),
        (FITTING, {"kind": "sample"}, r"--kind 'sample' is unknown: did you mean 'samples'\?"),
        (FITTING, {"kind": "samples", "paired": "name"}, "--paired images are reconstructions"),
        (FITTING, {"name": ""}, "--name '' names no run"),
        (FITTING, {"name": "../real"}, r"--name '../real' names no run"),
        (FITTING, {"name": "a/b"}, r"--name 'a/b' names no run"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(places, array, changes, message):
    with pytest.raises(UserError, match=message):
        evaluate_external(npz(places, array), given(**changes), QUIET, lambda _: None)
    assert not (places / "runs").exists()


def test_numbers_in_file_names_count_as_numbers(tmp_path):
    for number in (10, 9, 100, 1):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(tmp_path / f"{number}.png")
    assert load_images(tmp_path).images[:, 0, 0, 0].tolist() == [1, 9, 10, 100]
