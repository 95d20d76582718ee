"""One weight update per batch, computed in sub-batches, for any Ultralytics trainer.

Ultralytics calls ``optimizer_step()`` after every forward and backward pass when its own accumulation is set to one;
the mixin counts images there and really updates once the batch is complete. What Ultralytics does per pass and ought to
happen per update (warm-up, clipping, the moving average, random sizes) happens per update.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import BatchNorm2d
from torch.utils.data import RandomSampler, SequentialSampler
from ultralytics.cfg import cfg2dict
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import ClassificationModel
from ultralytics.utils import DEFAULT_CFG, LOCAL_RANK, RANK
from ultralytics.utils.torch_utils import torch_distributed_zero_first, unwrap_model

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
from yolo_subbatch.engine.data import ultralytics_yaml
from yolo_subbatch.engine.exact_norm import ExactNorm
from yolo_subbatch.engine.fitting import fewest_subdivisions
from yolo_subbatch.engine.keeping import KeepsState
from yolo_subbatch.engine.running import EpochLosses
from yolo_subbatch.engine.sharing import Shares
from yolo_subbatch.engine.update import MEAN_LOSSES, Updates
from yolo_subbatch.engine.validation import Validates
from yolo_subbatch.engine.windows import EpochOrder, WindowLoader
from yolo_subbatch.errors import SettingsError

if TYPE_CHECKING:
    from ultralytics.engine.trainer import BaseTrainer


class SubbatchMixin(Shares, KeepsState, AddsUp, Validates, Updates):
    """Put this before a trainer class: ``class T(SubbatchMixin, SegmentationTrainer)``, or call :func:`subbatch`.

    ``args.batch`` keeps the number of images of one update; the loader gives ``batch / subdivisions`` images at a time.

    Attributes for callbacks: ``update_index`` (updates done), ``sub_index`` (sub-batches of the open update),
    ``window_images`` (images of the open update), ``seen`` (images trained on), ``update_images``, ``update_losses``
    (means per image of the last update), ``grad_norm`` (before clipping), ``clipped`` and ``skipped`` (updates left
    out).

    Callback events besides Ultralytics': ``on_sub_batch_end`` and ``on_optimizer_step``; ``optimizer_step`` and
    ``on_before_zero_grad``, which Ultralytics declares but does not fire, are fired.
    """

    own_defaults = SUBBATCH_DEFAULTS
    additive_loss = False  # the loss is a sum over images already
    requests_are_new = False  # a request to stop in the folder of a run that goes on is of now, not of before

    def __init__(
        self,
        cfg: Any = DEFAULT_CFG,
        overrides: dict[str, Any] | None = None,
        _callbacks: dict[str, list[Callable[..., None]]] | None = None,
    ) -> None:
        host.check_hooks()
        given = self.begin(overrides)
        self.reset_counts()
        self.input_shape: list[int] = []
        self.recorder: RunRecorder | None = None
        self.validated: int | None = None  # the last epoch that was validated, from 0
        self.epoch_losses = EpochLosses()
        self.mean_loss = self.finishing = False
        self.warmup = host.HiddenWarmup()
        super().__init__({**self.own_defaults, **cfg2dict(cfg)}, given, _callbacks)
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
    def tloss(self) -> Any:
        """Ultralytics' running means of the epoch, which can be shown without waiting for a GPU."""
        return host.shown(self.epoch_losses, self.loss_names)

    @tloss.setter
    def tloss(self, losses: Any) -> None:
        if losses is None and not self.windows_done:  # an epoch that is taken up in its middle keeps them
            self.epoch_losses = EpochLosses()

    @property
    def plain_model(self) -> Any:
        """The model without the wrapper of compilation."""
        return unwrap_model(self.model)

    @property
    def precision(self) -> Any:
        """What Ultralytics' loop gives to ``autocast``."""
        return torch.bfloat16 if self.args.amp == "bf16" else self.amp

    # --- preparing --------------------------------------------------------------------------------------------------

    def get_dataset(self) -> dict[str, Any]:
        """Read the data description; a Darknet ``.data`` file is written as a YAML into the run folder first."""
        if str(self.args.data).endswith(".data"):
            self.args.data = str(ultralytics_yaml(self.args.data, self.save_dir / "data"))
        elif Path(str(self.args.data)).exists():
            self.args.data = str(Path(str(self.args.data)).absolute())  # a run may go on from another working directory
        data: dict[str, Any] = super().get_dataset()
        return data

    def _setup_train(self) -> None:
        """Prepare the loop, and take up the run that is to go on."""
        # Ultralytics would wrap the model to average gradients in every pass; here they are summed once per update.
        shared, self.world_size = self.world_size, 1
        try:
            super()._setup_train()
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
            state.restore(self, self.resumed)
            self.start_epoch = self.resumed["epoch"]
            self.scheduler.last_epoch = self.start_epoch - 1
            for key in ("model", "ema", "optimizer"):
                del self.resumed[key]  # they have their place now
        self.epoch = self.start_epoch
        if RANK in {-1, 0}:
            LOGGER.info(self.start_line())
            if self.resumed is not None:
                LOGGER.info(f"going on after iteration {self.update_index}, in epoch {self.epoch + 1}")

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
        side = most // self.stride * self.stride
        return side, side

    def start_line(self) -> str:
        """Say what will happen."""
        said = [describe_batch(self.args, self.world_size), f"{self.updates_per_epoch} updates per epoch"]
        return "; ".join([*said, describe_clip(self.args), *self.describe_norm()])

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

    def setup_model(self) -> Any:
        """Set the model up; channels-last memory is faster on the CPU too."""
        if self.resumed is not None:
            self.model = self.get_model(cfg=self.resumed["yaml"], weights=None, verbose=False)
        checkpoint = super().setup_model()
        if getattr(self.args, "channels_last", False) is not False and self.device.type == "cpu":
            self.model = self.model.to(memory_format=torch.channels_last)
        return checkpoint

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """Build the network; its first weights depend on the seed alone, in whichever process."""
        torch.manual_seed(self.args.seed)
        return super().get_model(cfg=cfg, weights=weights, verbose=verbose)

    def _build_train_pipeline(self) -> None:
        """Build loaders and optimizer, then have ``optimizer_step`` called after every sub-batch."""
        if hasattr(self, "updates_per_epoch"):  # Ultralytics met a shortage of memory where it is not looked for here
            self.shortage = "in Ultralytics' loop"
            self.args.batch, self.stepped = self.args.nbs, self.begun
            self.give_up_window(finer_parts=True)
            self.warmup.hide(self.args)
            return
        try:
            super()._build_train_pipeline()
        except ValueError as error:
            if "final batch=1" not in str(error):
                raise
            raise SettingsError(f"subdivisions={self.args.subdivisions}: {error}") from error
        # Always: where a window is done again, the loop's count of passes no longer says where it is in the epoch.
        self.accumulate = -math.inf
        self.warmup.hide(self.args)
        self.updates_per_epoch = self.train_loader.windows
        for group in self.optimizer.param_groups:
            if group.get("param_group") in {"weight", "muon"}:
                group["weight_decay"] = self.args.weight_decay

    def build_optimizer(self, model: torch.nn.Module, **keywords: Any) -> torch.optim.Optimizer:
        """Build the optimizer with the decay as it was given; the loader's size must not scale it."""
        return super().build_optimizer(model, **{**keywords, "decay": self.args.weight_decay})

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """Build the data set; what hangs on the batch (mosaic, shapes of validation) must not on the sub-batch."""
        return super().build_dataset(img_path, mode, self.args.batch)

    def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        """Return the loader of one split; that of the training gives windows."""
        each = max(1, batch_size // self.processes)
        if mode != "train":
            # Images of one shape come in groups of the batch, which the loader may not mix.
            fitting = next(size for size in range(min(each, self.args.batch), 0, -1) if self.args.batch % size == 0)
            loader = super().get_dataloader(dataset_path, fitting, rank, mode)
            if isinstance(loader.sampler, RandomSampler):
                # A classifier's. Its loss would hang on how often this process has validated.
                loader.batch_sampler.sampler.sampler = SequentialSampler(loader.dataset)
                loader.reset()
            return loader
        with torch_distributed_zero_first(LOCAL_RANK):  # one process of a machine reads the labels, the others its file
            stock = super().get_dataloader(dataset_path, each, -1, mode)
        order = EpochOrder(len(stock.dataset), self.args.seed, isinstance(stock.sampler, RandomSampler))
        single = self.args.bn != "sub-batch" or not self.normalises()
        return WindowLoader(
            stock,
            order,
            self.args.batch,
            self.batch_size,
            self.processes,
            max(0, RANK),
            single,
            bool(self.args.compile),
        )

    def normalises(self) -> bool:
        """Tell whether the network has batch normalisation."""
        return any(isinstance(layer, BatchNorm2d) for layer in self.plain_model.modules())

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _get_warmup_iterations(self, num_batches: int) -> int:
        """Turn off the loop's warm-up, which counts sub-batches: ``set_rates`` counts updates."""
        return 0

    def _model_train(self) -> None:
        """Set the network to training; with ``bn=frozen`` its statistics stay as they are."""
        super()._model_train()
        if self.args.bn == "frozen":
            for layer in self.plain_model.modules():
                if isinstance(layer, BatchNorm2d):
                    layer.eval()
        if self.windows_done:  # an epoch is taken up: the scheduler has just set the rates of its beginning
            self.set_rates(self.update_index - 1)

    def run_callbacks(self, event: str) -> None:
        """Run callbacks; what has to happen at the start and the end of epochs and sub-batches happens here."""
        if event in {"on_train_start", "on_train_epoch_start"}:
            self.warmup.show(self.args)
        if event == "on_train_epoch_start":
            self._before_epoch = self.update_index, self.seen
            self._find_place()
        elif event == "on_train_batch_start":
            # Ultralytics would look at the clock after every sub-batch, and leave the loop in the middle of a window.
            self.hours, self.args.time = self.args.time, None
            self.before_sub_batch()
        elif event == "on_train_batch_end":
            self.args.time = self.hours
        elif event == "on_train_epoch_end":
            self.check_host()
        super().run_callbacks(event)
        if event == "on_train_start" and self.resumed is None:
            self.save_state()
        elif event == "on_train_end" and not self.stopping:
            self.state_file.unlink(missing_ok=True)  # there is nothing left to go on with
        elif event == "on_train_batch_end" and (self.stopping or self.time_is_up) and not self.sub_index:
            self.stop = True
        elif event == "on_fit_epoch_end" and not self.finishing:
            self.epoch_is_done()

    def _find_place(self) -> None:
        """Have the loader begin where this epoch begins, or goes on."""
        loader = self.train_loader
        window = loader.windows if self.is_over() else self.windows_done
        if (loader.epoch, loader.window) != (self.epoch, window):
            loader.go_to(self.epoch, window)
        self.reset_window()

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move a sub-batch to the device."""
        if self.args.bf16_on_cpu:
            # Ultralytics calls this inside its own autocast context, which puts both back when the pass is done.
            torch.set_autocast_dtype("cpu", torch.bfloat16)
            torch.set_autocast_enabled("cpu", True)
        batch = super().preprocess_batch(batch)
        self.input_shape = list(batch["img"].shape[:1:-1])
        if getattr(self.args, "channels_last", False) is not False and self.device.type == "cpu":
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

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
