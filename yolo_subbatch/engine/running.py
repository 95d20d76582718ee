"""The losses of an epoch as Ultralytics shows and keeps them, the same for any number of sub-batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class RunningLoss:
    """The mean per image of one loss, over the updates of the epoch so far; a number for whoever prints it.

    Ultralytics forms the mean of the sub-batches' means in every pass. That would weigh a smaller sub-batch like a
    whole one, and reading it would wait for the device: the arithmetic is left without effect.
    """

    def __init__(self, total: float = 0.0, images: int = 0) -> None:
        self.total, self.images = total, images

    def __mul__(self, other: Any) -> RunningLoss:
        return self

    def __add__(self, other: Any) -> RunningLoss:
        return self

    def __truediv__(self, other: Any) -> RunningLoss:
        return self

    def __float__(self) -> float:
        return self.total / self.images if self.images else math.nan


class EpochLosses(dict[str, RunningLoss]):
    """The losses of an epoch by name."""

    def __missing__(self, name: str) -> RunningLoss:
        self[name] = RunningLoss()
        return self[name]

    def add(self, means: Mapping[str, float], images: int) -> None:
        """Add an update: its means per image, and its images."""
        for name, mean in means.items():
            loss = self[name]
            loss.total += mean * images
            loss.images += images

    def state(self) -> dict[str, list[float]]:
        """Return what :meth:`load` takes."""
        return {name: [each.total, each.images] for name, each in self.items()}

    def load(self, state: Mapping[str, list[float]]) -> None:
        """Go on from a state."""
        self.clear()
        self.update({name: RunningLoss(total, int(images)) for name, (total, images) in state.items()})
