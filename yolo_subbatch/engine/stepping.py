"""From the gradient of a window to new weights, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ultralytics.utils import RANK

from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.arguments import SUBBATCH_DEFAULTS
from yolo_subbatch.engine.base import TrainerBase
from yolo_subbatch.engine.checkpoint import Checkpointer
from yolo_subbatch.engine.shortage import Watch, is_shortage, reason_of
from yolo_subbatch.engine.sub_batches import SubBatches
from yolo_subbatch.engine.update import Outcome, Update, forget_unscaled
from yolo_subbatch.errors import TrainingError


class Stepping:
    """Makes the updates of a training: again where memory was short or half precision overflowed.

    Args:
        trainer: Whose weights are changed, by its own step.
        checkpointer: Knows the state to go back to.
    """

    def __init__(self, trainer: TrainerBase, checkpointer: Checkpointer) -> None:
        self.trainer, self.checkpointer = trainer, checkpointer
        self.step_told = False

    def finish_window(self, sub_batches: SubBatches, step: Callable[[], Any]) -> None:
        """Make the update of a window whose gradient is complete, or leave it out.

        Args:
            sub_batches: Have computed it, and do so again where that is needed.
            step: Changes the weights and counts the update.
        """
        while not self._made(sub_batches, step):
            sub_batches.compute()

    def _made(self, sub_batches: SubBatches, step: Callable[[], Any]) -> bool:
        """Make the update; return False where the window has to be computed again.

        Where memory runs out in the middle of it, the run goes back to its last state and comes here again.
        """
        trainer = self.trainer
        at, watch = trainer.progress.iteration, Watch(trainer.optimizer)
        try:
            with watch:
                outcome = self._update(sub_batches, step)
        except (RuntimeError, MemoryError) as error:
            if not is_shortage(error):
                raise
            reason = reason_of(error)
            whole = trainer.progress.iteration == at and not watch.has_changed()
            if trainer.processes > 1 or not (whole or self.checkpointer.can_go_back()):
                raise TrainingError(
                    f"iteration {at + 1}: memory ran out in the middle of an update ({reason}); free some, and "
                    "go on with resume= from the state that was kept last"
                ) from error
        else:
            if outcome is Outcome.OVERFLOWED:
                sub_batches.put_back()
                forget_unscaled(trainer.scaler, trainer.scaler.get_backoff_factor())
            return outcome is not Outcome.OVERFLOWED
        if whole:
            sub_batches.compute_finer(reason)
            return False
        sub_batches.close()  # first: Ultralytics still shows of the window what there was
        sub_batches.put_back()
        self.checkpointer.go_back()
        trainer.cut_finer(reason)
        for window in trainer.train_loader.again(trainer.progress.window):  # Ultralytics' loop counts this pass once
            sub_batches.take(window)
            self.finish_window(sub_batches, step)
            if trainer.stopping:
                break
        return True

    def _update(self, sub_batches: SubBatches, step: Callable[[], Any]) -> Outcome:
        """Make the update, or leave it out, and count it; after an overflow, nothing has happened yet."""
        trainer, args = self.trainer, self.trainer.args
        trainer.set_rates(trainer.progress.iteration)
        trainer.run_callbacks("optimizer_step")
        trainer.last_update = update = Update(
            trainer.model, trainer.optimizer, trainer.scaler, args.max_norm, float(args.norm_type)
        )
        mean = args.grad_reduction == "mean" or trainer.mean_loss
        outcome = update.finish(sub_batches.sums, mean, step, lambda: trainer.run_callbacks("on_before_zero_grad"))
        if outcome is Outcome.STEPPED:
            self._tell_whose_step(update)
        if outcome is not Outcome.OVERFLOWED:
            self._close_window(sub_batches, update, outcome)
        return outcome

    def _close_window(self, sub_batches: SubBatches, update: Update, outcome: Outcome) -> None:
        """Count the update, or that it was left out, and keep the state if it is time."""
        trainer, progress = self.trainer, self.trainer.progress
        if outcome is Outcome.SKIPPED:
            trainer.run_callbacks("on_before_zero_grad")
            progress.left_out()
            sub_batches.snapshot.put_back()
            forget_unscaled(trainer.scaler, 1.0)
            trainer.loss = torch.zeros_like(trainer.loss)  # else Ultralytics would go back to its last checkpoint
            what, code = update.not_finite()
            trainer.warn(code, f"iteration {progress.iteration}: the {what} is not a finite number; no update was made")
        trainer.optimizer.zero_grad()
        progress.close_window(update.losses, update.images)
        trainer.run_callbacks("on_optimizer_step")
        sub_batches.close()
        trainer.stopping = trainer.stopping and not trainer.is_over()
        most = trainer.args.max_skipped
        if most and progress.in_a_row >= most:
            raise TrainingError(
                f"iteration {progress.iteration}: {progress.in_a_row} updates in a row had no finite loss or gradient; "
                "lower the learning rate, lengthen burn_in, or look for damaged labels (max_skipped=0 never stops)"
            )
        if self.checkpointer.is_time():
            trainer.save_state()

    def _tell_whose_step(self, update: Update) -> None:
        """Say once, after the first update, whose clipping it is."""
        own, most = self.trainer.own_method("optimizer_step"), self.trainer.args.max_norm
        if not self.step_told and own is not None and not update.clip_reached and RANK in {-1, 0}:
            say = LOGGER.info if most == SUBBATCH_DEFAULTS["max_norm"] else LOGGER.warning
            say(
                f"{own} does not call super().optimizer_step(): gradients are clipped as it does, and "
                f"max_norm={most:g} has no effect"
            )
        self.step_told = True
