"""The data of a training in sub-batches: its data sets, and loaders that give windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.data import RandomSampler, SequentialSampler
from ultralytics.data.build import InfiniteDataLoader
from ultralytics.utils import LOCAL_RANK, RANK
from ultralytics.utils.torch_utils import torch_distributed_zero_first

from yolo_subbatch.engine import processes, state
from yolo_subbatch.engine.arguments import sub_batch_size
from yolo_subbatch.engine.base import TrainerBase
from yolo_subbatch.engine.describe_data import described
from yolo_subbatch.engine.loader_processes import leave_alone
from yolo_subbatch.engine.own_order import OwnOrder, order_of
from yolo_subbatch.engine.picture_files import taking_any_picture
from yolo_subbatch.engine.picture_reading import limit_pixels
from yolo_subbatch.engine.windows import WindowLoader
from yolo_subbatch.errors import DataError, SettingsError, TrustError


def read_description(trainer: TrainerBase, theirs: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Read the data description; a Darknet ``.data`` file is written as a YAML into the run folder first."""
    limit_pixels(trainer.args.max_pixels)
    if trainer.args.data:
        trainer.args.data = described(trainer.args, trainer.save_dir, trainer.flavour)
    try:
        return theirs()
    except RuntimeError as error:
        if isinstance(error.__cause__, TrustError):  # in a sentence of Ultralytics
            raise error.__cause__ from None
        raise


def build_dataset(trainer: TrainerBase, theirs: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """Build the data set; what hangs on the batch (mosaic, shapes of validation) must not on the sub-batch."""
    if len(args) > 2:
        args = (*args[:2], trainer.args.batch, *args[3:])
    elif "batch" in keywords:
        keywords["batch"] = trainer.args.batch
    try:
        with taking_any_picture():
            return theirs(*args, **keywords)
    except DataError as error:
        if trainer.resumed is None:
            raise
        raise SettingsError(f"{error}; {state.AS_IT_WAS}") from error


def training_loader(trainer: TrainerBase, theirs: Callable[..., Any], path: str, rank: int) -> WindowLoader:
    """Return the loader of the training images, which gives windows."""
    each = max(1, sub_batch_size(trainer.args, trainer.processes) // trainer.processes)
    with torch_distributed_zero_first(LOCAL_RANK):  # one process of a machine reads the labels, the others its file
        stock = theirs(path, batch_size=each, rank=-1, mode="train")
    return in_windows(trainer, stock, trainer.own_method("get_dataloader"))


def measuring_loader(
    trainer: TrainerBase, theirs: Callable[..., Any], path: str, images: int, rank: int, mode: str
) -> Any:
    """Return the loader of the images that are measured on.

    Args:
        trainer: Measures.
        theirs: Makes a loader.
        path: The images.
        images: How many at a time Ultralytics asks for: as many as an update has, or twice as many; a sub-batch's share
            of them fits into memory.
        rank: Of this process.
        mode: As Ultralytics calls it.
    """
    args = trainer.args
    share = max(1, images * sub_batch_size(args, trainer.processes) // args.batch // trainer.processes)
    # Images of one shape come in groups of the batch, which the loader may not mix.
    fitting = next(size for size in range(min(share, args.batch), 0, -1) if args.batch % size == 0)
    loader = theirs(path, batch_size=fitting, rank=rank, mode=mode)
    shuffled = isinstance(getattr(loader, "sampler", None), RandomSampler)
    if shuffled and isinstance(loader, InfiniteDataLoader) and trainer.own_method("get_dataloader") is None:
        # A classifier's. Its loss would hang on how often this process has validated.
        loader.batch_sampler.sampler.sampler = SequentialSampler(loader.dataset)
        loader.reset()
    return leave_alone(loader)


def in_windows(trainer: TrainerBase, loader: Any, where: str | None) -> WindowLoader:
    """Return a loader of the same images, in the same order, that gives windows.

    Args:
        trainer: Whose windows they are.
        loader: Gives the images in any batches.
        where: Who made it, for messages; None if it was Ultralytics.

    Raises:
        SettingsError: If the images have no order that could be cut.
    """
    args, count = trainer.args, trainer.processes
    order = order_of(loader, args.seed, where or "get_dataloader", own=where is not None)
    if count > 1 and isinstance(order, OwnOrder) and processes.told_by_first(order(0)) != order(0):
        raise SettingsError(
            f"{where}: its sampler gives every process another order; seed its generator, or leave it without one"
        )
    single = args.bn != "sub-batch" or not trainer.normalises()
    whole_only = bool(args.compile) or (where is not None and loader.drop_last)
    size = sub_batch_size(args, count)
    made = WindowLoader(loader, order, args.batch, size, count, max(0, RANK), single, whole_only)
    leave_alone(made)
    return made


def taken(trainer: TrainerBase, loader: Any) -> WindowLoader:
    """Return what becomes ``train_loader``, whoever puts it there; in the middle of a run it goes on from here."""
    before = trainer.__dict__.get("train_loader")
    made = in_windows(trainer, loader, "train_loader")
    if before is not None and hasattr(trainer, "updates_per_epoch"):
        made.size_at = before.size_at
        trainer.updates_per_epoch = made.windows
        made.go_to(getattr(trainer, "epoch", trainer.start_epoch), trainer.progress.window)
    return made


def describe_order(loader: WindowLoader) -> list[str]:
    """Say which order is a user's own."""
    order = loader.sampler
    if not isinstance(order, OwnOrder):
        return []
    return [f"order of {order.where}: {type(order.inner).__name__}, {len(order)} images an epoch"]
