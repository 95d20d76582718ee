"""The order of the images that a user's own loader gives, kept from epoch to epoch and over a resumed run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)
from ultralytics.data.build import InfiniteDataLoader

from yolo_subbatch.engine.image_order import SHUFFLE_SEED, EpochOrder, Key, seed_all
from yolo_subbatch.errors import SettingsError

ORDER = 3  # beside seed and epoch, what random numbers of a sampler are seeded by


class OwnOrder:
    """The order that a sampler gives, epoch after epoch.

    Each epoch is drawn once, in turn, as a loader would: a generator of the sampler's own is put back to where it stood
    before the first epoch when a run goes on, what it draws from the common generators is seeded by seed and epoch, and
    ``set_epoch`` is called where there is one. So the order is the same in every process and after every resume, unless
    the sampler asks a clock.

    Args:
        sampler: Gives the numbers of images; all its attributes can be reached through this one.
        seed: The seed of the run.
        images: How many there are in the data set.
        where: Who made it, for messages.
        loader: The loader that it was made for, which draws a number of its own where both share a generator.
    """

    def __init__(self, sampler: Any, seed: int, images: int, where: str, loader: Any = None) -> None:
        generator = getattr(sampler, "generator", None)
        shared = generator is not None and generator is getattr(loader, "generator", None)
        self.__dict__.update(
            inner=sampler, seed=seed, images=images, where=where, drawn={}, last=-1, length=length_of(sampler, where),
            begin=None if generator is None else generator.get_state(), shared=shared,
            endless=isinstance(loader, InfiniteDataLoader),
        )  # fmt: skip

    def __len__(self) -> int:
        return int(self.length)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.length))

    def __getattr__(self, name: str) -> Any:
        if name == "inner" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.inner, name, value)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the sampler is told when the epoch is drawn."""

    def __call__(self, epoch: int) -> list[int]:
        """Return the image at every place of an epoch, counted from 0."""
        if epoch not in self.drawn:
            if epoch < self.last or self.last < 0:
                self.__dict__.update(last=-1, drawn={})
                if self.begin is not None:
                    self.inner.generator.set_state(self.begin)
            for number in range(self.last + 1, epoch + 1):
                kept = {key: value for key, value in self.drawn.items() if key == number - 1}
                self.__dict__.update(drawn=kept | {number: self._draw(number)}, last=number)
        found: list[int] = self.drawn[epoch]
        return found

    def _draw(self, epoch: int) -> list[int]:
        if hasattr(self.inner, "set_epoch"):
            self.inner.set_epoch(epoch)
        if self.shared and (not self.endless or epoch == 0):
            torch.empty((), dtype=torch.int64).random_(generator=self.inner.generator)  # as the loader does for itself
        with seeded(self.seed, epoch, ORDER):
            order = list(islice(self.inner, self.length))
        try:
            order = [int(index) for index in order]
        except (TypeError, ValueError) as error:
            raise SettingsError(
                f"{self.where}: its sampler gives no numbers of images; give a sampler of int"
            ) from error
        if len(order) < self.length:
            raise SettingsError(
                f"{self.where}: its sampler says that it has {self.length} images and gives {len(order)} in epoch "
                f"{epoch + 1}; mend its __len__"
            )
        wrong = [index for index in order if not 0 <= index < self.images]
        if wrong:
            raise SettingsError(
                f"{self.where}: its sampler gives image {wrong[0]} of {self.images}; give numbers from 0 to "
                f"{self.images - 1}"
            )
        return order

    def keys(self, epoch: int, places: range, recent: int) -> list[Key]:
        """Return the keys of some places, which say all that a loading process has to know."""
        order = self(epoch)
        return [
            Key(epoch, place, tuple(order[place - back] for back in range(min(recent, len(order)) or 1)))
            for place in places
        ]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the sampler here: a loader's process never asks for an order."""
        return {**self.__dict__, "inner": None, "drawn": {}}


def length_of(sampler: Any, where: str) -> int:
    """Return how many images a sampler gives in an epoch.

    Raises:
        SettingsError: If it does not say, or gives none.
    """
    try:
        length = len(sampler)
    except TypeError as error:
        raise SettingsError(f"{where}: its sampler has no len(); give it __len__, the images of an epoch") from error
    if length < 1:
        raise SettingsError(f"{where}: its sampler gives no image")
    return int(length)


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Seed the common generators of random numbers, and put them back."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_all(*numbers)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def order_of(loader: Any, seed: int, where: str, own: bool) -> EpochOrder | OwnOrder:
    """Return the order of a loader's images.

    Args:
        loader: What ``get_dataloader`` returned.
        seed: The seed of the run.
        where: Who made it, for messages.
        own: A user made it.

    Raises:
        SettingsError: If its images cannot be cut into windows and sub-batches.
    """
    if own:
        refuse_uncut(loader, where)
    sampler, images = loader.sampler, len(loader.dataset)
    if type(sampler) is SequentialSampler and len(sampler) == images:
        return EpochOrder(images, seed, shuffle=False)
    plain = type(sampler) is RandomSampler and not sampler.replacement and sampler.num_samples == images
    if plain and (not own or is_ultralytics(sampler.generator)):
        return EpochOrder(images, seed)
    return OwnOrder(sampler, seed, images, where, loader)


def is_ultralytics(generator: torch.Generator | None) -> bool:
    """Tell whether a generator is none, or the one that Ultralytics gives to a loader for shuffling."""
    return generator is None or generator.initial_seed() == (SHUFFLE_SEED + torch.initial_seed()) % 2**64


def refuse_uncut(loader: Any, where: str) -> None:
    """Refuse a loader whose batches are not made of single images in an order.

    Raises:
        SettingsError: With what to give instead.
    """
    give = "give a DataLoader of a data set with a sampler: the batches are cut by batch= and subdivisions="
    if not isinstance(loader, DataLoader):
        raise SettingsError(f"{where}: a {type(loader).__name__} is no DataLoader of torch; {give}")
    if isinstance(loader.dataset, IterableDataset):
        raise SettingsError(f"{where}: an IterableDataset has no numbered images; {give}")
    if type(loader).__iter__ not in (DataLoader.__iter__, InfiniteDataLoader.__iter__):
        raise SettingsError(f"{where}: {type(loader).__name__} makes its batches itself (__iter__); {give}")
    batches = loader.batch_sampler
    batches = getattr(batches, "sampler", None) if type(batches).__name__ == "_RepeatSampler" else batches
    if type(batches) is not BatchSampler:
        what = "has no batches" if batches is None else f"has a batch_sampler of its own, {type(batches).__name__}"
        raise SettingsError(f"{where}: its loader {what}; {give}")
    if isinstance(loader.sampler, DistributedSampler) and loader.sampler.num_replicas > 1:
        raise SettingsError(
            f"{where}: a DistributedSampler gives each process images of its own; give a sampler over all images, "
            "every window is shared among the processes"
        )
