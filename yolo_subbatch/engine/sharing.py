"""A run on several devices: who starts its processes, and what they have to agree on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from ultralytics.utils import RANK

from yolo_subbatch.engine import launch, processes

if TYPE_CHECKING:
    from yolo_subbatch.engine.update import Updates

    Base: Any = Updates
else:
    Base = object


class Shares(Base):
    """The part of the trainer that knows of other processes."""

    amp: Any
    args: Any
    device: Any
    epochs: int
    world_size: int

    def train(self) -> None:
        """Train; on several devices by starting a process for each, whose events are read as they come."""
        if self.ddp:
            launch.run_processes(self)
            return
        try:
            super().train()
        except BaseException as error:
            reason = processes.first_failure(error)
            if self.recorder is not None:
                self.recorder.fail(self.update_index, error, reason)
            raise
        finally:
            processes.leave()

    def _do_train(self) -> None:
        """Run the loop; one process of torchrun's has others to join, be they none."""
        if RANK != -1 and self.world_size == 1:
            self._setup_ddp()
        super()._do_train()

    def _setup_ddp(self) -> None:
        """Join the other processes, on the CPU too."""
        if self.device.type == "cpu":
            processes.join_on_cpu()
        else:
            super()._setup_ddp()

    def _agree(self) -> None:
        """Give all processes the same weights and the same precision."""
        processes.same_everywhere(self.plain_model)
        self.ema.ema.load_state_dict(self.plain_model.state_dict())
        amp = processes.told_by_first(self.amp)
        if amp != self.amp:  # only the first one tries whether half precision works
            self.amp = amp
            self.scaler = torch.amp.GradScaler(self.device.type, enabled=amp and self.args.amp != "bf16")

    def _setup_scheduler(self) -> None:
        """Plan the rates; with ``time=`` every process would reckon with epochs of its own."""
        if self.processes > 1 and self.args.time:
            self.args.epochs = processes.told_by_first(self.epochs)
            self.epochs = self.args.epochs
        super()._setup_scheduler()
