"""The whole window with runs that only speak as trainings do, and what of it is kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QWidget
from pytestqt.qtbot import QtBot

from tests.gui.opened import SOON, changed, open_window, press_start, steps_of, wait_for, working_directory
from yolo_subbatch.gui.main_window import MainWindow
from yolo_subbatch.run.events import RunFinished, RunStarted, read_events

FOREVER = ("--steps", "100000", "--rate", "200")


@pytest.fixture
def place(options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    yield from working_directory(tmp_path, monkeypatch)


@pytest.fixture
def window(place: Path, qtbot: QtBot) -> MainWindow:
    return open_window(place, qtbot)


def test_stop_now_ends_the_processes(window: MainWindow, options: list[str], qtbot: QtBot) -> None:
    options += FOREVER
    folder = press_start(window, qtbot)
    qtbot.waitUntil(lambda: len(window.reader.history) > 10, timeout=SOON)
    window.actions_.kill.trigger()
    wait_for(window, qtbot, "stopped")
    assert folder.process() is None
    assert [event.seq for event in read_events(folder.events)] == list(range(window.reader._last_seq + 1))
    assert window.reader.history.finished.reason == "stopped at once, from the window"
    qtbot.waitUntil(window.actions_.resume.isEnabled, timeout=SOON)


def test_the_second_run_waits_for_the_first(window: MainWindow, place: Path, options: list[str], qtbot: QtBot) -> None:
    options += ["--steps", "6", "--hold", str(place / "go on")]
    first = press_start(window, qtbot)
    qtbot.waitUntil(lambda: "Queue" in window.setup.card.button.text(), timeout=SOON)
    second = press_start(window, qtbot)
    assert second.path.name == f"{first.path.name}-2"
    assert window.reader.state == "queued"
    third = press_start(window, qtbot)
    assert [run.status for run in window.runs_model.rows].count("queued") == 2
    assert not second.began.exists()
    qtbot.mouseClick(window.status.stop_button, Qt.MouseButton.LeftButton)
    assert not third.path.exists(), "taken out of the queue, it leaves nothing"
    assert window.reader is None
    window.show_run(second)
    assert window.reader.state == "queued"
    (place / "go on").touch()
    wait_for(window, qtbot, "completed")
    ended = [event.t for event in read_events(first.events) if isinstance(event, RunFinished)]
    began = [event.t for event in read_events(second.events) if isinstance(event, RunStarted)]
    assert ended[0] < began[0]
    assert steps_of(second) == steps_of(first) == [1, 2, 3, 4, 5, 6]


CRASHING = """
import os, sys
from PySide6.QtCore import QSettings, QTimer
from tests.gui.worker import launch_with
from yolo_subbatch.gui.app import Program
from yolo_subbatch.run.commands import GuiSettings
from yolo_subbatch.run.folder import RunFolder
from yolo_subbatch.run.settings import TrainSettings
RunFolder.launch = launch_with(sys.argv[2:], [])
program = Program(GuiSettings(), QSettings("window.ini", QSettings.Format.IniFormat))
window = program.window
window.show()
window.start(TrainSettings.from_json(sys.argv[1]))
def look():
    if len(window.reader.history) >= 2:
        os._exit(9)
timer = QTimer(); timer.timeout.connect(look); timer.start(10)
program.app.exec()
"""


def test_a_crash_of_the_window_loses_nothing(place: Path, qtbot: QtBot) -> None:
    asked = changed(epochs=20, name="survivor").to_json()
    going = ["--steps", "60", "--hold", str(place / "go on")]
    done = subprocess.run([sys.executable, "-c", CRASHING, asked, *going], timeout=120)
    assert done.returncode == 9
    window = open_window(place, qtbot)
    folder = window.runs_model.rows[0].folder
    assert folder.path.name == "survivor"
    assert folder.status() == "running"
    row = window.runs_model.row_of(folder)
    window.runs.table.selectRow(row)
    assert window.reader.folder == folder
    wait_for(window, qtbot, "running")
    (place / "go on").touch()
    wait_for(window, qtbot, "completed")
    assert [event.seq for event in read_events(folder.events)] == list(range(window.reader._last_seq + 1))
    assert list(window.reader.history.steps.values) == list(range(1, 61))


def test_closing_the_window_ends_nothing(window: MainWindow, place: Path, options: list[str], qtbot: QtBot) -> None:
    options += ["--steps", "60", "--hold", str(place / "go on")]
    folder = press_start(window, qtbot, changed(epochs=20))
    qtbot.waitUntil(lambda: len(window.reader.history) > 1, timeout=SOON)
    assert "safe to close" in window.statusBar().currentMessage()
    window.close()
    again = open_window(place, qtbot, run=str(folder.path))
    assert again.reader.folder == folder
    assert again.setup.settings().epochs == 20, "the form holds what was used last"
    (place / "go on").touch()
    wait_for(again, qtbot, "completed")
    assert len(again.reader.history) == 60


def test_deleting_asks_first(
    window: MainWindow, options: list[str], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    options += ["--steps", "12"]
    folder = press_start(window, qtbot)
    wait_for(window, qtbot, "completed")
    answers = iter(["Cancel", "Delete"])

    def answer(box: QMessageBox) -> int:
        wanted = next(answers)
        next(button for button in box.buttons() if wanted in button.text().replace("&", "")).click()
        return 0

    monkeypatch.setattr(QMessageBox, "exec", answer)
    window.actions_.delete.trigger()
    assert window.reader is not None
    assert (folder.weights / "state.pt").is_file()
    window.actions_.delete.trigger()
    qtbot.waitUntil(lambda: not folder.path.exists(), timeout=SOON)
    assert window.reader is None
    qtbot.waitUntil(lambda: not window.runs_model.rows, timeout=SOON)


def test_every_widget_of_the_form_can_be_named(window: MainWindow) -> None:
    for name in ("cfg", "data", "batch", "subdivisions", "max_norm", "device", "name"):
        assert window.setup.findChild(QWidget, name) is not None


def test_settings_of_the_window_are_kept(window: MainWindow, place: Path, qtbot: QtBot) -> None:
    window.program.use_theme("dark")
    window.program.use_language("zh_CN")
    window.program.window.close()
    again = open_window(place, qtbot)
    assert again.theme.name == "dark"
    assert again.actions_.languages["zh_CN"].isChecked()
