"""The notebook runs from its first cell to its last, and shows what it says it does."""

import ast
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

import vaebench as vb

NOTEBOOK = Path(__file__).parents[1] / "benchmarks" / "notebooks" / "bring_your_own_model.ipynb"


def shown(cell: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does: the value of a last expression is what it shows."""
    tree = ast.parse(cell)
    names["shown"] = None
    if isinstance(tree.body[-1], ast.Expr):
        tree.body[-1] = ast.Assign([ast.Name("shown", ast.Store())], tree.body[-1].value)
    exec(compile(ast.fix_missing_locations(tree), "cell", "exec"), names)
    return names["shown"]


def test_it_runs_and_shows_tables_and_a_picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict[str, Any] = {}
    found = [shown(cell.replace("steps=300", "steps=30").replace("steps=100", "steps=3"), names) for cell in cells]
    assert [type(value) for value in found if isinstance(value, vb.Results | Figure)] == [
        vb.Results,
        vb.Results,
        Figure,
    ]
    assert "external/mine" in found[3]._repr_html_()
    tests = next(value for value in found if getattr(value, "columns", None) is not None and "verdict" in value.columns)
    assert set(tests["metric"]) == {"mse", "ssim", "blur", "fcd"} and tests["p_holm"].notna().all()
    assert found[-1] == ((4, 1, 28, 28), (2, run_latents(names)))


def run_latents(names: dict[str, Any]) -> int:
    return int(names["run"].record.hyperparameters["latent_dim"])
