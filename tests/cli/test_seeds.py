"""Training seeds are named one by one, or as ranges."""

import pytest

from vaebench.cli.jobs import numbers
from vaebench.core.errors import UserError


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0", [0]), ("0,1,2", [0, 1, 2]), ("0-4", [0, 1, 2, 3, 4]), (" 7, 2-3", [7, 2, 3]), ("5-5", [5])],
)
def test_lists_and_ranges(text, seeds):
    assert numbers(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "-1", "1-", "3-1", "0-4,2", "1,1", "1.5", "0-99999999", "²", "0 - 4"])
def test_what_is_none_is_refused(text):
    with pytest.raises(UserError, match="--seeds"):
        numbers(text)
