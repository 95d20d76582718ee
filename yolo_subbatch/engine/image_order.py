"""Which image is where in an epoch, and what is drawn at random for it: by seed, epoch and place alone."""

from __future__ import annotations

import random
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, RandomSampler

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
