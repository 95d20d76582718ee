"""The word and the sign for every state of a run."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

#: A sign for every state, so that none is told by its colour alone.
GLYPHS = {
    "prepared": "○",
    "queued": "…",
    "starting": "◌",
    "running": "●",
    "stopping": "◐",
    "completed": "✓",
    "stopped": "■",
    "failed": "✗",
}


def state_word(state: str) -> str:
    """Return a state of a run in the window's language."""
    translate = QCoreApplication.translate
    words = {
        "prepared": translate("State", "prepared"),
        "queued": translate("State", "queued"),
        "starting": translate("State", "starting"),
        "running": translate("State", "running"),
        "stopping": translate("State", "stopping"),
        "completed": translate("State", "completed"),
        "stopped": translate("State", "stopped"),
        "failed": translate("State", "failed"),
    }
    return words[state]
