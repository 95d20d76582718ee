"""One weight update per batch, computed in sub-batches, for any Ultralytics trainer.

Ultralytics' loop is to believe that it trains whole batches on a very large GPU: its loader gives it a window, the
images of one update, in every pass, and its network is wrapped so that it computes the window in sub-batches. What the
loop does in every pass (warm-up, the step, the progress bar, callbacks) then happens once an update by itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import copy, deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import BatchNorm2d
from ultralytics.cfg import cfg2dict
from ultralytics.utils import DEFAULT_CFG, RANK

from yolo_subbatch.engine import (
    LOGGER,
    host,
    launch,
    lengthening,
    loading,
    preparing,
    processes,
    resuming,
    use_all_cores,
)
from yolo_subbatch.engine.arguments import (
    SUBBATCH_DEFAULTS,
    check_arguments,
    describe_batch,
    sub_batch_size,
)
from yolo_subbatch.engine.asking_again import rewrite_arguments
from yolo_subbatch.engine.base import TrainerBase
from yolo_subbatch.engine.callbacks import RunRecorder
from yolo_subbatch.engine.checkpoint import Checkpointer, host_arguments
from yolo_subbatch.engine.describing import described
from yolo_subbatch.engine.doors import while_made
from yolo_subbatch.engine.host_offline import own_calls
from yolo_subbatch.engine.image_order import seed_all, seed_layers
from yolo_subbatch.engine.overrides import READ_CHECKPOINTS, is_known
from yolo_subbatch.engine.stepping import Stepping
from yolo_subbatch.engine.sub_batches import SubBatches, Sums
from yolo_subbatch.engine.taken_names import refuse_replaced, setting_own
from yolo_subbatch.engine.tasks import check_task
from yolo_subbatch.engine.validation import Validation
from yolo_subbatch.engine.windows import Part, Window, WindowLoader
from yolo_subbatch.errors import SettingsError, TrainingError
from yolo_subbatch.folder.faults import explained
from yolo_subbatch.late_imports import load
from yolo_subbatch.settings.trust import guarded


class SubbatchMixin(TrainerBase):
    """Put this before a trainer class: ``class T(SubbatchMixin, SegmentationTrainer)``, or call :func:`subbatch`.

    ``args.batch`` keeps the number of images of one update, and a pass of Ultralytics' loop is an update.

    Attributes for callbacks: ``update_index`` (updates done), ``sub_index`` (sub-batches of the open update),
    ``window_images`` (images of the open update), ``seen`` (images trained on), ``update_images``, ``update_losses``
    (means per image of the last update), ``grad_norm`` (before clipping), ``clipped`` and ``skipped`` (updates left
    out).

    Callback events besides Ultralytics': ``on_sub_batch_end`` and ``on_optimizer_step``; ``optimizer_step`` and
    ``on_before_zero_grad``, which Ultralytics declares but does not fire, are fired.

    What of Ultralytics' trainer is overridden, and why; ``around_`` methods stand around the trainer's own, whoever
    wrote it (see :mod:`yolo_subbatch.engine.overrides`):

    ==============================  ====================================================================
    ``__init__``                    our keys; the arguments of a run that goes on
    ``__setattr__``                 a loader of the user's becomes one that gives windows
    ``__reduce__``                  a copy of the model takes no trainer along
    ``_setup_train``                the network is wrapped at the end; the exact state is put in its place
    ``setup_model``, ``get_model``  seeds for the first weights; channels-last memory on the CPU
    ``_build_train_pipeline``       a fault in our words; the updates of an epoch are known from here on
    ``_setup_scheduler``            with ``time=``, all processes plan the same epochs
    ``check_resume``,
    ``resume_training``             the exact state takes the place of half-precision averages
    ``get_dataset``,
    ``build_dataset``               Darknet's ``.data``; whole batches, whatever the sub-batches
    ``get_dataloader``              windows, in an order that depends on the seed alone
    ``train``, ``_setup_ddp``,
    ``_do_train``                   processes that exchange once an update; what went wrong, in a line
    ``_get_warmup_iterations``      how long the warm-up is
    ``_model_train``                ``bn=frozen``; the rates of an epoch that is taken up in its middle
    ``preprocess_batch``            a window stays where it is until its sub-batches come
    ``optimizer_step``              clip once, step once, with the gradient of the whole window
    ``run_callbacks``               what belongs to the start and the end of epochs and updates
    ``get_validator``               Ultralytics refuses keys that it does not know
    ``validate``, ``final_eval``    the same for any number of sub-batches; less at a time if memory is short
    ``_handle_nan_recovery``        an epoch whose figures are not finite is done again
    ``save_model``                  checkpoints hold Ultralytics' keys; ours stand beside them
    ==============================  ====================================================================
    """

    own_defaults = SUBBATCH_DEFAULTS

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
            self.begin_anew()
            self.checkpointer, self.validation = Checkpointer(self), Validation(self)
            self.stepping = Stepping(self, self.checkpointer)
        super().__init__({**self.own_defaults, **cfg2dict(cfg)}, given, _callbacks)
        self.rewrite_arguments()
        use_all_cores(self.device)
        self.processes = processes.launched() or 1
        if processes.launched():
            self.world_size = self.processes
        preparing.complete_arguments(self, given)
        check_arguments(self.args)
        sub_batch_size(self.args, max(1, self.world_size))
        self.batch_size = self.args.batch  # a window is a batch to Ultralytics
        # With nominal batch = batch, Ultralytics neither rescales the decay nor misjudges the number of updates.
        self.args.nbs = self.args.batch
        self.asked = deepcopy(vars(self.args))
        if self.resumed is not None:
            self.args.resume = str(self.save_dir)  # for the processes that this one may start
        if RANK in {-1, 0} and not self.ddp:
            RunRecorder().register(self)
        self.own_values.update(recorder=self.recorder)

    def begin(self, overrides: dict[str, Any] | None) -> dict[str, Any]:
        """Return the arguments to begin with: those given, or those of the run that is taken up again."""
        if self.resumed is not None:  # a Darknet trainer has asked before, for the cfg
            return dict(overrides or {})
        given, self.resumed = resuming.begin(type(self), overrides, self.trains_darknet())
        return given

    def rewrite_arguments(self) -> None:
        """Write the run's ``args.yaml`` so that it can be given with ``cfg=``, here and in stock Ultralytics."""
        if RANK in {-1, 0}:
            rewrite_arguments(Path(self.save_dir), self.own_defaults, self.derived_arguments())

    def derived_arguments(self) -> dict[str, Any]:
        """Return what follows from the network and is told in ``args.yaml`` all the same."""
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the copy of a model have no trainer, which holds loaders and open files."""
        return type(None), ()

    if not TYPE_CHECKING:  # else any attribute would be one to a checker of types

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "train_loader" and not isinstance(value, WindowLoader):
                value = loading.taken(self, value)
            super().__setattr__(name, value)

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
        preparing.prepare(self, measuring=not self.validation.measures_nothing, check=self.checkpointer.check)
        self.model = self.sub_batches = SubBatches(self.model, self, self.exact)
        self.epoch = self.start_epoch
        self.is_set_up()
        if RANK in {-1, 0}:
            LOGGER.info(self.start_line())
            if self.resumed is not None:
                LOGGER.info(f"going on after iteration {self.update_index}, in epoch {self.epoch + 1}")
            if lengthening.is_longer(self):
                LOGGER.info(self.length_line())

    def is_set_up(self) -> None:
        """Do what a trainer has to do when all is prepared and the state of an earlier run is in its place."""

    def start_line(self) -> str:
        """Say what will happen."""
        batch, updates = describe_batch(self.args, self.world_size), f"{self.updates_per_epoch} updates per epoch"
        return "; ".join([batch, updates, *described(self)])

    def length_line(self) -> str:
        """Say what becomes of the schedule with the new length of a run."""
        return lengthening.host_line(self)

    def around_setup_model(self, theirs: Callable[[], Any]) -> Any:
        """Set the model up; channels-last memory is faster on the CPU too."""
        return preparing.set_model_up(self, theirs)

    def around_get_model(self, theirs: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        """Build the network; its first weights depend on the seed alone, in whichever process."""
        torch.manual_seed(self.args.seed)
        with guarded(self.args.trust):  # YOLO.train asks for it before the training begins
            return theirs(*args, **keywords)

    def around__build_train_pipeline(self, theirs: Callable[[], None]) -> None:
        """Build loaders and optimizer."""
        length, begun_with = self.epochs, lengthening.epochs_for_optimizer(self)
        if begun_with is not None:
            self.epochs = begun_with
        try:
            theirs()
        except ValueError as error:
            if "final batch=1" not in str(error):
                raise
            raise SettingsError(f"subdivisions={self.args.subdivisions}: {error}") from error
        if begun_with is not None:
            self.epochs = length
            self._setup_scheduler()
        self.updates_per_epoch = self.train_loader.windows

    def around_check_resume(self, theirs: Callable[[Any], None], overrides: Any) -> None:
        """Leave nothing to Ultralytics, which would go on from half-precision averages of the weights.

        Raises:
            SettingsError: If a user's class went past our ``__init__``, or reads checkpoints itself.
        """
        if "progress" not in vars(self):
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

    def around_get_dataset(self, theirs: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Read the data description; a Darknet ``.data`` file is written as a YAML into the run folder first."""
        return loading.read_description(self, theirs)

    def around_build_dataset(self, theirs: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        """Build the data set as for whole batches."""
        return loading.build_dataset(self, theirs, *args, **keywords)

    def around_get_dataloader(
        self, theirs: Callable[..., Any], dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> Any:
        """Return the loader of one split; that of the training gives windows."""
        if mode == "train":
            return loading.training_loader(self, theirs, dataset_path, rank)
        return loading.measuring_loader(self, theirs, dataset_path, batch_size, rank, mode)

    def around__setup_scheduler(self, theirs: Callable[[], None]) -> None:
        """Plan the rates; with ``time=`` every process would reckon with epochs of its own."""
        if self.processes > 1 and self.args.time:
            self.args.epochs = processes.told_by_first(self.epochs)
            self.epochs = self.args.epochs
        theirs()

    # --- the loop ---------------------------------------------------------------------------------------------------

    def around_train(self, theirs: Callable[[], Any]) -> Any:
        """Train, and leave the reason where that fails; what is opened on the way is watched."""
        if self.ddp:
            return theirs()
        try:
            with guarded(self.args.trust):
                result = theirs()
            if not self.in_hosts_loop:
                raise TrainingError(self._passed_by())
            return result
        except BaseException as error:
            found = explained(error, Path(self.save_dir))
            shown = error if found is None else found
            reason = processes.first_failure(shown)
            if self.recorder is not None:
                self.recorder.fail(self.progress.iteration, shown, reason)
            if found is not None:
                raise found from error
            raise
        finally:
            processes.leave()

    def _passed_by(self) -> str:
        """Say that Ultralytics' loop was not run, and what to do."""
        own = self.own_method("_do_train") or self.own_method("train") or type(self).__name__
        return (
            f"{own}: a loop of its own, which cannot be cut into sub-batches; have it call super()._do_train() and use "
            "callbacks, or train without sub-batches"
        )

    def train(self) -> Any:
        """Train; on several devices by starting a process for each, whose events are read as they come."""
        return launch.run_processes(self) if self.ddp else super().train()

    def _do_train(self) -> None:
        """Run the loop; one process of torchrun's has others to join, be they none."""
        self.in_hosts_loop = True
        if RANK != -1 and self.world_size == 1:
            self._setup_ddp()
        super()._do_train()

    def _setup_ddp(self) -> None:
        """Join the other processes, on the CPU too."""
        if self.device.type == "cpu":
            processes.join_on_cpu()
        else:
            super()._setup_ddp()

    def check_pass(self) -> None:
        """Make sure that it is Ultralytics' loop which computes a window.

        Raises:
            TrainingError: If a loop of the user's does.
        """
        if not self.in_hosts_loop:
            raise TrainingError(self._passed_by())

    def around__get_warmup_iterations(self, theirs: Callable[[int], int], batches: int) -> int:
        """Note how long the loop's warm-up is."""
        self.warmup_updates = theirs(batches)
        return self.warmup_updates

    def around__model_train(self, theirs: Callable[[], None]) -> None:
        """Set the network to training; with ``bn=frozen`` its statistics stay as they are."""
        theirs()
        if self.args.bn == "frozen":
            for layer in self.plain_model.modules():
                if isinstance(layer, BatchNorm2d):
                    layer.eval()
        if self.progress.window:  # an epoch is taken up: the scheduler has just set the rates of its beginning
            self.set_rates(self.progress.iteration - 1)
        if self.rates_before and self.progress.window >= self.updates_per_epoch and self.epoch == self.taken_up:
            for group, rate in zip(self.optimizer.param_groups, self.rates_before, strict=True):
                group["lr"] = rate  # no update of it is left: the table tells with which it was trained

    def around_preprocess_batch(self, theirs: Callable[[Any], Any], batch: dict[str, Any]) -> dict[str, Any]:
        """Move a sub-batch to the device; a window stays where it is until its sub-batches come."""
        if isinstance(batch, Window):
            return batch
        batch = theirs(batch)
        self.input_shape = list(batch["img"].shape[:1:-1])
        if getattr(self.args, "channels_last", False) is not False and self.device.type == "cpu":
            batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def seed_sub_batch(self, index: int) -> None:
        """Seed by iteration, so that nothing depends on what came before.

        All sub-batches draw the same input size (``multi_scale``); what layers draw differs from one to the next.
        """
        seed_all(self.args.seed, self.progress.iteration, 0, 0)
        numbers = (self.args.seed, self.progress.iteration, 1 + index, max(0, RANK))
        seed_layers(self.device, int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1)

    def loss_weight(self, part: Part) -> float:
        """Return the factor on a sub-batch's loss that makes plain sums right.

        A loss that is a mean over the images counts as often as there are images; a borrowed image does not count.
        """
        return float(part.images) if self.mean_loss else float(part.images > 0)

    def sub_batch_is_done(self) -> None:
        """Tell callbacks."""
        self.run_callbacks("on_sub_batch_end")

    def around_optimizer_step(self, theirs: Callable[[], Any]) -> None:
        """Update the weights with the gradient of the window, by the trainer's own step.

        Raises:
            TrainingError: If it is called outside of a pass of Ultralytics' loop.
        """
        if self.sub_batches is None or self.sub_batches.window is None:
            raise TrainingError(self._passed_by())
        self.stepping.finish_window(self.sub_batches, lambda: self.step(theirs))
        self.stop_later = bool(self.stop_later or self.stop)  # with time=, the loop is about to write over it
        self.tloss = self._means()

    def step(self, theirs: Callable[[], Any]) -> None:
        """Have the trainer's ``optimizer_step`` change the weights, and count the update."""
        at = self.progress.iteration
        theirs()
        if self.progress.iteration == at:
            self.progress.made()

    def optimizer_step(self) -> None:
        """Clip the gradient of the update, change the weights, and move their average: once per update."""
        kinds = type(self).__mro__
        behind = next(each for each in kinds[kinds.index(SubbatchMixin) + 1 :] if "optimizer_step" in vars(each))
        if not is_known(behind):  # a user's class that stands behind the mixin
            super().optimizer_step()
            return
        assert self.last_update is not None
        self.last_update.clip(changed=self.own_method("optimizer_step") is not None)
        self.scaler.step(self.optimizer)
        self.progress.made()  # from here on, the window cannot simply be done again
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.update(self.model)

    def save_state(self) -> None:
        """Keep the exact state."""
        self.checkpointer.save()

    def save_model(self) -> Any:
        """Save Ultralytics' checkpoints with the keys that it knows; ours stand beside them."""
        with self.checkpointer.for_host(self.host_arguments()):
            return super().save_model()

    def host_arguments(self) -> Any:
        """Return a copy of the arguments with Ultralytics' own keys alone."""
        return host_arguments(self)

    # --- events -----------------------------------------------------------------------------------------------------

    def around_run_callbacks(self, theirs: Callable[[str], None], event: str) -> None:
        """Run callbacks; what has to happen at the start and the end of epochs and updates happens here."""
        self.before_event(event)
        self.callbacks_open += 1
        try:
            with own_calls():
                theirs(event)
        finally:
            self.callbacks_open -= 1
        if self.recorder is not None:
            self.recorder.follow(event, self)
        self.after_event(event)

    def before_event(self, event: str) -> None:
        """Do what callbacks must find done."""
        if event == "on_train_epoch_start":
            self._before_epoch = self.progress.iteration, self.progress.seen
            self.progress.begin_epoch()
            self._find_place()
        elif event == "on_train_start":
            self.warmup_updates = host.warmup_of_loop(self) or self.warmup_updates
        elif event == "on_train_end" and not self.stopping:
            self.checkpointer.keep_best()
        elif event == "on_train_batch_start":
            for group in self.optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])  # an optimizer that was put here has none
        elif event == "on_train_epoch_end":
            self.tloss = self._means()  # of an epoch that was taken up at its end, the loop knows none
            self.checkpointer.before_early_end()

    def after_event(self, event: str) -> None:
        """Do what follows from an event, and from what callbacks did in it."""
        if event == "on_train_batch_end":
            self._settle_stop()
        elif event == "on_train_start" and lengthening.is_longer(self):
            lengthening.keep_length(self)
        elif event == "on_train_start" and self.resumed is None:
            self.save_state()
        elif event == "on_train_end" and not self.stopping:
            self.checkpointer.forget()
        elif event == "on_fit_epoch_end" and not self.finishing:
            self.checkpointer.after_epoch(self.save_state)

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

    def around_validate(self, theirs: Callable[[], Any]) -> Any:
        """Validate after an epoch."""
        return self.validation.after_epoch(theirs)

    def around_final_eval(self, theirs: Callable[[], None]) -> None:
        """Validate the best weights at the end."""
        self.validation.of_best_weights(theirs, self.checkpointer)

    def around__handle_nan_recovery(self, theirs: Callable[[int], bool], epoch: int) -> bool:
        """Do an epoch again whose figures are not finite."""
        return self.validation.recover(theirs, epoch, self._before_epoch)

    def _means(self) -> Any:
        """Return the means per image of the losses over the epoch so far, as Ultralytics has them."""
        return host.as_host_wants(self.progress.losses.means(self.loss_names))

    def _find_place(self) -> None:
        """Have the loader begin where this epoch begins, or goes on."""
        loader = self.train_loader
        window = loader.windows if self.is_over() else self.progress.window
        if (loader.epoch, loader.window) != (self.epoch, window):
            loader.go_to(self.epoch, window)

    def agree(self, sums: Sums, short: bool) -> bool:
        """Return whether memory is short, and add up what all processes have; agree on whether to stop."""
        if self.processes == 1:
            self.stopping, self.stop_agreed = self.stop_wanted(), True
            return short
        found = processes.exchange_window(
            self.plain_model, sums, short, self.stop_wanted(), bool(self.stop or self.stop_later),
            list(self.loss_names), self.exact.totals if self.exact is not None else torch.zeros(0, device=self.device),
        )  # fmt: skip
        self.stopping, self.stop_agreed = found.stop, found.stop_by_callback
        self.stop_later = self.stop_later or found.stop_by_callback
        if self.exact is not None and not found.short:
            sums.factor = self.exact.gradient_factor(found.totals, sums.images)
        return found.short

    def sum_over_processes(self, values: torch.Tensor) -> torch.Tensor:
        """Return sums over all processes."""
        return processes.sum_over(values) if self.processes > 1 else values

    def _settle_stop(self) -> None:
        """Let the loop end if someone wants it, and all processes know."""
        wanted = self.stop_later or self.stop
        if wanted and self.processes > 1 and self.progress.window < self.updates_per_epoch and not self.stop_agreed:
            self.stop_later, self.stop = True, False  # the others learn of it with the next update
            return
        self.stop = bool(wanted or self.stopping)
        self.stop_later = False


def __getattr__(name: str) -> Any:
    """Give the names that have moved from here, for one release."""
    if name not in {"SubbatchTrainer", "subbatch"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"import {name} from yolo_subbatch", DeprecationWarning, stacklevel=2)
    return load(f"engine.making:{name}")
