"""What Ultralytics' loop is told between sub-batches, and what users' callbacks see meanwhile.

The loop looks at the clock, at ``stop`` and at ``accumulate`` after every pass. It must not leave in the middle of a
window, nor count passes; and a user who looks at the same attributes must find what Ultralytics promises.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from yolo_subbatch.engine import LOGGER, host
from yolo_subbatch.engine.offline import own_calls
from yolo_subbatch.engine.running import EpochLosses

if TYPE_CHECKING:
    import torch

    from yolo_subbatch.engine.update import Updates

    Base: Any = Updates
else:
    Base = object


class Hosts(Base):
    """The part of the trainer that stands between Ultralytics' loop and users."""

    args: Any
    epochs: int
    updates_per_epoch: int
    stop: bool
    loss_names: tuple[str, ...]
    hours: float | None  # that the run may take, while a pass is going on
    epoch_losses: EpochLosses

    def reset_host(self) -> None:
        """Begin outside of any pass."""
        self.epoch_losses = EpochLosses()
        self.epoch_passes = self.callbacks_open = 0
        self.adding_up = False  # the losses of the open window are shares of the whole
        self.in_pass = False  # from its first callback to its last
        self.asked_to_step = False  # the loop is about to compare accumulate
        self.showing = False  # the loop is about to show the losses
        self.stop_after_window = False  # a callback wants it
        self.all_stop = False  # and all processes know it
        self.warmup = host.HiddenWarmup()
        self.warmup_of: Callable[[int], int] | None = None  # from updates of an epoch to those of the warm-up

    def warmup_updates(self) -> int:
        """Return how many updates the warm-up takes, as the trainer's method says where the release has one."""
        if self.warmup_of is not None:
            return self.warmup_of(self.updates_per_epoch)
        return round(min(self.args.warmup_epochs, max(self.epochs - 1, 0)) * self.updates_per_epoch)

    # --- events -----------------------------------------------------------------------------------------------------

    def around_run_callbacks(self, theirs: Callable[[str], None], event: str) -> None:
        """Run callbacks; what has to happen at the start and the end of epochs and sub-batches happens here."""
        self.showing = False
        if event in {"on_train_start", "on_train_epoch_start"}:
            self.warmup.show(self.args)
        self.before_event(event)
        if self.in_pass and not self.callbacks_open:
            self.args.time = self.hours
        self.callbacks_open += 1
        try:
            with own_calls():
                theirs(event)
        finally:
            self.callbacks_open -= 1
        if event == "on_train_batch_start":
            self.in_pass = True
        elif event == "on_train_batch_end":
            self.in_pass = False
        if self.recorder is not None:
            self.recorder.follow(event, self)
        if self.in_pass and not self.callbacks_open:
            # Ultralytics would look at the clock after every sub-batch, and leave the loop in the middle of a window.
            self.hours, self.args.time = self.args.time, None
        self.after_event(event)

    def before_event(self, event: str) -> None:
        """Do what callbacks must find done."""
        if event == "on_train_epoch_start":
            self._before_epoch = self.update_index, self.seen
            self._find_place()
        elif event == "on_train_epoch_end":
            self.check_host()

    def after_event(self, event: str) -> None:
        """Do what follows from an event, and from what callbacks did in it."""
        if event == "on_train_batch_start":
            self.before_sub_batch()
        elif event == "on_train_batch_end":
            self._settle_stop()
        elif event == "on_train_start" and self.resumed is None:
            self.save_state()
        elif event == "on_train_end" and not self.stopping:
            self.state_file.unlink(missing_ok=True)  # there is nothing left to go on with
        elif event == "on_fit_epoch_end" and not self.finishing:
            self.epoch_is_done()

    def _find_place(self) -> None:
        """Have the loader begin where this epoch begins, or goes on."""
        loader = self.train_loader
        window = loader.windows if self.is_over() else self.windows_done
        if (loader.epoch, loader.window) != (self.epoch, window):
            loader.go_to(self.epoch, window)
        self.reset_window()

    def _settle_stop(self) -> None:
        """Let the loop end, if someone wants it, where no window is open: its update would be lost."""
        if self.sub_index:
            self.stop_after_window, self.stop = self.stop_after_window or self.stop, False
            return
        wanted = self.stop_after_window or self.stop
        if wanted and self.processes > 1 and self.windows_done < self.updates_per_epoch and not self.all_stop:
            self.stop_after_window, self.stop = True, False  # the others learn of it with the next update
            return
        self.stop = wanted or self.stopping or self.time_is_up
        self.stop_after_window = False

    # --- attributes -------------------------------------------------------------------------------------------------

    @property
    def accumulate(self) -> float:
        """Passes of the loop to an update, as in Ultralytics: ``batch_size * accumulate`` images are an update's."""
        if self.asked_to_step:
            # Always: where a window is done again, the loop's count of passes no longer says where it is in the epoch.
            return -math.inf
        parts = self.args.subdivisions
        return parts if isinstance(parts, int) else 1

    @accumulate.setter
    def accumulate(self, passes: float) -> None:
        """Leave it as it is; whoever sets it in a callback is told."""
        if self.callbacks_open and passes != self.accumulate:
            LOGGER.warning(
                f"accumulate={passes}: has no effect, an update is batch={self.args.batch} images in "
                f"subdivisions={self.args.subdivisions}; give these"
            )

    @property
    def tloss(self) -> Any:
        """The means per image of the losses, over what was seen of the epoch; None before its first pass.

        Tensors on the device, as Ultralytics'. The loop, which prints them in every pass, gets what is known without
        waiting for a GPU: the means over the updates that are done.
        """
        if not (self.epoch_passes or self.epoch_losses):
            return None
        names = self.loss_names or tuple(self.window_losses)
        if self.showing and self.epoch_losses:
            known = self.epoch_losses.means()
            return host.as_host_wants({name: known.get(name, math.nan) for name in names})
        found = self.epoch_losses.with_open(names, *self._open_losses(), self.device)
        return host.as_host_wants({name: float(value) for name, value in found.items()} if self.showing else found)

    @tloss.setter
    def tloss(self, losses: Any) -> None:
        if losses is not None:  # once in every pass
            self.epoch_passes += 1
        elif not self.windows_done:  # an epoch that is taken up in its middle keeps them
            self.epoch_losses, self.epoch_passes = EpochLosses(), 0

    def _open_losses(self) -> tuple[dict[str, torch.Tensor], int]:
        """Return the sums of the losses over the images of the open update, and how many these are."""
        sums, images = self.window_losses, self.window_images
        if self.exact is not None and self.adding_up and images:
            factor = self.exact.gradient_factor(self.exact.totals, images)
            sums = {name: value * factor for name, value in sums.items()}
        return sums, images
