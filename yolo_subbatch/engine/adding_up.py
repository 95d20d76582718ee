"""``exact_norm=True`` in a training: when the losses of sub-batches are turned into shares of the window's."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from ultralytics.utils.torch_utils import autocast

from yolo_subbatch.darknet.cross_norm import begin_batch
from yolo_subbatch.engine import processes
from yolo_subbatch.engine.exact_norm import ExactNorm

if TYPE_CHECKING:
    from yolo_subbatch.engine.update import Updates

    Base: Any = Updates
else:
    Base = object


class AddsUp(Base):
    """The part of the trainer that has Ultralytics' own losses add up."""

    args: Any
    model: Any
    amp: Any
    summed_totals: torch.Tensor  # of all processes

    def begin_exact(self, exact: ExactNorm) -> None:
        """Have the losses of the sub-batches add up to that of the whole window."""
        exact.end()
        parts = self.train_loader.parts(self.windows_done)
        self.adding_up = self.processes > 1 or len(parts) > 1  # a single sub-batch is the whole window
        if not self.adding_up:
            return
        exact.begin()
        if exact.two_pass:
            self.measure_window(exact)
            begin_batch(self.plain_model)
        elif not parts[0].images:
            exact.end()  # a borrowed image adds nothing to the sums

    def exact_factor(self, exact: ExactNorm, images: int) -> Any:
        """Return what gradients and losses of a window are multiplied by."""
        return exact.gradient_factor(exact.totals if self.processes == 1 else self.summed_totals, images)

    def measure_window(self, exact: ExactNorm) -> None:
        """Run all sub-batches of a window without gradients, for the sums that the losses are divided by."""
        parts = self.train_loader.parts(self.windows_done)

        def run(batch: dict[str, Any]) -> None:
            with exact.measuring(), autocast(self.precision, device=self.device.type):
                batch = self.preprocess_batch(copy(batch))
                self.model.loss(batch, self.model(batch["img"])) if self.args.compile else self.model(batch)

        for part, held in zip(parts, self.train_loader.held, strict=True):
            if part.images:
                self.seed_sub_batch(part.index)
                self.attempt(partial(run, held), lambda: None)
        totals, images = exact.totals, sum(part.images for part in parts)
        if self.processes > 1:
            found = processes.sum_over(torch.cat((totals, totals.new_tensor([float(images)]))))
            totals, images = found[:-1], round(float(found[-1]))
        exact.use(totals, images)
