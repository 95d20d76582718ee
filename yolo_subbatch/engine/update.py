"""One weight update with the gradient of a whole window: unscaled, put into proportion, clipped and stepped once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from yolo_subbatch.engine.sub_batches import Sums

SMALLEST_SCALE = 1.0  # of half precision's gradients: below it, they are not finite for another reason


class Outcome(Enum):
    """What became of an update."""

    STEPPED = "the weights were changed"
    SKIPPED = "a loss or the gradient was not finite, the weights stay"
    OVERFLOWED = "half precision could not hold the gradient, the scale is smaller now"


@dataclass
class Update:
    """One update, from the gradients in the parameters to the new weights.

    Args:
        model: Holds the gradients.
        optimizer: Changes the weights.
        scaler: Of half precision.
        max_norm: At which the gradient is clipped; 0 or infinity: not.
        norm_type: 2 or infinity.

    Attributes:
        images: Of the window.
        losses: The parts of the loss by name, means per image.
        grad_norm: Of the gradient before clipping.
        clipped: It was longer than ``max_norm``.
        clip_reached: Whether it was asked to be clipped at all.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: Any
    max_norm: float
    norm_type: float
    images: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    grad_norm: float = 0.0
    clipped: bool = False
    clip_reached: bool = False
    _norm: Tensor = field(default_factory=lambda: torch.zeros(()))

    def finish(self, sums: Sums, mean: bool, step: Callable[[], Any], before_zero: Callable[[], None]) -> Outcome:
        """Bring the gradient to its scale and have the weights changed, unless that would spoil them.

        Args:
            sums: Of the window.
            mean: Divide by the images.
            step: The trainer's own step.
            before_zero: Called before the gradients go.
        """
        self.scaler.unscale_(self.optimizer)
        if isinstance(sums.factor, Tensor):
            scale_gradients(self.model, sums.factor)
        if mean:
            scale_gradients(self.model, 1.0 / sums.images)
        self.measure(sums)
        losses_finite = all(map(math.isfinite, self.losses.values()))
        if losses_finite and math.isfinite(self.grad_norm):
            self._step(step, before_zero)
            return Outcome.STEPPED
        scaling = self.scaler.is_enabled() and self.scaler.get_scale() > SMALLEST_SCALE
        return Outcome.OVERFLOWED if losses_finite and scaling else Outcome.SKIPPED

    def measure(self, sums: Sums) -> None:
        """Take losses and norm from the device, all at once: each transfer would wait for it."""
        self.images = sums.images
        self._norm = total_norm(self.model, self.norm_type)
        values = torch.stack(list(sums.losses.values())) * sums.factor if sums.losses else torch.zeros(0)
        self.grad_norm, *found = torch.cat((self._norm.reshape(1).float(), values.to(self._norm).float())).tolist()
        self.losses = {name: value / sums.images for name, value in zip(sums.losses, found, strict=True)}

    def _step(self, step: Callable[[], Any], before_zero: Callable[[], None]) -> None:
        """Have the trainer's step change the weights, with the meaning that Ultralytics gives it."""
        scaler, optimizer = self.scaler, self.optimizer
        scale, zero = scaler.update, optimizer.zero_grad
        scaled: list[Any] = []
        zeroed: list[Any] = []

        def update_scale(*new_scale: Any) -> None:
            scaled.append(scale(*new_scale))

        def zero_grad(*args: Any, **keywords: Any) -> None:
            if not zeroed:
                before_zero()  # Ultralytics declares this event, and does not fire it
            zeroed.append(zero(*args, **keywords))

        if not scaler.is_enabled():
            with patch.object(optimizer, "zero_grad", zero_grad):
                step()
            return
        # The gradient is unscaled already; whoever unscales it, as Ultralytics does first, would be refused.
        with (
            patch.object(optimizer, "zero_grad", zero_grad),
            patch.object(scaler, "unscale_", lambda _: None),
            patch.object(scaler, "update", update_scale),
        ):
            step()
        if not scaled:
            scaler.update()

    def clip(self, changed: bool = False) -> None:
        """Bring the gradient down to ``max_norm``.

        Args:
            changed: Somebody may have changed it since it was measured.
        """
        self.clip_reached = True
        if not 0 < self.max_norm < math.inf:
            return
        size = self.grad_norm
        if changed:
            self._norm = total_norm(self.model, self.norm_type)
            size = float(self._norm)
        self.clipped = self.max_norm < size
        if self.clipped:
            scale_gradients(self.model, torch.clamp(self.max_norm / (self._norm + 1e-6), max=1.0))

    def not_finite(self) -> tuple[str, str]:
        """Return what was not a finite number, for people and as a code."""
        bad = [name for name, value in self.losses.items() if not math.isfinite(value)]
        return (f"loss ({', '.join(bad)})", "nan_loss") if bad else ("gradient", "nan_gradient")


def forget_unscaled(scaler: Any, factor: float) -> None:
    """Have half precision's scaler forget the gradients of a window that makes no update.

    Args:
        scaler: One that has scaled nothing yet has no scale to set.
        factor: On the scale from now on.
    """
    if scaler.is_enabled() and scaler._scale is not None:
        scaler.update(scaler.get_scale() * factor)


def total_norm(model: nn.Module, norm_type: float) -> Tensor:
    """Return the norm of all gradients together, a tensor of no dimension, as torch's clipping computes it."""
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    if not gradients:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, norm_type)), norm_type)


def scale_gradients(model: nn.Module, factor: Any) -> None:
    """Multiply every gradient in place."""
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    torch._foreach_mul_(gradients, factor)
