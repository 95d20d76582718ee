"""The whole window with real trainings: everything is done by clicking, and read from the run's own files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QMessageBox, QWidget
from pytestqt.qtbot import QtBot

from tests.engine.conftest import cfg_text
from yolo_subbatch.gui.app import Program
from yolo_subbatch.gui.main_window import MainWindow
from yolo_subbatch.run.commands import GuiSettings
from yolo_subbatch.run.events import RunFinished, RunStarted, Step, read_events
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


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a cfg and a small data set."""
    folder = tmp_path_factory.mktemp("window")
    write_shapes(folder / "shapes", Numbers(10, 4, 64, 7))
    (folder / "tiny.cfg").write_text(cfg_text(bn=True))
    return folder


@pytest.fixture
def place(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory of one test; whatever still trains in it is ended afterwards."""
    for name in ("shapes", "tiny.cfg"):
        (tmp_path / name).symlink_to(work / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield tmp_path
    for run in (tmp_path / "runs").glob("*"):
        RunFolder(run).kill()


@pytest.fixture
def window(place: Path, qtbot: QtBot) -> MainWindow:
    return open_window(place, qtbot)


def open_window(place: Path, qtbot: QtBot, **settings: str) -> MainWindow:
    """Open a window as the program does, with settings of its own."""
    store = QSettings(str(place / "window.ini"), QSettings.Format.IniFormat)
    program = Program(GuiSettings(**settings), store)
    window = program.window
    window.program = program  # type: ignore[attr-defined]  # nothing else keeps it alive
    qtbot.addWidget(window)
    window.show()
    return window


def press_start(window: MainWindow, qtbot: QtBot, settings: TrainSettings) -> RunFolder:
    """Fill the form in and press Start."""
    window.setup.set_settings(settings)
    qtbot.waitUntil(window.setup.card.button.isEnabled, timeout=SOON)
    qtbot.mouseClick(window.setup.card.button, Qt.MouseButton.LeftButton)
    assert window.reader is not None
    return window.reader.folder


def wait_for(window: MainWindow, qtbot: QtBot, *states: str, timeout: int = LONG) -> None:
    qtbot.waitUntil(lambda: window.reader is not None and window.reader.state in states, timeout=timeout)


def steps_of(folder: RunFolder) -> list[int]:
    return [event.step for event in read_events(folder.events) if isinstance(event, Step)]


def test_start_to_finish(window: MainWindow, qtbot: QtBot) -> None:
    folder = press_start(window, qtbot, SETTINGS)
    assert folder.path == Path.cwd() / "runs" / "shapes-64-b4s2"
    assert window.reader is not None
    assert window.reader.state == "starting"
    assert "starting" in window.status.detail.text().lower()
    assert window.actions_.stop.isEnabled()
    wait_for(window, qtbot, "completed")
    history = window.reader.history
    assert list(history.steps.values) == steps_of(folder) == [1, 2, 3, 4, 5, 6]
    assert len(history.validations) == 2
    assert folder.read_settings() == SETTINGS.__class__(**{**vars(SETTINGS), "name": "shapes-64-b4s2"})
    window.status.update_now()
    assert window.status.bar.value() == 1000
    assert "6 of 6" in window.status.detail.text()
    assert not window.failure.isVisible()
    assert not window.status.stop_button.isVisible()
    qtbot.waitUntil(lambda: "results are in" in window.console.toPlainText(), timeout=SOON)
    assert window.runs_model.rows[0].status == "completed"
    assert window.config.model.rowCount() > 3


def test_a_graceful_stop_and_resume(window: MainWindow, qtbot: QtBot) -> None:
    folder = press_start(window, qtbot, SETTINGS.__class__(**{**vars(SETTINGS), "epochs": 60}))
    qtbot.waitUntil(lambda: len(window.reader.history) > 2, timeout=LONG)
    qtbot.mouseClick(window.status.stop_button, Qt.MouseButton.LeftButton)
    assert "Stopping" in window.status.stop_button.text()
    wait_for(window, qtbot, "stopped")
    before = steps_of(folder)
    assert before == list(range(1, len(before) + 1))
    assert len(before) < 180
    assert (folder.weights / "last.weights").is_file()
    assert not window.status.stop_button.isVisible()
    qtbot.waitUntil(window.actions_.resume.isEnabled, timeout=SOON)
    window.actions_.resume.trigger()
    qtbot.waitUntil(lambda: len(window.reader.history) > len(before) + 2, timeout=LONG)
    assert window.reader.state == "running"
    assert window.reader.history.started.start_step > 0
    window.actions_.stop.trigger()
    wait_for(window, qtbot, "stopped")
    after = steps_of(folder)
    assert after == list(range(1, len(after) + 1))
    assert list(window.reader.history.steps.values) == after
    assert sum(isinstance(event, RunStarted) for event in read_events(folder.events)) == 2


def test_a_stop_is_obeyed_while_a_resumed_run_gets_ready(window: MainWindow, qtbot: QtBot) -> None:
    folder = press_start(window, qtbot, SETTINGS.__class__(**{**vars(SETTINGS), "epochs": 500}))
    qtbot.waitUntil(lambda: len(window.reader.history) > 2, timeout=LONG)
    window.actions_.stop.trigger()
    wait_for(window, qtbot, "stopped")
    before = len(steps_of(folder))
    qtbot.waitUntil(window.actions_.resume.isEnabled, timeout=SOON)
    window.actions_.resume.trigger()
    wait_for(window, qtbot, "starting")
    qtbot.wait(1000)
    window.actions_.stop.trigger()
    wait_for(window, qtbot, "stopped")
    assert before <= len(steps_of(folder)) <= before + 2


def test_stop_now_ends_the_processes(window: MainWindow, qtbot: QtBot) -> None:
    folder = press_start(window, qtbot, SETTINGS.__class__(**{**vars(SETTINGS), "epochs": 500}))
    qtbot.waitUntil(lambda: len(window.reader.history) > 1, timeout=LONG)
    window.actions_.kill.trigger()
    wait_for(window, qtbot, "stopped")
    assert folder.process() is None
    assert [event.seq for event in read_events(folder.events)] == list(range(window.reader._last_seq + 1))
    assert window.reader.history.finished.reason == "stopped at once, from the window"
    qtbot.waitUntil(window.actions_.resume.isEnabled, timeout=SOON)


def test_the_second_run_waits_for_the_first(window: MainWindow, qtbot: QtBot) -> None:
    first = press_start(window, qtbot, SETTINGS)
    qtbot.waitUntil(lambda: "Queue" in window.setup.card.button.text(), timeout=SOON)
    second = press_start(window, qtbot, SETTINGS)
    assert second.path.name == f"{first.path.name}-2"
    assert window.reader.state == "queued"
    third = press_start(window, qtbot, SETTINGS)
    assert [run.status for run in window.runs_model.rows].count("queued") == 2
    assert not second.began.exists()
    qtbot.mouseClick(window.status.stop_button, Qt.MouseButton.LeftButton)
    assert not third.path.exists(), "taken out of the queue, it leaves nothing"
    assert window.reader is None
    window.show_run(second)
    wait_for(window, qtbot, "completed", timeout=2 * LONG)
    ended = [event.t for event in read_events(first.events) if isinstance(event, RunFinished)]
    began = [event.t for event in read_events(second.events) if isinstance(event, RunStarted)]
    assert ended[0] < began[0]
    assert steps_of(second) == steps_of(first)


def test_a_mistake_that_only_the_run_can_find_is_told_in_words(window: MainWindow, place: Path, qtbot: QtBot) -> None:
    (place / "odd.weights").write_bytes(b"no weights at all")
    press_start(window, qtbot, SETTINGS.__class__(**{**vars(SETTINGS), "weights": "odd.weights"}))
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


def test_a_crash_of_the_run(window: MainWindow, qtbot: QtBot) -> None:
    folder = press_start(window, qtbot, SETTINGS.__class__(**{**vars(SETTINGS), "epochs": 500}))
    qtbot.waitUntil(lambda: len(window.reader.history) > 1, timeout=LONG)
    folder.process().kill()
    wait_for(window, qtbot, "failed")
    qtbot.waitUntil(window.failure.isVisible, timeout=SOON)
    assert window.failure.failure.kind == "memory", "SIGKILL is how the system ends what takes all its memory"
    assert window.failure.failure.subdivisions == 4
    qtbot.mouseClick(window.failure.finer, Qt.MouseButton.LeftButton)
    assert window.setup.settings().subdivisions == 4
    assert window.setup.settings().batch == 4
    assert len(window.reader.history) == len(steps_of(folder))


CRASHING = """
import os, sys
from PySide6.QtCore import QSettings, QTimer
from yolo_subbatch.gui.app import Program
from yolo_subbatch.run.commands import GuiSettings
from yolo_subbatch.run.settings import TrainSettings
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
    asked = SETTINGS.__class__(**{**vars(SETTINGS), "epochs": 20, "name": "survivor"})
    done = subprocess.run([sys.executable, "-c", CRASHING, asked.to_json()], timeout=120)
    assert done.returncode == 9
    window = open_window(place, qtbot)
    folder = window.runs_model.rows[0].folder
    assert folder.path.name == "survivor"
    assert folder.status() == "running"
    row = window.runs_model.row_of(folder)
    window.runs.table.selectRow(row)
    assert window.reader.folder == folder
    wait_for(window, qtbot, "completed")
    assert [event.seq for event in read_events(folder.events)] == list(range(window.reader._last_seq + 1))
    assert list(window.reader.history.steps.values) == list(range(1, 61))


def test_closing_the_window_ends_nothing(window: MainWindow, place: Path, qtbot: QtBot) -> None:
    folder = press_start(window, qtbot, SETTINGS.__class__(**{**vars(SETTINGS), "epochs": 20}))
    qtbot.waitUntil(lambda: len(window.reader.history) > 1, timeout=LONG)
    assert "safe to close" in window.statusBar().currentMessage()
    window.close()
    again = open_window(place, qtbot, run=str(folder.path))
    assert again.reader.folder == folder
    assert again.setup.settings().epochs == 20, "the form holds what was used last"
    wait_for(again, qtbot, "completed")
    assert len(again.reader.history) == 60


def test_a_run_of_the_command_line_is_found_and_shown(window: MainWindow, place: Path, qtbot: QtBot) -> None:
    pairs = [f"{key}={value}" for key, value in SETTINGS.changed().items() if key != "extra"]
    done = subprocess.run(
        [sys.executable, "-m", "yolo_subbatch", "train", *pairs, "plots=False", "name=typed"], capture_output=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    window.refresh_runs()
    window.runs.table.selectRow(0)
    assert window.reader.folder.path.name == "typed"
    wait_for(window, qtbot, "completed")
    assert list(window.reader.history.steps.values) == [1, 2, 3, 4, 5, 6]
    assert "1" in window.console.toPlainText(), "without a console.log its events are shown"


def test_deleting_asks_first(window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = press_start(window, qtbot, SETTINGS)
    wait_for(window, qtbot, "completed")
    answers = iter(["Cancel", "Delete"])

    def answer(box: QMessageBox) -> int:
        wanted = next(answers)
        next(button for button in box.buttons() if wanted in button.text().replace("&", "")).click()
        return 0

    monkeypatch.setattr(QMessageBox, "exec", answer)
    window.actions_.delete.trigger()
    assert folder.path.is_dir()
    window.actions_.delete.trigger()
    qtbot.waitUntil(lambda: not folder.path.exists(), timeout=SOON)
    assert window.reader is None
    qtbot.waitUntil(lambda: not window.runs_model.rows, timeout=SOON)


def test_the_program_shows_a_run_in_a_picture(place: Path) -> None:
    """No torch in the window's process, and no screen."""
    code = (
        "import sys; from yolo_subbatch.cli import main; status = main(sys.argv[1:]);"
        "print(sorted(set(sys.modules) & {'torch', 'ultralytics', 'cv2', 'onnx', 'onnxruntime'}));"
        "sys.exit(status)"
    )
    environment = {key: value for key, value in os.environ.items() if key not in {"QT_QPA_PLATFORM", "DISPLAY"}}
    done = subprocess.run(
        [sys.executable, "-c", code, "gui", "screenshot=window.png"], env=environment, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert (place / "window.png").read_bytes().startswith(b"\x89PNG")


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
    assert time.time() > 0
