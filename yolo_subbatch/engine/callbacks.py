"""From Ultralytics' callbacks to the events of a run folder.

Terminal, window and whatever else watches a run read these events and nothing else.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from ultralytics import __version__ as ultralytics_version

from yolo_subbatch.engine.processes import launched
from yolo_subbatch.folder.events import Checkpoint, Event, EventWriter, Image, Log, RunFinished, RunStarted, Step, Val
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.number_texts import duration

METRICS = {
    "map50": "metrics/mAP50(B)",
    "map": "metrics/mAP50-95(B)",
    "precision": "metrics/precision(B)",
    "recall": "metrics/recall(B)",
    "accuracy": "metrics/accuracy_top1",
}
FOLLOWED = frozenset({
    "on_train_start", "on_train_epoch_start", "on_sub_batch_end", "on_optimizer_step", "on_fit_epoch_end",
    "on_model_save", "on_train_end",
})  # fmt: skip
ESTIMATE_AFTER = 2  # sub-batches; the first one also pays for warming up


class RunRecorder:
    """Writes ``events.jsonl`` of one run, hands every event to the listeners, and obeys a request to stop.

    A listener is a callable that takes an event; the trainer's callback list ``on_event`` holds them.
    """

    def __init__(self) -> None:
        self.writer: EventWriter | None = None
        self.folder: RunFolder | None = None
        self.interrupted = False  # set it to stop after the current update, without validating
        self.finished = False
        self.last_update = time.monotonic()
        self.best: float | None = None  # mAP50-95

    def register(self, trainer: Any) -> None:
        """Attach to a trainer."""
        trainer.recorder = self
        self.listeners: list[Callable[[Event], None]] = list(trainer.callbacks.get("on_event", []))

    def follow(self, event: str, trainer: Any) -> None:
        """Do what belongs to an event, after all callbacks of the user's: nobody can take it off the trainer."""
        if event in FOLLOWED:
            getattr(self, event)(trainer)

    def emit(self, event: Event) -> None:
        """Write one event and tell the listeners."""
        try:
            if self.writer is not None:
                self.writer.write(event)
        finally:  # who watches hears of it, whatever the disk does
            for listener in self.listeners:
                listener(event)

    def on_train_start(self, trainer: Any) -> None:
        """Open the events file; everything that can be refused has been refused by now."""
        self.folder = RunFolder(Path(trainer.save_dir))
        if trainer.resumed is not None:
            if launched():
                self.folder.cut_events(trainer.resumed["events"])
            else:
                self.folder.begin_again(trainer.resumed["events"], clear=not trainer.requests_are_new)
            self.best = trainer.resumed["best"]
        self.writer = EventWriter(self.folder.events)
        # A user's own trainer may have attributes of these names.
        plan, size = (trainer.plan, trainer.size) if trainer.trains_darknet() else (None, (trainer.args.imgsz,) * 2)
        total = plan.iterations if plan else trainer.updates_per_epoch * trainer.epochs
        net = plan.net if plan else None
        self.emit(
            RunStarted(
                pid=os.getpid(),
                steps_total=total,
                start_step=trainer.update_index,
                model=str(trainer.args.model),
                device=str(trainer.device),
                world_size=max(1, trainer.world_size),
                torch=torch.__version__,
                ultralytics=ultralytics_version,
                names=names_of(trainer.data),
                batch=trainer.args.batch,
                subdivisions=trainer.args.subdivisions,
                imgsz=list(size),
                clip=float(trainer.args.max_norm),
                lr_steps=[step for step in net.steps if step > 0] if net else [],
                burn_in=net.burn_in if net else 0,
                epochs=trainer.epochs,
                updates_per_epoch=trainer.updates_per_epoch,
                data=str(trainer.args.data),
            )
        )
        self.emit(Log(level="info", text=trainer.start_line()))
        if trainer.resumed is not None and "longer" in trainer.resumed:
            self.emit(Log(level="info", text=trainer.length_line()))
        self.total, self.passes, self.begin = total, 0, time.monotonic()

    def on_train_epoch_start(self, trainer: Any) -> None:
        """Time the first update of an epoch from here, not from the validation before."""
        self.last_update = time.monotonic()

    def on_sub_batch_end(self, trainer: Any) -> None:
        """Say early how long the run will take."""
        self.passes += 1
        if self.passes in {1, 1 + ESTIMATE_AFTER} and trainer.device.type == "cuda":
            torch.cuda.synchronize(trainer.device)  # else only the launching of the work would be timed
        if self.passes == 1:
            self.begin = time.monotonic()
        elif self.passes == 1 + ESTIMATE_AFTER:
            each = (time.monotonic() - self.begin) / ESTIMATE_AFTER
            left = (self.total - trainer.update_index) * trainer.args.subdivisions * each
            self.emit(Log(level="info", text=f"expected duration: about {duration(left)}, without validation"))

    def on_optimizer_step(self, trainer: Any) -> None:
        """Report one weight update."""
        now = time.monotonic()
        spent, self.last_update = now - self.last_update, now
        parts = {name.removesuffix("_loss"): value for name, value in trainer.update_losses.items()}
        cost = parts.pop("darknet", None)
        group = trainer.optimizer.param_groups[0]
        self.emit(
            Step(
                step=trainer.update_index,
                epoch=trainer.epoch + 1,
                loss={"total": sum(parts.values()), **parts},
                darknet_loss=cost,
                lr=group["lr"] / group.get("rate_factor", 1.0),
                gnorm=trainer.grad_norm,
                clipped=trainer.clipped,
                skipped=trainer.in_a_row > 0,
                ips=trainer.update_images / max(spent, 1e-9),
                images=trainer.update_images,
                seen=trainer.seen,
                imgsz=trainer.input_shape,
                mem_mb=memory_mb(trainer.device),
            )
        )

    def stop_wanted(self) -> bool:
        """Tell whether someone asked for the end of the run."""
        self.interrupted = self.interrupted or (self.folder is not None and self.folder.stop_requested())
        return self.interrupted

    def position(self) -> int:
        """Return the size of the events file in bytes, all of which is on the disk."""
        return self.writer.position() if self.writer is not None else 0

    def rewind(self, position: int) -> None:
        """Take back the events since a position."""
        if self.writer is not None and self.folder is not None:
            self.writer.close()
            self.folder.cut_events(position)
            self.writer = EventWriter(self.folder.events)

    def report_state(self, trainer: Any) -> None:
        """Report that the exact state was kept, which the next one will hold."""
        path = trainer.state_file.relative_to(trainer.save_dir).as_posix()
        self.emit(Checkpoint(step=trainer.update_index, path=path, kind="resume"))

    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Report a validation; the one that Ultralytics adds after the last epoch is not an epoch's."""
        if trainer.validated != trainer.epoch:
            return
        best, figures = bool(trainer.best_fitness == trainer.fitness), self._figures(trainer)
        if figures["map"] is not None:
            self.best = max(figures["map"], self.best or 0.0)
        self.emit(Val(step=trainer.update_index, epoch=trainer.epoch + 1, best=best, **figures))
        self._report_pictures(trainer)

    def _report_pictures(self, trainer: Any) -> None:
        """Report the pictures of a validation, which were drawn over those of the one before."""
        for picture in sorted(Path(trainer.save_dir).glob("val_batch*_pred.jpg")):
            self.emit(Image(step=trainer.update_index, path=picture.name, kind="val"))

    def _figures(self, trainer: Any) -> dict[str, Any]:
        found = {name: trainer.metrics.get(key) for name, key in METRICS.items()}
        return {name: None if value is None else float(value) for name, value in found.items()}

    def on_model_save(self, trainer: Any) -> None:
        """Report the checkpoint."""
        kind = "best" if trainer.best_fitness == trainer.fitness and trainer.fitness is not None else "last"
        path = trainer.best if kind == "best" else trainer.last
        self.emit(Checkpoint(step=trainer.update_index, path=str(Path(path).relative_to(trainer.save_dir)), kind=kind))

    def on_train_end(self, trainer: Any) -> None:
        """Report that the run is over."""
        if trainer.finishing:
            self._report_pictures(trainer)  # those of the best weights
        status = "stopped" if trainer.stopping else "completed"
        self.finish(status, trainer.update_index)

    def fail(self, step: int, error: BaseException, reason: str) -> None:
        """Leave the reason why a run ended in its folder; one that never began leaves nothing."""
        if self.writer is None:
            return
        stopped = isinstance(error, KeyboardInterrupt)
        details = {"type": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
        with suppress(OSError):  # the disk may be what has failed; the process that is gone tells of its end then
            self.finish("stopped" if stopped else "failed", step, reason, None if stopped else details)

    def finish(self, status: str, step: int, reason: str = "", error: dict[str, str] | None = None) -> None:
        """Write the last event, once."""
        if not self.finished:
            self.finished = True
            writer = self.writer
            try:
                self.emit(RunFinished(status=status, reason=reason, step=step, best=self.best, error=error))
            finally:
                self.writer = None
                if writer is not None:
                    writer.close()


def names_of(data: dict[str, Any]) -> list[str]:
    """Return the names of the classes; a user's own ``get_dataset`` may have them as a list."""
    names = data.get("names") or []
    return [str(each) for each in (names.values() if isinstance(names, dict) else names)]


def memory_mb(device: torch.device) -> float:
    """Return the memory in use, in MiB: the device's peak, or this process's on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return float(psutil.Process().memory_info().rss) / 2**20
