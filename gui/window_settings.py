"""What a window keeps of itself: its place and size, its splitters, the projects that it lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings
from PySide6.QtWidgets import QMainWindow, QSplitter

USUAL_SIZE = (1280, 800)  # pixels
MOST_PROJECTS = 20  # remembered


def restore_place(store: QSettings, window: QMainWindow, splitters: Mapping[str, QSplitter]) -> None:
    """Put a window and its splitters where they were, whatever the file of settings holds."""
    window.resize(*USUAL_SIZE)
    window.restoreGeometry(read_bytes(store, "geometry"))
    for name, splitter in splitters.items():
        splitter.restoreState(read_bytes(store, f"splitter/{name}"))


def save_place(store: QSettings, window: QMainWindow, splitters: Mapping[str, QSplitter]) -> None:
    """Keep where a window and its splitters are."""
    store.setValue("geometry", window.saveGeometry())
    for name, splitter in splitters.items():
        store.setValue(f"splitter/{name}", splitter.saveState())


def restored_projects(store: QSettings) -> list[str]:
    """Return the project folders that were kept and are still there."""
    return [project for project in read_texts(store, "projects") if Path(project).is_dir()]


def save_projects(store: QSettings, projects: Iterable[Path]) -> None:
    """Keep the newest project folders."""
    store.setValue("projects", [str(path) for path in projects][-MOST_PROJECTS:])


def read_bytes(store: QSettings, key: str) -> QByteArray:
    """Return what a widget has kept, empty if nothing was."""
    value = store.value(key)
    return value if isinstance(value, QByteArray) else QByteArray()


def read_texts(store: QSettings, key: str) -> list[str]:
    """Return a list of texts; a file with one of them holds no list."""
    value = store.value(key, [])
    return [str(text) for text in value] if isinstance(value, list) else [str(value)] if value else []
