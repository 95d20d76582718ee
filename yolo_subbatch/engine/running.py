"""The losses of an epoch as Ultralytics shows and keeps them, the same for any number of sub-batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch


class EpochLosses:
    """The sums over images of the losses, by name, over the updates of the epoch so far.

    Ultralytics forms the mean of the sub-batches' means in every pass, which would weigh a smaller sub-batch like a
    whole one.
    """

    def __init__(self) -> None:
        self.totals: dict[str, tuple[float, int]] = {}  # sum and images

    def __bool__(self) -> bool:
        return bool(self.totals)

    def add(self, means: Mapping[str, float], images: int) -> None:
        """Add an update: its means per image, and its images."""
        for name, mean in means.items():
            total, seen = self.totals.get(name, (0.0, 0))
            self.totals[name] = total + mean * images, seen + images

    def means(self) -> dict[str, float]:
        """Return the means per image over the updates so far."""
        return {name: total / images for name, (total, images) in self.totals.items() if images}

    def with_open(
        self, names: Iterable[str], sums: Mapping[str, torch.Tensor], images: int, device: torch.device
    ) -> dict[str, torch.Tensor]:
        """Return the means as Ultralytics has them: tensors of no dimension, on the device, which is not waited for.

        Args:
            names: The losses; NaN where nothing finite was seen.
            sums: Over the images of the update that is open.
            images: How many these are.
            device: Where the training runs.
        """
        means = {}
        for name in names:
            total, seen = self.totals.get(name, (0.0, 0))
            part = sums.get(name)
            if part is not None and images:
                means[name] = (part.float() + total) / (images + seen)
            else:
                means[name] = torch.full((), total / seen if seen else math.nan, device=device)
        return means

    def state(self) -> dict[str, list[float]]:
        """Return what :meth:`load` takes."""
        return {name: [total, images] for name, (total, images) in self.totals.items()}

    def load(self, state: Mapping[str, list[float]]) -> None:
        """Go on from a state."""
        self.totals = {name: (total, int(images)) for name, (total, images) in state.items()}
