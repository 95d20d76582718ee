"""Giving up a window: everything that it has moved is put back, and its images come again."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from yolo_subbatch.engine import host
from yolo_subbatch.engine.shortage import Snapshot, finer

if TYPE_CHECKING:
    from ultralytics.engine.trainer import BaseTrainer

    from yolo_subbatch.engine.windows import WindowLoader

    Base: Any = BaseTrainer
else:
    Base = object


class GivesUp(Base):
    """The part of the trainer that goes back to the beginning of a window."""

    args: Any
    device: Any
    batch_size: int
    processes: int
    shortage: str | None
    snapshot: Snapshot | None
    host_loss: torch.Tensor | None
    loss: torch.Tensor
    train_loader: WindowLoader

    def give_up_window(self, finer_parts: bool) -> None:
        """Put back everything that the open window has moved, and have its images come again.

        Args:
            finer_parts: Cut it into smaller sub-batches, because memory is short.
        """
        self._free()
        self.forget_unscaled(1.0 if finer_parts else self.scaler.get_backoff_factor())
        if self.snapshot is not None:
            self.snapshot.put_back()
        reason = self.shortage or ""
        self.reset_window()
        if finer_parts:
            self.cut_finer(reason)
        self.train_loader.go_to(self.epoch, self.windows_done)

    def forget_unscaled(self, factor: float) -> None:
        """Have half precision's scaler forget the gradients of a window that makes no update.

        Args:
            factor: On the scale from now on.
        """
        # One that has scaled nothing yet has no scale to set.
        if self.scaler.is_enabled() and self.scaler._scale is not None:
            self.scaler.update(self.scaler.get_scale() * factor)

    def cut_finer(self, reason: str) -> None:
        """Raise ``subdivisions``; the batch stays."""
        args = self.args
        args.subdivisions = finer(args.batch, args.subdivisions, self.processes)
        self.batch_size = self.train_loader.size = args.batch // args.subdivisions
        text = (
            f"memory is short: batch {args.batch} stays, subdivisions={args.subdivisions} from now on "
            f"({self.batch_size} images at a time); iteration {self.update_index + 1} is done again"
        )
        if args.bn == "sub-batch" and self.normalises():
            text += f"; batch normalisation now averages over {self.batch_size // self.processes} images"
        self.warn("oom_retry", f"{text} [{reason}]" if reason else text)

    def _free(self) -> None:
        """Let go of whatever the open window holds in memory."""
        self.optimizer.zero_grad()
        if self.host_loss is not None:
            with suppress(RuntimeError):  # a view cannot be detached in place
                self.host_loss.detach_()  # Ultralytics' loop holds it, and its graph, until the next pass is done
        self.loss = torch.zeros((), device=self.device)
        self.asked_to_step = False
        self.loss_items = host.detached(getattr(self, "loss_items", None))
        gc.collect()
        self._clear_memory()
