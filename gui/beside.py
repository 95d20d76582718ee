"""Work that would hold up the window, done in another thread; the answer comes back in the window's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from PySide6.QtCore import QObject, Signal


class _Errand(QObject):
    """One piece of work. It belongs to whoever asked, and a thread that ends later finds it gone."""

    done = Signal(object)

    def __init__(self, owner: QObject, then: Callable[[Any], None]) -> None:
        super().__init__(owner)
        self.then = then
        # Bound to a QObject, so that Qt calls it in the window's thread and not in the one that emits.
        self.done.connect(self._deliver)

    def _deliver(self, answer: object) -> None:
        self.deleteLater()
        self.then(answer)


def run_beside(owner: QObject, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
    """Do some work in another thread and hand its answer on.

    Args:
        owner: Lives in the window's thread; once it is deleted, nobody is told.
        work: Must not touch a widget, and must not raise.
        then: Is called with the answer in the window's thread.
    """
    errand = _Errand(owner, then)

    def run() -> None:
        answer = work()
        with suppress(RuntimeError):  # the owner was deleted meanwhile
            errand.done.emit(answer)

    threading.Thread(target=run).start()
