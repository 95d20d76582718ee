"""Values of the window's own settings, whatever a file of them holds."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QSettings


def read_bytes(store: QSettings, key: str) -> QByteArray:
    """Return what a widget has kept, empty if nothing was."""
    value = store.value(key)
    return value if isinstance(value, QByteArray) else QByteArray()


def read_texts(store: QSettings, key: str) -> list[str]:
    """Return a list of texts; a file with one of them holds no list."""
    value = store.value(key, [])
    return [str(each) for each in value] if isinstance(value, list) else [str(value)] if value else []
