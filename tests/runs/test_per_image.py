"""Per-image values and labels as Parquet: what comes back, what other readers see, what is refused."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from vaebench.core.errors import UserError
from vaebench.runs import per_image
from vaebench.runs.per_image import PerImageValues, Series

IDS = ("test/2", "test/10", "ä", "")


def series(metric, **others):
    return Series(dataset="digits", split="test", data_fingerprint="f00d", metric=metric, protocol="recon", **others)


def values(*numbers, influence=False, ids=IDS):
    return PerImageValues(ids, np.array(numbers, np.float64), influence)


@pytest.fixture
def known():
    return {
        series("ssim"): values(0.5, -1.0, 0.25, 3.0),
        series("fid"): values(1.0, 2.0, 3.0, np.nan, influence=True),
        series("ssim", stratum="label=1"): values(7.5, ids=("x",)),
    }


def equal(found, wanted):
    assert list(found) == sorted(wanted)
    for key, part in wanted.items():
        assert (found[key].ids, found[key].influence) == (part.ids, part.influence)
        np.testing.assert_array_equal(found[key].values, part.values)


def test_what_is_written_comes_back(tmp_path, known):
    per_image.write(tmp_path / "x.parquet", known)
    equal(per_image.read(tmp_path / "x.parquet"), known)
    assert per_image.has_digest(tmp_path / "x.parquet")


def test_new_series_replace_old_ones_and_those_gone_are_removed(tmp_path, known):
    path = tmp_path / "x.parquet"
    per_image.write(path, known)
    per_image.write(path, {series("ssim"): values(9.0, ids=("y",))}, gone=[series("fid")])
    assert {key.metric + key.stratum: part.ids for key, part in per_image.read(path).items()} == {
        "ssimall": ("y",),
        "ssimlabel=1": ("x",),
    }
    per_image.write(path, {}, gone=list(per_image.read(path)))
    assert not path.exists()


def test_pandas_reads_the_same_columns(tmp_path, known):
    per_image.write(tmp_path / "x.parquet", known)
    table = pd.read_parquet(tmp_path / "x.parquet")
    assert [*table.columns] == ["image_id", *per_image._KEY, "influence", "value"]
    assert table["value"].dtype == np.float32 and table["influence"].dtype == bool
    part = table[(table["metric"] == "ssim") & (table["stratum"] == "all")]
    assert (part["image_id"].tolist(), part["value"].tolist()) == ([*IDS], [0.5, -1.0, 0.25, 3.0])


def test_rows_in_any_order_and_packing_are_the_same_values(tmp_path, known):
    per_image.write(tmp_path / "x.parquet", known)
    table = pd.read_parquet(tmp_path / "x.parquet")
    mixed = pd.concat([table.iloc[::2], table.iloc[1::2]], ignore_index=True).astype({"metric": str, "image_id": str})
    parquet.write_table(pa.Table.from_pandas(mixed, preserve_index=False), tmp_path / "y.parquet", row_group_size=2)
    found = per_image.read(tmp_path / "y.parquet")
    assert found.keys() == known.keys()
    for key, part in known.items():  # a value that is no number was written as a missing one
        assert sorted(found[key].ids) == sorted(part.ids)
        np.testing.assert_array_equal(np.sort(found[key].values), np.sort(part.values))


def test_a_changed_value_is_noticed(tmp_path, known):
    path = tmp_path / "x.parquet"
    per_image.write(path, known)
    table = parquet.read_table(path)
    column = pa.array(np.arange(len(table), dtype=np.float32))
    parquet.write_table(table.set_column(table.column_names.index("value"), "value", column), path)
    with pytest.raises(UserError, match="digest is not that of its content"):
        per_image.read(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": ["a", "b"]}, "no numbers"),
        ({"metric": [1, 2]}, "other kinds"),
        ({"metric": ["a", None]}, "column metric lacks values"),
        ({"protocol": [["a"], ["b"]]}, "cannot be read"),
        ({"value": None}, "no column value"),
    ],
)
def test_tables_of_other_kinds_are_refused(tmp_path, change, said):
    columns = {"image_id": ["x", "y"], **{name: ["a", "b"] for name in per_image._KEY}, "influence": [False, False]}
    table = {**columns, "value": [1.0, 2.0], **change}
    path = tmp_path / "x.parquet"
    parquet.write_table(pa.table({name: column for name, column in table.items() if column is not None}), path)
    with pytest.raises(UserError, match=said):
        per_image.read(path)


def test_labels_come_back(tmp_path):
    path = tmp_path / "images.parquet"
    per_image.write_labels(path, IDS, {"label": [3, -1, 0, 9], "Smiling": [0, 1, 1, 0]})
    assert per_image.read_labels(path) == (IDS, {"label": [3, -1, 0, 9], "Smiling": [0, 1, 1, 0]})
    assert pd.read_parquet(path)["label"].tolist() == [3, -1, 0, 9]


def test_many_series_of_the_same_images_name_them_in_few_bytes(tmp_path):
    """Places in a dictionary of so many ids would take a byte and a half each."""
    order = np.random.default_rng(0).permutation(5000)
    ids = tuple(f"test/{place:05d}" for place in order)
    per_image.write(tmp_path / "x.parquet", {series(f"m{k}"): values(*np.zeros(5000), ids=ids) for k in range(20)})
    assert (tmp_path / "x.parquet").stat().st_size < 60_000
    assert per_image.read(tmp_path / "x.parquet")[series("m19")].ids == ids


def test_files_with_ids_in_a_dictionary_are_read_as_earlier_versions_wrote_them(tmp_path, known):
    per_image.write(tmp_path / "x.parquet", known)
    table = parquet.read_table(tmp_path / "x.parquet")
    assert not pa.types.is_dictionary(table.schema.field("image_id").type)
    old = table.set_column(0, "image_id", table["image_id"].dictionary_encode())
    parquet.write_table(old, tmp_path / "y.parquet", compression="zstd")
    equal(per_image.read(tmp_path / "y.parquet"), known)
    assert per_image.has_digest(tmp_path / "y.parquet")
