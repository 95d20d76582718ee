"""One weight update per batch, computed in sub-batches, for any Ultralytics trainer.

Ultralytics' loop calls ``optimizer_step()`` after every forward and backward pass; the mixin counts images there and
lets the trainer's ``optimizer_step`` happen once the batch is complete. What Ultralytics does per pass and ought to
happen per update (warm-up, clipping, the moving average, random sizes) happens per update.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import BatchNorm2d, Module
from ultralytics.cfg import cfg2dict
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import ClassificationModel
from ultralytics.utils import DEFAULT_CFG, LOCAL_RANK, RANK
from ultralytics.utils.torch_utils import unwrap_model

from yolo_subbatch.darknet.cross_norm import gather_over_batch
from yolo_subbatch.engine import LOGGER, host, processes, state, use_all_cores
from yolo_subbatch.engine.adding_up import AddsUp
from yolo_subbatch.engine.arguments import (
    AUTO,
    SUBBATCH_DEFAULTS,
    check_arguments,
    describe_batch,
    describe_clip,
    sub_batch_size,
)
from yolo_subbatch.engine.callbacks import RunRecorder
from yolo_subbatch.engine.doors import while_made
from yolo_subbatch.engine.exact_norm import ExactNorm
from yolo_subbatch.engine.fitting import fewest_subdivisions
from yolo_subbatch.engine.hosting import Hosts
from yolo_subbatch.engine.keeping import KeepsState
from yolo_subbatch.engine.loading import Loads
from yolo_subbatch.engine.making import made_for
from yolo_subbatch.engine.making import subbatch as subbatch
from yolo_subbatch.engine.opening import under_plain_name
from yolo_subbatch.engine.overrides import READ_CHECKPOINTS, Seamed
from yolo_subbatch.engine.sharing import Shares
from yolo_subbatch.engine.taken_names import refuse_replaced, setting_own
from yolo_subbatch.engine.tasks import check_task, other_trainer
from yolo_subbatch.engine.update import MEAN_LOSSES, Updates
from yolo_subbatch.engine.validation import Validates
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.run.find import is_checkpoint
from yolo_subbatch.run.trust import guarded


class SubbatchMixin(Shares, KeepsState, AddsUp, Validates, Updates, Hosts, Loads, Seamed):
    """Put this before a trainer class: ``class T(SubbatchMixin, SegmentationTrainer)``, or call :func:`subbatch`.

    ``args.batch`` keeps the number of images of one update; the loader gives ``batch / subdivisions`` images at a time.

    Attributes for callbacks: ``update_index`` (updates done), ``sub_index`` (sub-batches of the open update),
    ``window_images`` (images of the open update), ``seen`` (images trained on), ``update_images``, ``update_losses``
    (means per image of the last update), ``grad_norm`` (before clipping), ``clipped`` and ``skipped`` (updates left
    out).

    Callback events besides Ultralytics': ``on_sub_batch_end`` and ``on_optimizer_step``; ``optimizer_step`` and
    ``on_before_zero_grad``, which Ultralytics declares but does not fire, are fired.

    Ultralytics' attributes mean what they do there: ``batch_size`` images are a pass, ``accumulate`` passes an update.
    A user's own methods are called as Ultralytics calls them (see :mod:`yolo_subbatch.engine.overrides`).
    """

    own_defaults = SUBBATCH_DEFAULTS
    additive_loss = False  # the loss is a sum over images already
    requests_are_new = False  # a request to stop in the folder of a run that goes on is of now, not of before

    @while_made
    def __init__(
        self,
        cfg: Any = DEFAULT_CFG,
        overrides: dict[str, Any] | None = None,
        _callbacks: dict[str, list[Callable[..., None]]] | None = None,
    ) -> None:
        host.check_hooks()
        given = self.begin(overrides)
        if self.resumed is None:
            check_task(type(self), cfg, given)
        with setting_own(self):
            self.reset_counts()
            self.reset_host()
            self.mean_loss = self.finishing = False
        super().__init__({**self.own_defaults, **cfg2dict(cfg)}, given, _callbacks)
        self.rewrite_arguments()
        use_all_cores(self.device)
        self.processes = processes.launched() or 1
        if processes.launched():
            self.world_size = self.processes
        self._complete_arguments(given)
        check_arguments(self.args)
        self.batch_size = sub_batch_size(self.args, max(1, self.world_size))  # what the loader gives
        # With nominal batch = batch, Ultralytics neither rescales the decay nor misjudges the number of updates.
        self.args.nbs = self.args.batch
        self.asked = deepcopy(vars(self.args))
        if self.resumed is not None:
            self.args.resume = str(self.save_dir)  # for the processes that this one may start
        if RANK in {-1, 0} and not self.ddp:
            RunRecorder().register(self)
        self.own_values.update(recorder=self.recorder, epoch_losses=self.epoch_losses)

    def _complete_arguments(self, given: dict[str, Any]) -> None:
        """Fill in, once, what follows from the devices."""
        args = self.args
        if self.device.type == "cpu" and given.get("workers") is not None:
            args.workers = given["workers"]  # Ultralytics loads in the same process on a CPU, whatever is asked
        if args.amp == "bf16" and self.device.type == "cpu":
            # Ultralytics knows bfloat16 on CUDA only, and raises elsewhere.
            args.amp, args.bf16_on_cpu = False, True
        elif args.bf16_on_cpu and self.device.type != "cpu":
            args.amp, args.bf16_on_cpu = "bf16", False  # a run that was begun on a CPU
        if args.batch_per_gpu and not args.complete and isinstance(args.batch, int):
            self.multiply_batch(max(1, self.world_size))
        args.complete = True

    def multiply_batch(self, devices: int) -> None:
        """Take batch and rate as those of one device, as Darknet does."""
        self.args.batch *= devices
        self.args.lr0 *= devices

    @property
    def plain_model(self) -> Any:
        """The model without the wrapper of compilation."""
        return unwrap_model(self.model)

    @property
    def precision(self) -> Any:
        """What Ultralytics' loop gives to ``autocast``."""
        return torch.bfloat16 if self.args.amp == "bf16" else self.amp

    # --- preparing --------------------------------------------------------------------------------------------------

    def around__setup_train(self, theirs: Callable[[], None]) -> None:
        """Prepare the loop, and take up the run that is to go on."""
        refuse_replaced(self, SubbatchMixin)
        # Ultralytics would wrap the model to average gradients in every pass; here they are summed once per update.
        shared, self.world_size = self.world_size, 1
        try:
            theirs()
        finally:
            self.world_size = shared
        self.mean_loss = isinstance(self.plain_model, MEAN_LOSSES)
        if self.processes > 1:
            self._agree()
        if self.args.subdivisions == AUTO:
            self._fit_memory()
        if self.args.exact_norm and not self.additive_loss and not isinstance(self.plain_model, ClassificationModel):
            self.exact = ExactNorm(self.plain_model)
            self.train_loader.whole_window = self.exact.two_pass
        if self.args.bn == "cross":
            gather_over_batch(self.plain_model)
        if self.resumed is not None:
            self.check_checkpoints()
            state.restore(self, self.resumed)
            self.start_epoch = self.resumed["epoch"]
            self.scheduler.last_epoch = self.start_epoch - 1
            for key in ("model", "ema", "optimizer"):
                del self.resumed[key]  # they have their place now
        self.epoch = self.start_epoch
        self.is_set_up()
        if RANK in {-1, 0}:
            LOGGER.info(self.start_line())
            if self.resumed is not None:
                LOGGER.info(f"going on after iteration {self.update_index}, in epoch {self.epoch + 1}")

    def is_set_up(self) -> None:
        """Do what a trainer has to do when all is prepared and the state of an earlier run is in its place."""

    def _fit_memory(self) -> None:
        """Find the number of subdivisions, where it was left to the program."""
        parts = fewest_subdivisions(self)
        if self.processes > 1:
            parts = processes.largest(parts, self.device)
        self.args.subdivisions = parts
        self.batch_size = self.train_loader.size = self.args.batch // parts
        self.train_loader.go_to(0, 0)
        self.test_loader = self.get_dataloader(
            self.data[self.args.split], batch_size=2 * self.batch_size, rank=LOCAL_RANK, mode="val"
        )
        self.validator.dataloader = self.test_loader

    def largest_size(self) -> tuple[int, int]:
        """Return width and height of the largest input that the run may draw."""
        most = self.args.imgsz
        if self.args.multi_scale:
            most = int(most * (1 + self.args.multi_scale) + self.stride) - 1
        return (most // self.stride * self.stride,) * 2

    def start_line(self) -> str:
        """Say what will happen."""
        batch, updates = describe_batch(self.args, self.world_size), f"{self.updates_per_epoch} updates per epoch"
        return "; ".join([batch, updates, self.describe_step(), *self.describe_norm(), *self.describe_order()])

    def describe_step(self) -> str:
        """Say at which norm gradients are clipped, or whose step that is."""
        own = self.own_method("optimizer_step")
        return describe_clip(self.args) if own is None else f"{own} once per update"

    def describe_norm(self) -> list[str]:
        """Say what depends on the sub-batches, or is kept from it."""
        each = self.batch_size // self.processes
        said = []
        if self.normalises():
            ways = {
                "sub-batch": f"per sub-batch of {each} images" if each > 1 else "per image",
                "cross": "over the sub-batches so far of each batch", "frozen": "frozen",
            }  # fmt: skip
            said.append(f"batch normalisation {ways[self.args.bn]}")
        if self.exact is not None:
            said.append(f"exact_norm in {'two passes' if self.exact.two_pass else 'one pass'}")
        return said

    def around_setup_model(self, theirs: Callable[[], Any]) -> Any:
        """Set the model up; channels-last memory is faster on the CPU too."""
        if self.resumed is not None:
            self.model = self.get_model(cfg=self.resumed["yaml"], weights=None, verbose=False)
        file = Path(str(self.args.model))
        if isinstance(self.model, Module) or not (file.is_file() and is_checkpoint(file)):
            checkpoint = theirs()
        else:
            with under_plain_name(file) as self.model:
                checkpoint = theirs()
        if getattr(self.args, "channels_last", False) is not False and self.device.type == "cpu":
            self.model = self.model.to(memory_format=torch.channels_last)
        return checkpoint

    def around_get_model(self, theirs: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        """Build the network; its first weights depend on the seed alone, in whichever process."""
        torch.manual_seed(self.args.seed)
        with guarded(self.args.trust):  # YOLO.train asks for it before the training begins
            return theirs(*args, **keywords)

    def around__build_train_pipeline(self, theirs: Callable[[], None]) -> None:
        """Build loaders and optimizer."""
        if hasattr(self, "updates_per_epoch"):  # Ultralytics met a shortage of memory where it is not looked for here
            self.shortage = "in Ultralytics' loop"
            self.args.batch, self.stepped = self.args.nbs, self.begun
            self.give_up_window(finer_parts=True)
            self.warmup.hide(self.args)
            return
        try:
            theirs()
        except ValueError as error:
            if "final batch=1" not in str(error):
                raise
            raise SettingsError(f"subdivisions={self.args.subdivisions}: {error}") from error
        self.warmup.hide(self.args)
        self.updates_per_epoch = self.train_loader.windows

    def around_build_optimizer(self, theirs: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        """Build the optimizer with the decay as it was given; the loader's size must not scale it."""
        if "decay" in keywords:
            keywords["decay"] = self.args.weight_decay
        return theirs(*args, **keywords)

    def around_check_resume(self, theirs: Callable[[Any], None], overrides: Any) -> None:
        """Leave nothing to Ultralytics, which would go on from half-precision averages of the weights.

        Raises:
            SettingsError: If a user's class went past our ``__init__``, or reads checkpoints itself.
        """
        if "epoch_losses" not in vars(self):
            own = self.own_method("__init__") or type(self).__name__
            raise SettingsError(
                f"{own}: passes the sub-batches by; have it call super().__init__(cfg, overrides, _callbacks)"
            )
        if self.resumed is None:
            theirs(overrides)
        else:
            self.refuse_own(
                READ_CHECKPOINTS,
                "reads Ultralytics' checkpoint, but a run goes on from its exact state here; for what has to be kept "
                "besides, override extra_state() and load_extra_state(extra)",
            )
        self.resume = False

    def around_resume_training(self, theirs: Callable[[Any], None], checkpoint: Any) -> None:
        """Leave the taking up to ``_setup_train``, when everything exists."""
        if self.resumed is None:
            theirs(checkpoint)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def around__get_warmup_iterations(self, theirs: Callable[[int], int], batches: int) -> int:
        """Turn off the loop's warm-up, which counts sub-batches: ``set_rates`` counts updates."""
        self.warmup_of = theirs
        return 0

    def around__model_train(self, theirs: Callable[[], None]) -> None:
        """Set the network to training; with ``bn=frozen`` its statistics stay as they are."""
        theirs()
        if self.args.bn == "frozen":
            for layer in self.plain_model.modules():
                if isinstance(layer, BatchNorm2d):
                    layer.eval()
        if self.windows_done:  # an epoch is taken up: the scheduler has just set the rates of its beginning
            self.set_rates(self.update_index - 1)

    def around_preprocess_batch(self, theirs: Callable[[Any], Any], batch: dict[str, Any]) -> dict[str, Any]:
        """Move a sub-batch to the device."""
        if self.args.bf16_on_cpu:
            # Ultralytics calls this inside its own autocast context, which puts both back when the pass is done.
            torch.set_autocast_dtype("cpu", torch.bfloat16)
            torch.set_autocast_enabled("cpu", True)
        batch = theirs(batch)
        self.input_shape = list(batch["img"].shape[:1:-1])
        if getattr(self.args, "channels_last", False) is not False and self.device.type == "cpu":
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def set_rates(self, update_index: int) -> None:
        """Set learning rate and momentum of one update, counted from 0: Ultralytics' warm-up, by updates."""
        warmup = self.warmup_updates()
        if not warmup or update_index > warmup:
            return
        for group in self.optimizer.param_groups:
            start = self.args.warmup_bias_lr if group.get("param_group") == "bias" else 0.0
            target = group.setdefault("initial_lr", group["lr"]) * self.lf(self.epoch)  # an optimizer put here has none
            group["lr"] = float(np.interp(update_index, [0, warmup], [start, target]))
            if "momentum" in group:
                span = [self.args.warmup_momentum, self.args.momentum]
                group["momentum"] = float(np.interp(update_index, [0, warmup], span))


class SubbatchTrainer(SubbatchMixin, DetectionTrainer):
    """Ultralytics' detection trainer with sub-batches.

    Given a model of another task, it is that of the task: ``subbatch(PoseTrainer)`` and so on.

    >>> YOLO("yolo26n.yaml").train(trainer=SubbatchTrainer, data="coco8.yaml", batch=64, subdivisions=16)
    """

    made_from = DetectionTrainer

    def __new__(cls, *args: Any, **keywords: Any) -> Any:
        """Return a trainer of the task that the model is for."""
        other = other_trainer(cls, *args, **keywords) if cls is SubbatchTrainer else None
        return super().__new__(cls) if other is None else other(*args, **keywords)


made_for(DetectionTrainer, SubbatchTrainer)
