"""How this program is asked to end, and what becomes of its output when the terminal is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from yolo_subbatch.settings.plain_text import PlainOutput

HANGUP: int | None = getattr(signal, "SIGHUP", None)  # Windows has none


class EndedBySystem(KeyboardInterrupt):
    """The system, a scheduler or a terminal that is gone asks for the end; nobody has given up the work."""


def endings() -> list[int]:
    """Return the signals that ask for an end without a keyboard.

    Under ``nohup`` a terminal that goes is no such request: who starts a program so wants it to go on.
    """
    asks = [signal.SIGTERM]
    if HANGUP is not None and signal.getsignal(HANGUP) is not signal.SIG_IGN:
        asks.append(signal.Signals(HANGUP))
    return [int(each) for each in asks]


@contextmanager
def ended_like_an_interrupt() -> Iterator[None]:
    """Let a request to end leave nothing half done, as Ctrl+C does."""

    def end(number: int, frame: object) -> None:
        note_hangup(number)
        raise EndedBySystem

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, end) for each in endings()}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, signal.SIG_DFL if handler is None else handler)  # None: not one of Python's


def note_hangup(number: int) -> None:
    """Write no more to a terminal that is gone, whoever still does: that would be an error."""
    if number == HANGUP:
        for stream in (sys.__stdout__, sys.__stderr__):
            with suppress(OSError, ValueError, AttributeError):
                if os.isatty(stream.fileno()):  # type: ignore[union-attr]
                    _to_nowhere(stream.fileno())  # type: ignore[union-attr]


def _to_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


class Lasting:
    """An output that may break off: what is written goes nowhere from then on, and whoever writes never knows.

    Args:
        stream: The output; a terminal that may be closed, a pipe whose reader may end, a file on a disk that fills up.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.broken = False

    def write(self, text: str) -> int:
        """Write a text, if there is still somebody to read it."""
        self._attempt(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Pass on what is waiting."""
        self._attempt(self.stream.flush)

    def _attempt(self, work: Any) -> None:
        try:
            if not self.broken:
                work()
        except OSError:
            self.broken = True
            with suppress(OSError, ValueError):
                _to_nowhere(self.stream.fileno())  # what waits in its buffer is written when the process ends

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _lasting(stream: TextIO) -> TextIO:
    """Have an output last; what escapes its text stays around it, so that who paints on a terminal finds it there."""
    if isinstance(stream, PlainOutput):
        return cast(TextIO, PlainOutput(cast(TextIO, Lasting(stream.unguarded))))
    return cast(TextIO, Lasting(stream))


@contextmanager
def lasting_output() -> Iterator[None]:
    """Keep a training from ending because nobody can read what it says any more."""
    before = sys.stdout, sys.stderr
    if None not in before:  # as in a program without a terminal on Windows, where print() does nothing
        sys.stdout, sys.stderr = map(_lasting, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
