"""The events of a run: one JSON object a line in ``events.jsonl``, written by one process and read by any number.

A reader may come at any time, may meet a half-written last line, and ignores types and fields that it does not know.
"""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_origin, get_type_hints

from yolo_subbatch.folder.event_values import Check, check_of
from yolo_subbatch.settings.safe_reading import LONGEST_LINE, open_regular, open_to_append, parse_json

VERSION = 1
ENDINGS = ("completed", "stopped", "failed")
SLICE = 1 << 17  # bytes read at a time
FARTHEST = 1 << 24  # bytes from the end of a file in which its last event is looked for


@dataclass(frozen=True, kw_only=True)
class Event:
    """What every event carries: its number in the file (from 0) and its time in Unix seconds, set by the writer."""

    type: ClassVar[str] = ""
    seq: int = -1
    t: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """Training begins; ``steps_total`` counts weight updates, ``clip`` is the largest gradient norm (0: none).

    ``imgsz`` is the input's width and height in pixels, ``lr_steps`` the iterations at which the rate changes.
    """

    type: ClassVar[str] = "run_started"
    pid: int
    steps_total: int
    start_step: int = 0
    model: str = ""
    device: str = ""
    world_size: int = 1
    torch: str = ""
    ultralytics: str = ""
    names: list[str] = field(default_factory=list)
    batch: int = 1
    subdivisions: int = 1
    imgsz: list[int] = field(default_factory=list)
    clip: float | None = 0.0
    lr_steps: list[int] = field(default_factory=list)
    burn_in: int = 0
    epochs: int = 0
    updates_per_epoch: int = 0
    data: str = ""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Step(Event):
    """One weight update, ``step`` counted from 1; losses are means per image over the whole batch.

    ``gnorm`` is the gradient's norm before clipping; ``skipped`` says that it or the loss was no finite number, and
    that the weights stayed as they were. ``ips`` is images per second, ``images`` those of this update, ``seen`` all
    so far, ``imgsz`` the input's width and height, ``mem_mb`` the memory in MiB.
    """

    type: ClassVar[str] = "step"
    step: int
    epoch: int
    loss: dict[str, float | None]
    darknet_loss: float | None = None
    lr: float | None
    gnorm: float | None
    clipped: bool = False
    skipped: bool = False
    ips: float | None = None
    images: int = 0
    seen: int = 0
    imgsz: Any = 0
    mem_mb: float | None = None


@dataclass(frozen=True, kw_only=True)
class Val(Event):
    """The validation after an epoch."""

    type: ClassVar[str] = "val"
    step: int
    epoch: int
    map50: float | None
    map: float | None
    precision: float | None = None
    recall: float | None = None
    accuracy: float | None = None  # of a network that classifies whole images
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Event):
    """A checkpoint was written; ``kind`` is last, best or resume, ``path`` relative to the run folder."""

    type: ClassVar[str] = "checkpoint"
    step: int
    path: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Image(Event):
    """A picture was written, ``path`` relative to the run folder."""

    type: ClassVar[str] = "image"
    step: int
    path: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Warned(Event):
    """Something that the user should know, with a fixed ``code`` for programs."""

    type: ClassVar[str] = "warning"
    code: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Log(Event):
    """A line for the console."""

    type: ClassVar[str] = "log"
    level: str
    text: str


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The run is over; ``status`` is completed, stopped or failed; ``error`` holds type, message and traceback."""

    type: ClassVar[str] = "run_finished"
    status: str
    step: int = 0
    reason: str = ""
    best: float | None = None
    error: dict[str, str] | None = None

    @property
    def ending(self) -> str:
        """The status; ``failed`` for one that this version does not know."""
        return self.status if self.status in ENDINGS else "failed"


Found = TypeVar("Found", bound=Event)
EVENT_TYPES: dict[str, type[Event]] = {
    kind.type: kind for kind in (RunStarted, Step, Val, Checkpoint, Image, Warned, Log, RunFinished)
}


#: The fields of every event, each with what takes its value from a line.
KNOWN: dict[str, dict[str, Check]] = {
    name: {
        each: check_of(each, hint) for each, hint in get_type_hints(kind).items() if get_origin(hint) is not ClassVar
    }
    for name, kind in EVENT_TYPES.items()
}


class EventWriter:
    """Appends events to a file, each line whole and at once.

    Args:
        path: ``events.jsonl`` of a run folder; numbering goes on after the last event that it holds.
    """

    def __init__(self, path: Path) -> None:
        last = last_event(path)
        self.sequence = 0 if last is None else last.seq + 1
        self.file = io.TextIOWrapper(open_to_append(path), "utf-8", "backslashreplace", line_buffering=True)
        if not _ends_whole(path):
            self.file.write("\n")  # a process died in the middle of a line; keep our first event out of it

    def write(self, event: Event) -> None:
        """Write one event; numbers that JSON cannot hold become null.

        Raises:
            OSError: If it cannot be written, or the file is no longer in its folder: nobody would ever read it.
        """
        if not os.fstat(self.file.fileno()).st_nlink:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.file.name)
        values = dataclasses.asdict(event)
        values.update(seq=self.sequence, t=round(time.time(), 3))
        clean = _finite(values)
        self.sequence += 1
        document = {"v": VERSION, "type": event.type, **clean}
        self.file.write(json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=float) + "\n")

    def position(self) -> int:
        """Return the file's size in bytes, with everything so far on the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        return os.fstat(self.file.fileno()).st_size

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def _finite(value: Any) -> Any:
    """Return a value with None for every NaN and infinity in it."""
    if isinstance(value, Real) and not isinstance(value, Integral):
        value = float(value)  # numpy's numbers too
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value


def _ends_whole(path: Path) -> bool:
    with open_regular(path) as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


class EventTail:
    """Reads a growing events file bit by bit.

    A last line without its end is left for the next time; a file that became shorter is read again from its start. A
    line longer than any event is passed over.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.offset = path, 0
        self._in_long_line = False

    def read(self, limit: int | None = None) -> list[Event]:
        """Return the events that came since the last call; none while the file does not exist.

        Args:
            limit: Read about this many bytes at most, so that a long file can be read in slices: an empty result then
                does not mean that the end was reached, an unchanged ``offset`` does.
        """
        if limit is not None:
            return self._read_slice(limit)
        events, before = self._read_slice(SLICE), -1
        while self.offset != before:
            before = self.offset
            events += self._read_slice(SLICE)
        return events

    def _read_slice(self, limit: int) -> list[Event]:
        try:
            with open_regular(self.path) as file:
                if file.seek(0, os.SEEK_END) < self.offset:
                    self.offset, self._in_long_line = 0, False
                file.seek(self.offset)
                data = file.read(limit)
                if b"\n" not in data and not self._in_long_line:
                    data += file.readline(LONGEST_LINE)  # a line longer than the limit
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        if not whole and (self._in_long_line or len(data) > LONGEST_LINE):
            self._in_long_line, self.offset = True, self.offset + len(data)
            return []
        self.offset += len(whole)
        lines = whole.split(b"\n")  # not splitlines(): text may hold other line separators
        if whole and self._in_long_line:
            self._in_long_line, lines = False, lines[1:]
        return [event for event in map(parse_event, lines) if event is not None]


def parse_event(line: bytes) -> Event | None:
    """Return the event of one line, or None if it is damaged, empty, too long or of a type that is not known."""
    if not line or len(line) > LONGEST_LINE:
        return None
    try:
        values = parse_json(line)
        kind = EVENT_TYPES[values["type"]]
        checks = KNOWN[values["type"]]
        return kind(**{key: checks[key](value) for key, value in values.items() if key in checks})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def read_events(path: Path) -> Iterator[Event]:
    """Yield every event of a file, reading it in slices."""
    tail, before = EventTail(path), -1
    while tail.offset != before:
        before = tail.offset
        yield from tail.read(SLICE)


def last_event(path: Path, kind: type[Found] = Event) -> Found | None:  # type: ignore[assignment]
    """Return the last whole event of a kind, reading no more of the file's end than needed; None without one.

    Of a file whose end is something else over millions of bytes, nobody waits for it to be read whole.
    """
    try:
        with open_regular(path) as file:
            size, length = file.seek(0, os.SEEK_END), SLICE
            while size:
                file.seek(max(0, size - length))
                lines = file.read(length).split(b"\n")[:-1]  # what follows the last line end is torn
                # Unless the file was read from its start, the first piece is the end of some line.
                whole = lines if length >= size else lines[1:]
                found = map(parse_event, (line for line in reversed(whole) if kind.type.encode() in line))
                event = next((each for each in found if isinstance(each, kind)), None)
                if event is not None or length >= min(size, FARTHEST):
                    return event
                length *= 4
    except OSError:
        return None
    return None


def newest_start(path: Path) -> RunStarted | None:
    """Return how a run began, or last went on; of one that went on long ago, how it began at first."""
    found = last_event(path, RunStarted)
    if found is None:
        with suppress(OSError):
            found = next((event for event in EventTail(path).read(SLICE) if isinstance(event, RunStarted)), None)
    return found
