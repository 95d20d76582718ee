"""Checks of settings beside the window, so that typing never waits for a disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, Signal

from yolo_subbatch.settings.checks import Problem
from yolo_subbatch.settings.ready import Readiness, check_ready
from yolo_subbatch.settings.train_settings import TrainSettings

from ..toolkit.background import run_in_background


class Checker(QObject):
    """Runs one check at a time; ``checked`` carries the answer to the newest question, older ones are dropped.

    Args:
        answer: The check, which is done in another thread: a function of the settings that does not raise.
    """

    checked = Signal(object)

    def __init__(self, parent: QObject | None = None, answer: Callable[[Any], Any] | None = None) -> None:
        super().__init__(parent)
        self._answer = answer or readiness_of
        self._newest: Any = None
        self._at_work = False

    def check(self, settings: Any) -> None:
        """Ask; the answer comes by ``checked``."""
        self._newest = settings
        if not self._at_work:
            self._begin(settings)

    def check_at_once(self, settings: Any) -> Any:
        """Wait for the answer; what was asked before is not answered any more."""
        self._newest = None
        return self._answer(settings)

    def _begin(self, settings: Any) -> None:
        self._at_work = True
        answer = self._answer
        run_in_background(self, lambda: (settings, answer(settings)), self._receive)

    def _receive(self, answer: tuple[Any, Any] | None) -> None:
        self._at_work = False
        settings, found = answer or (None, None)
        newest = self._newest
        if newest is not None and newest is not settings:
            self._begin(newest)
        elif newest is not None:
            self.checked.emit(found)


def readiness_of(settings: TrainSettings) -> Readiness:
    """Check the settings of a training, whatever happens."""
    try:
        return check_ready(settings)
    except (OSError, OverflowError, MemoryError, RecursionError) as error:
        return Readiness((Problem("cfg", "error", f"not to be checked: {error}; correct the last change"),))
