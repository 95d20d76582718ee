"""The whole window with real trainings: started, stopped, gone on with, ended by the system, and found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from tests.gui.opened import (
    LONG,
    SETTINGS,
    SOON,
    changed,
    open_window,
    press_start,
    steps_of,
    wait_for,
    working_directory,
)
from tests.program import program
from yolo_subbatch.gui.main_window import MainWindow
from yolo_subbatch.run.events import RunStarted, read_events
from yolo_subbatch.run.settings import TrainSettings


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    yield from working_directory(tmp_path, monkeypatch)


@pytest.fixture
def window(place: Path, qtbot: QtBot) -> MainWindow:
    return open_window(place, qtbot)


def test_start_to_finish(window: MainWindow, qtbot: QtBot) -> None:
    folder = press_start(window, qtbot)
    assert folder.path == Path.cwd() / "runs" / "shapes-64-b4s2"
    assert window.reader is not None
    assert window.reader.state == "starting"
    assert "starting" in window.status.detail.text().lower()
    assert window.actions_.stop.isEnabled()
    wait_for(window, qtbot, "completed")
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
    assert sum(isinstance(event, RunStarted) for event in read_events(folder.events)) == 2

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


@pytest.mark.usefixtures("quick")
def test_a_mistake_that_only_the_run_can_find_is_told_in_words(window: MainWindow, place: Path, qtbot: QtBot) -> None:
    (place / "odd.weights").write_bytes(b"no weights at all")
    press_start(window, qtbot, changed(weights="odd.weights"))
    wait_for(window, qtbot, "failed")
    qtbot.waitUntil(window.failure.isVisible, timeout=SOON)
    assert "odd.weights" in window.failure.message.text()
    assert "Traceback" not in window.failure.message.text()
    assert window.failure.failure.kind == "mistake"
    window.tabs.setCurrentWidget(window.config)
    qtbot.mouseClick(window.failure.console, Qt.MouseButton.LeftButton)
    assert window.tabs.currentWidget() is window.console
    qtbot.waitUntil(lambda: "odd.weights" in window.console.toPlainText(), timeout=SOON)
    window.setup.set_settings(TrainSettings(cfg="yolov3"))
    qtbot.mouseClick(window.failure.again, Qt.MouseButton.LeftButton)
    assert window.setup.settings().weights == "odd.weights"


def test_a_run_of_the_command_line_is_found_and_shown(window: MainWindow, place: Path, qtbot: QtBot) -> None:
    pairs = [f"{key}={value}" for key, value in SETTINGS.changed().items() if key != "extra"]
    done = program(place, "train", *pairs, "plots=False", "name=typed")
    assert done.returncode == 0, done.stderr
    window.refresh_runs()
    window.runs.table.selectRow(0)
    assert window.reader.folder.path.name == "typed"
    wait_for(window, qtbot, "completed")
    assert list(window.reader.history.steps.values) == [1, 2, 3, 4, 5, 6]
    assert "1" in window.console.toPlainText(), "without a console.log its events are shown"
