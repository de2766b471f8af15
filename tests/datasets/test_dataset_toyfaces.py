"""toyfaces: drawn alike for ever, every attribute to be seen where it belongs, as common as in CelebA, kept safely."""

import hashlib
import logging

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from vaebench.core.errors import UserError
from vaebench.datasets import toyfaces
from vaebench.datasets.toyface import measure_attribute_statistics as measuring
from vaebench.datasets.toyface.attributes import HAIR_COLOURS, attribute_names, draw_attributes, statistics
from vaebench.datasets.toyface.drawing import draw_face
from vaebench.datasets.toyfaces import ToyFaces

NAMES = attribute_names()
SMALL = {"train": 6, "valid": 2, "test": 3}
# mean grey of 16 squares, row by row
GREY = {
    0: [[139, 73, 78, 133], [121, 72, 75, 114], [110, 86, 84, 99], [98, 94, 89, 99]],
    7: [[191, 184, 170, 144], [181, 176, 188, 135], [154, 194, 193, 106], [130, 149, 136, 92]],
    15999: [[159, 163, 168, 172], [156, 103, 108, 164], [140, 107, 103, 150], [133, 125, 120, 142]],
}
# the strongest correlations of CelebA's 202,599 images, by |phi|
STRONGEST = [
    ("Heavy_Makeup", "Wearing_Lipstick", 0.802),
    ("Male", "Wearing_Lipstick", -0.789),
    ("High_Cheekbones", "Smiling", 0.683),
    ("Heavy_Makeup", "Male", -0.667),
    ("Goatee", "No_Beard", -0.570),
    ("No_Beard", "Sideburns", -0.543),
    ("Mouth_Slightly_Open", "Smiling", 0.536),
    ("Chubby", "Double_Chin", 0.534),
    ("5_o_Clock_Shadow", "No_Beard", -0.527),
    ("Male", "No_Beard", -0.522),
    ("Goatee", "Sideburns", 0.513),
    ("Attractive", "Wearing_Lipstick", 0.480),
    ("Attractive", "Heavy_Makeup", 0.477),
    ("Arched_Eyebrows", "Wearing_Lipstick", 0.460),
    ("Mustache", "No_Beard", -0.453),
    ("Goatee", "Mustache", 0.451),
    ("Arched_Eyebrows", "Heavy_Makeup", 0.440),
    ("High_Cheekbones", "Mouth_Slightly_Open", 0.420),
    ("No_Beard", "Wearing_Lipstick", 0.419),
    ("5_o_Clock_Shadow", "Male", 0.418),
]
# rows of the picture that hold nine tenths of what the attribute changes; the others change more of it
ROWS = {
    "5_o_Clock_Shadow": (36, 53),
    "Arched_Eyebrows": (17, 30),
    "Bags_Under_Eyes": (27, 39),
    "Bangs": (2, 28),
    "Big_Lips": (36, 53),
    "Big_Nose": (31, 44),
    "Bushy_Eyebrows": (17, 30),
    "Double_Chin": (45, 60),
    "Eyeglasses": (20, 38),
    "Goatee": (43, 59),
    "Heavy_Makeup": (20, 34),
    "Mouth_Slightly_Open": (38, 50),
    "Mustache": (36, 47),
    "Narrow_Eyes": (20, 37),
    "No_Beard": (30, 56),
    "Pointy_Nose": (24, 43),
    "Receding_Hairline": (1, 26),
    "Rosy_Cheeks": (29, 45),
    "Sideburns": (19, 45),
    "Wearing_Earrings": (32, 48),
    "Wearing_Hat": (0, 17),
    "Wearing_Lipstick": (37, 52),
    "Wearing_Necklace": (49, 63),
    "Wearing_Necktie": (51, 64),
}
# what hides an attribute, or must not be set beside it
UNSET = {
    **dict.fromkeys(HAIR_COLOURS, HAIR_COLOURS),
    "Wavy_Hair": ("Straight_Hair", "Bald"),
    "Straight_Hair": ("Wavy_Hair", "Bald"),
    "Bangs": ("Bald",),
    "Receding_Hairline": ("Bangs", "Bald"),
    "Bald": ("Bangs", "Wearing_Hat", "Straight_Hair", "Wavy_Hair"),
}


@pytest.fixture(scope="module")
def all_attributes():
    return draw_attributes(range(16_000))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(toyfaces, "SIZES", SMALL)


@pytest.fixture
def no_pencil(monkeypatch):
    def refuse(*_):
        raise AssertionError("a face was drawn")

    return lambda: monkeypatch.setattr(toyfaces, "draw_face", refuse)


def toggled(name, index):
    """The face without and with the attribute, as integers."""
    has = dict(zip(NAMES, draw_attributes(range(index, index + 1))[0].tolist(), strict=True))
    has |= dict.fromkeys(("Blurry", *UNSET.get(name, ())), False)
    return [draw_face(has | {name: value}, index).astype(int) for value in (False, True)]


def test_attributes_are_pinned(all_attributes):
    """Another hash means other faces: no table made before holds any more."""
    digest = hashlib.sha256(np.packbits(all_attributes[:100]).tobytes()).hexdigest()
    assert digest == "897a7a400c76ecf88bcff0e8af2f23b80f26b5a0152d1dc2160218b8973e1e6e"


@pytest.mark.parametrize("index", GREY)
def test_pictures_are_pinned_up_to_the_rounding_of_polygons(all_attributes, index):
    face = draw_face(all_attributes[index], index)
    assert (face.dtype, face.shape) == (np.uint8, (64, 64, 3))
    assert np.abs(face.mean(2).reshape(4, 16, 4, 16).mean((1, 3)) - GREY[index]).max() < 2


def test_a_face_is_a_function_of_its_index_alone(all_attributes, global_rng_untouched):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    row = draw_attributes(range(4321, 4322))[0]
    assert np.array_equal(row, all_attributes[4321])
    first = draw_face(row, 4321)
    draw_face(all_attributes[17], 17)
    assert np.array_equal(draw_face(dict(zip(NAMES, row, strict=True)), 4321), first)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_face_wants_all_40_attributes(all_attributes):
    with pytest.raises(ValueError, match="zip"):
        draw_face(all_attributes[0][:39], 0)


@pytest.mark.parametrize("name", NAMES)
def test_every_attribute_shows_where_it_belongs(name):
    """Over 8 faces: at least 8 pixels by more than 16 levels in each, 20 in the median; in the rows expected."""
    pairs = [toggled(name, index) for index in range(200, 208)]
    changed = np.stack([np.abs(without - having).max(2) > 16 for without, having in pairs])
    assert changed.sum((1, 2)).min() >= 8
    assert np.median(changed.sum((1, 2))) >= 20
    top, bottom = ROWS.get(name, (0, 64))
    assert changed[:, top:bottom].sum() >= 0.9 * changed.sum()


@pytest.mark.parametrize("name", ["Wearing_Necktie", "Eyeglasses", "Mustache", "Wearing_Hat", "Goatee"])
def test_an_attribute_leaves_the_rest_of_the_picture_alone(name):
    top, bottom = ROWS[name]
    for index in range(200, 208):
        same = (np.abs(np.subtract(*toggled(name, index))).max(2) == 0).all(1)
        assert same[: max(0, top - 3)].all()
        assert same[bottom + 3 :].all()


def test_blur_takes_sharpness():
    for index in range(200, 204):
        sharp, blurred = (np.abs(np.diff(face, axis=1)).mean() for face in toggled("Blurry", index))
        assert blurred < 0.75 * sharp


def test_shares_are_celebas(all_attributes):
    found, wanted = all_attributes.mean(0), statistics().shares
    assert np.abs(found - wanted).max() < 0.01
    assert np.abs(found / wanted - 1).max() < 0.1


@pytest.mark.parametrize(("first", "second", "phi"), STRONGEST)
def test_strongest_correlations_are_celebas(all_attributes, first, second, phi):
    columns = all_attributes[:, [NAMES.index(first), NAMES.index(second)]]
    assert np.corrcoef(columns.T)[0, 1] == pytest.approx(phi, abs=0.12)


def test_what_cannot_be_drawn_together_is_parted(all_attributes):
    has = dict(zip(NAMES, all_attributes.T, strict=True))
    assert np.sum([has[name] for name in HAIR_COLOURS], axis=0).max() == 1
    for name in ("Bangs", "Straight_Hair", "Wavy_Hair", "Wearing_Hat", "Black_Hair", "Blond_Hair", "Brown_Hair"):
        assert not (has["Bald"] & has[name]).any()
    assert not (has["Bangs"] & has["Receding_Hairline"]).any()
    assert not (has["Straight_Hair"] & has["Wavy_Hair"]).any()


def test_shipped_statistics_are_a_correlation_matrix():
    names, shares, correlations = statistics()
    assert (len(names), names[0], names[-1]) == (40, "5_o_Clock_Shadow", "Young")
    assert dict(zip(names, shares, strict=True))["Bald"] == pytest.approx(4547 / 202_599, abs=1e-5)
    assert np.array_equal(correlations, correlations.T)
    assert (np.diag(correlations) == 1).all()
    assert np.linalg.eigvalsh(correlations)[0] > 0.005


def test_both_below_against_scipy():
    points = [(0.3, -1.1, 0.6), (-2.0, 0.4, -0.95), (1.2, 1.3, 0.999), (0.0, 0.0, 0.0)]
    found = measuring.both_below(*np.array(points).T)
    wanted = [multivariate_normal.cdf([x, y], cov=[[1, r], [r, 1]], abseps=1e-10) for x, y, r in points]
    assert found == pytest.approx(wanted, abs=1e-7)


def test_nearest_correlations_against_higham():
    """The example of Higham (2002), section 4; eigenvalues of 0.01 instead of 0 cost it the third decimal."""
    found = measuring.nearest_correlations(np.array([[1.0, 1, 0], [1, 1, 1], [0, 1, 1]]))
    assert found[np.triu_indices(3, 1)] == pytest.approx([0.7607, 0.1573, 0.7607], abs=0.01)
    assert np.linalg.eigvalsh(found)[0] == pytest.approx(0.01, abs=1e-4)


def write_list(path, has, names):
    lines = [str(len(has)), " ".join(names) + " "]
    lines += [
        f"{row:06d}.jpg " + " ".join(f"{2 * int(value) - 1:2d}" for value in line) for row, line in enumerate(has)
    ]
    path.write_bytes("\r\n".join(lines).encode())
    return path


def test_statistics_of_a_made_up_list(tmp_path):
    """A known copula is found again; one pair against a root of scipy's bivariate normal; file and back."""
    wanted = np.array([[1, 0.7, -0.4, 0], [0.7, 1, 0.1, 0.2], [-0.4, 0.1, 1, 0.5], [0, 0.2, 0.5, 1]])
    shares = np.array([0.5, 0.3, 0.1, 0.8])
    normal = np.random.default_rng(3).standard_normal((20_000, 4)) @ np.linalg.cholesky(wanted).T
    has = normal < norm.ppf(shares)
    found = measuring.measure(write_list(tmp_path / "list.txt", has, "abcd"))
    assert found.names == tuple("abcd")
    assert found.shares == pytest.approx(has.mean(0))
    assert np.abs(found.correlations - wanted).max() < 0.04

    cuts, both = norm.ppf(has.mean(0)), (has[:, 0] & has[:, 2]).mean()
    independent = brentq(
        lambda r: multivariate_normal.cdf(cuts[[0, 2]], cov=[[1, r], [r, 1]], abseps=1e-10) - both, -0.9, 0.9
    )
    assert found.correlations[0, 2] == pytest.approx(independent, abs=1e-5)

    measuring.write_statistics(found, tmp_path / "statistics.csv")
    back = measuring.read_statistics(tmp_path / "statistics.csv")
    assert back.names == found.names
    assert back.correlations == pytest.approx(found.correlations, abs=5e-4)


@pytest.mark.parametrize(
    "content", ["", "3\na b\nx.jpg 1 0\n", "1\na b\nx.jpg 1\n", "1\na b\nx.jpg 1 -1 1\n", "1\na b\n"]
)
def test_another_file_is_no_attribute_list(tmp_path, content):
    (tmp_path / "list.txt").write_text(content and f"1\n{content}")
    with pytest.raises(UserError, match=r"list\.txt.*give CelebA's list_attr_celeba\.txt"):
        measuring.measure(tmp_path / "list.txt")


def test_an_attribute_that_all_have_is_refused(tmp_path):
    with pytest.raises(UserError, match="goes together with nothing"):
        measuring.measure(write_list(tmp_path / "list.txt", np.array([[1, 0], [1, 1]]), "ab"))


def test_splits_follow_one_another(small):
    splits = {split: ToyFaces().load(split) for split in ToyFaces.splits}
    assert [name for data in splits.values() for name in data.ids] == [f"toyfaces/{index:05d}" for index in range(11)]
    test = splits["test"]
    assert (test.images.dtype, test.image_shape, test.labels) == (torch.uint8, (3, 64, 64), None)
    assert test.attributes.shape == (3, 40)
    assert tuple(test.attribute_names) == NAMES
    assert test.note == "synthetic faces drawn by vaebench, not photographs"
    face = draw_face(test.attributes[1].numpy(), 9)
    assert np.array_equal(test.images[1].permute(1, 2, 0).numpy(), face)


def test_showcase_is_varied_and_sharp(all_attributes):
    rows = toyfaces.varied(all_attributes[14_000:])
    assert len(set(rows)) == 10
    assert not all_attributes[14_000:][rows, NAMES.index("Blurry")].any()


@pytest.mark.parametrize("size", [32, 96, 128, 256])
def test_other_sizes_show_the_same_faces(small, no_pencil, size):
    plain, sized = ToyFaces().load("test"), ToyFaces(size=size).load("test")
    assert sized.image_shape == (3, size, size) and sized.ids == plain.ids
    assert torch.equal(sized.attributes, plain.attributes)
    known = torch.nn.functional.interpolate(sized.images.float(), (64, 64), mode="area")
    each = (known - plain.images.float()).abs().mean(dim=(1, 2, 3))
    others = (known - plain.images.roll(1, 0).float()).abs().mean(dim=(1, 2, 3))
    assert each.max() < (12 if size < 64 else 4) < others.min()
    assert plain.classifier == "toyfaces_cnn/dense" and not sized.classifier  # it takes 64 x 64
    no_pencil()
    assert ToyFaces(size=size).load("test").fingerprint == sized.fingerprint


@pytest.mark.parametrize("size", [15, 257, 0])
def test_size_out_of_range(size):
    with pytest.raises(UserError, match="give 16 to 256"):
        ToyFaces(size=size)


def test_second_load_draws_nothing(small, no_pencil, caplog, global_rng_untouched):
    caplog.set_level(logging.INFO)
    first = ToyFaces().load("test").fingerprint
    assert "toyfaces: drawing 3 faces (test), once; they are kept in" in caplog.text
    no_pencil()
    assert ToyFaces().load("test").fingerprint == first


def test_fetch_draws_all_splits(small, no_pencil, tmp_path):
    assert "11 faces drawn" in ToyFaces().fetch(None)
    no_pencil()
    assert len(ToyFaces().load("train")) == 6
    with pytest.raises(UserError, match="there is nothing to import; leave --from away"):
        ToyFaces().fetch(tmp_path)


def one_pixel_off(content):
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("part", ["", ".sha256"])
@pytest.mark.parametrize("damage", [one_pixel_off, lambda content: content[: len(content) // 2], lambda _: b""])
def test_damaged_cache_is_drawn_again(small, places, no_pencil, part, damage):
    first = ToyFaces().load("valid").fingerprint
    (images,) = (places / "cache" / "toyfaces").glob("*.npy")
    file = images.with_name(images.name + part)
    file.write_bytes(damage(file.read_bytes()[:-1] if part else file.read_bytes()))
    assert ToyFaces().load("valid").fingerprint == first
    no_pencil()
    assert ToyFaces().load("valid").fingerprint == first


def test_cache_of_another_version_is_drawn_again(small, monkeypatch):
    ToyFaces().load("valid")
    drawn = []
    monkeypatch.setattr(toyfaces, "_versions", lambda: ["another"])
    monkeypatch.setattr(
        toyfaces, "draw_face", lambda row, index, size: drawn.append(index) or draw_face(row, index, size)
    )
    ToyFaces().load("valid")
    assert drawn == [6, 7]


def test_unwritable_cache_means_drawing_in_memory(small, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    first = ToyFaces().load("valid").fingerprint
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("VAEBENCH_CACHE", str(tmp_path / "file"))
    assert ToyFaces().load("valid").fingerprint == first
    assert "made, but not cached: cannot write" in caplog.text
