"""Runs as their files tell of them, for tests that start no process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from yolo_subbatch.folder.events import Event, EventWriter, RunFinished, RunStarted, Step, Val, read_events
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.train_settings import TrainSettings


def write(folder: RunFolder, *events: Event) -> None:
    """Add events to a run's file, as a process does that then ends."""
    writer = EventWriter(folder.events)
    for event in events:
        writer.write(event)
    writer.close()


def step(number: int, loss: float | dict[str, float | None] | None = 1.0, **values: Any) -> Step:
    """Return an update; its loss is the total, or all parts of it."""
    parts = loss if isinstance(loss, dict) else {"total": loss}
    return Step(step=number, loss=parts, **{"epoch": 1, "lr": 0.001, "gnorm": 1.0, **values})


def started(total: int = 900, **values: Any) -> RunStarted:
    return RunStarted(**{"pid": os.getpid(), "steps_total": total, "batch": 64, "subdivisions": 16, **values})


def record(folder: RunFolder, *, lives: bool = True) -> None:
    """Record this very process as the run's, or one that is gone: this one, as if its number had been used before."""
    folder.write_process()
    if not lives:
        known = folder.process_record()
        folder.began.write_text(json.dumps({**known, "started": known["started"] - 100}))


def events_of(folder: RunFolder) -> list[Event]:
    return list(read_events(folder.events))


def steps_of(folder: RunFolder) -> list[int]:
    """Return the numbers of a run's updates."""
    return [event.step for event in read_events(folder.events) if isinstance(event, Step)]


def finished_run(project: Path, name: str = "done") -> RunFolder:
    """Make a run of forty updates and one validation that has ended well."""
    folder = RunFolder.create(project, name)
    folder.write_settings(TrainSettings(cfg="yolov3-tiny", batch=8, subdivisions=4))
    losses = [{"total": 9 / n, "box": 4 / n, "obj": 3 / n, "cls": 2 / n} for n in range(1, 41)]
    write(
        folder,
        RunStarted(pid=1, steps_total=40, clip=20.0, burn_in=10, device="cpu"),
        *(Step(step=n, epoch=1, loss=loss, lr=0.001, gnorm=40 / n, ips=12.0) for n, loss in enumerate(losses, 1)),
        Val(step=40, epoch=1, map50=0.7, map=0.4, best=True),
        RunFinished(status="completed", step=40, best=0.4),
    )
    return folder
