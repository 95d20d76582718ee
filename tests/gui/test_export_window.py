"""Exports from the window: the dialogue, the card, and real processes beside both."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication, QMessageBox, QPushButton
from pytestqt.qtbot import QtBot

from tests.gui.chinese import assert_chinese
from tests.gui.exported import asked, ended_run
from yolo_subbatch.folder.run_export import ExportProcess, pairs
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.gui.app import Program
from yolo_subbatch.gui.export import export_processes as module
from yolo_subbatch.gui.export.export_card import LOOKS
from yolo_subbatch.gui.export.export_dialog import ExportDialog
from yolo_subbatch.gui.export.export_processes import CANCELLED, DONE, FAILED, WORKING, Export, Exports
from yolo_subbatch.gui.export.output_dialog import OutputDialog
from yolo_subbatch.gui.main_window import MainWindow
from yolo_subbatch.gui.toolkit.section import BREAK
from yolo_subbatch.settings.commands import ExportSettings, GuiSettings

LONG = 90_000  # ms that an export may take on a busy machine
SOON = 15_000
WAITS = "import time; print('tracing', flush=True); time.sleep(100)"
DEAF = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
target = next(each for each in sys.argv if each.startswith("to="))[3:]
pathlib.Path(target).with_name(f".export-{os.getpid()}-half").mkdir()
print("deaf", flush=True)
time.sleep(100)
"""


@pytest.fixture(autouse=True)
def _none_is_left(workplace: Path) -> Iterator[None]:
    """End whatever still exports after a test."""
    yield
    for folder in (workplace / "runs").glob("*"):
        ExportProcess(folder).kill()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, qapp: QApplication) -> Iterator[Program]:
    """The window of all tests, which show runs of their own in it."""
    place = tmp_path_factory.mktemp("window")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("XDG_CONFIG_HOME", str(place / "config"))
        patch.setattr(module, "LOOK", 50)
        store = QSettings(str(place / "window.ini"), QSettings.Format.IniFormat)
        made = Program(GuiSettings(language="en", theme="light"), store)
    yield made
    made.window.close()
    made.window.deleteLater()


@pytest.fixture
def window(program: Program, exportable: RunFolder, qtbot: QtBot) -> Iterator[MainWindow]:
    """The window, which shows the run."""
    if program.language_name != "en":
        program.use_language("en")
    window = program.window
    window.show()
    window.show_run(exportable)
    qtbot.waitUntil(lambda: window.reader is not None and window.reader.up_to_date)
    yield window
    for kind in (QMessageBox, ExportDialog, OutputDialog):
        for box in program.window.findChildren(kind):
            box.close()
    program.window.show_run(None)


Fake = Callable[[str], None]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Have a script take the place of the command."""

    def use(code: str) -> None:
        def command(settings: ExportSettings) -> list[str]:
            return [sys.executable, "-c", code, *pairs(settings)]

        monkeypatch.setattr(ExportProcess, "command", staticmethod(command))

    return use


def open_dialog(window: MainWindow, qtbot: QtBot) -> ExportDialog:
    qtbot.mouseClick(window.status.export_button, Qt.MouseButton.LeftButton)
    dialogs = [each for each in window.findChildren(ExportDialog) if each.isVisible()]
    assert len(dialogs) == 1
    return dialogs[0]


def wait_for(window: MainWindow, qtbot: QtBot, state: str, timeout: int = LONG) -> Export:
    qtbot.waitUntil(lambda: window.desk.export is not None and window.desk.export.state == state, timeout=timeout)
    qtbot.waitUntil(lambda: window.desk.card.glyph.text() == LOOKS[state][0], timeout=SOON)
    return window.desk.export


@pytest.mark.usefixtures("quick")
def test_a_real_export(
    window: MainWindow, exportable: RunFolder, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert window.actions_.export.isEnabled()
    assert window.actions_.export in window.runs.menu.actions()
    dialog = open_dialog(window, qtbot)
    dialog.form.fields["nms"].give("True")
    dialog.form.fields["dynamic"].give("True")
    qtbot.mouseClick(dialog.button, Qt.MouseButton.LeftButton)
    card = window.desk.card
    assert window.desk.export.state == WORKING
    assert card.isVisible()
    assert card.bar.isVisible()
    assert "Exporting to runs/done/weights/best.onnx" in card.title.text()
    assert not window.actions_.export.isEnabled()
    assert not window.status.export_button.isVisible()
    assert not window.actions_.delete.isEnabled()
    export = wait_for(window, qtbot, DONE)
    file = exportable.weights / "best.onnx"
    assert export.target == file
    assert b"yolo-subbatch" in file.read_bytes()[:64]
    assert card.title.text() == f"Exported: runs/done/weights/best.onnx, {file.stat().st_size / 1024:.0f} KiB"
    assert "boxes within" in card.message.text()
    assert "boxes after suppression" in card.message.text()
    assert window.actions_.export.isEnabled()
    opened: list[QUrl] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    qtbot.mouseClick(card.folder, Qt.MouseButton.LeftButton)
    assert [url.toLocalFile() for url in opened] == [str(exportable.weights)]
    qtbot.mouseClick(card.details, Qt.MouseButton.LeftButton)
    box = window.findChild(OutputDialog)
    assert "computes what the network does" in box.text.toPlainText()
    assert "best.onnx: " in box.text.toPlainText()
    box.close()
    qtbot.mouseClick(card.close_button, Qt.MouseButton.LeftButton)
    assert card.isHidden()


def test_a_mistake_is_told_in_words_and_can_be_corrected(
    window: MainWindow, exportable: RunFolder, qtbot: QtBot, fake: Fake
) -> None:
    fake("import sys; print('yolo-subbatch: best.onnx: is not overwritten, give another name'); sys.exit(2)")
    dialog = open_dialog(window, qtbot)
    dialog.form.fields["imgsz"].give("96")
    qtbot.mouseClick(dialog.button, Qt.MouseButton.LeftButton)
    export = wait_for(window, qtbot, FAILED)
    card = window.desk.card
    assert export.failure.kind == "mistake"
    assert export.popen.returncode == 2
    assert card.title.text() == "The export is not possible this way"
    assert card.message.text().replace(BREAK, "") == "best.onnx: is not overwritten, give another name"
    assert card.property("role") == "failure"
    qtbot.mouseClick(card.again, Qt.MouseButton.LeftButton)
    again = next(box for box in window.findChildren(ExportDialog) if box.isVisible() and box is not dialog)
    assert again.form.fields["imgsz"].given() == "96"


@pytest.mark.usefixtures("quick")
def test_a_real_export_is_cancelled(window: MainWindow, exportable: RunFolder, qtbot: QtBot) -> None:
    dialog = open_dialog(window, qtbot)
    qtbot.mouseClick(dialog.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(list(exportable.weights.glob(".export-*"))), timeout=LONG)  # it is being traced
    qtbot.mouseClick(window.desk.card.cancel, Qt.MouseButton.LeftButton)
    assert window.desk.card.title.text() == "Cancelling the export ..."
    assert not window.desk.card.cancel.isEnabled()
    wait_for(window, qtbot, CANCELLED)
    assert ExportProcess(exportable.path).process() is None
    assert not list(exportable.weights.glob("*.onnx"))
    assert not list(exportable.weights.glob(".export-*"))
    assert window.desk.card.title.text() == "The export was cancelled; no file was written"
    assert window.actions_.export.isEnabled()


def test_one_that_does_not_obey_is_killed(
    window: MainWindow, exportable: RunFolder, qtbot: QtBot, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(DEAF)
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    other = exportable.weights / ".export-1-half"  # of a process that goes on
    other.mkdir()
    window.desk.start(exportable, asked())
    qtbot.waitUntil(lambda: window.desk.export.lines() == ["deaf"], timeout=SOON)
    window.desk.cancel()
    wait_for(window, qtbot, CANCELLED, SOON)
    assert [each.name for each in exportable.weights.glob(".export-*")] == [other.name]
    assert ExportProcess(exportable.path).process() is None


def test_two_at_a_time_are_refused(window: MainWindow, exportable: RunFolder, qtbot: QtBot, fake: Fake) -> None:
    fake(WAITS)
    window.desk.start(exportable, asked())
    number = window.desk.export.popen.pid
    window.desk.start(exportable, asked(to="other.onnx"))
    box = window.findChild(QMessageBox)
    assert box.text() == "done: is being exported already; wait until that is done, or cancel it"
    box.close()
    window.desk.ask()
    assert window.findChild(ExportDialog) is None
    other = Exports()  # of another window
    said: list[str] = []
    other.failed.connect(said.append)
    assert not other.start(exportable, asked())
    assert len(said) == 1
    assert other.of(exportable).process.process().pid == number


def test_a_run_without_a_checkpoint_or_that_still_trains(
    window: MainWindow, trained: Path, exportable: RunFolder
) -> None:
    nothing = ended_run(trained, "nothing", "resume.pt")
    window.show_run(nothing)
    window.refresh_runs()
    assert not window.actions_.export.isEnabled()
    assert not window.status.export_button.isVisible()
    window.desk.ask()
    assert window.findChild(ExportDialog) is None
    window.show_run(exportable)
    assert window.actions_.export.isEnabled()
    window.reader.state = "running"
    window.refresh_runs()
    assert not window.actions_.export.isEnabled()
    window.show_run(None)
    assert not window.actions_.export.isEnabled()


def test_a_folder_that_takes_no_file(window: MainWindow, exportable: RunFolder) -> None:
    (exportable.path / "export.log").mkdir()
    window.desk.start(exportable, asked())
    box = window.findChild(QMessageBox)
    assert "the export cannot be started (Is a directory)" in box.text()
    box.close()
    assert window.desk.export is None


ENDS = {
    "import os; os.kill(os.getpid(), 9)": ("The export ran out of memory", ""),
    "import os; os.abort()": ("The export crashed (SIGABRT)", ""),
    "import sys; print('one'); sys.exit(1)": ("The export ended without a word", ""),
    "raise ValueError('odd')": ("The export failed; the file was not kept", "ValueError: odd"),
    "import sys; print('yolo-subbatch: x.onnx: not kept; boxes differ; try it'); sys.exit(1)": (
        "The export failed; the file was not kept",
        "x.onnx: not kept; boxes differ; try it",
    ),
}


def test_other_ends(window: MainWindow, exportable: RunFolder, qtbot: QtBot, fake: Fake) -> None:
    for code, (title, message) in ENDS.items():
        fake(code)
        window.desk.start(exportable, asked())
        wait_for(window, qtbot, FAILED, SOON)
        assert window.desk.card.title.text() == title
        assert window.desk.card.message.text() == message
        assert window.desk.card.details.isVisible()


def test_of_another_run_the_status_bar_tells(
    window: MainWindow, exportable: RunFolder, trained: Path, qtbot: QtBot, fake: Fake
) -> None:
    fake("import time; time.sleep(0.5)")
    window.desk.start(exportable, asked())
    window.show_run(ended_run(trained, "other"))
    assert window.desk.card.isHidden()
    assert window.actions_.export.isEnabled(), "another run can be exported meanwhile"
    qtbot.waitUntil(lambda: window.statusBar().currentMessage() == "done: exported", timeout=SOON)
    window.show_run(exportable)
    assert window.desk.card.isVisible()
    assert window.desk.card.title.text() == "Exported: runs/done/weights/best.onnx, -"


def test_closing_the_window_ends_no_export(window: MainWindow, exportable: RunFolder, qtbot: QtBot, fake: Fake) -> None:
    fake(
        "import sys, time; time.sleep(1.5); "
        "open(next(each for each in sys.argv if each.startswith('to='))[3:], 'wb').write(b'x' * 2048)"
    )
    window.desk.start(exportable, asked())
    number = window.desk.export.popen.pid
    window.close()
    other = Exports()  # of the next window
    found = other.of(exportable)
    assert found.process.process().pid == number
    assert found.target == exportable.weights / "best.onnx"
    qtbot.waitUntil(lambda: other.known[exportable.path].state == DONE, timeout=SOON)
    other.forget(exportable)
    assert other.of(exportable) is None, "what has ended is not found again"


def test_one_of_another_window_that_failed(exportable: RunFolder, qtbot: QtBot, fake: Fake) -> None:
    fake("import time; time.sleep(0.7); print('yolo-subbatch: a: b; c')")
    process = ExportProcess(exportable.path).begin(asked())
    exports = Exports()
    assert exports.of(exportable).state == WORKING
    qtbot.waitUntil(lambda: process.poll() is not None and exports.known[exportable.path].state == FAILED, timeout=SOON)
    assert exports.known[exportable.path].failure.message == "a: b; c"


def test_another_language_while_it_works(
    program: Program, window: MainWindow, exportable: RunFolder, qtbot: QtBot, fake: Fake
) -> None:
    fake(WAITS)
    window.desk.start(exportable, asked())
    program.use_theme("dark")
    program.use_language("zh_CN")
    chinese = program.window
    assert chinese is not window
    assert chinese.desk.export.popen is not None
    assert chinese.desk.card.title.text().startswith("正在导出到 runs/done/weights/best.onnx")
    assert_chinese_card(chinese)
    chinese.desk.cancel()
    assert_chinese_card(chinese)
    wait_for(chinese, qtbot, CANCELLED, SOON)
    assert_chinese_card(chinese)
    dialog = ExportDialog(exportable, None, chinese)
    assert_chinese(dialog)
    assert dialog.windowTitle() == "将 done 导出为 ONNX"
    assert not dialog.grab().isNull()
    program.use_theme("light")


def assert_chinese_card(window: MainWindow) -> None:
    window.desk.card.message.setText("")  # in the words of the process
    window.desk.card.message.setToolTip("")
    assert_chinese(window.desk.card)
    assert all(button.text() for button in window.desk.card.findChildren(QPushButton))


def test_the_shortcut_is_free(window: MainWindow) -> None:
    keys = [keys for keys, _ in window.actions_.described()]
    assert len(keys) == len(set(keys))
    named = dict(window.actions_.described())
    assert named["Ctrl+Shift+X"] == "Export ONNX ..."
    assert (named["Ctrl+."], named["Ctrl+Shift+."]) == ("Stop after this update", "Stop now")
