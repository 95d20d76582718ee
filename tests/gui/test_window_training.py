"""The whole window with real trainings: started, stopped, resumed, ended by the system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from tests.gui.opened import LONG, SOON, changed, press_start, wait_for
from tests.gui.run_files import events_of, steps_of
from yolo_subbatch.folder.events import RunStarted
from yolo_subbatch.gui.main_window import MainWindow


def test_start_to_finish(window: MainWindow, qtbot: QtBot) -> None:
    folder = press_start(window, qtbot)
    assert folder.path == Path.cwd() / "runs" / "shapes-64-b4s2"
    assert window.reader is not None
    assert window.reader.state == "starting"
    assert "starting" in window.status.detail.text().lower()
    assert window.actions_.stop.isEnabled()
    process = window.launcher.process_of(folder)
    assert os.getsid(process.pid) == process.pid, "it outlives the window and its terminal"
    wait_for(window, qtbot, "completed")
    assert process.wait(SOON / 1000) == 0
    assert (folder.weights / "last.weights").is_file()
    history = window.reader.history
    assert list(history.steps.values) == steps_of(folder) == [1, 2, 3, 4, 5, 6]
    assert len(history.validations) == 2
    assert folder.read_settings() == changed(name="shapes-64-b4s2")
    window.status.update_now()
    assert window.status.bar.value() == 1000
    assert "6 of 6" in window.status.detail.text()
    assert not window.failure.isVisible()
    assert not window.status.stop_button.isVisible()
    qtbot.waitUntil(lambda: "results are in" in window.console.toPlainText(), timeout=SOON)
    assert window.runs_model.rows[0].status == "completed"
    assert window.config.model.rowCount() > 3


@pytest.mark.usefixtures("quick")
def test_a_graceful_stop_a_resume_a_crash_and_a_stop_while_it_gets_ready(window: MainWindow, qtbot: QtBot) -> None:
    """What a run does in its whole life, in the order that needs the fewest starts of a training."""
    folder = press_start(window, qtbot, changed(epochs=500))
    qtbot.waitUntil(lambda: len(window.reader.history) > 2, timeout=LONG)
    qtbot.mouseClick(window.status.stop_button, Qt.MouseButton.LeftButton)
    assert "Stopping" in window.status.stop_button.text()
    wait_for(window, qtbot, "stopped")
    before = steps_of(folder)
    assert before == list(range(1, len(before) + 1))
    assert len(before) < 1500
    assert (folder.weights / "last.weights").is_file()
    assert not window.status.stop_button.isVisible()

    qtbot.waitUntil(window.actions_.resume.isEnabled, timeout=SOON)
    window.actions_.resume.trigger()
    qtbot.waitUntil(lambda: len(window.reader.history) > len(before) + 2, timeout=LONG)
    assert window.reader.state == "running"
    assert window.reader.history.started.start_step == len(before)
    folder.process().kill()
    wait_for(window, qtbot, "failed")
    qtbot.waitUntil(window.failure.isVisible, timeout=SOON)
    assert window.failure.failure.kind == "memory", "SIGKILL is how the system ends what takes all its memory"
    assert window.failure.failure.subdivisions == 4
    qtbot.mouseClick(window.failure.finer, Qt.MouseButton.LeftButton)
    assert window.setup.settings().subdivisions == 4
    assert window.setup.settings().batch == 4
    crashed = steps_of(folder)
    assert crashed == list(range(1, len(crashed) + 1))
    assert list(window.reader.history.steps.values) == crashed
    assert sum(isinstance(event, RunStarted) for event in events_of(folder)) == 2

    qtbot.waitUntil(window.actions_.resume.isEnabled, timeout=SOON)
    window.actions_.resume.trigger()
    assert window.reader.state == "starting"
    window.actions_.stop.trigger()
    wait_for(window, qtbot, "stopped")
    after = steps_of(folder)
    assert after == list(range(1, len(after) + 1))
    assert len(before) <= len(after) <= len(crashed) + 2
    assert list(window.reader.history.steps.values) == after
    assert not window.failure.isVisible()
