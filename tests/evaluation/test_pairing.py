"""Pairs belong together by name: a missing file is said, and no renaming mispairs in silence."""

import numpy as np
import pytest
import torch
from PIL import Image

from vaebench.core import results
from vaebench.core.errors import UserError
from vaebench.core.paths import runs_dir
from vaebench.evaluation.pairing import partners

MSE = ["--metrics", "mse"]
NAMES = [f"{number:04d}.png" for number in range(1000)]


def paired(made, real):
    return partners(made, real, "mine", "digits:test")


def test_each_finds_its_own_in_whatever_order():
    order = np.random.default_rng(0).permutation(1000)
    rows = paired([NAMES[place] for place in order], NAMES)
    assert [order[row] for row in rows.tolist()] == list(range(1000))


@pytest.mark.parametrize(
    ("made", "real"),
    [
        (["b.jpg", "a.webp"], ["a.png", "b.PNG"]),
        (["x/b.png", "x/a.png"], ["a.png", "b.png"]),
        (["00002.png", "00001.png"], ["test/00001", "test/00002"]),
        (["2.png", "1.png"], ["test/00001", "test/00002"]),
        (["v1.5", "v1.4"], ["v1.4", "v1.5"]),
        (["y/a.png", "x/a.png"], ["x/a.jpg", "y/a.jpg"]),
        (["b.png", "e\u0301.png"], ["\u00e9.png", "b.png"]),
    ],
    ids=["suffixes", "folders", "ids", "leading zeros", "dots", "same name in two folders", "composed letters"],
)
def test_names_are_compared_as_people_do(made, real):
    assert paired(made, real).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("made", "real", "said"),
    [
        (
            ["a.png", "b.png"],
            ["a.png", "c.png"],
            "image 'b' of mine has no partner in digits:test, and image 'c' of digits:test has none in mine",
        ),
        (["a.png"], ["a.png", "c.png"], "'c' of digits:test has no partner in mine: give each of the 2 images one, or"),
        (["a.png", "b.png", "c.png"], ["a.png"], "image 'b' of mine has no partner in digits:test (nor has 1 other)"),
        (["0.png", "1.png", "2.png"], ["3.png", "1.png"], "image '0' of mine has no partner in digits:test (nor has 1"),
        (list("abcd"), ["a.png"], "image 'b' of mine has no partner in digits:test (nor have 2 others): give partners"),
        (["a.png", "B.png"], ["A.png", "b.png"], "(B and b differ in capitals)"),
        (["a.png", "a.jpg"], ["a.png", "b.png"], "mine holds a.png and a.jpg, which cannot be told apart"),
        (["a.png", "b.png"], ["x/a.png", "y/a.png"], "has no partner"),
        (["1.png", "01.png"], ["001.png", "002.png"], "has no partner"),
    ],
)
def test_what_lacks_a_partner_is_named(made, real, said):
    with pytest.raises(UserError) as raised:
        paired(made, real)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_fuzzed_renames_never_mispair():
    """Whatever is renamed, moved or lost, what is paired at all has one number on both sides."""
    random = np.random.default_rng(1)
    agreed = 0
    for _ in range(500):
        numbers = random.permutation(12).tolist()
        forms = ["{n}.png", "{n:03d}.jpg", "a{n}.png", "A{n}.png", "x/{n}.png", "y/{n}"]
        style = [random.choice(forms) for _ in range(2)]
        sides = []
        for form in style:
            kept = [number for number in numbers if random.random() > 0.02]
            random.shuffle(kept)
            names = [form.format(n=number) for number in kept]
            if random.random() < 0.1:
                names[0] = names[0].replace("0", "1").replace("a", "b")
            sides.append((names, kept))
        (made, made_are), (real, real_are) = sides
        try:
            rows = paired(made, real)
        except UserError:
            continue
        renamed_sides = [form.format(n=number) for form, (_, kept) in zip(style, sides, strict=True) for number in kept]
        if set(made) | set(real) <= set(renamed_sides):  # nothing was given another's name
            assert [made_are[row] for row in rows.tolist()] == real_are
            agreed += 1
    assert agreed > 30  # the test would say nothing if hardly anything were paired


def save(folder, names, seed):
    folder.mkdir()
    for name in names:
        pixels = np.random.default_rng([seed, int(name[:4])]).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def test_a_thousand_images_with_one_missing_on_each_side(tmp_path, cli, places):
    made = save(tmp_path / "made", [name for name in NAMES if name != "0700.png"], 0)
    real = save(tmp_path / "real", [name for name in NAMES if name != "0300.png"], 0)
    asked = ["evaluate", "--images", made, "--name", "x", "--reference", real, *MSE, "--out", tmp_path / "o"]
    answer = cli([*asked, "--paired"])
    assert answer.code == 2
    assert f"image '0300' of {made} has no partner in folder-real:all, and image '0700' of folder-real" in answer.err
    assert not runs_dir().exists()
    Image.open(real / "0700.png").save(made / "0700.png")
    Image.open(made / "0300.png").save(real / "0300.png")
    assert cli([*asked, "--paired"]).code == 0
    (line,) = [each for each in results.read(runs_dir() / "external/x/results.jsonl") if each.value is not None]
    assert (line.metric, line.value, line.n) == ("mse", 0.0, 1000)


def test_ids_of_an_array_pair_it(tmp_path, cli, places):
    real = save(tmp_path / "real", NAMES[:20], 0)
    pixels = np.stack([np.asarray(Image.open(real / name)) for name in NAMES[:20]])
    order = np.random.default_rng(0).permutation(20)
    np.savez(tmp_path / "made.npz", images=pixels[order], ids=np.array(NAMES)[order])
    asked = ["evaluate", "--images", tmp_path / "made.npz", "--reference", real, *MSE, "--out", tmp_path / "o"]
    assert cli([*asked, "--name", "named", "--paired"]).code == 0
    (line,) = [each for each in results.read(runs_dir() / "external/named/results.jsonl") if each.value is not None]
    assert line.value == 0
    answer = cli([*asked, "--name", "placed", "--paired", "position"])
    assert answer.code == 2 and "names its images: pair them by name" in answer.err


def test_position_is_for_arrays_alone(tmp_path, cli, places):
    real = save(tmp_path / "real", NAMES[:20], 0)
    asked = ["evaluate", "--images", real, "--name", "x", "--reference", real, *MSE, "--out", tmp_path / "o"]
    answer = cli([*asked, "--paired", "position"])
    assert answer.code == 2 and "pair them by name, --paired alone" in answer.err


def test_other_partners_are_another_measurement(tmp_path, cli, places):
    """Equal pixels in equal order under other names: what was measured before is not the answer."""
    real = save(tmp_path / "real", NAMES[:20], 0)
    pixels = np.stack([np.asarray(Image.open(real / name)) for name in NAMES[:20]])
    asked = ["evaluate", "--images", tmp_path / "made.npz", "--reference", real, "--name", "x", "--paired"]
    values = []
    for names in (NAMES[:20], NAMES[19::-1]):
        np.savez(tmp_path / "made.npz", images=pixels, ids=np.array(names))
        assert cli([*asked, "--metrics", "mse", "--out", tmp_path / "o"]).code == 0
        lines = results.read(runs_dir() / "external/x/results.jsonl")
        values.append([line.value for line in lines if line.value is not None][-1])
    assert values[0] == 0 < values[1]


def test_rows_are_int64():
    assert paired(["a"], ["a"]).dtype == torch.int64
