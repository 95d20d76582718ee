"""Words and signs that several parts of the window use for one thing."""

from __future__ import annotations

import math

from PySide6.QtCore import QCoreApplication

#: A sign for every state, so that none is told by its colour alone.
GLYPHS = {
    "prepared": "○", "queued": "…", "starting": "◌", "running": "●", "stopping": "◐", "completed": "✓",
    "stopped": "■", "failed": "✗",
}  # fmt: skip


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


def span(seconds: float) -> str:
    """Return a duration in words: ``40 s``, ``41 min``, ``3 h 5 min``, ``2 d 4 h``."""
    translate = QCoreApplication.translate
    seconds = round(seconds)
    minutes = round(seconds / 60)
    if seconds < 60:
        return translate("Span", "{seconds} s").format(seconds=seconds)
    if minutes < 60:
        return translate("Span", "{minutes} min").format(minutes=minutes)
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return translate("Span", "{hours} h {minutes} min").format(hours=hours, minutes=rest)
    return translate("Span", "{days} d {hours} h").format(days=hours // 24, hours=hours % 24)


def count(number: int) -> str:
    """Return a whole number in groups of three digits."""
    return f"{number:,}".replace(",", "\u202f")


def brief(value: float | None) -> str:
    """Return a number with three or four digits that tell something."""
    if value is None or not math.isfinite(value):
        return "-"
    if not value:
        return "0"
    if not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 0
    return f"{value:.{digits}f}"


def percent(share: float) -> str:
    """Return a share of one in percent, without the sign; as short as any other number where it is none."""
    return f"{100 * share:.1f}" if abs(share) <= 1 else brief(100 * share)


def memory(mib: float | None) -> str:
    """Return an amount of memory given in MiB."""
    if mib is None or mib != mib:
        return "-"
    return f"{mib / 1024:.1f} GB" if 1024 <= round(mib) < 1e9 else f"{mib:.0f} MB" if mib < 1024 else f"{brief(mib)} MB"
