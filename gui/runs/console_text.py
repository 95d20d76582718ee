"""What a run printed, as text: where in its file to begin, a line as a terminal shows it, a line for an event."""

from __future__ import annotations

import re
import time
from pathlib import Path

from yolo_subbatch.folder.events import Event, Log, RunFinished, RunStarted, Step, Val, Warned
from yolo_subbatch.settings.number_texts import brief
from yolo_subbatch.settings.safe_reading import open_regular

from ..toolkit.text_labels import shown

FIRST_BYTES = 262_144  # of a long file's end, read when a run is opened
LONGEST_LINE = 65_536  # bytes
TAIL_BYTES = 16_384  # of the console, in which the reason of a failure may stand
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def first_place(file: Path) -> int:
    """Return where to begin to read a file: at its start or, in a long one, at a line near its end."""
    try:
        with open_regular(file) as opened:
            begin = max(0, opened.seek(0, 2) - FIRST_BYTES)
            opened.seek(begin)
            return begin + len(opened.readline(LONGEST_LINE)) if begin else 0
    except OSError:
        return 0


def console_tail(file: Path) -> str:
    """Return the end of what a run printed; nothing where it was not launched by a window."""
    try:
        with open_regular(file) as opened:
            opened.seek(max(0, opened.seek(0, 2) - TAIL_BYTES))
            return opened.read(TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def terminal_line(line: str) -> str:
    """Return what a terminal shows of a line at its end: a carriage return starts it anew, as progress bars do.

    Of colours nothing is left, and what else would command a terminal is shown.
    """
    return shown(ANSI.sub("", line).rstrip("\r").rpartition("\r")[2])


def describe(event: Event) -> str:
    """Return one line for an event, or nothing for one that has no place in a console."""
    clock = time.strftime("%H:%M:%S", time.localtime(event.t))
    if isinstance(event, Step):
        losses = "  ".join(f"{name} {brief(value)}" for name, value in event.loss.items())
        rest = f"lr {brief(event.lr)}  |g| {brief(event.gnorm)}  {brief(event.ips)} img/s"
        return f"{clock}  {event.step:6}  {losses}  {rest}"
    if isinstance(event, Val):
        return f"{clock}  epoch {event.epoch}: mAP50 {brief(event.map50)}, mAP50-95 {brief(event.map)}"
    if isinstance(event, Log):
        return f"{clock}  {event.text}"
    if isinstance(event, Warned):
        return f"{clock}  warning: {event.text}"
    if isinstance(event, RunStarted):
        return f"{clock}  started on {event.device}: batch {event.batch}, subdivisions {event.subdivisions}"
    if isinstance(event, RunFinished):
        return f"{clock}  {event.status} {event.reason}".rstrip()
    return ""
