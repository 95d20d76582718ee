"""Runs that are there: those of a project folder, what became of each, and which iteration weights are from."""

from __future__ import annotations

import csv
import io
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from yolo_subbatch.folder.events import RunFinished, Step, last_event, newest_start
from yolo_subbatch.folder.queue import waiting_runs
from yolo_subbatch.folder.resume import has_state
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.safe_reading import read_small

MAP50_COLUMN = "metrics/mAP50(B)"  # of Ultralytics' results.csv


@dataclass(frozen=True)
class RunSummary:
    """What became of a run: ``share`` of its updates are done, ``error`` is the type of what ended it."""

    folder: RunFolder
    status: str
    share: float | None = None
    map50: float | None = None
    reason: str = ""
    error: str = ""
    resumable: bool = False

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.path.name


def summarise(folder: RunFolder) -> RunSummary:
    """Look up what became of a run, reading no more of its files than needed."""
    status = folder.status()
    ended = last_event(folder.events, RunFinished) if status in {"completed", "stopped", "failed"} else None
    share = None
    if status in {"running", "stopped", "failed"}:
        started, step = newest_start(folder.events), last_event(folder.events, Step)
        if started and started.steps_total and step:
            share = min(1.0, step.step / started.steps_total)
    error = ended.error if ended and ended.error else {}
    resumable = status in {"stopped", "failed"} and (has_state(folder) or (share is None and folder.settings.is_file()))
    return RunSummary(
        folder, status, share, best_map50(folder), ended.reason if ended else "", error.get("type", ""), resumable
    )


def best_map50(folder: RunFolder) -> float | None:
    """Return the best mAP50 of a run's validations as Ultralytics' table has them; None without one."""
    with suppress(OSError, ValueError, csv.Error):
        text = read_small(folder.path / "results.csv").decode("utf-8")
        rows = [
            {key.strip(): value for key, value in row.items() if key} for row in csv.DictReader(io.StringIO(text, ""))
        ]
        values = [float(row[MAP50_COLUMN]) for row in rows if row.get(MAP50_COLUMN)]
        return max((each for each in values if 0 <= each <= 1), default=None)  # and no NaN
    return None


def list_runs(project: str | Path) -> list[RunFolder]:
    """Return the run folders in a project folder, the newest first; runs that wait in a queue are among them."""
    waiting = {each.path for each in list_waiting(project)}
    found = [each for each in _folders(project) if each.path in waiting or _has_any(each.began, each.events)]
    return sorted(found, key=lambda each: each.changed(), reverse=True)


def list_waiting(project: str | Path) -> list[RunFolder]:
    """Return the run folders in a project folder that wait in a queue."""
    here = os.path.realpath(project)
    found = (each.path for each in waiting_runs() if os.path.realpath(each.path.parent) == here)
    return [RunFolder(Path(project) / path.name) for path in found if path.is_dir()]


def _folders(project: str | Path) -> list[RunFolder]:
    with suppress(OSError):
        return [RunFolder(path) for path in Path(project).iterdir()]
    return []


def _has_any(*files: Path) -> bool:
    with suppress(OSError):  # a folder that may not be looked into
        return any(file.is_file() for file in files)
    return False


def recorded_iteration(weights: str | Path, seen: int) -> int | None:
    """Return the iteration after which a run wrote its last weights; None for a file that no run here has left.

    Darknet divides the images seen by the batch; where epochs end in smaller updates that would be too few.
    """
    last = last_event(Path(weights).absolute().parent.parent / "events.jsonl", Step)
    return last.step if last is not None and last.seen == seen else None
