"""One weight update from the sub-batches of a window, whatever happens on the way to it.

A window ends in one of three ways. Usually the weights are updated. If the loss or the gradient is no finite number,
the update is left out. If memory runs out, everything that the window has moved is put back, and the same images come
again in smaller sub-batches.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ultralytics.nn.tasks import ClassificationModel, RTDETRDetectionModel
from ultralytics.utils import RANK

from yolo_subbatch.darknet.cross_norm import begin_batch
from yolo_subbatch.engine import host
from yolo_subbatch.engine.giving_up import GivesUp
from yolo_subbatch.engine.processes import exchange
from yolo_subbatch.engine.shortage import (
    Backward,
    Snapshot,
    is_shortage,
    once,
    reason_of,
    versions,
    withdraw,
)
from yolo_subbatch.engine.stepping import Steps, scale_gradients, total_norm
from yolo_subbatch.engine.windows import WindowLoader, seed_all
from yolo_subbatch.errors import TrainingError
from yolo_subbatch.run.host import INSTALL, release

if TYPE_CHECKING:
    from yolo_subbatch.engine.callbacks import RunRecorder
    from yolo_subbatch.engine.exact_norm import ExactNorm

#: Networks whose loss is a mean over the images that it is given; all others return a sum.
MEAN_LOSSES = (ClassificationModel, RTDETRDetectionModel)
AGREED = 5  # images, shortage, stop, end of the time, stop by a callback
MOST_LOSSES = 16  # whose sums processes exchange: each must know the length before it has seen a loss
SMALLEST_SCALE = 1.0  # of half precision's gradients: below it, they are not finite for another reason


class Updates(Steps, GivesUp):
    """The part of the trainer that turns sub-batches into updates."""

    args: Any
    model: Any
    plain_model: Any
    device: Any
    loss: torch.Tensor
    train_loader: WindowLoader
    processes: int
    batch_size: int
    epochs: int
    train_time_start: float
    exact: ExactNorm | None = None
    stop: bool
    stop_after_window: bool

    def reset_counts(self) -> None:
        """Start at iteration 0."""
        self.update_index = self.seen = 0
        self.windows_done = 0  # of the epoch
        self.skipped = self.in_a_row = 0  # updates left out, and how many of them one after the other
        self.grad_norm = 0.0
        self.clipped = False
        self.update_images = 0
        self.update_losses: dict[str, float] = {}
        self.begun = self.stepped = 0  # sub-batches, to see that Ultralytics calls what it should
        self.shortage: str | None = None  # what memory ran out for, in the open window
        self.stopping = False  # the run ends after the update that was done last
        self.time_is_up = False
        self.hours: float | None = None  # that the run may take
        self.snapshot: Snapshot | None = None
        self.host_loss: torch.Tensor | None = None  # of the last forward pass
        self.input_shape: list[int] = []  # width and height
        self.validated: int | None = None  # the last epoch that was validated, from 0
        self.recorder: RunRecorder | None = None
        self.reset_steps()
        self.reset_window()

    def reset_window(self) -> None:
        """Forget the sub-batches of an update that is done or given up."""
        self.sub_index = self.window_images = 0
        self.shortage = None
        self.window_losses: dict[str, Any] = {}

    # --- a sub-batch ------------------------------------------------------------------------------------------------

    def before_sub_batch(self) -> None:
        """Seed what is drawn at random, and stand in for the calls that may run out of memory."""
        self.check_host()
        self.begun += 1
        if self.train_loader.part.first:
            self.begin_window()
        self.seed_sub_batch(self.train_loader.part.index)
        once(self, "preprocess_batch", self._preprocess)
        once(self.model, "forward", self._forward)
        if self.args.compile:
            once(self.plain_model, "loss", self._forward)
        once(self.scaler, "scale", self._scale)

    def check_host(self) -> None:
        """Make sure that every sub-batch so far has come to ``optimizer_step``.

        Raises:
            TrainingError: If Ultralytics' loop does not call it after each.
        """
        if self.begun != self.stepped:
            raise TrainingError(
                f"ultralytics {release()}: its training loop calls optimizer_step for {self.stepped} of {self.begun} "
                f"sub-batches, so updates would be wrong; {INSTALL}"
            )

    def begin_window(self) -> None:
        """Note what this window may move and would have to be put back."""
        self.optimizer.zero_grad()
        if self.snapshot is None:
            self.snapshot = Snapshot(self.plain_model)
        self.snapshot.take()
        begin_batch(self.plain_model)
        if self.exact is not None:
            self.begin_exact(self.exact)

    def seed_sub_batch(self, index: int) -> None:
        """Seed by iteration, so that nothing depends on what came before.

        All sub-batches draw the same input size (``multi_scale``); what layers draw differs from one to the next.
        """
        seed_all(self.args.seed, self.update_index, 0, 0)
        numbers = (self.args.seed, self.update_index, 1 + index, max(0, RANK))
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1)

    def _preprocess(self, original: Any, batch: dict[str, Any]) -> dict[str, Any]:
        return self.attempt(lambda: original(batch), lambda: batch)

    def _forward(self, original: Any, *args: Any, **keywords: Any) -> Any:
        """Run the network; where memory is short, return a loss that asks for nothing."""
        found = self.attempt(
            lambda: original(*args, **keywords),
            lambda: (
                torch.zeros(1, device=self.device, requires_grad=True), host.zeros(self.loss_names, self.device)
            ),
        )  # fmt: skip
        self.host_loss = found[0] if isinstance(found, tuple) and isinstance(found[0], torch.Tensor) else None
        return found

    def _scale(self, original: Any, loss: torch.Tensor) -> Backward:
        def backward() -> None:
            self.attempt(lambda: original(loss * self.loss_weight()).backward(), lambda: None)
            self.asked_to_step = True

        return Backward(backward)

    def loss_weight(self) -> float:
        """Return the factor on a sub-batch's loss that makes plain sums right.

        Ultralytics multiplies the loss by the number of processes, whose gradients it expects to be averaged. A loss
        that is a mean over the images counts as often as there are images.
        """
        part = self.train_loader.part
        weight = float(part.images) if self.mean_loss else float(part.images > 0)
        return weight / self.world_size if RANK != -1 else weight

    def attempt(self, work: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
        """Do some work of the open window, unless memory has run out in it; if it does now, note that."""
        if self.shortage is not None:
            return otherwise()
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not is_shortage(error):
                raise
            self.shortage = reason_of(error)
        return otherwise()

    def around_optimizer_step(self, theirs: Callable[[], Any]) -> None:
        """Count the sub-batch; complete the update if it was the window's last, by the trainer's own step.

        Raises:
            TrainingError: If it is called outside of a pass of Ultralytics' loop.
        """
        if self.stepped == self.begun:
            raise TrainingError(self._passed_by())
        self.asked_to_step = False
        self.whole_step = theirs
        self.stepped += 1
        self.sub_index += 1
        part = self.train_loader.part
        if self.shortage is None and part.images:
            self.window_images += part.images
            for name, value in host.by_name(self.loss_items, self.loss_names).items():
                self.window_losses[name] = self.window_losses.get(name, 0.0) + value.detach() * part.images
        self.run_callbacks("on_sub_batch_end")
        if self.shortage is not None or part.last:
            self.complete_window()
        self.showing = True

    def withdraw_stand_ins(self) -> None:
        """Leave nothing on the model and the trainer that a pass which failed has not used up."""
        withdraw(self, "preprocess_batch")
        withdraw(self.model, "forward")
        if isinstance(self.model, torch.nn.Module):
            withdraw(self.plain_model, "loss")

    # --- a window ---------------------------------------------------------------------------------------------------

    def complete_window(self) -> None:
        """Update the weights, or do the window again if memory ran out, here or in another process."""
        names, sums, images, short = self.gather()
        if short:
            self.give_up_window(finer_parts=True)
            return
        at, before = self.update_index, versions(self.optimizer)
        try:
            self.update(names, sums, images)
            return
        except (RuntimeError, MemoryError) as error:
            if not is_shortage(error):
                raise
            whole = self.update_index == at and versions(self.optimizer) == before
            self.shortage = reason_of(error)
            if self.processes > 1 or not (whole or self.can_rewind()):
                raise TrainingError(
                    f"iteration {at + 1}: memory ran out in the middle of an update ({self.shortage}); free some, and "
                    "go on with resume= from the state that was kept last"
                ) from error
        if whole:
            self.give_up_window(finer_parts=True)
        else:
            self.rewind()

    def gather(self) -> tuple[list[str], torch.Tensor, int, bool]:
        """Return the names of the losses, their sums, the images of the window, and whether memory ran out.

        Where there are several processes, they sum their gradients and these numbers in one exchange, and agree on
        whether to stop.
        """
        names = list(self.window_losses)
        sums = torch.stack([self.window_losses[name] for name in names]) if names else torch.zeros(0)
        if self.processes == 1:
            self.stopping, self.time_is_up = self.stop_wanted(), self.hours_are_over()
            self.all_stop = True
            return names, sums, self.window_images, self.shortage is not None
        extras = torch.zeros(AGREED + MOST_LOSSES, device=self.device)
        extras[0], extras[1] = self.window_images, float(self.shortage is not None)
        extras[2], extras[3] = float(self.stop_wanted()), float(RANK == 0 and self.hours_are_over())
        extras[4] = float(self.stop or self.stop_after_window)
        extras[AGREED : AGREED + len(names)] = sums
        if self.exact is not None:
            extras = torch.cat((extras, self.exact.totals))
        trained = [each for each in self.plain_model.parameters() if each.requires_grad]
        extras = exchange(trained, extras)
        images, short, stop, late, by_callback = extras[:AGREED].tolist()
        self.stopping, self.time_is_up = stop > 0, late > 0
        self.all_stop = by_callback > 0
        self.stop_after_window = self.stop_after_window or self.all_stop
        names = names or list(self.loss_names)
        self.summed_totals = extras[AGREED + MOST_LOSSES :]
        return names, extras[AGREED : AGREED + len(names)], round(images), short > 0

    def hours_are_over(self) -> bool:
        """Tell whether the run has taken as long as it may."""
        return time.time() - self.train_time_start > (self.hours or math.inf) * 3600

    def update(self, names: list[str], sums: torch.Tensor, images: int) -> None:
        """Update the weights with the gradient of all the images of a window.

        Unscaled once, divided by the images that were really seen; the trainer's ``optimizer_step`` clips and steps.
        """
        self.set_rates(self.update_index)
        self.run_callbacks("optimizer_step")
        self.scaler.unscale_(self.optimizer)
        if self.exact is not None and self.adding_up:
            factor = self.exact_factor(self.exact, images)
            scale_gradients(self.model, factor)
            sums = sums * factor
        if self.args.grad_reduction == "mean" or self.mean_loss:
            scale_gradients(self.model, 1.0 / images)
        norm = self.norm = total_norm(self.model, float(self.args.norm_type))
        # One transfer an update, not one a value: each would wait for the device.
        self.grad_norm, *values = torch.cat((norm.reshape(1).float(), sums.to(norm).float())).tolist()
        self.update_images, self.clipped = images, False
        self.update_losses = {name: value / images for name, value in zip(names, values, strict=True)}
        if all(map(math.isfinite, values)) and math.isfinite(self.grad_norm):
            self._step()
        elif all(map(math.isfinite, values)) and self._overflowed():
            return
        else:
            self._skip()
        self._done()

    def _overflowed(self) -> bool:
        """Do the window again if half precision could not hold its gradient: the scale is smaller then."""
        if not self.scaler.is_enabled() or self.scaler.get_scale() <= SMALLEST_SCALE:
            return False
        self.give_up_window(finer_parts=False)
        return True

    def _skip(self) -> None:
        """Leave out an update that would spoil the weights; it counts as an iteration."""
        self.run_callbacks("on_before_zero_grad")
        self.update_index += 1
        self.skipped += 1
        self.in_a_row += 1
        if self.snapshot is not None:
            self.snapshot.put_back()
        self.forget_unscaled(1.0)
        self.loss = torch.zeros_like(self.loss)  # else Ultralytics would go back to its last checkpoint
        bad = [name for name, value in self.update_losses.items() if not math.isfinite(value)]
        what, code = (f"loss ({', '.join(bad)})", "nan_loss") if bad else ("gradient", "nan_gradient")
        self.warn(code, f"iteration {self.update_index}: the {what} is not a finite number; no update was made")

    def _done(self) -> None:
        """Close the window."""
        self.optimizer.zero_grad()
        self.seen += self.update_images
        self.windows_done += 1
        if not self.in_a_row:
            self.epoch_losses.add(self.update_losses, self.update_images)
        self.run_callbacks("on_optimizer_step")
        self.reset_window()
        self.stopping = self.stopping and not self.is_over()
        if self.args.max_skipped and self.in_a_row >= self.args.max_skipped:
            raise TrainingError(
                f"iteration {self.update_index}: {self.in_a_row} updates in a row had no finite loss or gradient; "
                "lower the learning rate, lengthen burn_in, or look for damaged labels (max_skipped=0 never stops)"
            )
        self.keep_state()
