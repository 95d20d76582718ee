"""Runs that wait for their turn.

A waiting run is a folder with settings and a file ``control/queued`` that holds when it was put there, and the working
directory in which its settings were made. Whoever removes that file starts the run, so two programs that look at the
same queue never start it twice, and a queue outlives the program that made it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress

from yolo_subbatch.run.folder import RunFolder

FIRST_GPU = "0"


def enqueue(folder: RunFolder) -> None:
    """Put a run with settings at the end of the queue."""
    folder.waiting.parent.mkdir(exist_ok=True)
    folder.waiting.write_text(f"{time.time():.6f}\n{os.getcwd()}\n", encoding="utf-8")


def take(folder: RunFolder) -> bool:
    """Take a run out of the queue; False if it was taken already, and must not be started."""
    try:
        folder.waiting.unlink()
    except FileNotFoundError:
        return False
    return True


def in_order(folders: Iterable[RunFolder]) -> list[RunFolder]:
    """Return those that wait, the one whose turn comes first at the front."""
    return sorted((each for each in folders if each.waiting.exists()), key=_since)


def _since(folder: RunFolder) -> float:
    with suppress(OSError, ValueError):
        return float(folder.waiting.read_text(encoding="utf-8").partition("\n")[0])
    return 0.0


def place_of(folder: RunFolder) -> str | None:
    """Return the working directory in which the settings of a waiting run were made; None if nobody knows."""
    with suppress(OSError, ValueError):
        return folder.waiting.read_text(encoding="utf-8").partition("\n")[2].strip() or None
    return None


def share_a_device(first: str | None, second: str | None) -> bool:
    """Tell whether two runs would compute on the same device; without a ``device=`` that may be any."""
    if first is None or second is None:
        return True
    return bool(_devices(first) & _devices(second))


def _devices(device: str) -> set[str]:
    names = {each.removeprefix("cuda:") for each in device.split(",")}
    return {FIRST_GPU if each == "cuda" else each for each in names}
