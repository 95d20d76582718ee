"""When the exact state of a training is kept, how it goes back to it, and what Ultralytics' own checkpoints hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from ultralytics.utils import DEFAULT_CFG_DICT, RANK

from yolo_subbatch import __version__
from yolo_subbatch.engine import state, trainer_lookup
from yolo_subbatch.engine.base import TrainerBase
from yolo_subbatch.engine.checkpoint_parts import also
from yolo_subbatch.engine.doors import check_checkpoint, is_as_written, note_written
from yolo_subbatch.engine.update import forget_unscaled
from yolo_subbatch.settings.trust import guarded

SHORT = 0.3  # seconds that keeping the state may take after every epoch, however short that is
WORTH = 20  # times as long as keeping the state takes has to be lost before it is kept after an epoch: 5 % of the time


class Checkpointer:
    """Keeps the state of a training, so that it can go on to the same bits after any kind of end.

    Args:
        trainer: Whose training it is.
    """

    def __init__(self, trainer: TrainerBase) -> None:
        self.trainer = trainer
        self.kept_at = self.took = 0.0  # when the state was kept last, and how long that took, in seconds

    def save(self) -> None:
        """Write everything that the next update depends on, whole or not at all."""
        trainer = self.trainer
        if RANK not in {-1, 0} or not trainer.args.save:
            return
        begin = time.monotonic()
        state.save(trainer.state_file, state.capture(trainer))
        self.kept_at = time.monotonic()
        self.took = self.kept_at - begin
        if trainer.recorder is not None and trainer.progress.iteration:
            trainer.recorder.report_state(trainer)

    def is_time(self) -> bool:
        """Tell whether to keep the state after this update: every so often, and before an end."""
        trainer = self.trainer
        every = trainer.args.save_iterations
        return bool(trainer.stopping or trainer.is_over() or (every and trainer.progress.iteration % every == 0))

    def after_epoch(self, save: Callable[[], None]) -> None:
        """Keep the state after an epoch, its validation and everything that was reported of it.

        Args:
            save: The trainer's way to do so.
        """
        trainer = self.trainer
        if trainer.stop:
            return  # the state was kept after the last update: whoever goes on has this epoch's validation before him
        trainer.progress.window = 0
        if self.took > SHORT and time.monotonic() - self.kept_at < WORTH * self.took:
            return  # epochs of seconds: an older state is as exact, and costs less
        trainer.epoch += 1
        save()
        trainer.epoch -= 1

    def before_early_end(self) -> None:
        """Keep the state of a run that ends before its length, by a callback, by the clock or by early stopping.

        Whoever trains it longer goes on from here. Early stopping decides after the validation, and says before it
        whether it may.
        """
        trainer = self.trainer
        ends = trainer.stop or trainer.stopper.possible_stop
        if not ends or not trainer.args.keep_state or trainer.stopping or trainer.is_over():
            return
        criterion: Any = getattr(trainer.plain_model, "criterion", None)
        updates = getattr(criterion, "updates", None)
        if updates is None:
            trainer.save_state()
            return
        criterion.updates = updates - 1  # the loop has counted the epoch, and will do so again
        trainer.save_state()
        criterion.updates = updates

    def can_go_back(self) -> bool:
        """Tell whether there is a state in this epoch to go back to."""
        file = self.trainer.state_file
        there = self.trainer.args.save and file.is_file()
        return bool(there and state.load(file, peek=True)["epoch"] == self.trainer.epoch)

    def go_back(self) -> None:
        """Go back to the last state, after a failure in the middle of an update."""
        trainer = self.trainer
        forget_unscaled(trainer.scaler, 1.0)
        groups = trainer.optimizer.param_groups
        rates: list[dict[str, Any]] = [
            {key: group[key] for key in ("lr", "momentum") if key in group} for group in groups
        ]
        kept = state.load(trainer.state_file)
        state.restore(trainer, kept)
        for group, rate in zip(trainer.optimizer.param_groups, rates, strict=True):
            group.update(rate)  # the state may be from before the scheduler's step into this epoch
        if trainer.recorder is not None:
            trainer.recorder.rewind(kept["events"])

    def keep_best(self) -> None:
        """Note in the state of a run that is over how good its best weights are, where going on would not find them.

        The state is of before the last validation. Whoever trains longer does that again, but for one in the middle of
        an epoch: its weights stay the best until there are better ones.
        """
        trainer = self.trainer
        if not self.can_train_longer() or trainer.progress.window in {0, trainer.updates_per_epoch}:
            return
        before, best = state.load(trainer.state_file, peek=True)["best_fitness"], state.number(trainer.best_fitness)
        if best is None or (before is not None and best <= before):
            return
        kept = state.load(trainer.state_file)
        kept.update(best_fitness=best, best=trainer.recorder.best if trainer.recorder else None)
        state.save(trainer.state_file, kept)

    def can_train_longer(self) -> bool:
        """Tell whether the state of a run that is over is kept."""
        return bool(self.trainer.args.keep_state and self.trainer.args.save and self.trainer.state_file.is_file())

    def forget(self) -> None:
        """Remove the state of a run that is over, where it is not to be kept to train longer."""
        if not self.trainer.args.keep_state:
            self.trainer.state_file.unlink(missing_ok=True)

    # --- Ultralytics' checkpoints -----------------------------------------------------------------------------------

    @contextmanager
    def for_host(self, arguments: Any) -> Iterator[None]:
        """Save Ultralytics' checkpoints with the keys that it knows; ours stand beside them, in ``model.subbatch``.

        Args:
            arguments: What Ultralytics is to keep.
        """
        trainer = self.trainer
        own = state.without_trust({key: getattr(trainer.args, key) for key in trainer.own_defaults})
        host_class = trainer_lookup.host_class(type(trainer))
        trainer.ema.ema.subbatch = {"trainer": host_class, "version": __version__, "args": state.plain(own)}
        everything, trainer.args = trainer.args, arguments
        if not trainer.trains_darknet():  # of those, YOLO() finds the trainer by itself
            setattr(trainer.args, trainer_lookup.note_for_stock(type(trainer), Path(trainer.save_dir)), True)
        try:
            yield
        finally:
            trainer.args = everything
            note_written((trainer.last, trainer.best))

    @contextmanager
    def opening_own(self) -> Iterator[None]:
        """Open the checkpoints of this run, which may hold what its network does, and anything if it wrote them itself.

        A run that goes on may find the best weights of before in its folder, of whoever it is.
        """
        files = [file for file in (self.trainer.last, self.trainer.best) if file.is_file()]
        own = all(is_as_written(file) for file in files)
        with also(self._kinds()), guarded(own):
            yield
        if own:
            note_written(files)  # Ultralytics has left out of them what only training needs

    def check(self) -> None:
        """Refuse to go on with a run whose checkpoints hold code: the best weights are validated at its end."""
        trainer = self.trainer
        with also(self._kinds()):
            for file in (trainer.whole_best, trainer.best, trainer.last):
                check_checkpoint(Path(file))

    def _kinds(self) -> set[type]:
        """Return the classes of which the network is made."""
        return {type(each) for each in self.trainer.plain_model.modules()}


def host_arguments(trainer: TrainerBase) -> Any:
    """Return a copy of a trainer's arguments with Ultralytics' own keys alone."""
    args = copy(trainer.args)
    for key in trainer.own_defaults:
        delattr(args, key)
        if key in DEFAULT_CFG_DICT:
            setattr(args, key, DEFAULT_CFG_DICT[key])
    return args
