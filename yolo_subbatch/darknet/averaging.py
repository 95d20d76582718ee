"""AlexeyAB's average of the weights, ``ema_alpha``: begun in the middle of a run, put in their place near its end.

Source: AlexeyAB's darknet ``train_network_waitkey``, ``ema_update`` and ``ema_apply`` in src/network.c.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

LAST = 1000  # iterations that go on from the average


@dataclass(frozen=True)
class Average:
    """When weights are averaged, and how.

    ``start`` is the iteration from which on the average lags behind the weights, ``taken_over`` the one after which it
    takes their place: None in a run so short that this would come first.
    """

    alpha: float
    start: int
    taken_over: int | None

    def decay(self, iteration: int) -> float:
        """Return the share of the average that stays in this iteration: 0 where it is just the weights."""
        if iteration <= self.start or (self.taken_over is not None and iteration > self.taken_over):
            return 0.0
        return 1.0 if iteration == self.taken_over else self.alpha

    @property
    def note(self) -> str:
        """Say in one line what will happen."""
        then = "to the end" if self.taken_over is None else f"the run goes on from it after iteration {self.taken_over}"
        return f"ema_alpha {self.alpha:g}: the weights are averaged from iteration {self.start} on; {then}"


def plan_average(alpha: float, iterations: int, factor: float = 1.0) -> Average | None:
    """Work out when weights are averaged; Darknet counts from the middle of the run and from its end.

    Args:
        alpha: ``ema_alpha`` of the cfg; 0 is off.
        iterations: Of the run.
        factor: By which the cfg's schedule was fitted to that.
    """
    if not alpha:
        return None
    start, taken_over = iterations // 2, iterations - round(LAST * factor)
    return Average(alpha, start, taken_over if taken_over > start else None)


@torch.no_grad()
def take_over(model: nn.Module, average: nn.Module) -> None:
    """Put the averaged weights into a network; its batch-norm statistics stay, and have to find their way again."""
    for weight, mean in zip(model.parameters(), average.parameters(), strict=True):
        weight.copy_(mean)
