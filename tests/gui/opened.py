"""The whole window, opened as the program does and used by clicking; a run is told of by its own files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSettings, Qt
from pytestqt.qtbot import QtBot

from tests.engine.conftest import cfg_text
from yolo_subbatch.built_in_data import Numbers, write_shapes
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.gui.app import Program
from yolo_subbatch.gui.main_window import MainWindow
from yolo_subbatch.settings.commands import GuiSettings
from yolo_subbatch.settings.train_settings import TrainSettings

LONG = 90_000  # ms that a training may take to start and end on a busy machine
SOON = 15_000
SETTINGS = TrainSettings(
    cfg="tiny.cfg",
    data="shapes/shapes.data",
    batch=4,
    subdivisions=2,
    epochs=2,
    learning_rate=0.01,
    device="cpu",
    save_iterations=1,
    extra={"plots": False},
)


OPENED: list[Program] = []  # of this test; their windows are closed after it


def changed(**settings: Any) -> TrainSettings:
    """Return the settings with others in their place."""
    return replace(SETTINGS, **settings)


def write_what_is_trained(folder: Path) -> None:
    """Write a cfg and a small data set."""
    write_shapes(folder / "shapes", Numbers(10, 4, 64, 7))
    (folder / "tiny.cfg").write_text(cfg_text(bn=True))


def open_window(place: Path, **settings: str) -> MainWindow:
    """Open a window as the program does, with settings of its own."""
    store = QSettings(str(place / "window.ini"), QSettings.Format.IniFormat)
    program = Program(GuiSettings(**settings), store)
    OPENED.append(program)
    program.window.program = program  # type: ignore[attr-defined]
    program.window.show()
    return program.window


def press_start(window: MainWindow, qtbot: QtBot, settings: TrainSettings = SETTINGS) -> RunFolder:
    """Fill the form in and press Start."""
    window.setup.set_settings(settings)
    qtbot.waitUntil(window.setup.card.button.isEnabled, timeout=SOON)
    qtbot.mouseClick(window.setup.card.button, Qt.MouseButton.LeftButton)
    assert window.reader is not None
    return window.reader.folder


def wait_for(window: MainWindow, qtbot: QtBot, *states: str, timeout: int = LONG) -> None:
    """Wait until the run that is shown is in one of the states."""
    qtbot.waitUntil(lambda: window.reader is not None and window.reader.state in states, timeout=timeout)
