"""Validation in a run of sub-batches: the same for any number of them, and with fewer images where memory is short."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from ultralytics.utils import LOCAL_RANK

from yolo_subbatch.darknet.cross_norm import plain_norm
from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.shortage import is_shortage

if TYPE_CHECKING:
    from yolo_subbatch.engine.update import Updates

    Base: Any = Updates
else:
    Base = object


class Validates(Base):
    """The part of the trainer that validates."""

    args: Any
    own_defaults: dict[str, Any]
    world_size: int
    test_loader: Any
    finishing: bool

    def get_validator(self) -> Any:
        """Build the validator, which refuses keys that Ultralytics does not know."""
        everything = self.args
        self.args = copy(everything)
        for key in self.own_defaults:
            delattr(self.args, key)
        try:
            return super().get_validator()
        finally:
            self.args = everything

    def validate(self) -> Any:
        """Validate, unless the user wants to stop now: these weights then have no figures, and are not the best."""
        if self.stopping and self.windows_done < self.updates_per_epoch:
            return self.metrics, None
        found = self._validated()
        self.validated = self.epoch
        return found

    def _validated(self) -> Any:
        """Validate, with fewer images at a time where memory is short."""
        shared = self.world_size
        if self.processes > 1 and self.device.type == "cpu":
            self.world_size = 1  # Ultralytics would average the losses in a way that only GPUs know
        try:
            return super().validate()
        except (RuntimeError, MemoryError) as error:
            size = self.test_loader.batch_size
            if not is_shortage(error) or size == 1 or self.processes > 1:
                raise
        finally:
            self.world_size = shared
        self._clear_memory()
        smaller = size // 2
        self.warn("oom_validation", f"memory is short in validation: {smaller} images at a time from now on")
        self.test_loader = self.get_dataloader(self.data[self.args.split], smaller, LOCAL_RANK, "val")
        self.validator.dataloader = self.test_loader
        return self._validated()

    def final_eval(self) -> None:
        """Validate the best weights, unless the user wants to stop now."""
        if self.stopping:
            return
        self.finishing = True
        if self.processes > 1 and self.device.type == "cpu":
            LOGGER.info("several processes on the CPU: the best weights are not validated once more")
            return
        super().final_eval()

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Recover as Ultralytics does; the epoch is done again from the iteration at which it began."""
        recovered = bool(super()._handle_nan_recovery(epoch))
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
