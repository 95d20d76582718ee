"""Checks of settings beside the window, so that typing never waits for a disk."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from yolo_subbatch.run.checks import Problem
from yolo_subbatch.run.ready import Readiness, check_ready
from yolo_subbatch.run.settings import TrainSettings

from .beside import run_beside


class Checker(QObject):
    """Runs one check at a time; ``checked`` carries the answer to the newest question, older ones are dropped."""

    checked = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._newest: TrainSettings | None = None
        self._at_work = False

    def check(self, settings: TrainSettings) -> None:
        """Ask; the answer comes by ``checked``."""
        self._newest = settings
        if not self._at_work:
            self._begin(settings)

    def check_at_once(self, settings: TrainSettings) -> Readiness:
        """Wait for the answer; what was asked before is not answered any more."""
        self._newest = None
        return _answer(settings)

    def _begin(self, settings: TrainSettings) -> None:
        self._at_work = True
        run_beside(self, lambda: (settings, _answer(settings)), self._receive)

    def _receive(self, answer: tuple[TrainSettings, Readiness]) -> None:
        self._at_work = False
        settings, found = answer
        newest = self._newest
        if newest is not None and newest is not settings:
            self._begin(newest)
        elif newest is not None:
            self.checked.emit(found)


def _answer(settings: TrainSettings) -> Readiness:
    """Check settings; a path that the system refuses to look at, such as one too long, is a problem of its field."""
    try:
        return check_ready(settings)
    except OSError as error:
        refused = str(error.filename)
        name = next((name for name, value in settings.changed().items() if value == refused), "cfg")
        return Readiness((Problem(name, "error", f"{name}={refused}: {error.strerror}"),))
