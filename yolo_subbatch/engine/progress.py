"""How far a training has come: its only counters, and the losses of the epoch so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch


class EpochLosses:
    """The sums over images of the losses, by name, over the updates of the epoch so far.

    Ultralytics forms the mean of the means of its passes, which would weigh a smaller last batch like a whole one, and
    begins anew where an epoch is taken up in its middle.
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

    def means(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Return the means per image of these losses, of no dimension, on the CPU; NaN where none was finite."""
        found = {name: self.totals.get(name, (math.nan, 1)) for name in names}
        return {name: torch.tensor(total / images) for name, (total, images) in found.items()}

    def state(self) -> dict[str, list[float]]:
        """Return what :meth:`load` takes."""
        return {name: [total, images] for name, (total, images) in self.totals.items()}

    def load(self, state: Mapping[str, list[float]]) -> None:
        """Go on from a state."""
        self.totals = {name: (total, int(images)) for name, (total, images) in state.items()}


@dataclass
class Progress:
    """The counters of a training; Ultralytics has that of the epochs.

    Attributes:
        iteration: Updates since the beginning, with those that were left out.
        seen: Images since the beginning.
        window: Updates of the epoch so far.
        skipped: Updates that were left out, because they would have spoilt the weights.
        in_a_row: How many of those came one after the other, up to now.
        losses: Of the epoch so far.
    """

    iteration: int = 0
    seen: int = 0
    window: int = 0
    skipped: int = 0
    in_a_row: int = 0
    losses: EpochLosses = field(default_factory=EpochLosses)

    def begin_epoch(self) -> None:
        """Forget the losses of the epoch before, unless this one is taken up in its middle."""
        if not self.window:
            self.losses = EpochLosses()

    def made(self) -> None:
        """Count an update whose weights have just changed."""
        self.iteration += 1
        self.in_a_row = 0

    def left_out(self) -> None:
        """Count an update that was not made."""
        self.iteration += 1
        self.skipped += 1
        self.in_a_row += 1

    def close_window(self, means: Mapping[str, float], images: int) -> None:
        """Count the images of an update that was made or left out."""
        self.seen += images
        self.window += 1
        if not self.in_a_row:
            self.losses.add(means, images)

    def go_back(self, iteration: int, seen: int) -> None:
        """Begin an epoch again."""
        self.iteration, self.seen, self.window = iteration, seen, 0
