"""Weights that ``detector train`` leaves while it trains, as Darknet does.

Source: AlexeyAB/darknet ``train_detector`` in src/detector.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ultralytics.utils import RANK

from yolo_subbatch.darknet.weights import save_weights
from yolo_subbatch.engine import LOGGER
from yolo_subbatch.errors import WeightsError
from yolo_subbatch.folder.backup_folder import Backup, copy_weights
from yolo_subbatch.folder.events import Val, read_events

LAST, NUMBERED = 100, 1000  # iterations after which NAME_last is written anew, and a file that stays


class KeepsBackup:
    """Callbacks that write weights into a backup folder.

    Whatever keeps a file from being written is reported, and the training goes on: its run has them too.
    """

    def __init__(self, backup: Backup) -> None:
        self.backup = backup
        self.most: float | None = None  # mAP at an IoU of 0.5

    def register(self, add: Callable[[str, Callable[[Any], None]], object]) -> None:
        """Have a training call these; ``add`` gets an event's name and a function."""
        add("on_optimizer_step", self.on_optimizer_step)
        if self.backup.best:
            add("on_model_save", self.on_model_save)

    def on_optimizer_step(self, trainer: Any) -> None:
        """Write the weights of every hundredth and every thousandth iteration."""
        iteration, images = trainer.update_index, trainer.update_index * trainer.args.batch
        if iteration % LAST or RANK not in {-1, 0}:
            return
        try:
            place = self.backup.place("last")
            save_weights(trainer.plain_model.network, place, images)
            if iteration % NUMBERED == 0:
                kept = self.backup.place(iteration)
                copy_weights(place, kept, images)
                LOGGER.info(f"{kept} written")
        except (OSError, WeightsError) as error:
            LOGGER.warning(f"iteration {iteration}: the weights are not in {self.backup.folder}: {error}")

    def on_model_save(self, trainer: Any) -> None:
        """Write the weights that were validated if their mAP at an IoU of 0.5, as Darknet measures, is the best."""
        found = trainer.metrics.get("metrics/mAP50(B)")
        if RANK not in {-1, 0} or found is None:
            return
        if self.most is None:  # of what a run that goes on has measured before
            before = (each for each in read_events(trainer.save_dir / "events.jsonl") if isinstance(each, Val))
            self.most = max((each.map50 or 0.0 for each in before), default=-1.0)
        if found < self.most:
            return
        self.most = found
        try:
            save_weights(trainer.ema.ema.network, self.backup.place("best"), trainer.update_index * trainer.args.batch)
        except (OSError, WeightsError) as error:
            LOGGER.warning(f"the best weights are not in {self.backup.folder}: {error}")
