"""Why a run failed, and what its user can do about it. No widgets here."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from yolo_subbatch.folder.events import RunFinished
from yolo_subbatch.settings.train_settings import TrainSettings

from .history import History

#: What the libraries say when memory runs out, on a GPU and on the CPU.
SHORTAGE = re.compile(
    r"out of memory|MemoryError|not enough memory|memory is short|(can(no|')t|unable to) allocate|alloc_failed|"
    r"bad_alloc",
    re.IGNORECASE,
)
A_FAULT = re.compile(r"error|exception|fatal|abort|fault|killed", re.IGNORECASE)
MISTAKES = ("SettingsError", "CfgError", "DataError", "WeightsError")  # of the user's input, told in full sentences
MOST_LINES = 4  # of the message that the program ends with when its input is at fault
LARGEST_BATCH = 1_000_000


@dataclass(frozen=True)
class Failure:
    """``kind`` is memory, mistake, signal, silent or error; ``message`` the program's own words.

    ``subdivisions`` is the next number that takes less memory, None where one image at a time was too much.
    """

    kind: str
    message: str
    batch: int | None = None
    subdivisions: int | None = None
    signal: str = ""


def explain(history: History, settings: TrainSettings | None, exit_status: int | None, console: str) -> Failure:
    """Find out why a run failed.

    Args:
        history: What it reported.
        settings: What was asked, where that can be read.
        exit_status: Of its process, negative for a signal; None where it is not known.
        console: The end of what it printed.
    """
    message, kind = _own_words(history.finished, console)
    killed = exit_status in (-9, 137)  # on Linux the system ends what takes all its memory this way
    batch, parts = _batch(history, settings)
    finer = next_subdivisions(batch, parts) if batch and parts else None
    if SHORTAGE.search(f"{kind}: {message}") or killed:
        return Failure("memory", message, batch, finer, "SIGKILL" if killed else "")
    if kind in MISTAKES or exit_status == 2:
        return Failure("mistake", message, batch)
    if exit_status is not None and exit_status < 0:
        return Failure("signal", message, batch, signal=_signal_name(-exit_status))
    return Failure("error" if message else "silent", message, batch)


def next_subdivisions(batch: int, subdivisions: int) -> int | None:
    """Return the next larger number of parts that divides a batch; None when every part is one image."""
    if batch > LARGEST_BATCH:
        return None  # no run had it
    return next((parts for parts in range(subdivisions + 1, batch + 1) if batch % parts == 0), None)


def _own_words(finished: RunFinished | None, console: str) -> tuple[str, str]:
    """Return what a run said of its failure, and the type of its error."""
    if finished is not None and finished.error:
        kind = finished.error.get("type", "")
        return finished.error.get("message", "") or kind, kind
    return _last_lines(re.split(r"[\r\n]+", console)), ""


def _last_lines(lines: Sequence[str]) -> str:
    """Return the last message on the console: what the program says of the input, or the end of a traceback."""
    told = [line.strip() for line in lines if line.strip()]
    words = told[-MOST_LINES:]  # what stands before may be of a process before this one
    for place, line in reversed(list(enumerate(words))):
        if line.startswith("Traceback "):
            break
        if line.startswith("yolo-subbatch: "):
            return "\n".join([line.removeprefix("yolo-subbatch: "), *words[place + 1 :]])
    return told[-1] if told and A_FAULT.search(told[-1]) else ""  # and not how far it had come


def _batch(history: History, settings: TrainSettings | None) -> tuple[int | None, int | None]:
    """Return batch and subdivisions as the run had them at its end: it may have raised them itself."""
    known = history.started or settings
    if known is None:
        return None, None
    parts, begin = known.subdivisions, history.started.seq if history.started else -1
    for _, warned in history.warnings:
        newer = warned.code == "oom_retry" and warned.seq > begin  # not of before it was resumed
        found = re.search(r"subdivisions=(\d{1,9})", warned.text) if newer else None
        parts = int(found[1]) if found else parts
    return known.batch, parts if isinstance(parts, int) else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
