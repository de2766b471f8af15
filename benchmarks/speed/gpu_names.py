"""Names that gpu_check.py and its processes (gpu_cases.py) share: of what is measured, and in which ways."""

from typing import Any

POISONED = 75  # exit code: what failed has broken the device's context, and other cases need a new process

CEILINGS, FLOOR = "ceilings", "floor"
# of training: what is given to vaebench.training.compute.choose; those that are riskier come later
WAYS: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32", "channels_last": False, "cuda_graphs": False},
    "bf16": {"precision": "bf16", "channels_last": True, "cuda_graphs": False},
    "default": {},
    "bf16, graphs": {"precision": "bf16", "channels_last": True, "cuda_graphs": True},
}

ARITHMETIC = "the network's arithmetic"
# of extraction by vaebench: whether images are on the device, and whether TF32 is on
OWN = {
    "vaebench, images on the device": (True, False),
    "vaebench, images in main memory": (False, False),
    "vaebench, images on the device, TF32 on": (True, True),
}
# and by torch-fidelity: batch, and whether TF32 is on
FIDELITY = {
    f"torch-fidelity, batches of {batch}, TF32 {'on' if short else 'off'}": (batch, short)
    for batch in (64, 256)
    for short in (False, True)
}

LOOP, PYTHAE, OURS = "plain DataLoader loop, fp32", "pythae's trainer, fp32", "vaebench, measured default"  # train.py's
