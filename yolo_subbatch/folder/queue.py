"""Runs that wait for their turn, in the user's own queue.

An entry is a file in the user's data folder: which folder waits, since when, in which working directory its settings
were made, and what these were. A run's folder, which may come from anybody, has no say in it: what this user did not
put there is never started, nor is a run whose settings were exchanged since. Whoever removes the entry starts the run,
so two programs that look at the same queue never start it twice, and a queue outlives the program that made it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from yolo_subbatch.folder.own import data_folder, private_folder
from yolo_subbatch.folder.process import ENTRY, QUEUE
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.safe_reading import MOST_RECORD, parse_json, read_small
from yolo_subbatch.settings.whole_files import write_whole

FIRST_GPU = "0"


def enqueue(folder: RunFolder) -> None:
    """Put a run with settings at the end of the queue.

    Raises:
        OSError: If the user's data folder, or the settings, cannot be used.
    """
    entry = {
        "folder": str(folder.path), "place": os.getcwd(), "since": time.time(), "settings": _digest(folder),
    }  # fmt: skip
    private_folder(QUEUE)
    write_whole(folder.waiting, json.dumps(entry))


def waiting_runs() -> list[RunFolder]:
    """Return every run in the queue, in no order."""
    with suppress(OSError):
        files = [file for file in (data_folder() / QUEUE).iterdir() if file.suffix == ENTRY]
        named = [(file, _read(file).get("folder")) for file in files]
        runs = [(file, RunFolder(Path(name))) for file, name in named if isinstance(name, str) and "\0" not in name]
        return [run for file, run in runs if run.waiting == file]
    return []


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


def place_of(folder: RunFolder) -> str | None:
    """Return the working directory in which the settings of a waiting run were made; None if nobody knows."""
    place = _entry(folder).get("place")
    return place if isinstance(place, str) and place else None


def is_as_queued(folder: RunFolder) -> bool:
    """Tell whether the settings of a waiting run are those that it was put into the queue with."""
    with suppress(OSError):
        return bool(_entry(folder).get("settings") == _digest(folder))
    return False


def _since(folder: RunFolder) -> float:
    since = _entry(folder).get("since")
    return float(since) if isinstance(since, float) else 0.0


def _entry(folder: RunFolder) -> dict[str, Any]:
    return _read(folder.waiting)


def _read(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        document = parse_json(read_small(file, MOST_RECORD))
        return document if isinstance(document, dict) else {}
    return {}


def _digest(folder: RunFolder) -> str:
    """Return what changes when the settings do; nothing for a run that has a state alone."""
    if not os.path.lexists(folder.settings):
        return ""
    return hashlib.sha256(read_small(folder.settings)).hexdigest()


def share_a_device(first: str | None, second: str | None) -> bool:
    """Tell whether two runs would compute on the same device; without a ``device=`` that may be any."""
    if first is None or second is None:
        return True
    return bool(_devices(first) & _devices(second))


def _devices(device: str) -> set[str]:
    names = {each.removeprefix("cuda:") for each in device.split(",")}
    return {FIRST_GPU if each == "cuda" else each for each in names}
