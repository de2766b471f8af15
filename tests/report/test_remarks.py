"""A person's remarks on figures: read from remarks.toml, printed under their figure, refused with a reason."""

import pytest

from vaebench.core.errors import UserError
from vaebench.report.remarks import Remarks, read_remarks


def test_none_where_there_is_no_file(tmp_path):
    assert read_remarks(tmp_path) == Remarks()


def test_text_by_figure(tmp_path):
    (tmp_path / "remarks.toml").write_text('date = "2026-11-20"\n[figures]\n"figures/samples.png" = "Blurry faces."\n')
    assert read_remarks(tmp_path) == Remarks(date="2026-11-20", figures={"figures/samples.png": "Blurry faces."})


def test_a_remark_on_a_figure_that_is_not_there_is_warned_of(tmp_path, caplog):
    from handmade import drawn, write_run

    from vaebench.report.write import write_report

    write_run("vae", 0, {"mse": drawn(0, 5)})
    (tmp_path / "reports" / "toy").mkdir(parents=True)
    text = 'date = "2026-11-20"\n[figures]\n"figures/nothing.png" = "?"\n'
    (tmp_path / "reports" / "toy" / "remarks.toml").write_text(text)
    write_report("toy", tmp_path / "reports")
    assert "has no figure 'figures/nothing.png'" in caplog.text


@pytest.mark.parametrize("text", ["[figures", 'date = "x"\n', 'date = "x"\nfigures = "none"\n'])
def test_what_cannot_be_read_is_bad_input(tmp_path, text):
    (tmp_path / "remarks.toml").write_text(text)
    with pytest.raises(UserError, match=r"remarks.toml cannot be read .*write date"):
        read_remarks(tmp_path)
