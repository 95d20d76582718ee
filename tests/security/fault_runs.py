"""Trainings that are ended in all ways, taken up again, and compared with one that was not."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.engine.conftest import cfg_text
from tests.program import Launched, program
from yolo_subbatch.built_in_data import Numbers, write_shapes
from yolo_subbatch.folder.events import RunFinished, Step, last_event, read_events

UPDATES = 24
#: How often each way to end a run is tried; FAULT_RUNS=10 takes three quarters of an hour.
TIMES = int(os.environ.get("FAULT_RUNS", "1"))
ARGUMENTS = [
    "cfg=tiny.cfg", "data=shapes/shapes.data", "epochs=8", "batch=4", "subdivisions=2", "save_iterations=4",
    "patience=0", "device=cpu", "plots=False",
]  # fmt: skip
WAIT = 180.0
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def make_place(folder: Path) -> Path:
    """Make a working directory with a data set and a cfg."""
    write_shapes(folder / "shapes", Numbers(10, 4, 64, 7))
    (folder / "tiny.cfg").write_text(cfg_text(bn=True))
    return folder


def start(place: Path, *arguments: str) -> Launched:
    """Start a training that leads a group of processes; what it says goes to ``console.txt``."""
    command = [sys.executable, "-m", "yolo_subbatch", "train", *arguments]
    with (place / "console.txt").open("w") as console:
        return Launched(command, cwd=str(place), env=ENVIRONMENT, stdout=console, start_new_session=True)


def wait_for(process: Launched, condition: Callable[[], bool]) -> bool:
    """Wait until something holds; False where the process ends before."""
    end = time.monotonic() + WAIT
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end
        time.sleep(0.005)
    return True


def steps(run: Path) -> int:
    last = last_event(run / "events.jsonl", Step)
    return 0 if last is None else last.step


def end_somewhere(process: Launched, run: Path, number: int, group: bool, chance: random.Random) -> int:
    """Send a signal after some update, at some moment of the next one; return the exit status."""
    wanted = chance.randrange(1, UPDATES - 4)
    if wait_for(process, lambda: steps(run) >= wanted):
        time.sleep(chance.random() * 0.2)
        (os.killpg if group else os.kill)(process.pid, number)
    return process.wait(WAIT)


def group_of(process: Launched) -> list[psutil.Process]:
    """Return what is left of a group of processes."""
    return [each for each in psutil.process_iter() if _is_in(each, process.pid)]


def _is_in(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False


def result(run: Path) -> tuple[Any, ...]:
    """Return what two equal trainings have in common: weights, losses, how they ended."""
    every = list(read_events(run / "events.jsonl"))
    losses = [(each.step, each.loss["total"], each.lr) for each in every if isinstance(each, Step)]
    ends = [each.status for each in every if isinstance(each, RunFinished)]
    weights = [(run / "weights" / name).read_bytes() for name in ("last.weights", "best.weights")]
    left = sorted(each.name for each in (run / "weights").iterdir())
    parts = [each.name for each in run.iterdir() if ".part" in each.name]
    return losses, ends, weights, left, parts


def go_on(place: Path, run: Path) -> str:
    """Go on with a run to its end; return what went wrong, or nothing."""
    done = program(place, "train", f"resume={run}", environment={"OMP_NUM_THREADS": "1"})
    return "" if done.returncode == 0 else done.stdout[-500:] + done.stderr[-2000:]


SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]
