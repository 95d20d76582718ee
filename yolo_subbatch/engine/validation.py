"""Validation in a run of sub-batches: the same for any number of them, and with fewer images where memory is short."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from ultralytics.utils import LOCAL_RANK, RANK
from ultralytics.utils.torch_utils import strip_optimizer

from yolo_subbatch.darknet.cross_norm import plain_norm
from yolo_subbatch.darknet.regular_files import write_atomically
from yolo_subbatch.engine import LOGGER, host
from yolo_subbatch.engine.describe_data import MEASURED
from yolo_subbatch.engine.processes import share
from yolo_subbatch.engine.shortage import is_shortage, reason_of
from yolo_subbatch.errors import SettingsError

if TYPE_CHECKING:
    from yolo_subbatch.engine.update import Updates

    Base: Any = Updates
else:
    Base = object

DRAWING = 10.0  # seconds that a picture may take


@contextmanager
def threads_joined() -> Iterator[None]:
    """Wait at the end for the threads that were started: Ultralytics draws in some that nobody waits for."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if not thread.daemon:  # as those are that a loader keeps
            thread.join(DRAWING)


class Validates(Base):
    """The part of the trainer that validates."""

    args: Any
    data: dict[str, Any]
    metrics: dict[str, Any]
    own_defaults: dict[str, Any]
    world_size: int
    test_loader: Any
    finishing: bool
    validated: int | None

    def around_get_validator(self, theirs: Callable[[], Any]) -> Any:
        """Build the validator, which refuses keys that Ultralytics does not know."""
        everything = self.args
        self.args = copy(everything)
        for key in self.own_defaults:
            delattr(self.args, key)
        try:
            return theirs()
        finally:
            self.args = everything

    @property
    def unmeasured(self) -> bool:
        """Whether the data has no images to measure on; those of training stand in for them and are not looked at."""
        return not self.data.get(MEASURED, True)

    def _setup_train(self) -> None:
        """Prepare the loop; what is never measured has no columns among the figures."""
        super()._setup_train()
        if self.unmeasured:
            self.metrics = {}

    def around_validate(self, theirs: Callable[[], Any]) -> Any:
        """Validate, unless the user wants to stop now: these weights then have no figures, and are not the best."""
        if self.unmeasured:
            return self.metrics, None
        if self.stopping and self.windows_done < self.updates_per_epoch:
            return self.metrics, None
        found = self._validated(theirs)
        self.validated = self.epoch
        return found

    def _validated(self, theirs: Callable[[], Any]) -> Any:
        """Validate; on the CPU, several processes do not average their losses in a way that only GPUs know."""
        shared = self.world_size
        if self.processes > 1 and self.device.type == "cpu":
            self.world_size = 1
        try:
            return self._with_fewer_images(partial(self._drawing, partial(self._weighed, theirs)))
        finally:
            self.world_size = shared

    def _drawing(self, work: Callable[[], Any]) -> Any:
        """Validate and draw what is found in the first images, which Ultralytics does after the last epoch only."""
        validator = self.validator
        known = hasattr(validator, "update_metrics") and hasattr(validator, "plot_predictions")
        if not known or not self.args.plots or RANK not in {-1, 0}:
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
        model, loader = self.ema.ema, self.test_loader
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
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not is_shortage(error) or self.processes > 1:
                    raise
                reason = reason_of(error)
            size = self.test_loader.batch_size
            if size == 1:
                raise SettingsError(
                    f"imgsz={self.args.imgsz}: memory is short in validation even for one image at a time ({reason}); "
                    "use a smaller imgsz or network, or free some memory, and go on with resume="
                )
            self._clear_memory()
            self.test_loader = self.get_dataloader(self.data[self.args.split], size // 2, LOCAL_RANK, "val")
            self.validator.dataloader = self.test_loader
            fewer = self.test_loader.batch_size
            self.warn(
                "oom_validation", f"memory is short in validation: {fewer} images at a time from now on [{reason}]"
            )

    @property
    def whole_best(self) -> Path:
        """Where the best weights are kept while they are written over: no other epoch could write them again."""
        return Path(self.wdir) / f"{self.best.name}.whole"

    def around_final_eval(self, theirs: Callable[[], None]) -> None:
        """Validate the best weights, unless the user wants to stop now."""
        if self.stopping:
            return
        self.finishing = True
        if self.unmeasured:
            with self.opening_own():
                for file in (self.last, self.best):
                    if RANK in {-1, 0} and file.is_file():
                        strip_optimizer(file)
            return
        if self.processes > 1:
            share(self.best)  # each validates its images with them
        if self.processes > 1 and self.device.type == "cpu":
            if RANK == 0:
                LOGGER.info("several processes on the CPU: the best weights are not validated once more")
            return
        if RANK in {-1, 0} and self.best.is_file() and not self.whole_best.is_file():
            write_atomically(self.whole_best, self.best.read_bytes())  # Ultralytics writes over it in place
        with threads_joined(), self.opening_own():
            self._with_fewer_images(theirs)
        self.whole_best.unlink(missing_ok=True)

    def around__handle_nan_recovery(self, theirs: Callable[[int], bool], epoch: int) -> bool:
        """Recover as Ultralytics does; the epoch is done again from the iteration at which it began."""
        if self.processes > 1:
            bad = self.fitness is not None and not math.isfinite(self.fitness)
            share(self.last, bad or not bool(self.loss.isfinite()))
        recovered = bool(theirs(epoch))
        if recovered:
            self.update_index, self.seen = self._before_epoch
            self.windows_done = 0
            self.stop = self.stopping
            self.reset_window()
            plain_norm(self.ema.ema)
            self.warn(
                "nan_recovery", f"epoch {epoch + 1} gave no finite mAP: it is done again from the last checkpoint"
            )
        return recovered
