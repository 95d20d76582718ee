"""The step of an update: who clips, who changes the weights, and what is done around a user's own one."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from ultralytics.utils import RANK

from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.arguments import SUBBATCH_DEFAULTS
from yolo_subbatch.engine.overrides import is_known
from yolo_subbatch.engine.shortage import standing_in

if TYPE_CHECKING:
    from yolo_subbatch.engine.update import Updates

    Base: Any = Updates
else:
    Base = object


class Steps(Base):
    """The part of the trainer that steps once per update."""

    args: Any
    model: Any
    whole_step: Callable[[], Any]  # the trainer's own optimizer_step
    update_index: int
    grad_norm: float
    clipped: bool

    def reset_steps(self) -> None:
        """Begin before the first update."""
        self.norm = torch.zeros(())  # of the gradient that is about to be clipped
        self.counted = self.clip_reached = self.step_told = False

    def _step(self) -> None:
        """Have the trainer's ``optimizer_step`` change the weights, with the meaning that Ultralytics gives it."""
        scaler, scaled = self.scaler, []
        self.counted = self.clip_reached = False
        with ExitStack() as stack:
            if scaler.is_enabled():
                # The gradient is unscaled already; whoever unscales it, as Ultralytics does first, would be refused.
                stack.enter_context(standing_in(scaler, "unscale_", lambda original, optimizer: None))
                stack.enter_context(standing_in(scaler, "update", lambda original, *new: scaled.append(original(*new))))
            stack.enter_context(standing_in(self.optimizer, "zero_grad", self._zero))
            self.whole_step()
        if scaler.is_enabled() and not scaled:
            scaler.update()
        self.count_update()
        self.in_a_row = 0
        self._tell_of_step()

    def optimizer_step(self) -> None:
        """Clip the gradient of the update, change the weights, and move their average: once per update."""
        kinds = type(self).__mro__
        behind = next(each for each in kinds[kinds.index(Steps) + 1 :] if "optimizer_step" in vars(each))
        if not is_known(behind):  # a user's class that stands behind the mixin
            super().optimizer_step()
            return
        self.clip()
        self.scaler.step(self.optimizer)
        self.count_update()  # from here on, the window cannot simply be done again
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.update(self.model)

    def count_update(self) -> None:
        """Count the update that was just made, once."""
        if not self.counted:
            self.update_index += 1
        self.counted = True

    def clip(self) -> None:
        """Bring the gradient down to ``max_norm``."""
        self.clip_reached = True
        most, size = self.args.max_norm, self.grad_norm
        if not 0 < most < math.inf:
            return
        if self.own_method("optimizer_step") is not None:  # which may have changed it
            self.norm = total_norm(self.model, float(self.args.norm_type))
            size = float(self.norm)
        self.clipped = most < size
        if self.clipped:
            scale_gradients(self.model, torch.clamp(most / (self.norm + 1e-6), max=1.0))

    def _tell_of_step(self) -> None:
        """Say once, after the first update, whose clipping it is."""
        if self.step_told:
            return
        self.step_told = True
        own, most = self.own_method("optimizer_step"), self.args.max_norm
        if own is not None and not self.clip_reached and RANK in {-1, 0}:
            say = LOGGER.info if most == SUBBATCH_DEFAULTS["max_norm"] else LOGGER.warning
            say(
                f"{own} does not call super().optimizer_step(): gradients are clipped as it does, and "
                f"max_norm={most:g} has no effect"
            )

    def _zero(self, original: Any, *args: Any, **keywords: Any) -> Any:
        """Fire the event that Ultralytics declares, before the gradients go."""
        self.run_callbacks("on_before_zero_grad")
        return original(*args, **keywords)


def total_norm(model: torch.nn.Module, norm_type: float) -> torch.Tensor:
    """Return the norm of all gradients together, a tensor of no dimension, as torch's clipping computes it."""
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    if not gradients:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, norm_type)), norm_type)


def scale_gradients(model: torch.nn.Module, factor: Any) -> None:
    """Multiply every gradient in place."""
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    torch._foreach_mul_(gradients, factor)
