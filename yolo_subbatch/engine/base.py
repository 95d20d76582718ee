"""What a trainer of sub-batches consists of: its parts, and what callbacks may look at."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch.nn import BatchNorm2d
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import unwrap_model

from yolo_subbatch.darknet.host_memory import return_at_once
from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.callbacks import RunRecorder
from yolo_subbatch.engine.exact_norm import ExactNorm
from yolo_subbatch.engine.host_trainer import HostTrainer
from yolo_subbatch.engine.overrides import Seamed
from yolo_subbatch.engine.progress import Progress
from yolo_subbatch.engine.recompute import COST, Recompute, is_possible
from yolo_subbatch.engine.shortage import finer
from yolo_subbatch.engine.sub_batches import SubBatches, Sums, precise
from yolo_subbatch.engine.taken_names import is_read_only
from yolo_subbatch.engine.update import Update, forget_unscaled
from yolo_subbatch.engine.windows import WindowLoader
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.events import Warned
from yolo_subbatch.folder.resume import STATE


class TrainerBase(Seamed, HostTrainer):
    """The parts of a trainer of sub-batches, and what callbacks may look at."""

    own_defaults: ClassVar[dict[str, Any]]  # the keys that are not Ultralytics'
    resumed: dict[str, Any] | None = None  # the state of the run that is taken up
    requests_are_new = False  # a request to stop in the folder of a run that goes on is of now, not of before
    stop_asked = False  # by a signal to this process, which is not the first
    in_hosts_loop = False  # Ultralytics' training loop is or was running
    asked: dict[str, Any]  # the arguments as they are kept
    own_values: dict[str, Any]  # what sub-batches have put on the trainer before it existed
    processes: int
    train_loader: WindowLoader
    updates_per_epoch: int
    additive_loss = False  # the loss is a sum over images already

    def begin_anew(self) -> None:
        """Begin before the first update; this is all that sub-batches put on a trainer before it exists."""
        self.progress = Progress()
        self.last_update: Update | None = None  # the one that is being made, and then the last
        self.sub_batches: SubBatches | None = None
        self.exact: ExactNorm | None = None
        self.recompute: Recompute | None = None
        self.recorder: RunRecorder | None = None
        self.input_shape: list[int] = []  # width and height
        self.callbacks_open = 0
        self.stopping = False  # the run ends after the update that was done last
        self.stop_agreed = self.stop_later = False  # a callback's wish to end: all processes know it; they do not
        self.validated: int | None = None  # the last epoch that was validated, from 0
        self.warmup_updates = 0
        self.taken_up: int | None = None  # the epoch that was taken up in its middle
        self.rates_before: list[float] = []  # of the groups, where the run goes on with another length
        self.mean_loss = self.finishing = False

    if not TYPE_CHECKING:  # else any attribute would be one to a checker of types

        def __setattr__(self, name: str, value: Any) -> None:
            if not self.in_hosts_loop and is_read_only(type(self), name):
                self.__dict__[name] = value  # by a user's own class, which is told of all such names at once
            else:
                super().__setattr__(name, value)

    # --- for callbacks ----------------------------------------------------------------------------------------------

    @property
    def plain_model(self) -> Any:
        """The model without wrappers."""
        return unwrap_model(self.model)

    @property
    def update_index(self) -> int:
        """Updates done or left out since the beginning."""
        return self.progress.iteration

    @property
    def seen(self) -> int:
        """Images trained on since the beginning."""
        return self.progress.seen

    @property
    def windows_done(self) -> int:
        """Updates of the epoch so far."""
        return self.progress.window

    @property
    def skipped(self) -> int:
        """Updates that were left out."""
        return self.progress.skipped

    @property
    def in_a_row(self) -> int:
        """Updates that were left out one after the other, up to now."""
        return self.progress.in_a_row

    @property
    def sub_index(self) -> int:
        """Sub-batches of the open update."""
        return self._open_sums().parts

    @property
    def window_images(self) -> int:
        """Images of the open update."""
        return self._open_sums().images

    def _open_sums(self) -> Sums:
        found = self.sub_batches
        return Sums() if found is None or found.window is None else found.sums

    @property
    def update_images(self) -> int:
        """Images of the last update."""
        return self.last_update.images if self.last_update else 0

    @property
    def update_losses(self) -> dict[str, float]:
        """The losses of the last update, means per image."""
        return self.last_update.losses if self.last_update else {}

    @property
    def grad_norm(self) -> float:
        """The norm of the last update's gradient, before clipping."""
        return self.last_update.grad_norm if self.last_update else 0.0

    @property
    def clipped(self) -> bool:
        """Whether the last update's gradient was clipped."""
        return self.last_update.clipped if self.last_update else False

    @property
    def accumulate(self) -> int:
        """Passes of the loop to an update."""
        return 1

    @accumulate.setter
    def accumulate(self, passes: float) -> None:
        """Leave it as it is; whoever sets it in a callback is told."""
        if self.callbacks_open and passes != 1:
            LOGGER.warning(
                f"accumulate={passes}: has no effect, an update is batch={self.args.batch} images in "
                f"subdivisions={self.args.subdivisions}; give these"
            )

    # --- for the parts ----------------------------------------------------------------------------------------------

    @property
    def state_file(self) -> Path:
        """Where the exact state is kept."""
        return Path(self.wdir) / STATE

    @property
    def whole_best(self) -> Path:
        """Where the best weights are kept while they are written over: no other epoch could write them again."""
        return Path(self.wdir) / f"{self.best.name}.whole"

    def multiply_batch(self, devices: int) -> None:
        """Take batch and rate as those of one device, as Darknet does."""
        self.args.batch *= devices
        self.args.lr0 *= devices

    def precise(self) -> AbstractContextManager[Any]:
        """Return the context in which the network computes."""
        bf16 = self.args.amp == "bf16" or self.args.bf16_on_cpu
        return precise(self.device, torch.bfloat16 if bf16 else self.amp)

    @property
    def flavour(self) -> str:
        """Whose Darknet decides what an image without a label file is."""
        return "pjreddie"

    def trains_darknet(self) -> bool:
        """Tell whether this trainer is one of Darknet networks."""
        return "flavour" in self.own_defaults

    def is_over(self) -> bool:
        """Tell whether the run has made its last update."""
        return bool(self.epoch + 1 >= self.epochs and self.progress.window >= self.updates_per_epoch)

    def stop_wanted(self) -> bool:
        """Tell whether someone asked for the end of the run."""
        return self.stop_asked or (self.recorder is not None and self.recorder.stop_wanted())

    def normalises(self) -> bool:
        """Tell whether the network has batch normalisation."""
        return any(isinstance(layer, BatchNorm2d) for layer in self.plain_model.modules())

    def largest_size(self) -> tuple[int, int]:
        """Return width and height of the largest input that the run may draw."""
        most = self.args.imgsz
        if self.args.multi_scale:
            most = int(most * (1 + self.args.multi_scale) + self.stride) - 1
        return (most // self.stride * self.stride,) * 2

    def cut_finer(self, reason: str) -> None:
        """Raise ``subdivisions``, or keep fewer activations where they are at their end; the batch stays."""
        args = self.args
        forget_unscaled(self.scaler, 1.0)
        try:
            args.subdivisions = finer(args.batch, args.subdivisions, self.processes)
        except SettingsError:
            if not self.can_recompute():
                raise
            self._recompute_instead(reason)
            return
        size = self.train_loader.size = args.batch // args.subdivisions
        text = (
            f"memory is short: batch {args.batch} stays, subdivisions={args.subdivisions} from now on "
            f"({size} images at a time); iteration {self.progress.iteration + 1} is done again"
        )
        if args.bn == "sub-batch" and self.normalises():
            text += f"; batch normalisation now averages over {size // self.processes} images"
        self.warn("oom_retry", f"{text} [{reason}]" if reason else text)

    def can_recompute(self) -> bool:
        """Tell whether memory can still be saved by computing activations again."""
        return not self.args.recompute and not self.args.compile and is_possible(self.plain_model)

    def set_recompute(self, recompute: bool) -> None:
        """Have activations computed again in the backward pass from now on, or not."""
        self.args.recompute = recompute
        self.recompute = Recompute(self.plain_model) if recompute else None
        if recompute and self.device.type == "cpu":
            return_at_once()

    def _recompute_instead(self, reason: str) -> None:
        """Keep fewer activations, where sub-batches cannot be smaller."""
        self.set_recompute(True)
        text = (
            f"memory is short even for one image at a time: recompute=True from now on, {COST}; "
            f"iteration {self.progress.iteration + 1} is done again"
        )
        self.warn("oom_retry", f"{text} [{reason}]" if reason else text)

    def set_rates(self, update_index: int) -> None:
        """Set learning rate and momentum of one update, counted from 0: Ultralytics' warm-up.

        The loop has done the same, but for an epoch that was taken up in its middle, whose passes it counts from 0.
        """
        if self.warmup_updates < 1 or (update_index > self.warmup_updates and self.epoch != self.taken_up):
            return
        for group in self.optimizer.param_groups:
            start = self.args.warmup_bias_lr if group.get("param_group") == "bias" else 0.0
            target = group["initial_lr"] * self.lf(self.epoch)
            group["lr"] = float(np.interp(update_index, [0, self.warmup_updates], [start, target]))
            if "momentum" in group:
                span = [self.args.warmup_momentum, self.args.momentum]
                group["momentum"] = float(np.interp(update_index, [0, self.warmup_updates], span))

    def length_line(self) -> str:
        """Say what becomes of the schedule with the new length of a run."""
        raise NotImplementedError

    def save_state(self) -> None:
        """Keep the exact state."""
        raise NotImplementedError

    def extra_state(self) -> dict[str, Any]:
        """Return what a trainer has to keep besides; numbers, texts and tensors."""
        return {}

    def load_extra_state(self, extra: dict[str, Any]) -> None:
        """Take up what :meth:`extra_state` returned."""

    def warn(self, code: str, text: str) -> None:
        """Tell the user and whoever reads the events."""
        if RANK in {-1, 0}:
            LOGGER.warning(text)
        if self.recorder is not None:
            self.recorder.emit(Warned(code=code, text=text))
