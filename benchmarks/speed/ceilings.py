"""What this machine can do at most: floating-point operations a second, and bytes to and from memory."""

import time
from collections.abc import Callable

import torch

SIDE = {"cpu": 1024, "cuda": 8192}  # of the matrices: large enough to be bound by arithmetic
COPIED = {"cpu": 2**28, "cuda": 2**31}  # bytes: far more than a processor's caches hold
KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def best_seconds(work: Callable[[], object], device: str, least: float = 0.5) -> float:
    """The shortest of several times, over half a second and after two tries: a ceiling is what is ever reached."""
    found: list[float] = []
    while len(found) < 5 or sum(found) < least:
        began = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return min(found[2:])


def product_rate(device: str, precision: str, *, full: bool = False) -> float:
    """Operations a second of a product of two large matrices; with ``full``, not by a GPU's TF32 units."""
    side = SIDE["cuda" if device.startswith("cuda") else "cpu"]
    first, second = torch.randn(2, side, side, device=device).to(KINDS[precision])
    before = torch.get_float32_matmul_precision()
    # convolutions in fp32 may use a GPU's TF32 units by torch's default: a ceiling for them must have them too
    torch.set_float32_matmul_precision("highest" if full else "high")
    try:
        return 2 * side**3 / best_seconds(lambda: torch.mm(first, second), device)
    finally:
        torch.set_float32_matmul_precision(before)


def convolution_rate(device: str, precision: str) -> float:
    """Operations a second of a 3 x 3 convolution of 64 images, 256 channels to 256, in channels_last."""
    side = 64 if device.startswith("cuda") else 16
    layer = torch.nn.Conv2d(256, 256, 3, padding=1, bias=False).to(device, KINDS[precision])
    layer.to(memory_format=torch.channels_last)
    images = torch.randn(64, 256, side, side, device=device).to(KINDS[precision], memory_format=torch.channels_last)
    with torch.inference_mode():
        seconds = best_seconds(lambda: layer(images), device)
    # what falls on the padding counts, as FlopCounterMode counts it
    return 2 * 64 * side**2 * 256**2 * 9 / seconds


def bandwidth(device: str) -> float:
    """Bytes a second, read and written together, of one large copy."""
    size = COPIED["cuda" if device.startswith("cuda") else "cpu"]
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / best_seconds(lambda: target.copy_(source), device)


def fastest_rate(device: str, precision: str) -> float:
    """The larger of the two: libraries differ in which they do better (MKL's products are slow on AMD processors)."""
    return max(product_rate(device, precision), convolution_rate(device, precision))
