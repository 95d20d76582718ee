"""Several processes, each with a share of every sub-batch: one exchange per update, and nothing before it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from yolo_subbatch.engine.sub_batches import Sums
from yolo_subbatch.errors import YoloSubbatchError

AGREED = 5  # images, shortage, stop, stop by a callback, loss
MOST_LOSSES = 16  # whose sums processes exchange: each must know the length before it has seen a loss
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


def exchange(parameters: Sequence[Tensor], extras: Tensor) -> Tensor:
    """Sum all gradients, and some numbers, over all processes in a single all-reduce.

    Args:
        parameters: The weights that are trained; one that has no gradient in any process gets none.
        extras: ``(n,)`` numbers to be summed along, in the precision of the gradients.

    Returns:
        ``(n,)``: the sums of the extras. The sums of the gradients are in the parameters.
    """
    there = extras.new_tensor([float(each.grad is not None) for each in parameters])
    pieces = [torch.cat((extras, there)).to(parameters[0])] + [
        torch.zeros_like(each) if each.grad is None else each.grad for each in parameters
    ]
    flat = torch.cat([each.reshape(-1) for each in pieces])
    dist.all_reduce(flat)
    sums = torch.split(flat, [each.numel() for each in pieces])
    found, there = torch.split(sums[0], [len(extras), len(parameters)])
    with torch.no_grad():
        for parameter, total, processes in zip(parameters, sums[1:], there.tolist(), strict=True):
            if parameter.grad is None and processes:  # else only the others would update it
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad is not None:
                parameter.grad.copy_(total.view(parameter.shape))
    return found


class Exchanged(NamedTuple):
    """What the processes of a run tell one another at every update, beside the gradients.

    ``short``: memory is short in one of them; ``stop``: someone asked for the end; ``stop_by_callback``: a callback
    did; ``totals``: the sums of ``exact_norm``.
    """

    short: bool
    stop: bool
    stop_by_callback: bool
    totals: Tensor


def exchange_window(
    model: torch.nn.Module, sums: Sums, short: bool, stop: bool, stop_by_callback: bool, names: list[str],
    totals: Tensor,
) -> Exchanged:  # fmt: skip
    """Add up gradients, losses and images of a window over all processes, in a single exchange.

    Args:
        model: Holds the gradients; they are the sums afterwards.
        sums: Of this process; they are those of all afterwards.
        short: Memory is short here.
        stop: Someone asks this process to end.
        stop_by_callback: A callback does.
        names: Of the losses, where this process has seen none.
        totals: Sums of ``exact_norm``, ``(k,)``.
    """
    names = list(sums.losses) or names
    extras = torch.zeros(AGREED + MOST_LOSSES, device=totals.device)
    extras[0], extras[1], extras[2], extras[3] = sums.images, float(short), float(stop), float(stop_by_callback)
    extras[4] = sums.total
    for place, value in enumerate(sums.losses.values()):
        extras[AGREED + place] = value
    trained = [each for each in model.parameters() if each.requires_grad]
    found = exchange(trained, torch.cat((extras, totals)))
    images, any_short, any_stop, any_callback = found[: AGREED - 1].tolist()
    sums.images, sums.total = round(images), found[4]
    sums.losses = {name: found[AGREED + place] for place, name in enumerate(names)}
    return Exchanged(any_short > 0, any_stop > 0, any_callback > 0, found[AGREED + MOST_LOSSES :])


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


def first_failure(error: BaseException) -> str:
    """Return why the run ends: the first process that fails leaves it for the others, whom it only cuts off."""
    if isinstance(error, (YoloSubbatchError, KeyboardInterrupt)) or not dist.is_initialized():
        return str(error)  # which all of them meet, or which needs no reason
    mine = str(error) if dist.get_rank() == 0 else f"process {dist.get_rank()}: {type(error).__name__}: {error}"
    try:
        return bytes(dist.distributed_c10d._get_default_store().compare_set("failure", "", mine)).decode()
    except (RuntimeError, UnicodeDecodeError):
        return mine  # whoever kept it is gone


def leave() -> None:
    """End the exchange of this process."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def share(file: Path, wanted: bool = True) -> None:
    """Give every process a file that the first has written: on torchrun, each has a folder of its own.

    Args:
        file: Where it is, or will be.
        wanted: The first process decides whether it is needed at all.
    """
    here = dist.get_rank() == 0 and wanted and file.is_file()
    place, content = told_by_first((str(file), file.read_bytes()) if here else (str(file), None))
    if content is not None and place != str(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def told_by_first(value: Any) -> Any:
    """Return what the first process has."""
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]
