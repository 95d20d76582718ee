"""A run on several devices: who starts its processes, and what they have to agree on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ultralytics.utils import RANK

from yolo_subbatch.engine import launch, processes
from yolo_subbatch.errors import TrainingError
from yolo_subbatch.run.faults import explained
from yolo_subbatch.run.trust import guarded

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
    in_hosts_loop = False  # Ultralytics' training loop is or was running

    def around_train(self, theirs: Callable[[], Any]) -> Any:
        """Train, and leave the reason where that fails; what is opened on the way is watched."""
        if self.ddp:
            return theirs()
        try:
            with guarded(self.args.trust):
                result = theirs()
            if not self.in_hosts_loop:
                raise TrainingError(self._passed_by())
            return result
        except BaseException as error:
            found = explained(error, Path(self.save_dir))
            shown = error if found is None else found
            reason = processes.first_failure(shown)
            if self.recorder is not None:
                self.recorder.fail(self.update_index, shown, reason)
            if found is not None:
                raise found from error
            raise
        finally:
            self.withdraw_stand_ins()
            processes.leave()

    def _passed_by(self) -> str:
        """Say that Ultralytics' loop was not run, and what to do."""
        own = self.own_method("_do_train") or self.own_method("train") or type(self).__name__
        return (
            f"{own}: a loop of its own, which cannot be cut into sub-batches; have it call super()._do_train() and use "
            "callbacks, or train without sub-batches"
        )

    def train(self) -> Any:
        """Train; on several devices by starting a process for each, whose events are read as they come."""
        return launch.run_processes(self) if self.ddp else super().train()

    def _do_train(self) -> None:
        """Run the loop; one process of torchrun's has others to join, be they none."""
        self.in_hosts_loop = True
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

    def around__setup_scheduler(self, theirs: Callable[[], None]) -> None:
        """Plan the rates; with ``time=`` every process would reckon with epochs of its own."""
        if self.processes > 1 and self.args.time:
            self.args.epochs = processes.told_by_first(self.epochs)
            self.epochs = self.args.epochs
        theirs()
