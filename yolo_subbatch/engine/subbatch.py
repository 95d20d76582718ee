"""One weight update per batch, computed in sub-batches, for any Ultralytics trainer.

Ultralytics calls ``optimizer_step()`` after every forward and backward pass when its own accumulation is set to one;
the mixin counts images there and really updates once the batch is complete. What Ultralytics does per pass and ought to
happen per update (warm-up, clipping, the moving average) happens per update.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from ultralytics.cfg import cfg2dict
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import ClassificationModel, RTDETRDetectionModel
from ultralytics.utils import DEFAULT_CFG, RANK
from ultralytics.utils.torch_utils import unwrap_model

from yolo_subbatch.engine import LOGGER, use_all_cores
from yolo_subbatch.engine.arguments import SUBBATCH_DEFAULTS, describe_batch, describe_clip, sub_batch_size
from yolo_subbatch.engine.callbacks import RunRecorder
from yolo_subbatch.engine.data import ultralytics_yaml
from yolo_subbatch.engine.running import RunningLoss, keep_running
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.run.events import Warned

if TYPE_CHECKING:
    from ultralytics.engine.trainer import BaseTrainer

    Base: Any = BaseTrainer
else:
    Base = object

#: Networks whose loss is a mean over the images that it is given; all others return a sum.
MEAN_LOSSES = (ClassificationModel, RTDETRDetectionModel)


class SubbatchMixin(Base):
    """Put this before a trainer class: ``class T(SubbatchMixin, SegmentationTrainer)``, or call :func:`subbatch`.

    ``args.batch`` keeps the number of images of one update; the loader gives ``batch / subdivisions`` images at a time.

    Attributes for callbacks: ``update_index`` (updates done), ``sub_index`` (sub-batches of the open update),
    ``window_images`` (images of the open update), ``seen`` (images trained on), ``update_images``, ``update_losses``
    (means per image of the last update), ``grad_norm`` (before clipping) and ``clipped``.

    Callback events besides Ultralytics': ``on_sub_batch_end`` and ``on_optimizer_step``; ``optimizer_step`` and
    ``on_before_zero_grad``, which Ultralytics declares but does not fire, are fired.
    """

    own_defaults = SUBBATCH_DEFAULTS
    args: Any
    model: Any
    batch_size: int
    world_size: int

    def __init__(
        self,
        cfg: Any = DEFAULT_CFG,
        overrides: dict[str, Any] | None = None,
        _callbacks: dict[str, list[Callable[..., None]]] | None = None,
    ) -> None:
        self.update_index = self.seen = 0
        self.grad_norm = 0.0
        self.clipped = False
        self.update_images = 0
        self.update_losses: dict[str, float] = {}
        self.input_shape: list[int] = []
        self.recorder: RunRecorder | None = None
        self.validated: int | None = None  # the last epoch that was validated, from 0
        super().__init__({**self.own_defaults, **cfg2dict(cfg)}, overrides, _callbacks)
        use_all_cores(self.device)
        if self.args.amp == "bf16" and self.device.type == "cpu":
            # Ultralytics knows bfloat16 on CUDA only, and raises elsewhere.
            self.args.amp, self.args.bf16_on_cpu = False, True
        self.batch_size = sub_batch_size(self.args, max(1, self.world_size))  # what the loader gives
        # With nominal batch = batch, Ultralytics neither rescales the decay nor misjudges the number of updates.
        self.args.nbs = self.args.batch
        self._reset_window()
        if RANK in {-1, 0} and not self.ddp:
            RunRecorder().register(self)

    @property
    def tloss(self) -> dict[str, RunningLoss] | None:
        """Ultralytics' running means of the epoch, which can be shown without waiting for a GPU."""
        return self._tloss

    @tloss.setter
    def tloss(self, losses: dict[str, Any] | None) -> None:
        self._tloss = keep_running(losses)

    # --- what Ultralytics' loop calls -------------------------------------------------------------------------------

    def get_dataset(self) -> dict[str, Any]:
        """Read the data description; a Darknet ``.data`` file is written as a YAML into the run folder first."""
        if str(self.args.data).endswith(".data"):
            self.args.data = str(ultralytics_yaml(self.args.data, self.save_dir / "data"))
        data: dict[str, Any] = super().get_dataset()
        return data

    def _setup_train(self) -> None:
        """Prepare the loop; a loss that is a mean over a sub-batch is weighted by its images."""
        super()._setup_train()
        self.mean_loss = isinstance(self.plain_model, MEAN_LOSSES)
        if self.mean_loss:
            scale = self.scaler.scale
            self.scaler.scale = lambda loss: scale(loss * (self.sub_images / max(1, self.world_size)))
        if RANK in {-1, 0}:
            LOGGER.info(self.start_line())

    def start_line(self) -> str:
        """Say what will happen."""
        return f"{describe_batch(self.args)}; {self.updates_per_epoch} updates per epoch; {describe_clip(self.args)}"

    def _build_train_pipeline(self) -> None:
        """Build loaders and optimizer, then have ``optimizer_step`` called after every sub-batch."""
        self._undo_memory_retry()
        try:
            super()._build_train_pipeline()
        except ValueError as error:
            if "final batch=1" not in str(error):
                raise
            raise SettingsError(f"subdivisions={self.args.subdivisions}: {error}") from error
        self.accumulate = 1
        self.sub_batches = len(self.train_loader)
        self.updates_per_epoch = math.ceil(self.epoch_images() / self.args.batch)
        for group in self.optimizer.param_groups:
            if group.get("param_group") in {"weight", "muon"}:
                group["weight_decay"] = self.args.weight_decay
        self._reset_window()

    def epoch_images(self) -> int:
        """Return the images of an epoch; with ``compile`` Ultralytics leaves out the last, smaller sub-batch."""
        every = len(self.train_loader.sampler) * max(1, self.world_size)
        return min(every, len(self.train_loader) * self.batch_size)

    def _undo_memory_retry(self) -> None:
        """Keep the batch when Ultralytics halves it for lack of memory: raise ``subdivisions`` instead."""
        wanted = getattr(self, "_batch", self.args.batch)
        self._batch = wanted
        if self.args.batch == wanted:
            return
        part = next(each for each in range(max(1, self.batch_size), 0, -1) if wanted % each == 0)
        self.args.batch, self.args.subdivisions, self.batch_size = wanted, wanted // part, part
        self.warn(
            "oom_retry", f"memory is short: batch {wanted} stays, subdivisions={self.args.subdivisions} from now on"
        )

    def warn(self, code: str, text: str) -> None:
        """Tell the user and whoever reads the events."""
        LOGGER.warning(text)
        if self.recorder is not None:
            self.recorder.emit(Warned(code=code, text=text))

    def build_optimizer(self, model: torch.nn.Module, **keywords: Any) -> torch.optim.Optimizer:
        """Build the optimizer with the decay as it was given; the loader's size must not scale it."""
        return super().build_optimizer(model, **{**keywords, "decay": self.args.weight_decay})

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """Build the data set; mosaic draws from a buffer that must not shrink with the sub-batch."""
        return super().build_dataset(img_path, mode, self.args.batch if mode == "train" else batch)

    def setup_model(self) -> Any:
        """Set the model up; channels-last memory is faster on the CPU too."""
        checkpoint = super().setup_model()
        if self.args.channels_last is not False and self.device.type == "cpu":
            self.model = self.model.to(memory_format=torch.channels_last)
        return checkpoint

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

    def _get_warmup_iterations(self, num_batches: int) -> int:
        """Turn off the loop's warm-up, which counts sub-batches: ``set_rates`` counts updates."""
        return 0

    def run_callbacks(self, event: str) -> None:
        """Run callbacks; the start of an epoch and of a sub-batch are seen here."""
        if event == "on_train_epoch_start":
            self.sub_done = 0
            self._before_epoch = self.update_index, self.seen
            self._reset_window()
        elif event == "on_train_batch_start":
            self._before_sub_batch()
        super().run_callbacks(event)

    def _before_sub_batch(self) -> None:
        """Let several devices exchange gradients only in the last sub-batch of an update."""
        if self.world_size > 1:
            full = self.window_images + self.batch_size >= self.args.batch
            self.model.require_backward_grad_sync = full or self.sub_done + 1 == self.sub_batches

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move a sub-batch to the device and note how many images it holds."""
        if self.args.bf16_on_cpu:
            # Ultralytics calls this inside its own autocast context, which puts both back when the pass is done.
            torch.set_autocast_dtype("cpu", torch.bfloat16)
            torch.set_autocast_enabled("cpu", True)
        batch = super().preprocess_batch(batch)
        self.sub_images = len(batch["img"]) * max(1, self.world_size)
        self.input_shape = list(batch["img"].shape[:1:-1])
        if self.args.channels_last is not False and self.device.type == "cpu":
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def optimizer_step(self) -> None:
        """Count the sub-batch; update the weights if it completes the batch or the epoch."""
        self.sub_done += 1
        self.sub_index += 1
        self.window_images += self.sub_images
        for name, value in self.loss_items.items():
            self._window_losses[name] = self._window_losses.get(name, 0.0) + value.detach() * self.sub_images
        self.run_callbacks("on_sub_batch_end")
        if self.window_images >= self.args.batch or self.sub_done >= self.sub_batches:
            self.update()

    # --- the update -------------------------------------------------------------------------------------------------

    def update(self) -> None:
        """Update the weights with the gradient of all the images since the last update.

        Unscaled once, divided by the images that were really seen, clipped once, stepped once.
        """
        self.set_rates(self.update_index)
        self.run_callbacks("optimizer_step")
        self.scaler.unscale_(self.optimizer)
        if self.args.grad_reduction == "mean" or self.mean_loss:
            divide_gradients(self.model, self.window_images)
        norm = clip_grad_norm_(self.model.parameters(), self.args.max_norm or math.inf, float(self.args.norm_type))
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.run_callbacks("on_before_zero_grad")
        self.optimizer.zero_grad()
        if self.scaler.get_scale() >= scale:  # a smaller scale means that half precision overflowed: nothing was done
            self._after_update(norm)
        self._reset_window()

    def _after_update(self, norm: torch.Tensor) -> None:
        self.update_index += 1
        self.seen += self.window_images
        if self.ema:
            self.ema.update(self.model)
        names, running = list(self._window_losses), list((self.tloss or {}).values())
        # One transfer an update, not one a value: each would wait for the device.
        wanted = [norm, *(self._window_losses[name] for name in names), *(each.value for each in running)]
        values = torch.stack([each.float() for each in wanted]).tolist()
        for each, value in zip(running, values[1 + len(names) :], strict=True):
            each.shown = value
        self.grad_norm = values[0]
        self.clipped = 0 < self.args.max_norm < self.grad_norm
        self.update_images = self.window_images
        self.update_losses = {
            name: value / self.window_images for name, value in zip(names, values[1 : 1 + len(names)], strict=True)
        }
        self.run_callbacks("on_optimizer_step")

    def set_rates(self, update_index: int) -> None:
        """Set learning rate and momentum of one update, counted from 0: Ultralytics' warm-up, by updates."""
        epochs = min(self.args.warmup_epochs, max(self.epochs - 1, 0))
        warmup = round(epochs * self.updates_per_epoch)
        if not warmup or update_index > warmup:
            return
        for group in self.optimizer.param_groups:
            start = self.args.warmup_bias_lr if group.get("param_group") == "bias" else 0.0
            target = group["initial_lr"] * self.lf(self.epoch)
            group["lr"] = float(np.interp(update_index, [0, warmup], [start, target]))
            if "momentum" in group:
                span = [self.args.warmup_momentum, self.args.momentum]
                group["momentum"] = float(np.interp(update_index, [0, warmup], span))

    def _reset_window(self) -> None:
        """Forget the sub-batches of an update that is done or given up."""
        self.sub_index = self.window_images = 0
        self._window_losses: dict[str, Any] = {}

    def validate(self) -> Any:
        """Validate, unless the user wants to stop now: these weights then have no figures, and are not the best."""
        if self.interrupted:
            return self.metrics, None
        found = super().validate()
        self.validated = self.epoch
        return found

    def final_eval(self) -> None:
        """Validate the best weights, unless the user wants to stop now."""
        if not self.interrupted:
            super().final_eval()

    @property
    def interrupted(self) -> bool:
        """Whether someone asked for the end of the run."""
        return self.recorder is not None and self.recorder.interrupted

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Recover as Ultralytics does; the epoch is done again from the iteration at which it began."""
        recovered = bool(super()._handle_nan_recovery(epoch))
        if recovered:
            self.update_index, self.seen = self._before_epoch
            self.stop = self.interrupted
            self._reset_window()
            self.warn(
                "nan_recovery", f"epoch {epoch + 1} gave no finite loss: it is done again from the last checkpoint"
            )
        return recovered

    @property
    def plain_model(self) -> Any:
        """The model without the wrappers of compilation and several devices."""
        return unwrap_model(self.model)


def divide_gradients(model: torch.nn.Module, divisor: float) -> None:
    """Divide every gradient in place."""
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    torch._foreach_div_(gradients, float(divisor))


def subbatch(trainer: type[BaseTrainer]) -> type[BaseTrainer]:
    """Return ``trainer`` with sub-batches, for example ``subbatch(SegmentationTrainer)``.

    The class is kept in this module under its own name, so that it can be pickled by name.
    """
    if issubclass(trainer, SubbatchMixin):
        return trainer
    name = f"Subbatch{trainer.__name__}"
    if name not in globals():
        globals()[name] = type(name, (SubbatchMixin, trainer), {"__module__": __name__, "__doc__": trainer.__doc__})
    made: type[BaseTrainer] = globals()[name]
    return made


class SubbatchTrainer(SubbatchMixin, DetectionTrainer):
    """Ultralytics' detection trainer with sub-batches.

    >>> YOLO("yolo26n.yaml").train(trainer=SubbatchTrainer, data="coco8.yaml", batch=64, subdivisions=16)
    """
