"""Several processes, each with a share of every sub-batch: one exchange per update, and nothing before it."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

WAIT = timedelta(hours=3)  # as Ultralytics: the others wait while one validates or reads its labels


def launched() -> int:
    """Return how many processes torchrun or Ultralytics' launcher started, 0 in an ordinary run."""
    return int(os.environ.get("WORLD_SIZE", 0)) if int(os.environ.get("RANK", -1)) >= 0 else 0


def local_devices() -> str:
    """Return the devices of the processes on this machine: ``0,1,2`` for three."""
    return ",".join(str(index) for index in range(int(os.environ.get("LOCAL_WORLD_SIZE", 1))))


def join_on_cpu() -> None:
    """Join the processes of a run on the CPU."""
    if not dist.is_initialized():
        dist.init_process_group("gloo", timeout=WAIT)


def exchange(parameters: list[Tensor], extras: Tensor) -> Tensor:
    """Sum all gradients, and some numbers, over all processes in a single all-reduce.

    Args:
        parameters: The weights that are trained; one without a gradient adds nothing and gets none.
        extras: ``(n,)`` numbers to be summed along, in the precision of the gradients.

    Returns:
        ``(n,)``: the sums of the extras. The sums of the gradients are in the parameters.
    """
    pieces = [extras.to(parameters[0])] + [
        torch.zeros_like(each) if each.grad is None else each.grad for each in parameters
    ]
    flat = torch.cat([each.reshape(-1) for each in pieces])
    dist.all_reduce(flat)
    sums = torch.split(flat, [each.numel() for each in pieces])
    with torch.no_grad():
        for parameter, total in zip(parameters, sums[1:], strict=True):
            if parameter.grad is not None:
                parameter.grad.copy_(total.view(parameter.shape))
    return sums[0]


def sum_over(values: Tensor) -> Tensor:
    """Return the sums of some numbers over all processes."""
    total = values.clone()
    dist.all_reduce(total)
    return total


def largest(number: int, device: torch.device) -> int:
    """Return the largest of the numbers that the processes have."""
    found = torch.tensor(number, device=device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


def same_everywhere(model: torch.nn.Module) -> None:
    """Give every process the weights and the statistics of the first."""
    with torch.no_grad():
        for each in [*model.parameters(), *model.buffers()]:
            if each.numel():
                dense = each.detach().contiguous()  # a broadcast needs plain memory
                dist.broadcast(dense, src=0)
                each.copy_(dense)


def leave() -> None:
    """End the exchange of this process."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def told_by_first(value: Any) -> Any:
    """Return what the first process has."""
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]
