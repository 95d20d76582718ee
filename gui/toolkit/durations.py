"""Durations in the window's language."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from yolo_subbatch.settings.number_texts import duration


def duration_text(seconds: float) -> str:
    """Return a duration in words: ``40 s``, ``41 min``, ``3 h 5 min``, ``2 d 4 h``."""
    translate = QCoreApplication.translate
    patterns = (
        translate("Duration", "{seconds} s"),
        translate("Duration", "{minutes} min"),
        translate("Duration", "{hours} h {minutes} min"),
        translate("Duration", "{days} d {hours} h"),
    )
    return duration(seconds, patterns)
