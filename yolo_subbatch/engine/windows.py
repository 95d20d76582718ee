"""Which images make up which update, and in which parts they are computed.

A window is the images of one update: a run of ``batch`` places in the order of the epoch. How a window is cut into
sub-batches, and who loads them, changes neither the window nor what is drawn at random for an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader
from ultralytics.data import build

from yolo_subbatch.darknet.iteration import split
from yolo_subbatch.engine.image_order import KeyedImages

if TYPE_CHECKING:

    class InfiniteDataLoader(DataLoader[Any]):
        """What is used of Ultralytics' class."""

        iterator: Any
        dataset: Any
        sampler: Any

        def close(self) -> None:
            """End its processes."""

        def reset(self) -> None:
            """Begin to load anew."""

else:
    InfiniteDataLoader = build.InfiniteDataLoader


@dataclass(frozen=True)
class Part:
    """One sub-batch of a window, as one of the processes computes it.

    ``places`` are those in the order of the epoch. A process without an image in the whole window borrows one, whose
    ``images`` count as 0: so all processes come to the update. ``index`` is that of the sub-batch in its window.
    """

    places: range
    images: int
    index: int


def parts_of(places: range, size: int, processes: int = 1, rank: int = 0) -> list[Part]:
    """Cut a window into the sub-batches of one process.

    Args:
        places: The window's places in the order of the epoch.
        size: Images of a sub-batch, over all processes.
        processes: How many share each sub-batch.
        rank: Which of them this is.
    """
    shares = []
    for start in range(0, len(places), size):
        sub_batch = places[start : start + size]
        shares.append(sub_batch[list(split(len(sub_batch), processes))[rank]])
    own = [(index, share) for index, share in enumerate(shares) if share]
    if not own:
        return [Part(places[:1], 0, 0)]
    return [Part(share, len(share), index) for index, share in own]


class Window(dict[str, Any]):
    """The images of one update, which Ultralytics' loop takes for a batch.

    As a dictionary it is the first sub-batch, once that was computed: what Ultralytics shows and draws. Asked for its
    images before, it stands for all of them itself.

    Args:
        loader: Where the sub-batches are loaded, each when it is its turn, and kept until the update is done.
        number: Which window of the epoch this is.

    Attributes:
        cut: Its sub-batches.
    """

    def __init__(self, loader: WindowLoader, number: int) -> None:
        super().__init__()
        self.loader, self.number = loader, number
        self.cut = loader.parts(number)
        self.loaded: list[dict[str, Any]] = []

    def __missing__(self, key: str) -> Any:
        if key == "img":
            return self
        raise KeyError(key)

    def parts(self) -> Iterator[tuple[Part, dict[str, Any]]]:
        """Give the sub-batches; each is a copy, whose entries may be replaced."""
        for index, part in enumerate(self.cut):
            if index == len(self.loaded):
                self.loaded.append(self.loader.load())
            self.loader.part = part
            yield part, copy(self.loaded[index])

    def cut_again(self) -> None:
        """Have the images come again, in the sub-batches that the loader makes now."""
        self.loader.forget_read_ahead()
        self.loaded = []
        self.cut = self.loader.parts(self.number)


class WindowLoader(InfiniteDataLoader):
    """Gives the windows of an epoch, and can be sent back.

    Args:
        stock: The loader that Ultralytics built; how it loads is kept.
        order: The order of the images.
        batch: Images of a window.
        size: Images of a sub-batch, over all processes; may be changed between sub-batches, with :meth:`go_to`.
        processes: How many share each sub-batch.
        rank: Which of them this is.
        single: A sub-batch may be a single image of any size, because nothing is normalised over it.
        whole_only: Leave out a last window that is smaller, as Ultralytics does with a compiled network.

    Attributes:
        part: The sub-batch that was given last.
        epoch, window: Where it is, each from 0.
        size_at: Images of a sub-batch of the n-th window since the beginning, where they are not the same in all.
    """

    iterator: Any
    size_at: Callable[[int], int] | None = None

    def __init__(
        self, stock: Any, order: Any, batch: int, size: int, processes: int = 1, rank: int = 0,
        single: bool = False, whole_only: bool = False,
    ) -> None:  # fmt: skip
        self.batch, self.size, self.processes, self.rank = batch, size, processes, rank
        self.epoch = self.window = 0
        self.part = Part(range(0), 0, 0)
        self.sent_back = False
        self.whole_only = whole_only
        names = ["num_workers", "prefetch_factor", "pin_memory", "collate_fn", "worker_init_fn", "timeout"]
        how = {name: getattr(stock, name) for name in names}
        if stock.multiprocessing_context is not None:
            how["multiprocessing_context"] = stock.multiprocessing_context
        if stock.pin_memory_device:
            how["pin_memory_device"] = stock.pin_memory_device
        # Ultralytics refuses small images where a single one is left for the end, unless the loader drops it. Nothing
        # hangs on `drop_last` but that: the batches come from this class.
        super().__init__(
            dataset=KeyedImages(stock.dataset, order), batch_size=max(1, size // processes), sampler=order,
            drop_last=single, **how,
        )  # fmt: skip
        object.__setattr__(self, "batch_sampler", _ReadAhead(self))
        self.iterator = None  # older releases have begun to load by now, what another sampler says

    @property
    def batch_size(self) -> int:
        """Images of a pass, in this process."""
        return max(1, self.size // self.processes)

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        """Leave it as it is: ``size`` says it."""

    @property
    def images(self) -> int:
        """Images of an epoch."""
        every = len(self.sampler)
        return every - every % self.batch if self.whole_only and every > self.batch else every

    @property
    def windows(self) -> int:
        """Updates of an epoch."""
        return -(-self.images // self.batch)

    def parts(self, window: int, epoch: int | None = None) -> list[Part]:
        """Return this process's sub-batches of a window, of this epoch unless another is given."""
        places = range(window * self.batch, min((window + 1) * self.batch, self.images))
        size = self.size
        if self.size_at is not None:
            size = self.size_at((self.epoch if epoch is None else epoch) * self.windows + window)
        return parts_of(places, size, self.processes, self.rank)

    def __len__(self) -> int:
        return self.windows

    def go_to(self, epoch: int, window: int) -> None:
        """Continue with a window, whatever was read ahead."""
        self.forget_read_ahead()
        self.epoch, self.window, self.sent_back = epoch, window, True

    def forget_read_ahead(self) -> None:
        """Have the sub-batches from here on loaded anew: they are others now."""
        if self.iterator is not None:
            self.reset()

    def __iter__(self) -> Iterator[Window]:  # type: ignore[override]
        """Give what is left of the epoch."""
        while self.window < self.windows:
            self.sent_back = False
            window = Window(self, self.window)
            yield window
            if not self.sent_back:
                if len(window.loaded) < len(window.cut):
                    self.forget_read_ahead()  # nobody has looked at all of it
                self.window += 1
        self.epoch, self.window = self.epoch + 1, 0

    def again(self, first: int) -> Iterator[Window]:
        """Give the windows from one of this epoch to the one that is out now, which is the next to go on from."""
        self.forget_read_ahead()
        last, self.window = self.window, first
        while True:
            yield Window(self, self.window)
            if self.window == last:
                return
            self.window += 1

    def load(self) -> Any:
        """Return the next sub-batch."""
        if self.iterator is None:
            self.iterator = self._get_iterator()
        return next(self.iterator)


class _ReadAhead:
    """The keys of every sub-batch from a loader's place on, without end: loaders read into the next epoch."""

    def __init__(self, loader: WindowLoader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[list[Any]]:
        loader = self.loader
        epoch, first = loader.epoch, loader.window
        while True:
            for window in range(first, loader.windows):
                for part in loader.parts(window, epoch):
                    yield loader.sampler.keys(epoch, part.places, loader.dataset.recent)
            epoch, first = epoch + 1, 0
