"""Operations of one training step by kind: calls, which on a GPU are kernels, and the bytes that they read and write.

    python benchmarks/speed/operations.py [--recipes dfcvae-celeba ...] [--precision bf16] [--json]

Counted where autograd hands operations to the device, all phases with their repeats, optimiser steps included, of a
batch of the recipe; views and what allocates nothing new are left out. A GPU starts about one kernel an operation (a
convolution with a bias two), and where launches bound a step, or small kernels that a CUDA graph replays, their number
decides the time. Casts change the type of numbers and nothing else, copies not even that. The counts depend on neither
the machine nor how busy it is; layers run in their GPU's form. Images are made up, and so are VGG-19's weights.
"""

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from shared import answer, dataset, pictures, random_weights
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vaebench.models.layers import UpsampledConvolution
from vaebench.runs.recipes import build_model, find_recipe
from vaebench.runs.record import RunFolder
from vaebench.training.compute import choose
from vaebench.training.loop import Plan, train

RECIPES = [f"{model}-celeba" for model in ("vae", "dfcvae", "dcgan", "vaewgan")] + ["vae-mnist", "vaewgan-mnist"]
SHAPES = {"mnist": (1, 28, 28), "celeba": (3, 64, 64)}
KINDS = ("convolutions and products", "casts", "copies", "optimiser", "everything else")
PRODUCTS = ("convolution", "mm", "addmm", "bmm", "linear")
COPIES = ("clone", "copy_", "contiguous", "cat", "stack", "_to_copy", "repeat", "index_select", "index")
UNCOUNTED = ("empty", "detach", "alias", "_local_scalar", "zeros_like_meta", "resize", "set_")
OPTIMISERS = ("_fused_", "_foreach_")


class Operations(TorchDispatchMode):
    """Counts calls and bytes by kind while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and count it unless it only looks at memory that is there."""
        result = func(*args, **(kwargs or {}))
        name = func.__name__.split(".")[0]
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if not _is_view(func, given, made) and not name.startswith(UNCOUNTED):
            kind = _kind(name, given, made)
            self.calls[kind] += 1
            self.names[f"{kind}: {name}"] += 1
            self.bytes[kind] += sum(part.nbytes for part in [*given, *made])
        return result


def _is_view(func: Any, given: list[Tensor], made: list[Tensor]) -> bool:
    """Tell whether nothing was written: all that was made lies where something given lies, and nothing was changed."""
    if func._schema.is_mutable or not made:
        return not made and not func._schema.is_mutable
    places = {part.untyped_storage().data_ptr() for part in given}
    return all(part.untyped_storage().data_ptr() in places for part in made)


def _kind(name: str, given: list[Tensor], made: list[Tensor]) -> str:
    if name.startswith(OPTIMISERS):
        return "optimiser"
    if any(part in name.split("_") or name.startswith(part) for part in PRODUCTS):
        return "convolutions and products"
    if name in ("_to_copy", "copy_") and len({part.dtype for part in [*given, *made]}) > 1:
        return "casts"
    return "copies" if name in COPIES else "everything else"


def counted(recipe_name: str, precision: str) -> dict[str, Any]:
    """Count the third step of the trainer: by then frozen networks are laid out and optimisers have their state."""
    recipe, _ = find_recipe(recipe_name)
    data = dataset(pictures(8 * recipe.batch_size, SHAPES[recipe.dataset]))
    compute = choose(device="cpu", precision=precision, threads=2, channels_last=True)
    model = build_model(recipe, data.image_shape, 0)
    counts: list[Operations] = []

    def each_step(_: object) -> None:
        if counts:
            counts[-1].__exit__(None, None, None)
        if len(counts) < 3:
            counts.append(Operations())
            counts[-1].__enter__()

    # a layer that has a GPU's form of its own is counted in it
    UpsampledConvolution._in_order = UpsampledConvolution._transposed  # type: ignore[method-assign]
    plan = Plan(seed=0, batch_size=recipe.batch_size, steps=4, compute=compute, log_every=1, save_every=1e9)
    with tempfile.TemporaryDirectory() as scratch:
        train(model, data, plan, RunFolder(Path(scratch)), on_progress=each_step, should_stop=lambda: False)
    third = counts[1]  # entered after the second row, left after the third
    return {
        "calls": {kind: third.calls[kind] for kind in KINDS},
        "megabytes": {kind: round(third.bytes[kind] / 1e6, 1) for kind in KINDS},
        "names": dict(third.names.most_common()),
    }


def main() -> None:
    """All recipes, each in a process of its own, or in that process the one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16"))
    parser.add_argument("--names", action="store_true", help="the operations by name, too")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(counted(given.only, given.precision)))
        return
    print(f"torch {torch.__version__}, {given.precision}, channels_last: calls and megabytes of one step")
    print(f"{'':16}" + "".join(f"{kind:>28}" for kind in KINDS) + f"{'all':>16}")
    with tempfile.TemporaryDirectory() as scratch:
        environment = random_weights(Path(scratch))
        for name in given.recipes:
            found = answer(__file__, "--only", name, "--precision", given.precision, environment=environment)
            calls, moved = found["calls"], found["megabytes"]
            cells = "".join(f"{calls[kind]:>16} {moved[kind]:>8.0f} MB" for kind in KINDS)
            print(f"{name:16}{cells}{sum(calls.values()):>8} {sum(moved.values()):.0f} MB", flush=True)
            if given.names:
                print("\n".join(f"    {count:5} {called}" for called, count in found["names"].items()))


if __name__ == "__main__":
    main()
