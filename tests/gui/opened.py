"""The whole window, opened as the program does and used by clicking; a run is told of by its own files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QSettings, Qt
from pytestqt.qtbot import QtBot

from tests.engine.conftest import cfg_text
from yolo_subbatch.gui.app import Program
from yolo_subbatch.gui.main_window import MainWindow
from yolo_subbatch.run.commands import GuiSettings
from yolo_subbatch.run.events import Step, read_events
from yolo_subbatch.run.folder import RunFolder
from yolo_subbatch.run.settings import TrainSettings
from yolo_subbatch.shapes import Numbers, write_shapes

ROOT = Path(__file__).parents[2]
LONG = 90_000  # ms that a training may take to start and end on a busy machine
SOON = 15_000
SETTINGS = TrainSettings(
    cfg="tiny.cfg", data="shapes/shapes.data", batch=4, subdivisions=2, epochs=2, learning_rate=0.01, device="cpu",
    save_iterations=1, extra={"plots": False},
)  # fmt: skip


def changed(**settings: Any) -> TrainSettings:
    """Return the settings with others in their place."""
    return replace(SETTINGS, **settings)


def working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a working directory with a cfg and a small data set; whatever still runs in it is ended afterwards."""
    write_shapes(folder / "shapes", Numbers(10, 4, 64, 7))
    (folder / "tiny.cfg").write_text(cfg_text(bn=True))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield folder
    for run in (folder / "runs").glob("*"):
        RunFolder(run).kill()


def open_window(place: Path, qtbot: QtBot, **settings: str) -> MainWindow:
    """Open a window as the program does, with settings of its own."""
    store = QSettings(str(place / "window.ini"), QSettings.Format.IniFormat)
    program = Program(GuiSettings(**settings), store)
    window = program.window
    window.program = program  # type: ignore[attr-defined]  # nothing else keeps it alive
    qtbot.addWidget(window)
    window.show()
    return window


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


def steps_of(folder: RunFolder) -> list[int]:
    """Return the numbers of a run's updates."""
    return [event.step for event in read_events(folder.events) if isinstance(event, Step)]
