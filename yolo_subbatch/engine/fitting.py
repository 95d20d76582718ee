"""``subdivisions=auto``: as few sub-batches as fit into memory, found before the training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch
from torch.nn import functional as F
from ultralytics.utils import RANK

from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.arguments import numbers_of_parts
from yolo_subbatch.engine.base import TrainerBase
from yolo_subbatch.engine.recompute import COST, active
from yolo_subbatch.engine.shortage import Snapshot, is_shortage, reason_of
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.values import memory_bytes

LESS = "give a larger memory=, a smaller imgsz or a smaller network"
SHARE = 0.9  # of the free memory, where no budget is given: fragments and other programs need some


def fewest_subdivisions(trainer: TrainerBase) -> int:
    """Return the smallest number of subdivisions that fits, and turn ``recompute`` on where none does without.

    On the CPU, memory is reckoned from what one image leaves for the backward pass. On a GPU, a sub-batch is really
    computed, beside as much memory as the optimizer will take, and the next number is tried if it does not fit.

    Raises:
        SettingsError: If not even one image at a time fits.
    """
    with _undone(trainer):
        free = _free_bytes(trainer)
        found, short = _fewest(trainer, free)
        if found is None and trainer.can_recompute():
            trainer.set_recompute(True)
            found, short = _fewest(trainer, free)
            if found is None:
                short = f"{short}, even with recompute=True"
    if found is None:
        raise SettingsError(f"subdivisions=auto: {short}; {LESS}")
    if trainer.recompute is not None and RANK in {-1, 0}:
        where = trainer.args.memory or "the free memory"
        LOGGER.info(f"subdivisions={found} with recompute=True: fits in {where}; {COST}")
    return found


def _fewest(trainer: TrainerBase, free: float) -> tuple[int | None, str]:
    """Return the smallest number of subdivisions that fits; None, and what is short, if there is none."""
    try:
        image = _image_bytes(trainer)
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        trainer._clear_memory()
        return None, f"one image does not fit into memory ({reason_of(error)})"
    constant, devices = _constant_bytes(trainer), trainer.processes
    for parts in numbers_of_parts(trainer.args.batch, devices):
        images = trainer.args.batch // parts // devices
        if constant + images * image > free:
            continue
        if trainer.device.type != "cuda" or _fits(trainer, images, free):
            return parts, ""
    need, free = (constant + image) / 2**20, max(0, free) / 2**20
    return None, f"one image at a time needs about {need:.0f} MiB, {free:.0f} MiB are free"


def _free_bytes(trainer: TrainerBase) -> float:
    """Return what the training may still take: of the budget, or of what is free."""
    cuda = trainer.device.type == "cuda"
    budget = memory_bytes(trainer.args.memory) if trainer.args.memory else math.inf
    if cuda:
        free = torch.cuda.mem_get_info(trainer.device)[0] + torch.cuda.memory_reserved(trainer.device)
        used = torch.cuda.memory_allocated(trainer.device)
        return min(budget, free * SHARE) - used
    return min(budget - psutil.Process().memory_info().rss, psutil.virtual_memory().available * SHARE)


def _constant_bytes(trainer: TrainerBase) -> int:
    """Return what is needed whatever the sub-batch: gradients, their sum with the decay, the optimizer's memory."""
    return 2 * _weight_bytes(trainer) + _optimizer_bytes(trainer)


def _optimizer_bytes(trainer: TrainerBase) -> int:
    """Return what the optimizer will keep: one number a weight, Adam and its kin two."""
    return (2 if "Adam" in type(trainer.optimizer).__name__ else 1) * _weight_bytes(trainer)


def _weight_bytes(trainer: TrainerBase) -> int:
    return sum(each.numel() * each.element_size() for each in trainer.plain_model.parameters())


def _image_bytes(trainer: TrainerBase) -> int:
    """Return the bytes that a training pass over one image takes: what it keeps, and gradients on their way."""
    model = trainer.plain_model
    own = {each.untyped_storage().data_ptr() for each in [*model.parameters(), *model.buffers()]}
    kept: dict[int, int] = {}

    def note(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        loss = _loss(trainer, 1)
    found = sum(kept.values()) + 2 * max(kept.values(), default=0)
    del loss
    segments = trainer.recompute.segments if trainer.recompute is not None else None
    return max(found, segments.borders.peak) if segments is not None and segments.borders is not None else found


def _loss(trainer: TrainerBase, images: int) -> torch.Tensor:
    """Return the loss of some training images at the largest size that the run will have."""
    loader = trainer.train_loader
    batch = loader.collate_fn([loader.dataset[place % len(loader.dataset)] for place in range(images)])
    with trainer.precise():
        batch = trainer.preprocess_batch(batch)
        width, height = trainer.largest_size()
        if tuple(batch["img"].shape[2:]) != (height, width):
            batch["img"] = F.interpolate(batch["img"], (height, width), mode="bilinear", align_corners=False)
        with active(trainer.recompute):
            loss, _ = trainer.plain_model(batch)
        total: torch.Tensor = loss.sum()
        return total


def _fits(trainer: TrainerBase, images: int, free: float) -> bool:
    """Compute a sub-batch beside what the optimizer will take, and tell whether it went."""
    try:
        beside = torch.empty(_optimizer_bytes(trainer), dtype=torch.uint8, device=trainer.device)
        torch.cuda.reset_peak_memory_stats(trainer.device)
        before = torch.cuda.memory_allocated(trainer.device)
        _loss(trainer, images).backward()  # type: ignore[no-untyped-call]
        peak = torch.cuda.max_memory_allocated(trainer.device) - before + beside.numel()
        return peak <= free
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        return False
    finally:
        trainer.optimizer.zero_grad()
        trainer._clear_memory()


@contextmanager
def _undone(trainer: Any) -> Iterator[None]:
    """Leave the statistics of the network as they were."""
    snapshot = Snapshot(trainer.plain_model)
    snapshot.take()
    trainer._model_train()
    try:
        yield
    finally:
        snapshot.put_back()
        trainer.optimizer.zero_grad()
