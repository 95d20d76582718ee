"""What a run looks like in a terminal: one live line, or plain lines where there is no terminal."""

from __future__ import annotations

import shutil
import time
from typing import TextIO

from yolo_subbatch.run.events import Event, Log, RunFinished, RunStarted, Step, Val, Warned

REFRESH = 0.1  # seconds between two repaints of the live line
PLAIN_EVERY = 5.0  # seconds between two plain lines
STEADY = 5  # updates before a duration is worth guessing
KEEP = 0.9  # Darknet's running average keeps this share


class TerminalProgress:
    """A listener that shows a run's events on a stream."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.live = stream.isatty()
        self.total = 0
        self.average: float | None = None
        self.shown = 0.0
        self.begin: tuple[float, int] | None = None
        self.line = ""
        self.pending: Step | None = None

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, RunStarted):
            self.total = event.steps_total
        elif isinstance(event, Step):
            self._step(event)
        elif isinstance(event, Val):
            mark = "  best so far" if event.best else ""
            self._print(f"epoch {event.epoch}: mAP50 {event.map50 or 0:.3f}, mAP50-95 {event.map or 0:.3f}{mark}")
        elif isinstance(event, Log):
            self._print(event.text)
        elif isinstance(event, Warned):
            self._print(f"warning: {event.text}")
        elif isinstance(event, RunFinished):
            self._finish(event)

    def _step(self, event: Step) -> None:
        cost = event.darknet_loss if event.darknet_loss is not None else event.loss.get("total")
        if cost is not None:
            self.average = cost if self.average is None else KEEP * self.average + (1 - KEEP) * cost
        now = time.monotonic()
        if self.begin is None:
            self.begin = (now, event.step)
        self.pending = event
        due = now - self.shown >= (REFRESH if self.live else PLAIN_EVERY)
        if due or event.step == self.total:
            self.shown = now
            self.pending = None
            self._paint(self.describe(event, now))

    def describe(self, event: Step, now: float) -> str:
        """Return the line for one update."""
        parts = " ".join(f"{name} {_number(value)}" for name, value in event.loss.items() if name != "total")
        clipped = "!" if event.clipped else ""
        return (
            f"{event.step}/{self.total}  epoch {event.epoch}  loss {_number(event.loss.get('total'))} ({parts})"
            f"  avg {_number(self.average)}  lr {_number(event.lr)}  norm {_number(event.gnorm)}{clipped}"
            f"  {_number(event.ips)} img/s  {self._remaining(event, now)}"
        )

    def _remaining(self, event: Step, now: float) -> str:
        assert self.begin is not None
        done = event.step - self.begin[1]
        if done < STEADY:
            return ""
        seconds = (now - self.begin[0]) / done * (self.total - event.step)
        return f"{clock(seconds)} left"

    def _paint(self, line: str) -> None:
        if not self.live:
            self.stream.write(line.rstrip() + "\n")
        else:
            width = shutil.get_terminal_size().columns - 1
            self.line = line[:width]
            self.stream.write(f"\r\x1b[2K{self.line}")
        self.stream.flush()

    def _print(self, text: str) -> None:
        """Write a line that stays, above the live one."""
        if self.live and self.line:
            self.stream.write("\r\x1b[2K")
        self.stream.write(text + "\n")
        if self.live and self.line:
            self.stream.write(self.line)
        self.stream.flush()

    def _finish(self, event: RunFinished) -> None:
        if self.pending is not None:
            self._paint(self.describe(self.pending, time.monotonic()))
        if self.live and self.line:
            self.line = ""
            self.stream.write("\n")
        self._print(f"run {event.status} after {event.step} updates")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def clock(seconds: float) -> str:
    """Return a duration as ``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
