"""Several processes at one job, as ``torchrun`` starts them: who this one is, and what they tell each other.

A run with one process is the same code: a group of one is told what it says itself. What processes say travels
pickled: those of a job trust each other, as they run the same program for the same user.
"""

import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

from vaebench.core.errors import Elsewhere, Interrupted, UserError
from vaebench.core.processes import processes

Said = TypeVar("Said")  # anything that pickle takes
PATIENCE = datetime.timedelta(hours=12)  # others wait while the first one measures alone


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of a job, and which of them this one is."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which writes files and prints."""
        return self.rank == 0

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, all in one message."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten().float() for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.size
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the processes; gradients pass, summed likewise."""
        summed: Tensor = _Sum.apply(tensor) if self.size > 1 else tensor
        return summed

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Reduce each flag to whether any process raised it, so that all take the same branch."""
        if self.size == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.uint8)
        distributed.all_reduce(raised, distributed.ReduceOp.MAX)
        return tuple(bool(flag) for flag in raised)

    def led(self, act: Callable[[], Said]) -> Said:
        """Run ``act`` on rank 0 and broadcast its result; a :class:`UserError` there is raised on every rank."""
        if self.size == 1:
            return act()
        answer: list[Any] = [None, None]
        if self.leads:
            try:
                answer[0] = act()
            except UserError as error:
                answer[1] = str(error)
        distributed.broadcast_object_list(answer)
        said, refused = answer
        if refused is not None:
            raise self.error(refused)
        returned: Said = said
        return returned

    def alike(self, text: str) -> bool:
        """Tell whether every process has the same text as rank 0."""
        (apart,) = self.any(self.led(lambda: text) != text)
        return not apart

    def agree(self, text: str, otherwise: str) -> None:
        """Raise :class:`UserError` with ``otherwise`` unless all processes have the same text."""
        if not self.alike(text):
            raise self.error(otherwise)

    def error(self, text: str) -> UserError:
        """Return the error that every process raises: rank 0 with its text, the others silently."""
        return UserError(text) if self.leads else Elsewhere(text)

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.any(False)

    def gathered(self, content: bytes) -> list[bytes]:
        """Every process's bytes, in order, at the first process; nothing at the others.

        Bytes, as an evaluation's are large: objects are held once more on the way (601 MiB where these take 401).
        """
        if self.size == 1:
            return [content]
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        distributed.all_gather(sizes, torch.tensor([len(content)]))
        if not self.leads:
            distributed.send(_as_tensor(content), 0)
            return []
        received = [content]
        for rank in range(1, self.size):
            part = torch.empty(int(sizes[rank]), dtype=torch.uint8)
            distributed.recv(part, rank)
            received.append(part.numpy().tobytes())
        return received

    def share(self, n: int) -> slice:
        """Return this process's contiguous share of ``n`` rows; all shares in order are all rows in order."""
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)


ALONE = Group()


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)


class _Sum(torch.autograd.Function):
    """Each process's loss depends on all processes' tensors, so gradients are summed as the tensors are."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        summed = tensor.clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    @once_differentiable  # a gradient penalty through it would be silently wrong
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.clone()
        distributed.all_reduce(summed)
        return summed


@contextmanager
def joined(device: str = "cpu") -> Iterator[Group]:
    """The group that ``torchrun`` started, or a group of one; on GPUs each process has the one of its local rank.

    ``device`` is as the command line has it. Raises :class:`UserError` where it names one GPU for all processes, or
    there are less than they need. Where another process has gone, what this one was doing ends as
    :class:`Interrupted`: the last checkpoint stands.
    """
    if processes() == 1:
        yield ALONE
        return
    group = Group(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        _take_gpu(device, group)
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    try:
        distributed.init_process_group(
            backend, store=_meeting_place(group), rank=group.rank, world_size=group.size, timeout=PATIENCE
        )
        yield group
        distributed.destroy_process_group()
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        raise Interrupted("another process of this job has gone, the last checkpoint stands") from error


def _take_gpu(device: str, group: Group) -> None:
    here, there_are = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    needed = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if ":" in device:
        raise group.error(f"--device {device} is one GPU for all of torchrun's processes: give --device cuda")
    if needed > there_are:
        reason = f"torchrun started {needed} processes on a machine with {there_are} GPUs"
        raise group.error(f"{reason}: give --nproc-per-node {there_are}, or --device cpu")
    torch.cuda.set_device(here)


def _meeting_place(group: Group) -> Any:
    """Where processes find each other: the launcher's store, or else one of the first process.

    With a prefix of its own for every restart: the launcher's store still has the addresses of those who have gone,
    and a process that starts before another would wait for the dead one.
    """
    serve = group.leads and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = distributed.TCPStore(*address, is_master=serve)  # type: ignore[attr-defined]
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return distributed.PrefixStore(f"restart-{restart}", store)  # type: ignore[attr-defined]
