"""Ultralytics' running losses without waiting for a GPU."""

from __future__ import annotations

import math
from typing import Any

import torch


class RunningLoss:
    """A running mean that stays on its device, in Ultralytics' progress display.

    As a number it is the mean at the last update: printing it after every sub-batch would wait for the device.
    """

    def __init__(self, value: torch.Tensor, shown: float = math.nan) -> None:
        self.value, self.shown = value, shown

    def __mul__(self, count: int) -> RunningLoss:
        return RunningLoss(self.value * count, self.shown)

    def __add__(self, other: torch.Tensor) -> RunningLoss:
        return RunningLoss(self.value + other, self.shown)

    def __truediv__(self, count: int) -> RunningLoss:
        return RunningLoss(self.value / count, self.shown)

    def __float__(self) -> float:
        return self.shown


def keep_running(losses: dict[str, Any] | None) -> dict[str, RunningLoss] | None:
    """Return Ultralytics' losses by name as running means; it starts with tensors and goes on with what it got."""
    if losses is None:
        return None
    return {
        name: value if isinstance(value, RunningLoss) else RunningLoss(value.detach()) for name, value in losses.items()
    }
