"""Count the floating-point operations of a training step by running a recipe's phases once on a few images."""

from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode

from vaebench.core.dataset import ImageDataset
from vaebench.core.distributed import ALONE
from vaebench.core.recipe import Recipe
from vaebench.runs.recipes import build_model
from vaebench.training.batches import TrainingBatches
from vaebench.training.compute import Compute
from vaebench.training.phases import PhaseRunner, take_step
from vaebench.training.trial import first_images

IMAGES = 8  # operations are proportional to them
# the counter says which module an operation belongs to, by hooks that a gradient of a gradient cannot have
# (https://github.com/pytorch/pytorch/issues/131753); the total needs none
HOOK = "torch.utils.module_tracker.register_multi_grad_hook"
PLAIN = Compute(device="cpu", precision="fp32", channels_last=False, compile=False, threads=1)


def training_flops(recipe: Recipe, data: ImageDataset) -> float:
    """Return the floating-point operations of one step on a batch, all phases with their repeats, forward and backward.

    Products of matrices and convolutions count, a multiplication and an addition as two; what is done an element at a
    time does not (torch.utils.flop_counter).

    Args:
        recipe: configured.
        data: its training images.
    """
    few = min(IMAGES, recipe.batch_size)
    model = build_model(recipe, data.image_shape, 0).train().requires_grad_(False)
    batches = TrainingBatches(first_images(data, few), seed=0, batch_size=few, compute=PLAIN)
    runners = [PhaseRunner(phase, PLAIN, ALONE) for phase in model.phases()]
    with patch(HOOK), FlopCounterMode(display=False) as counter, torch.enable_grad():
        take_step(runners, batches, 1, 1)
    return float(counter.get_total_flops()) * recipe.batch_size / few
