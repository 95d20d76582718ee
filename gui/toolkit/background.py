"""Work that would hold up the window, done in another thread; the answer comes back in the window's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from PySide6.QtCore import QObject, Signal
from shiboken6 import isValid


class _Postbox(QObject):
    """Carries answers into the window's thread, in which it is made.

    It has no parent and is never deleted: a thread that still works while a window is closed must not find the
    object gone through which it answers.
    """

    came = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        # Bound to a QObject, so that Qt calls it in the window's thread and not in the one that emits.
        self.came.connect(self._deliver)

    def _deliver(self, letter: tuple[QObject, Callable[[Any], None], Any]) -> None:
        owner, then, answer = letter
        if isValid(owner):
            then(answer)


@cache
def _postbox() -> _Postbox:
    return _Postbox()


def run_in_background(owner: QObject, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
    """Do some work in another thread and hand its answer on.

    Args:
        owner: Lives in the window's thread; once it is deleted, the answer is dropped.
        work: Must not touch a widget. Where it raises, the answer is None.
        then: Is called with the answer in the window's thread.
    """
    box = _postbox()

    def run() -> None:
        answer = None
        try:
            answer = work()
        finally:  # an owner without an answer would wait for ever
            box.came.emit((owner, then, answer))

    threading.Thread(target=run).start()
