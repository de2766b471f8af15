"""A program of torch.export is read as data: planted code is found before torch would run it."""

import io
import json
import shutil
import zipfile

import pytest
import torch

from vaebench.adapters.export_archive import refuse_code
from vaebench.adapters.exported import open_export
from vaebench.core.errors import UserError
from vaebench.core.opening import Opening


class Halves(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 2, 3, padding=1, stride=2)

    def forward(self, images):
        return self.layer(images).flatten(1).chunk(2, dim=1)


@pytest.fixture
def program(tmp_path):
    some = ({0: torch.export.Dim("n", min=1)},)
    torch.export.save(torch.export.export(Halves(), (torch.rand(3, 1, 8, 8),), dynamic_shapes=some), tmp_path / "e.pt2")
    return tmp_path / "e.pt2"


def changed(path, change):
    """The same archive with its parts as ``change`` (name, content) returns them."""
    kept = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(kept, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    path.write_bytes(kept.getvalue())


def test_a_plain_program_passes(program):
    refuse_code(program)


MARK = "__import__('pathlib').Path({!r}).touch()"


@pytest.mark.parametrize(
    "size", [MARK, "Symbol('s77').__class__", "exec('1')", "lambdify(1, 2)", "Symbol(\"a' + 'b\")", "[1 for x in (1,)]"]
)
def test_a_size_that_is_code_is_refused_before_it_runs(size, program, tmp_path):
    mark = tmp_path / "ran"
    planted = json.dumps(size.format(str(mark)) if size is MARK else size)[1:-1].encode()

    def change(name, content):
        return content.replace(b"Symbol('s77', positive=True, integer=True)", planted) if "models/" in name else content

    with zipfile.ZipFile(program) as archive:
        (model,) = [name for name in archive.namelist() if "models/" in name]
        assert b"Symbol('s" in archive.read(model)
        symbol = archive.read(model).split(b"Symbol('")[1].split(b"'")[0]
    changed(program, lambda name, content: change(name, content.replace(symbol, b"s77")))
    with pytest.raises(UserError, match="which is no arithmetic"):
        open_export(f"{program},{program}", Opening(image_shape=(1, 8, 8)))
    assert not mark.exists()


@pytest.mark.parametrize(
    "target",
    ["torch.hub.load", "torch.load", "torch.ops.load_library", "_operator.methodcaller", "#custom", "torch.os"],
)
def test_a_call_of_anything_but_an_operator_is_refused(target, program):
    changed(program, lambda name, content: content.replace(b"torch.ops.aten.conv2d.default", target.encode()))
    with pytest.raises(UserError, match="which is no operator on tensors"):
        refuse_code(program)


@pytest.mark.parametrize("part", ["e/data/aotinductor/model/x.so", "e/data/constants/custom_obj_0", "e/x.py"])
def test_a_part_that_torch_would_load_as_code_is_refused(part, program):
    with zipfile.ZipFile(program, "a") as archive:
        archive.writestr(part, b"anything")
    with pytest.raises(UserError, match="which could run code"):
        refuse_code(program)


def test_a_pickle_among_the_sample_inputs_is_not_run(program, tmp_path):
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (mark.touch, ())

    planted = io.BytesIO()
    torch.save(Evil(), planted)
    changed(program, lambda name, content: planted.getvalue() if "sample_inputs" in name else content)
    with pytest.raises(UserError, match="cannot be read"):
        open_export(f"{program},{program}", Opening(image_shape=(1, 8, 8)))
    assert not mark.exists()


def test_what_is_no_archive_is_said(tmp_path, program):
    shutil.copy(__file__, tmp_path / "text.pt2")
    with pytest.raises(UserError, match=r"is no program of torch\.export"):
        refuse_code(tmp_path / "text.pt2")
