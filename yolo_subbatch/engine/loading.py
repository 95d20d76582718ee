"""The data of a training in sub-batches: its description, its data sets, and loaders that give windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch.nn import BatchNorm2d
from torch.utils.data import RandomSampler, SequentialSampler
from ultralytics.data.build import InfiniteDataLoader
from ultralytics.utils import LOCAL_RANK, RANK
from ultralytics.utils.torch_utils import torch_distributed_zero_first

from yolo_subbatch.engine import processes, state
from yolo_subbatch.engine.describe_data import described
from yolo_subbatch.engine.loader_processes import leave_alone
from yolo_subbatch.engine.own_order import OwnOrder, order_of
from yolo_subbatch.engine.pictures import taking_any_picture
from yolo_subbatch.engine.reading import limit_pixels
from yolo_subbatch.engine.windows import WindowLoader
from yolo_subbatch.errors import DataError, SettingsError, TrustError

if TYPE_CHECKING:
    from yolo_subbatch.engine.update import Updates

    Base: Any = Updates
else:
    Base = object


class Loads(Base):
    """The part of the trainer that prepares the data."""

    args: Any
    batch_size: int
    epoch: int
    start_epoch: int
    processes: int

    def around_get_dataset(self, theirs: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Read the data description; a Darknet ``.data`` file is written as a YAML into the run folder first."""
        limit_pixels(self.args.max_pixels)
        if self.args.data:
            self.args.data = described(self.args, self.save_dir, self.flavour)
        try:
            return theirs()
        except RuntimeError as error:
            if isinstance(error.__cause__, TrustError):  # in a sentence of Ultralytics
                raise error.__cause__ from None
            raise

    @property
    def flavour(self) -> str:
        """Whose Darknet decides what an image without a label file is."""
        return "pjreddie"

    def around_build_dataset(self, theirs: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        """Build the data set; what hangs on the batch (mosaic, shapes of validation) must not on the sub-batch."""
        if len(args) > 2:
            args = (*args[:2], self.args.batch, *args[3:])
        elif "batch" in keywords:
            keywords["batch"] = self.args.batch
        try:
            with taking_any_picture():
                return theirs(*args, **keywords)
        except DataError as error:
            if self.resumed is None:
                raise
            raise SettingsError(f"{error}; {state.AS_IT_WAS}") from error

    def around_get_dataloader(
        self, theirs: Callable[..., Any], dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> Any:
        """Return the loader of one split; that of the training gives windows."""
        each = max(1, batch_size // self.processes)
        if mode != "train":
            # Images of one shape come in groups of the batch, which the loader may not mix.
            fitting = next(size for size in range(min(each, self.args.batch), 0, -1) if self.args.batch % size == 0)
            loader = theirs(dataset_path, batch_size=fitting, rank=rank, mode=mode)
            shuffled = isinstance(getattr(loader, "sampler", None), RandomSampler)
            if shuffled and isinstance(loader, InfiniteDataLoader) and self.own_method("get_dataloader") is None:
                # A classifier's. Its loss would hang on how often this process has validated.
                loader.batch_sampler.sampler.sampler = SequentialSampler(loader.dataset)
                loader.reset()
            return leave_alone(loader)
        with torch_distributed_zero_first(LOCAL_RANK):  # one process of a machine reads the labels, the others its file
            stock = theirs(dataset_path, batch_size=each, rank=-1, mode=mode)
        return self.in_windows(stock, self.own_method("get_dataloader"))

    def in_windows(self, loader: Any, where: str | None) -> WindowLoader:
        """Return a loader of the same images, in the same order, that gives windows.

        Args:
            loader: Gives the images in any batches.
            where: Who made it, for messages; None if it was Ultralytics.

        Raises:
            SettingsError: If the images have no order that could be cut.
        """
        order = order_of(loader, self.args.seed, where or "get_dataloader", own=where is not None)
        if self.processes > 1 and isinstance(order, OwnOrder) and processes.told_by_first(order(0)) != order(0):
            raise SettingsError(
                f"{where}: its sampler gives every process another order; seed its generator, or leave it without one"
            )
        made = WindowLoader(
            loader,
            order,
            self.args.batch,
            self.batch_size,
            self.processes,
            max(0, RANK),
            self.args.bn != "sub-batch" or not self.normalises(),
            bool(self.args.compile) or (where is not None and loader.drop_last),
        )
        leave_alone(made)
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "train_loader" and not isinstance(value, WindowLoader):
            value = self._taken(value)
        super().__setattr__(name, value)

    def _taken(self, loader: Any) -> WindowLoader:
        """Return what becomes ``train_loader``, whoever puts it there; in the middle of a run it goes on from here."""
        before = self.__dict__.get("train_loader")
        made = self.in_windows(loader, "train_loader")
        if before is not None and hasattr(self, "updates_per_epoch"):
            made.whole_window, made.size_at = before.whole_window, before.size_at
            self.updates_per_epoch = made.windows
            made.go_to(getattr(self, "epoch", self.start_epoch), self.windows_done)
        return made

    def describe_order(self) -> list[str]:
        """Say which order is a user's own."""
        order = self.train_loader.sampler
        if not isinstance(order, OwnOrder):
            return []
        return [f"order of {order.where}: {type(order.inner).__name__}, {len(order)} images an epoch"]

    def normalises(self) -> bool:
        """Tell whether the network has batch normalisation."""
        return any(isinstance(layer, BatchNorm2d) for layer in self.plain_model.modules())
