"""Names of recipes with settings: one spelling a value, legal everywhere, never shared, in the order of numbers."""

import math
import re

import pytest

from vaebench.core.errors import UserError
from vaebench.core.setting_names import (
    name_with,
    order_of,
    own_name,
    spelled,
    spelled_key,
    split_name,
    typed_value,
    without_setting,
)
from vaebench.core.validation import LONGEST

LEGAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._~+=,-]+\])?")
FORBIDDEN = set("<>:\"/\\|?*%#&;$`!{}() \t\n'")  # by Windows, or of a meaning in a URL, a shell or HTML


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "vae-digits"),
        ({"beta": 4.0}, "vae-digits[beta=4]"),
        ({"latent_dim": 10, "beta": 4.0}, "vae-digits[beta=4,latent_dim=10]"),
        ({"learning_rate": 1e-05}, "vae-digits[learning_rate=1e-5]"),
        ({"layers": ("relu1_1", "relu2_1")}, "vae-digits[layers=relu1_1+relu2_1]"),
        ({"clip": None, "spectral": True}, "vae-digits[clip=none,spectral=true]"),
        ({"dataset.size": 64}, "vae-digits[dataset.size=64]"),
    ],
)
def test_a_name_has_the_settings_sorted_in_brackets(settings, name):
    assert name_with("vae-digits", settings) == name
    assert name_with("vae-digits", dict(reversed(settings.items()))) == name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((4, "4"), (4.0, "4"), (-3, "-3"), (0.5, "0.5"), (-0.0, "0"), (0.0, "0"), (1e20, "1e20"), (1.5e-7, "1.5e-7")),
        *((1e-05, "1e-5"), (math.inf, "inf"), (True, "true"), (False, "false"), (None, "none"), ("conv1", "conv1")),
        *((("a", "b"), "a+b"), (["a", "b"], "a+b"), ((0.5, 2.0), "0.5+2"), (("a",), "a")),
    ],
)
def test_a_value_has_one_spelling(value, text):
    assert spelled(value) == text


DIFFERENT = [
    *(
        0,
        1,
        10,
        100,
        -1,
        0.1,
        0.10000000000000002,
        1e-5,
        1.0000000001e-5,
        1e300,
        None,
        True,
        "a",
        "A",
        "aa",
        "a b",
        "a-b",
    ),
    *(
        "a/b",
        "b/a",
        "/x/pictures",
        "/y/pictures",
        "/x/Pictures",
        "ä",
        "",
        " ",
        "a,b",
        "a+b",
        "x" * 41,
        "x" * 42,
        "~",
        "[a]",
    ),
    *(("a", "b"), ("b", "a"), (), ("", ""), ("a+b", "c"), (("a", "b"), "c"), ("a", ("b", "c")), (1, 2), (1, 2, 3)),
    *(tuple(f"layer{k}" for k in range(60)), tuple(f"layer{k}" for k in range(61)), {"a": 1}, {"a": 2}),
    *("../../etc", "..\\..\\etc", "$(rm -rf)", "`id`", "<script>", "con", "a\nb", "\ud800", 10**80, 10**200),
]


def test_different_values_never_share_a_spelling_even_where_a_and_A_are_one_file():
    spellings = {}
    for value in DIFFERENT:
        assert spellings.setdefault(spelled(value).lower(), value) is value, value


@pytest.mark.parametrize("value", DIFFERENT, ids=repr)
def test_a_name_is_legal_everywhere_and_short_enough(value):
    for settings in ({"key": value}, {f"key{k}": value for k in range(12)}, {"Ärger mit/Schlüsseln": value}):
        name = name_with("vae-digits", settings)
        assert LEGAL.fullmatch(name) and len(name) <= LONGEST and not FORBIDDEN & set(name)
        assert own_name(name) == "vae-digits"


def test_long_names_are_shortened_by_a_hash_of_all_settings():
    many = {f"some_long_setting_{k}": 0.1 + k for k in range(9)}
    names = {name_with("vae-digits", {**many, "last": value}) for value in range(50)}
    assert len(names) == 50 and all(len(name) == LONGEST and "~" in name for name in names)


def test_a_name_without_room_for_settings_is_refused():
    longest = "x" * (LONGEST - 15)
    assert len(name_with(longest, {"beta": 4, "kl_weight": 0.123456789})) == LONGEST
    with pytest.raises(UserError, match=f"give it {LONGEST - 15} characters at most"):
        name_with(longest + "x", {"beta": 4, "kl_weight": 0.123456789})


def test_a_path_is_known_by_its_last_part():
    assert re.fullmatch(r"pictures~[0-9a-f]{8}", spelled("/home/me/pictures/"))
    assert re.fullmatch(r"My-Pictures-2-~[0-9a-f]{8}", spelled("C:\\Users\\me\\My Pictures (2)"))


def test_a_key_of_python_may_have_any_letters():
    assert spelled_key("latent_dim") == "latent_dim" and spelled_key("dataset.size") == "dataset.size"
    assert len({spelled_key(key).lower() for key in ("beta", "Beta", "β", "../x", "")}) == 5


def test_a_name_is_split_and_put_together():
    assert split_name("vae-digits[beta=4,latent_dim=10]") == ("vae-digits", ["beta=4", "latent_dim=10"])
    assert split_name("vae-digits") == ("vae-digits", []) == split_name("vae-digits")
    assert split_name("./odd[1]/mine.py:small[beta=4]") == ("./odd[1]/mine.py:small", ["beta=4"])
    assert without_setting("vae-digits[beta=4,latent_dim=10]", "beta") == "vae-digits[latent_dim=10]"
    assert without_setting("vae-digits[beta=4]", "beta") == "vae-digits" == without_setting("vae-digits", "beta")


def test_values_are_written_as_set_takes_them():
    assert typed_value(("relu1_1", "relu2_1")) == "relu1_1,relu2_1" and typed_value([0.5, 2.0]) == "0.5,2"
    assert typed_value("/home/me/Pictures") == "/home/me/Pictures" and typed_value(None) == "none"


def test_names_are_ordered_by_recipe_and_then_by_numbers():
    ordered = [
        *("vae-digits", "vae-digits[kl_weight=1e-5]", "vae-digits[kl_weight=0.5]", "vae-digits[latent_dim=-1]"),
        *("vae-digits[latent_dim=5]", "vae-digits[latent_dim=10]", "vae-digits[latent_dim=20]"),
        *("vae-digits[latent_dim=20,layers=a]", "vae-digits[latent_dim=100]", "vae-digits[latent_dim=none]"),
        *("vae-digits-b", "vae-mnist"),
    ]
    assert sorted(set(ordered), key=order_of) == ordered
    plain = ["dcgan-mnist", "dfcvae-mnist", "external/a", "baseline/pca-5", "vae.b", "vae-b", "Vae", "vae", "vae_b"]
    assert sorted(plain, key=order_of) == sorted(plain)
