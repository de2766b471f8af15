"""What ``torchrun`` starts in the tests of several processes: everything in one go, answers in files.

torchrun --nproc-per-node 2 tests/distributed_worker.py FOLDER
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn

from vaebench.core.context import FeatureSpace
from vaebench.core.distributed import ALONE, Group, joined
from vaebench.core.errors import Elsewhere, UserError
from vaebench.core.metric import Metric
from vaebench.evaluation import evaluator, model_source
from vaebench.evaluation.features import CachedFeatures, Networks
from vaebench.evaluation.protocol import Protocol
from vaebench.evaluation.split_context import SplitContext
from vaebench.runs.recipes import build_model, find_recipe, open_dataset
from vaebench.runs.record import RunFolder
from vaebench.runs.trained_model import TrainedModel
from vaebench.training.checkpoint import Saver
from vaebench.training.compute import Compute
from vaebench.training.loop import Plan, train
from vaebench.training.sync_batch_norm import synchronise_batch_norm

COMPUTE = Compute(device="cpu", precision="fp32", channels_last=False, compile=False, threads=1)
FAMILIES = ("vae", "dfcvae", "dcgan", "vaewgan")
save = Saver.save
STEPS, BATCH, SAMPLES = 20, 16, 61
METRICS = ("blur", "mse", "kl", "active_units", "posterior_mismatch", "fcd", "diversity", "interpolation_smoothness")


def trained(family: str, folder: Path, group: Group = ALONE) -> None:
    """A short training, a row a step."""
    data = open_dataset("digits").load("train")
    model = build_model(find_recipe(f"{family}-digits")[0], data.image_shape, 0)
    plan = Plan(seed=0, batch_size=BATCH, steps=STEPS, compute=COMPUTE, log_every=1, save_every=1e9)
    folder.mkdir(parents=True, exist_ok=True)
    train(model, data, plan, RunFolder(folder), on_progress=lambda row: None, should_stop=lambda: False, group=group)


def scores(group: Group = ALONE) -> dict[str, list[float]]:
    """Value and standard error of every metric of an untrained VAE; of per-image values their product with 1, 2, …"""
    data = open_dataset("digits").load("test")
    model = build_model(find_recipe("vae-digits")[0], data.image_shape, 0).eval().requires_grad_(False)
    networks = Networks()
    context = SplitContext(data, None, networks).context()
    metrics: list[Metric] = Protocol(metrics=METRICS).build(data)
    source = model_source.of_model(
        TrainedModel(model, data.image_shape), data, samples=SAMPLES, seed=0, context=context
    )
    found = {}
    for metric, score in evaluator.measure(metrics, source, networks, group):
        order = 0.0 if score.per_image is None else (score.per_image * torch.arange(1, score.n + 1)).mean().item()
        found[f"{metric.spec.name}/{metric.spec.protocol}"] = [
            score.value or 0.0,
            score.std_error or 0.0,
            order,
            float(score.n),
        ]
    return found


def normalised(group: Group = ALONE) -> dict[str, list[float]]:
    """Batch normalisation of this process's rows, its gradients and its running statistics."""
    draw = torch.Generator().manual_seed(0)
    norm, images = nn.BatchNorm2d(3), torch.randn(8, 3, 5, 5, generator=draw) * 3 + 1
    weights = torch.randn(8, 3, 5, 5, generator=draw)
    synchronise_batch_norm(norm, group)
    mine = images[group.rank :: group.size].clone().requires_grad_()
    made = norm(mine)
    (made * weights[group.rank :: group.size]).mean().backward()
    group.average_([norm.weight.grad, norm.bias.grad])
    assert mine.grad is not None
    parts = {"made": made, "slope": mine.grad / group.size, "weight": norm.weight.grad, "bias": norm.bias.grad}
    parts |= {"mean": norm.running_mean, "variance": norm.running_var, "evaluated": norm.eval()(images)}
    return {name: part.detach().flatten().tolist() for name, part in parts.items()}


def spoken(group: Group) -> dict[str, object]:
    """What the processes tell each other."""
    said: dict[str, object] = {
        "any": group.any(group.rank == 1, False),
        "led": group.led(lambda: (f"from {group.rank}", None)),
    }
    try:
        group.led(lambda: (_ for _ in ()).throw(UserError("no")))
    except Elsewhere:
        said["refused"] = "elsewhere"
    except UserError as error:
        said["refused"] = str(error)
    said["alike"] = [group.alike("same"), group.alike(f"from {group.rank}")]
    said["gathered"] = [part.decode() for part in group.gathered(b"x" * group.rank + b"!")]
    said["share"] = [group.share(7).start, group.share(7).stop]
    return said


def saved(folder: Path, group: Group) -> dict[str, float]:
    """How often a training of some seconds was saved, at so many seconds."""
    data, (recipe, _) = open_dataset("digits").load("train"), find_recipe("vae-digits")
    folder.mkdir(exist_ok=True)
    times: list[int] = []
    every, began, compute = 0.5, time.monotonic(), replace(COMPUTE, processes=2)
    plan = Plan(seed=0, batch_size=BATCH, steps=200, compute=compute, log_every=1000, save_every=every)
    with patch.object(Saver, "save", lambda self, *given: times.append(save(self, *given))):
        train(
            build_model(recipe, data.image_shape, 0), data, plan, RunFolder(folder),
            on_progress=lambda row: None, should_stop=lambda: False, group=group,
        )  # fmt: skip
    return {"times": len(times), "expected": (time.monotonic() - began) / every}


class Partial(SplitContext):
    """Real images of which the second process has no features."""

    def __init__(self, group: Group) -> None:
        super().__init__(open_dataset("digits").load("test"), None, Networks())
        self.group = group

    def _reference(self, space: FeatureSpace, split: str) -> CachedFeatures:
        if self.group.rank == 1:
            raise UserError("no weights here")
        return super()._reference(space, split)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with joined() as group:
        Partial(group)._extract_together(FeatureSpace("toyfaces_cnn", "conv4"), group)
        for family in FAMILIES:
            trained(family, folder / family, group)
        answers = {"saved": saved(folder / "saved", group)}
        answers |= {"spoken": spoken(group), "normalised": normalised(group), "scores": scores(group)}
        (folder / f"{group.rank}.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
