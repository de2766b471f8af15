"""A person's remarks on figures: read from remarks.toml, printed under their figure, refused with a reason."""

import pytest

from vaebench.core.errors import UserError
from vaebench.report.remarks import Remarks, read_remarks


def test_none_where_there_is_no_file(tmp_path):
    assert read_remarks(tmp_path) == Remarks()


def test_text_by_figure(tmp_path):
    (tmp_path / "remarks.toml").write_text('date = "2026-11-20"\n[figures]\n"figures/samples.png" = "Blurry faces."\n')
    assert read_remarks(tmp_path) == Remarks(date="2026-11-20", figures={"figures/samples.png": "Blurry faces."})


@pytest.mark.parametrize("text", ["[figures", 'date = "x"\n', 'date = "x"\nfigures = "none"\n'])
def test_what_cannot_be_read_is_bad_input(tmp_path, text):
    (tmp_path / "remarks.toml").write_text(text)
    with pytest.raises(UserError, match=r"remarks.toml cannot be read .*write date"):
        read_remarks(tmp_path)
