"""What is prepared for a training of sub-batches, around what Ultralytics prepares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import Module
from ultralytics.nn.tasks import ClassificationModel, RTDETRDetectionModel
from ultralytics.utils import LOCAL_RANK

from yolo_subbatch.darknet.cross_norm import gather_over_batch
from yolo_subbatch.engine import lengthening, processes, state
from yolo_subbatch.engine.arguments import AUTO
from yolo_subbatch.engine.base import TrainerBase
from yolo_subbatch.engine.exact_norm import ExactNorm
from yolo_subbatch.engine.fitting import fewest_subdivisions
from yolo_subbatch.engine.opening import under_plain_name
from yolo_subbatch.settings.find import is_checkpoint

#: Networks whose loss is a mean over the images that it is given; all others return a sum.
MEAN_LOSSES = (ClassificationModel, RTDETRDetectionModel)


def complete_arguments(trainer: TrainerBase, given: dict[str, Any]) -> None:
    """Fill in, once, what follows from the devices."""
    args = trainer.args
    if trainer.device.type == "cpu" and given.get("workers") is not None:
        args.workers = given["workers"]  # Ultralytics loads in the same process on a CPU, whatever is asked
    if args.amp == "bf16" and trainer.device.type == "cpu":
        # Ultralytics knows bfloat16 on CUDA only, and raises elsewhere.
        args.amp, args.bf16_on_cpu = False, True
    elif args.bf16_on_cpu and trainer.device.type != "cpu":
        args.amp, args.bf16_on_cpu = "bf16", False  # a run that was begun on a CPU
    if args.batch_per_gpu and not args.complete and isinstance(args.batch, int):
        trainer.multiply_batch(max(1, trainer.world_size))
    args.complete = True


def set_model_up(trainer: TrainerBase, theirs: Callable[[], Any]) -> Any:
    """Have Ultralytics load or build the network; channels-last memory is faster on the CPU too."""
    if trainer.resumed is not None:
        trainer.model = trainer.get_model(cfg=trainer.resumed["yaml"], weights=None, verbose=False)
    file = Path(str(trainer.args.model))
    if isinstance(trainer.model, Module) or not (file.is_file() and is_checkpoint(file)):
        checkpoint = theirs()
    else:
        with under_plain_name(file) as trainer.model:
            checkpoint = theirs()
    if getattr(trainer.args, "channels_last", False) is not False and trainer.device.type == "cpu":
        trainer.model = trainer.model.to(memory_format=torch.channels_last)
    if trainer.args.recompute:
        trainer.set_recompute(True)  # refused here, before more is prepared
    return checkpoint


def prepare(trainer: TrainerBase, measuring: bool, check: Callable[[], None]) -> None:
    """Prepare what Ultralytics' loop does not know of, and take up the run that is to go on.

    Args:
        trainer: For which Ultralytics has prepared everything.
        measuring: There is something to validate on.
        check: Refuses to go on with a run whose checkpoints hold code.
    """
    trainer.mean_loss = isinstance(trainer.plain_model, MEAN_LOSSES)
    if not measuring:
        trainer.metrics = {}  # no columns among the figures
    if trainer.processes > 1:
        agree_on_weights(trainer)
    if trainer.args.recompute:
        trainer.set_recompute(True)  # of the network in its final form
    if trainer.args.subdivisions == AUTO:
        fit_memory(trainer)
    additive = trainer.additive_loss or isinstance(trainer.plain_model, ClassificationModel)
    if trainer.args.exact_norm and not additive:
        trainer.exact = ExactNorm(trainer.plain_model)
    if trainer.args.bn == "cross":
        gather_over_batch(trainer.plain_model)
    if trainer.resumed is not None:
        check()
        state.restore(trainer, trainer.resumed)
        trainer.start_epoch = trainer.resumed["epoch"]
        trainer.scheduler.last_epoch = trainer.start_epoch - 1
        trainer.taken_up = trainer.start_epoch if trainer.progress.window else None
        if lengthening.is_longer(trainer):
            trainer.rates_before = [group["lr"] for group in trainer.optimizer.param_groups]
        for key in ("model", "ema", "optimizer"):
            del trainer.resumed[key]  # they have their place now


def agree_on_weights(trainer: TrainerBase) -> None:
    """Give all processes the same weights and the same precision."""
    processes.same_everywhere(trainer.plain_model)
    trainer.ema.ema.load_state_dict(trainer.plain_model.state_dict())
    amp = processes.told_by_first(trainer.amp)
    if amp != trainer.amp:  # only the first one tries whether half precision works
        trainer.amp = amp
        trainer.scaler = torch.amp.GradScaler(trainer.device.type, enabled=amp and trainer.args.amp != "bf16")


def fit_memory(trainer: TrainerBase) -> None:
    """Find the number of subdivisions, where it was left to the program."""
    parts = fewest_subdivisions(trainer)
    if trainer.processes > 1:
        parts = processes.largest(parts, trainer.device)
        if processes.largest(int(trainer.args.recompute), trainer.device) > trainer.args.recompute:
            trainer.set_recompute(True)  # as another process has to
    trainer.args.subdivisions = parts
    trainer.train_loader.size = trainer.args.batch // parts
    trainer.train_loader.go_to(0, 0)
    trainer.test_loader = trainer.get_dataloader(
        trainer.data[trainer.args.split], batch_size=2 * trainer.batch_size, rank=LOCAL_RANK, mode="val"
    )
    trainer.validator.dataloader = trainer.test_loader
