"""The whole window with runs that only speak as trainings do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QMessageBox, QWidget
from pytestqt.qtbot import QtBot

from tests.gui.opened import SOON, changed, open_window, press_start, wait_for
from tests.gui.run_files import events_of, finished_run, steps_of
from yolo_subbatch.folder.events import RunFinished, RunStarted
from yolo_subbatch.gui.main_window import MainWindow
from yolo_subbatch.settings.train_settings import TrainSettings

FOREVER = ("--steps", "100000", "--rate", "200")


def test_stop_resume_and_stop_now(window: MainWindow, options: list[str], qtbot: QtBot) -> None:
    options += FOREVER
    folder = press_start(window, qtbot)
    qtbot.waitUntil(lambda: len(window.reader.history) > 10, timeout=SOON)
    assert not window.actions_.delete.isEnabled()
    window.actions_.stop.trigger()
    wait_for(window, qtbot, "stopped")
    assert window.reader.history.finished.reason == "", "it has stopped by itself"
    qtbot.waitUntil(window.actions_.resume.isEnabled, timeout=SOON)
    window.actions_.resume.trigger()
    wait_for(window, qtbot, "running")
    window.actions_.kill.trigger()
    wait_for(window, qtbot, "stopped")
    assert folder.process() is None
    assert [event.seq for event in events_of(folder)] == list(range(window.reader._last_seq + 1))
    assert window.reader.history.finished.reason == "stopped at once, from the window"
    qtbot.waitUntil(window.actions_.resume.isEnabled, timeout=SOON)
    assert window.actions_.delete.isEnabled()


def test_the_second_run_waits_for_the_first(window: MainWindow, place: Path, options: list[str], qtbot: QtBot) -> None:
    options += ["--steps", "6", "--hold", str(place / "continue")]
    first = press_start(window, qtbot)
    qtbot.waitUntil(lambda: "Queue" in window.setup.card.button.text(), timeout=SOON)
    second = press_start(window, qtbot)
    assert second.path.name == f"{first.path.name}-2"
    told = f"{first.path.name} exists already; this run goes to runs/{second.path.name}"
    assert window.statusBar().currentMessage() == told
    assert window.reader.state == "queued"
    third = press_start(window, qtbot)
    assert [run.status for run in window.runs_model.rows].count("queued") == 2
    assert not second.began.exists()
    qtbot.mouseClick(window.status.stop_button, Qt.MouseButton.LeftButton)
    assert not third.path.exists(), "taken out of the queue, it leaves nothing"
    assert window.reader is None
    (place / "continue").touch()
    wait_for(window, qtbot, "completed")
    assert window.reader.folder == second, "where no run is shown, the next that starts is"
    ended = [event.t for event in events_of(first) if isinstance(event, RunFinished)]
    began = [event.t for event in events_of(second) if isinstance(event, RunStarted)]
    assert ended[0] < began[0]
    assert steps_of(second) == steps_of(first) == [1, 2, 3, 4, 5, 6]


CRASHING = """
import os, sys
from PySide6.QtCore import QSettings, QTimer
from tests.gui.worker import launch_with
from yolo_subbatch.gui.app import Program
from yolo_subbatch.settings.commands import GuiSettings
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.train_settings import TrainSettings
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
    command = [sys.executable, "-c", CRASHING, asked, "--steps", "60", "--hold", str(place / "continue")]
    assert subprocess.run(command, timeout=120).returncode == 9
    window = open_window(place)
    folder = window.runs_model.rows[0].folder
    assert folder.path.name == "survivor"
    assert folder.status() == "running"
    window.runs.table.selectRow(window.runs_model.row_of(folder))
    assert window.reader.folder == folder
    wait_for(window, qtbot, "running")
    (place / "continue").touch()
    wait_for(window, qtbot, "completed")
    assert [event.seq for event in events_of(folder)] == list(range(window.reader._last_seq + 1))
    assert list(window.reader.history.steps.values) == list(range(1, 61))


def test_closing_the_window_ends_nothing(window: MainWindow, place: Path, options: list[str], qtbot: QtBot) -> None:
    options += ["--steps", "60", "--hold", str(place / "continue")]
    folder = press_start(window, qtbot, changed(epochs=20))
    qtbot.waitUntil(lambda: len(window.reader.history) > 1, timeout=SOON)
    assert "safe to close" in window.statusBar().currentMessage()
    window.close()
    again = open_window(place, run=str(folder.path))
    assert again.reader.folder == folder
    assert again.setup.settings().epochs == 20, "the form holds what was used last"
    (place / "continue").touch()
    wait_for(again, qtbot, "completed")
    assert len(again.reader.history) == 60


def test_deleting_asks_first(
    window: MainWindow, options: list[str], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    options += ["--steps", "12"]
    called: list[QWidget] = []
    monkeypatch.setattr(QApplication, "alert", called.append)
    monkeypatch.setattr(window, "isActiveWindow", lambda: False)
    folder = press_start(window, qtbot)
    wait_for(window, qtbot, "completed")
    assert called == [window], "the end of a run calls for attention"
    answers = iter(["Cancel", "Delete"])

    def answer(box: QMessageBox) -> int:
        wanted = next(answers)
        next(button for button in box.buttons() if wanted in button.text().replace("&", "")).click()
        return 0

    monkeypatch.setattr(QMessageBox, "exec", answer)
    window.actions_.delete.trigger()
    assert window.reader is not None
    assert (folder.weights / "state.pt").is_file()
    with qtbot.waitSignal(window.reader.destroyed):
        window.actions_.delete.trigger()
    qtbot.waitUntil(lambda: not folder.path.exists(), timeout=SOON)
    assert window.reader is None
    qtbot.waitUntil(lambda: not window.runs_model.rows, timeout=SOON)


def test_a_mistake_that_only_the_run_can_find_is_told_in_words(
    window: MainWindow, options: list[str], qtbot: QtBot
) -> None:
    options += ["--end", "mistake"]
    press_start(window, qtbot, changed(max_norm=3.0))
    wait_for(window, qtbot, "failed")
    qtbot.waitUntil(window.failure.isVisible, timeout=SOON)
    assert window.failure.message.text() == "cfg=none.cfg: no such file; give a file"
    assert window.failure.failure.kind == "mistake"
    window.tabs.setCurrentWidget(window.config)
    qtbot.mouseClick(window.failure.console, Qt.MouseButton.LeftButton)
    assert window.tabs.currentWidget() is window.console
    qtbot.waitUntil(lambda: "none.cfg" in window.console.toPlainText(), timeout=SOON)
    window.setup.set_settings(TrainSettings(cfg="yolov3"))
    qtbot.mouseClick(window.failure.again, Qt.MouseButton.LeftButton)
    assert window.setup.settings().max_norm == 3.0


def test_a_run_of_the_command_line_is_found_and_shown(window: MainWindow, place: Path, qtbot: QtBot) -> None:
    finished_run(place / "runs", "typed")
    qtbot.waitUntil(lambda: bool(window.runs_model.rows), timeout=SOON)
    window.runs.table.selectRow(0)
    assert window.reader.folder.path.name == "typed"
    wait_for(window, qtbot, "completed")
    assert list(window.reader.history.steps.values) == list(range(1, 41))
    qtbot.waitUntil(lambda: "completed" in window.console.toPlainText(), timeout=SOON)  # events, without a console.log
    assert window.config.model.rowCount() > 3


def test_every_widget_of_the_form_can_be_named(window: MainWindow) -> None:
    for name in ("cfg", "data", "batch", "subdivisions", "max_norm", "device", "name"):
        assert window.setup.findChild(QWidget, name) is not None
