"""Upsampling, padding and convolution in one against the layers one after the other: decoder stages, training steps.

    python benchmarks/speed/upsampling.py [--rounds 15] [--threads 1 2] [--batch 64]

The stages are those of the face decoders at 64 x 64, forward and backward in channels_last; the step is one of
``vae-celeba`` on made-up images: loss, gradient, Adam. Both forms have the same weights and take turns in every round.
First it shows that values and gradients agree. Prints median milliseconds, and ratios round by round: of time, and of
processor time, which a busy machine moves less. On a CPU only, and without torch.compile: of the layers one after the
other it makes code that stops (torch 2.15).
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from shared import pictures
from torch import Tensor, nn
from torch.nn import functional

from vaebench.core.dataset import to_float
from vaebench.core.machine import machine
from vaebench.core.memory import keep_freed_memory
from vaebench.core.model import Batch, GenerativeModel, Step
from vaebench.core.processes import cores
from vaebench.models.layers import UpsampledConvolution
from vaebench.runs.recipes import build_model, find_recipe
from vaebench.training.acceleration import build_optimizer
from vaebench.training.compute import Compute, choose

STAGES = ((256, 128, 4), (128, 64, 8), (64, 32, 16), (32, 3, 32))  # channels in and out, side of the maps in
RECIPE, SHAPE = "vae-celeba", (3, 64, 64)
APART, ONE = "one after the other", "in one"
UNCOUNTED = 2  # rounds, in which memory is asked for and algorithms are chosen
Work = Callable[[], list[Tensor]]
Turn = tuple[float, float]  # seconds, processor seconds


def apart(layer: UpsampledConvolution) -> nn.Sequential:
    """The same function as torch's layers, with copies of the weights."""
    bias = layer.bias is not None
    plain = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1, padding_mode="replicate", bias=bias)
    plain.load_state_dict(layer.state_dict())
    return nn.Sequential(nn.Upsample(scale_factor=2), plain)


def model_apart(model: GenerativeModel) -> GenerativeModel:
    """A copy whose decoder is as the paper writes it."""
    model = copy.deepcopy(model)
    for place, layer in enumerate(model.decoder):
        if isinstance(layer, UpsampledConvolution):
            model.decoder[place - 1], model.decoder[place] = apart(layer)
    return model


def stage(module: nn.Module, layer: UpsampledConvolution, side: int, batch: int, compute: Compute) -> Work:
    """Forward and backward of one form; values, gradients of maps and of weights."""
    kind = torch.bfloat16 if compute.precision == "bf16" else layer.weight.dtype
    draw = torch.Generator().manual_seed(1)

    def maps(channels: int, side: int) -> Tensor:
        drawn = torch.randn(batch, channels, side, side, generator=draw)
        return drawn.to(kind).contiguous(memory_format=torch.channels_last)

    module.to(memory_format=torch.channels_last)
    given, slope = maps(layer.in_channels, side).requires_grad_(), maps(layer.out_channels, 2 * side)

    def work() -> list[Tensor]:
        parameters = [given, *module.parameters()]
        with compute.autocast():
            values = module(given)
        return [values, *torch.autograd.grad(values, parameters, slope)]

    return work


def step(model: GenerativeModel, images: Tensor, compute: Compute) -> Work:
    """Loss, gradient and update of the recipe's only phase; the loss and all gradients, before the update."""
    model.to(memory_format=torch.channels_last).train()
    (phase,) = model.phases()
    optimizer = build_optimizer(phase, compute)

    def work() -> list[Tensor]:
        optimizer.zero_grad()
        with compute.autocast():
            terms = phase.loss(Batch(images=images), Step(index=0, total=1, generator=draws()))
            loss = torch.stack([term.float() for term in terms.values()]).sum()
        loss.backward()
        optimizer.step()
        return [loss.detach(), *(part.grad for part in model.parameters())]

    def draws() -> torch.Generator:
        return torch.Generator().manual_seed(2)

    return work


def stages(batch: int, compute: Compute, kind: torch.dtype = torch.float32) -> Iterator[tuple[str, dict[str, Work]]]:
    """A decoder's, one by one: the name, and both forms with the same weights."""
    for inputs, outputs, side in STAGES:
        torch.manual_seed(0)
        layer = UpsampledConvolution(inputs, outputs, bias=outputs == 3).to(kind)
        forms = {APART: apart(layer).to(kind), ONE: layer}
        name = f"{inputs:3} -> {outputs:3} channels, {side:2} -> {2 * side:2}"
        yield name, {form: stage(module, layer, side, batch, compute) for form, module in forms.items()}


def steps(batch: int, compute: Compute) -> tuple[str, dict[str, Work]]:
    """The recipe's: the name, and both forms from the same weights."""
    model = build_model(find_recipe(RECIPE)[0], SHAPE, 0)
    images = to_float(pictures(batch, SHAPE)).contiguous(memory_format=torch.channels_last)
    return f"step of {RECIPE}", {APART: step(model_apart(model), images, compute), ONE: step(model, images, compute)}


def show_agreement(compute: Compute) -> None:
    """Of the stages in float64; of a step in float32, as it is trained."""
    for name, forms in stages(4, compute, torch.float64):
        pairs = zip(forms[APART](), forms[ONE](), strict=True)
        largest = max(((found - wanted).abs().max() / wanted.abs().max()).item() for wanted, found in pairs)
        print(f"{name}: float64 values and gradients differ by {largest:.0e} of the largest")
    name, forms = steps(4, compute)
    (loss, *wanted), (found, *gradients) = forms[APART](), forms[ONE]()
    flat = [torch.cat([part.flatten().double() for part in parts]) for parts in (wanted, gradients)]
    cosine = functional.cosine_similarity(*flat, dim=0).item()
    print(f"{name}: loss {found:.4f} ({loss:.4f} one after the other), cosine of gradients {cosine:.8f}\n")


def in_rounds(forms: dict[str, Work], rounds: int) -> dict[str, list[Turn]]:
    """Both in turns; the first rounds do not count."""
    found: dict[str, list[Turn]] = {form: [] for form in forms}
    for _ in range(rounds + UNCOUNTED):
        for form, work in forms.items():
            began, busy = time.perf_counter(), time.process_time()
            work()
            found[form].append((time.perf_counter() - began, time.process_time() - busy))
    return {form: turns[UNCOUNTED:] for form, turns in found.items()}


def report(name: str, found: dict[str, list[Turn]]) -> float:
    """One line; the median ratio of processor time."""
    shown = [f"{name:28}"]
    shown += [f"{1000 * statistics.median(turn[0] for turn in turns):9.1f}" for turns in found.values()]
    for part in (0, 1):
        ratios = [long[part] / one[part] for long, one in zip(found[APART], found[ONE], strict=True)]
        shown.append(f"{statistics.median(ratios):9.2f} {min(ratios):6.2f} {max(ratios):6.2f}")
    print(*shown, flush=True)
    return statistics.median(ratios)


def main() -> None:
    """Agreement, then every precision on every number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, cores()}))
    parser.add_argument("--batch", type=int, default=64)
    given = parser.parse_args()
    keep_freed_memory()
    print(f"{machine('cpu')}; batch {given.batch}, {given.rounds} rounds")
    show_agreement(choose(device="cpu", precision="fp32", threads=1, channels_last=True))
    said = []
    for threads in given.threads:
        for precision in ("fp32", "bf16"):
            torch.set_num_threads(threads)
            print(f"{f'{precision}, {threads} threads':28} {'ms apart':>9} {'ms in one':>9} ", end="")
            print(f"{'ratio':>9} {'min':>6} {'max':>6} {'processor':>9} {'min':>6} {'max':>6}")
            compute = choose(device="cpu", precision=precision, threads=threads, channels_last=True)
            for name, forms in (*stages(given.batch, compute), steps(given.batch, compute)):
                ratio = report(name, in_rounds(forms, given.rounds))
            said.append(f"{ratio:.2f} ({precision}, {threads} threads)")
    print(f"headline: by processor time a step of {RECIPE} is as many times as fast in one: {', '.join(said)}")


if __name__ == "__main__":
    main()
