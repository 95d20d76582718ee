"""What a run looks like in a terminal: two live lines, or plain lines where there is no terminal."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable
from typing import TextIO

from yolo_subbatch.folder.events import Event, Log, RunFinished, RunStarted, Step, Val, Warned
from yolo_subbatch.settings.number_texts import countdown, significant
from yolo_subbatch.settings.plain_text import COLOUR, plain, unguarded

REFRESH = 0.1  # seconds between two repaints of the live line
PLAIN_EVERY, PLAIN_AT_MOST = 5.0, 60.0  # seconds between two plain lines, at first and in a long run
PLAIN_SHARE = 0.01  # of the time so far: a run of days is not to fill the disk with lines
STEADY = 5  # updates before a duration is worth guessing
KEEP = 0.9  # Darknet's running average keeps this share
ERASE, ABOVE = "\r\x1b[2K", "\x1b[1A\x1b[2K"  # empty the cursor's line; go to the one above and empty it
IGNORED = "ignoring corrupt image/label"  # how Ultralytics marks an image that it leaves out
Part = tuple[int, str]  # how dispensable, and what to show


class TerminalProgress:
    """A listener that shows a run's events on a stream.

    Args:
        stream: Where to write.
        clock: Seconds of a clock that never goes back.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.clock = unguarded(stream), clock
        self.live = stream.isatty()
        self.started = RunStarted(pid=0, steps_total=0)
        self.average: float | None = None
        self.begin: tuple[float, int] | None = None  # when the first update came, and its number
        self.shown: tuple[float, Step] | None = None  # the last update that was painted
        self.waiting: Step | None = None  # the last one that was not
        self.painted: list[str] = []  # the live lines as they stand
        self.said: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, RunStarted):
            self.started = event
            for text in event.warnings:
                self.say(f"warning: {text}")
        elif isinstance(event, Step):
            self._step(event)
        elif isinstance(event, Val):
            self._flush()
            self.print(describe_validation(event))
        elif isinstance(event, Log):
            self.say(event.text)
        elif isinstance(event, Warned):
            self.say(f"warning: {event.text}")
        elif isinstance(event, RunFinished):
            self._finish(event)

    def say(self, text: str) -> None:
        """Write a message that stays, unless it was said before."""
        if text not in self.said:
            self.said.add(text)
            self.print(text)

    def print(self, text: str) -> None:
        """Write lines that stay, above the live ones; control characters in them are shown."""
        live = "\n".join(self.painted)
        self.stream.write(f"{self._erase()}{plain(text)}\n{live}")
        self.stream.flush()

    def _erase(self) -> str:
        """Return what takes the live lines off the screen."""
        return ERASE + ABOVE * (len(self.painted) - 1) if self.painted else ""

    def handler(self) -> logging.Handler:
        """Return a handler through which other messages come without tearing the live lines."""
        return _Messages(self)

    def _step(self, event: Step) -> None:
        now = self.clock()
        if self.begin is None:
            self.begin = (now, event.step)
        cost = event.darknet_loss if event.darknet_loss is not None else event.loss.get("total")
        if cost is not None and math.isfinite(cost):
            self.average = cost if self.average is None else KEEP * self.average + (1 - KEEP) * cost
        if self.waiting is not None and not self.live and self.waiting.epoch != event.epoch:
            self._flush()
        self.waiting = event
        if self._due(now) or event.step == self.started.steps_total:
            self._flush()

    def _due(self, now: float) -> bool:
        if self.shown is None or self.begin is None:
            return True
        long = min(PLAIN_AT_MOST, max(PLAIN_EVERY, PLAIN_SHARE * (now - self.begin[0])))
        return now - self.shown[0] >= (REFRESH if self.live else long)

    def _flush(self) -> None:
        """Show the update that waits."""
        event, now = self.waiting, self.clock()
        if event is None:
            return
        self.waiting, self.shown = None, (now, event)
        place, losses = self.describe_place(event, now), self.describe_losses(event)
        if self.live:
            width, before = shutil.get_terminal_size().columns - 1, self._erase()
            self.painted = [fit(place, width), fit(losses, width)]
            self.stream.write(before + "\n".join(self.painted))
        else:
            self.stream.write(fit([*place, *losses], 10**6) + "\n")
        self.stream.flush()

    def describe_place(self, event: Step, now: float) -> list[Part]:
        """Return how far the run is and how fast it goes."""
        run, left = self.started, self._seconds_left(event, now)
        return [
            (0, f"{event.step}/{run.steps_total}" if run.steps_total else str(event.step)),
            (2, f"epoch {event.epoch}" + (f"/{run.epochs}" if run.epochs else "")),
            (1, "" if left is None else f"{countdown(left)} left"),
            (4, "" if event.ips is None else f"{significant(event.ips, 3)} images/s"),
            (5, f"lr {significant(event.lr)}"),
            (3, f"norm {significant(event.gnorm)}" + (" clipped" if event.clipped else "")),
        ]

    def describe_losses(self, event: Step) -> list[Part]:
        """Return the loss, its parts, and Darknet's number with its running average."""
        parts = " ".join(f"{name} {significant(value)}" for name, value in event.loss.items() if name != "total")
        return [
            (0, f"loss {significant(event.loss.get('total'))}"),
            (1, f"({parts})" if parts else ""),
            (3, "" if event.darknet_loss is None else f"cost {significant(event.darknet_loss)}"),
            (2, f"avg {significant(self.average)}"),
        ]

    def _seconds_left(self, event: Step, now: float) -> float | None:
        """Return the rest of the run, validations included as far as there were any; None while that is a guess."""
        done = event.step - self.begin[1] if self.begin else 0
        if self.begin is None or done < STEADY or not self.started.steps_total:
            return None
        return (now - self.begin[0]) / done * (self.started.steps_total - event.step)

    def close(self) -> None:
        """Leave the live lines as they are and go below them."""
        if self.painted:
            self.painted = []
            self.stream.write("\n")
            self.stream.flush()

    def _finish(self, event: RunFinished) -> None:
        self._flush()
        self.close()
        reason = f": {event.reason}" if event.reason and event.status == "stopped" else ""
        self.print(f"run {event.status} after {event.step} update{'' if event.step == 1 else 's'}{reason}")


class _Messages(logging.Handler):
    """Passes log messages on to a terminal."""

    def __init__(self, progress: TerminalProgress) -> None:
        super().__init__(logging.INFO)
        self.progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        if text.strip():
            self.progress.say(prefix + COLOUR.sub("", text).strip("\n"))


def route_messages(progress: TerminalProgress) -> None:
    """Show this package's messages, and Ultralytics' warnings, above the live lines; its own progress bars are off."""
    for name in ("yolo_subbatch", "ultralytics"):
        logger = logging.getLogger(name)
        logger.handlers = [progress.handler()]
        logger.setLevel(logging.INFO)
        logger.propagate = False
    logging.getLogger("ultralytics").handlers[0].addFilter(_matters)


def _matters(record: logging.LogRecord) -> bool:
    """Let Ultralytics' warnings pass, and its list of unusable images, which it calls information, as one line."""
    bad = [line for line in str(record.msg).split("\n") if IGNORED in line]
    if bad:
        first = bad[0].partition(f": {IGNORED}")[0].strip()
        record.msg = f"images left out, as they or their labels cannot be read: {len(bad)}; the first is {first}"
        record.args, record.levelno, record.levelname = (), logging.WARNING, "WARNING"
    return record.levelno >= logging.WARNING


def describe_validation(event: Val) -> str:
    """Return the line of one validation."""
    figures = {
        "mAP50": event.map50, "mAP50-95": event.map, "precision": event.precision, "recall": event.recall,
        "accuracy": event.accuracy,
    }  # fmt: skip
    text = ", ".join(f"{name} {value:.3f}" for name, value in figures.items() if value is not None)
    return f"epoch {event.epoch}: {text or 'no figures'}" + (", the best so far" if event.best else "")


def fit(parts: list[Part], width: int) -> str:
    """Join as many parts as there is space for, leaving out the most dispensable ones."""
    kept = [part for part in parts if part[1]]
    while len(kept) > 1 and len("  ".join(text for _, text in kept)) > width:
        kept.remove(max(kept))
    return plain("  ".join(text for _, text in kept))[: max(width, 1)]
