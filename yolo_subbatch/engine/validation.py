"""Validation in a run of sub-batches: the same for any number of them, and with fewer images where memory is short."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from ultralytics.utils import LOCAL_RANK, RANK
from ultralytics.utils.torch_utils import strip_optimizer

from yolo_subbatch.darknet.cross_norm import plain_norm
from yolo_subbatch.darknet.regular_files import write_atomically
from yolo_subbatch.engine import LOGGER, host
from yolo_subbatch.engine.base import TrainerBase
from yolo_subbatch.engine.checkpoint import Checkpointer
from yolo_subbatch.engine.describe_data import MEASURED
from yolo_subbatch.engine.processes import share
from yolo_subbatch.engine.shortage import is_shortage, reason_of
from yolo_subbatch.errors import SettingsError

DRAWING = 10.0  # seconds that a picture may take


@contextmanager
def threads_joined() -> Iterator[None]:
    """Wait at the end for the threads that were started: Ultralytics draws in some that nobody waits for."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if not thread.daemon:  # as those are that a loader keeps
            thread.join(DRAWING)


class Validation:
    """Validates for a trainer, by its own methods.

    Args:
        trainer: Whose network is measured.
    """

    def __init__(self, trainer: TrainerBase) -> None:
        self.trainer = trainer

    @property
    def measures_nothing(self) -> bool:
        """Whether the data has no images to measure on; those of training stand in for them and are not looked at."""
        return not self.trainer.data.get(MEASURED, True)

    def after_epoch(self, theirs: Callable[[], Any]) -> Any:
        """Validate, unless the user wants to stop now: these weights then have no figures, and are not the best."""
        trainer = self.trainer
        if self.measures_nothing:
            return trainer.metrics, None
        if trainer.stopping and trainer.progress.window < trainer.updates_per_epoch:
            return trainer.metrics, None
        found = self._on_this_device(theirs)
        trainer.validated = trainer.epoch
        return found

    def of_best_weights(self, theirs: Callable[[], None], checkpointer: Checkpointer) -> None:
        """Validate the best weights, unless the user wants to stop now."""
        trainer = self.trainer
        if trainer.stopping:
            return
        trainer.finishing = True
        if self.measures_nothing:
            with checkpointer.opening_own():
                for file in (trainer.last, trainer.best):
                    if RANK in {-1, 0} and file.is_file():
                        strip_optimizer(file)
            return
        if trainer.processes > 1:
            share(trainer.best)  # each validates its images with them
        if trainer.processes > 1 and trainer.device.type == "cpu":
            if RANK == 0:
                LOGGER.info("several processes on the CPU: the best weights are not validated once more")
            return
        whole = trainer.whole_best
        if RANK in {-1, 0} and trainer.best.is_file() and not whole.is_file():
            write_atomically(whole, trainer.best.read_bytes())  # Ultralytics writes over it in place
        with threads_joined(), checkpointer.opening_own():
            self._with_fewer_images(theirs)
        whole.unlink(missing_ok=True)

    def recover(self, theirs: Callable[[int], bool], epoch: int, begun_at: tuple[int, int]) -> bool:
        """Recover from figures that are not finite, as Ultralytics does; the epoch is done again from its beginning.

        Args:
            theirs: Ultralytics' recovery.
            epoch: The one that failed.
            begun_at: Iteration and images at its beginning.
        """
        trainer = self.trainer
        if trainer.processes > 1:
            bad = trainer.fitness is not None and not math.isfinite(trainer.fitness)
            share(trainer.last, bad or not bool(trainer.loss.isfinite()))
        recovered = bool(theirs(epoch))
        if recovered:
            trainer.progress.go_back(*begun_at)
            trainer.stop = trainer.stopping
            plain_norm(trainer.ema.ema)
            trainer.warn(
                "nan_recovery", f"epoch {epoch + 1} gave no finite mAP: it is done again from the last checkpoint"
            )
        return recovered

    def _on_this_device(self, theirs: Callable[[], Any]) -> Any:
        """Validate; on the CPU, several processes do not average their losses in a way that only GPUs know."""
        trainer = self.trainer
        shared = trainer.world_size
        if trainer.processes > 1 and trainer.device.type == "cpu":
            trainer.world_size = 1
        try:
            return self._with_fewer_images(lambda: self._drawing(lambda: self._weighed(theirs)))
        finally:
            trainer.world_size = shared

    def _drawing(self, work: Callable[[], Any]) -> Any:
        """Validate and draw what is found in the first images, which Ultralytics does after the last epoch only."""
        validator = self.trainer.validator
        known = hasattr(validator, "update_metrics") and hasattr(validator, "plot_predictions")
        if not known or not self.trainer.args.plots or RANK not in {-1, 0}:
            return work()
        original, drawn = validator.update_metrics, False

        def update_metrics(preds: Any, batch: dict[str, Any]) -> None:
            nonlocal drawn
            original(preds, batch)
            if not drawn and not validator.args.plots:
                validator.plot_predictions(batch, preds, 0)
            drawn = True

        with patch.object(validator, "update_metrics", update_metrics), threads_joined():
            return work()

    def _weighed(self, work: Callable[[], Any]) -> Any:
        """Validate with losses that are means over the images, however many of them come at a time.

        Ultralytics forms the mean over the batches, in which a smaller last one weighs as much as any other.
        """
        model, loader = self.trainer.ema.ema, self.trainer.test_loader
        if not hasattr(loader, "sampler"):  # a user's own
            return work()
        original, each = model.loss, len(loader) / max(1, len(loader.sampler))

        def loss(batch: dict[str, Any], preds: Any = None) -> tuple[Any, host.Items]:
            total, items = original(batch, preds)
            return total, host.scaled(items, len(batch["img"]) * each)

        with patch.object(model, "loss", loss):
            return work()

    def _with_fewer_images(self, work: Callable[[], Any]) -> Any:
        """Do some validation again and again, with fewer images at a time, until memory suffices.

        Raises:
            SettingsError: If it does not for a single image.
        """
        trainer = self.trainer
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not is_shortage(error) or trainer.processes > 1:
                    raise
                reason = reason_of(error)
            size = trainer.test_loader.batch_size
            if size == 1:
                raise SettingsError(
                    f"imgsz={trainer.args.imgsz}: memory is short in validation even for one image at a time "
                    f"({reason}); use a smaller imgsz or network, or free some memory, and go on with resume="
                )
            trainer._clear_memory()
            as_of_update = size // 2 * trainer.args.subdivisions  # in which Ultralytics would ask
            trainer.test_loader = trainer.get_dataloader(
                trainer.data[trainer.args.split], as_of_update, LOCAL_RANK, "val"
            )
            trainer.validator.dataloader = trainer.test_loader
            fewer = trainer.test_loader.batch_size
            trainer.warn(
                "oom_validation", f"memory is short in validation: {fewer} images at a time from now on [{reason}]"
            )
