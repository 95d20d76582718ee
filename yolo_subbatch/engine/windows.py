"""Which images make up which update, and in which parts they are computed.

A window is the images of one update: a run of ``batch`` places in the order of the epoch. How a window is cut into
sub-batches, and who loads them, changes neither the window nor what is drawn at random for an image: order and
augmentation depend on the seed, the epoch and the image alone.
"""

from __future__ import annotations

import random
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler
from ultralytics.data import build

from yolo_subbatch.darknet.iteration import split

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

SHUFFLE_SEED = 6148914691236517205 - 1  # what Ultralytics adds to the seed, in a run of one process


class Key(NamedTuple):
    """What a loading process has to know of an image, where it does not know the order."""

    epoch: int
    place: int  # in the order of the epoch
    images: tuple[int, ...]  # the one at the place, and those before it, backwards


class EpochOrder:
    """The order of the images in every epoch, the same as Ultralytics' own shuffling gives in one process.

    Args:
        images: How many there are.
        seed: The seed of the run.
        shuffle: False keeps their order.
    """

    def __init__(self, images: int, seed: int, shuffle: bool = True) -> None:
        self.images, self.seed, self.shuffle = images, seed, shuffle
        self._drawn: dict[int, list[int]] = {}
        self._sampler: RandomSampler | None = None

    def __len__(self) -> int:
        return self.images

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.images))

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: Ultralytics calls this where it has several processes, and the epoch is asked for here."""

    def __call__(self, epoch: int) -> list[int]:
        """Return the image at every place of an epoch, counted from 0."""
        if not self.shuffle:
            return list(range(self.images))
        if epoch not in self._drawn:
            self._draw(epoch)
        return self._drawn[epoch]

    def keys(self, epoch: int, places: range, recent: int) -> list[int]:
        """Return the keys of some places, from which a loading process finds the images by itself."""
        return [epoch * self.images + place for place in places]

    def _draw(self, epoch: int) -> None:
        """Draw epochs until this one; each continues the random numbers of the one before."""
        last = max(self._drawn, default=-1)
        if self._sampler is None or epoch < last:
            generator = torch.Generator()
            generator.manual_seed((SHUFFLE_SEED + self.seed) % 2**64)
            torch.empty((), dtype=torch.int64).random_(generator=generator)  # a loader draws its own seed first
            self._sampler, last = RandomSampler(range(self.images), generator=generator), -1
        for number in range(last + 1, epoch + 1):
            order = list(self._sampler)
            # A loader reads ahead into the next epoch: the one before may still be asked for.
            self._drawn = {key: value for key, value in self._drawn.items() if key == number - 1} | {number: order}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be drawn again: a loader's process gets a copy."""
        return {**self.__dict__, "_drawn": {}, "_sampler": None}


@dataclass(frozen=True)
class Part:
    """One sub-batch of a window, as one of the processes computes it.

    ``places`` are those in the order of the epoch. A process without an image in the whole window borrows one, whose
    ``images`` count as 0: so all processes come to the update. ``index`` is that of the sub-batch in its window.
    """

    places: range
    images: int
    index: int
    last: bool
    first: bool


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
        return [Part(places[:1], 0, 0, last=True, first=True)]
    ends = own[0][0], own[-1][0]
    return [Part(share, len(share), index, last=index == ends[1], first=index == ends[0]) for index, share in own]


def seed_all(*numbers: int) -> None:
    """Seed every generator of random numbers on the CPU."""
    drawn = np.random.SeedSequence(numbers).generate_state(3, np.uint64)
    random.seed(int(drawn[0]))
    np.random.seed(int(drawn[1]) % 2**32)  # numpy 1 makes floats of mixed types
    torch.default_generator.manual_seed(int(drawn[2]) >> 1)


def seed_layers(device: torch.device, seed: int) -> None:
    """Seed what the layers of a network draw from, on the CPU and on their device.

    ``torch.manual_seed`` does so too, and takes a quarter of a millisecond for devices that are not in use.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)


class Candidates(list[int]):
    """The images that a mosaic may draw from; those that are really loaded are noted beside, and change nothing."""

    def __init__(self, images: Iterable[int]) -> None:
        super().__init__(images)
        self.loaded: list[int] = []

    def append(self, index: int) -> None:
        """Note an image that Ultralytics has loaded into memory."""
        self.loaded.append(index)


class KeyedImages(Dataset[Any]):
    """A data set whose items depend on epoch and place alone, whoever loads them and whatever was loaded before.

    Ultralytics' mosaic draws its other images from those that the same process has loaded lately. Here it draws them
    from the images before this one in the order of the epoch, as many as Ultralytics would keep.

    Args:
        images: Ultralytics' data set; all its attributes can be reached through this one.
        order: The order of the images.
    """

    def __init__(self, images: Any, order: Any) -> None:
        recent = int(getattr(images, "max_buffer_length", 0))
        self.__dict__.update(images=images, order=order, recent=recent, held=OrderedDict())
        if recent:
            images.max_buffer_length = sys.maxsize  # what is kept in memory is decided here

    def __len__(self) -> int:
        return len(self.images)

    def __getattr__(self, name: str) -> Any:
        if name == "images" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.images, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.images, name, value)

    def __getitem__(self, key: int | Key) -> Any:
        """Return the item of a key, which is the epoch times the number of images plus the place, or says it all."""
        if isinstance(key, Key):
            before = key.images
            # By the place too: an order of the user's own may come to the same image twice.
            seed_all(self.order.seed, key.epoch, before[0], key.place)
        elif isinstance(self.order, EpochOrder):
            epoch, place = divmod(key, len(self.order))
            order = self.order(epoch)
            before = tuple(order[place - back] for back in range(max(1, self.recent)))
            seed_all(self.order.seed, epoch, before[0])
        else:
            return self.images[key]
        index = before[0]
        if not self.recent:
            return self.images[index]
        self.images.buffer = Candidates(before)
        item = self.images[index]
        self._forget(index, self.images.buffer.loaded)
        return item

    def _forget(self, index: int, loaded: list[int]) -> None:
        """Bound the number of images in memory; the item's own may have been changed in place and goes at once."""
        for each in loaded:
            self.held[each] = True
            self.held.move_to_end(each)
        dropped = [index] if self.held.pop(index, None) else []
        while len(self.held) > self.recent:
            dropped.append(self.held.popitem(last=False)[0])
        if self.images.cache != "ram":
            for each in dropped:
                self.images.ims[each] = self.images.im_hw0[each] = self.images.im_hw[each] = None


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
        self.part = Part(range(0), 0, 0, True, True)
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
