"""Exports from the window: the dialogue, the card, and real processes beside both."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QMessageBox, QPushButton
from pytestqt.qtbot import QtBot

from tests.engine.conftest import cfg_text
from tests.gui.test_translations import assert_chinese
from yolo_subbatch import cli
from yolo_subbatch.darknet import Network, read_cfg, save_weights
from yolo_subbatch.gui.app import Program
from yolo_subbatch.gui.export import export_processes as module
from yolo_subbatch.gui.export.export_card import LOOKS
from yolo_subbatch.gui.export.export_dialog import ExportDialog
from yolo_subbatch.gui.export.export_form import SHOWN
from yolo_subbatch.gui.export.export_processes import CANCELLED, DONE, FAILED, WORKING, Export, Exports
from yolo_subbatch.gui.export.output_dialog import OutputDialog
from yolo_subbatch.gui.main_window import MainWindow
from yolo_subbatch.gui.toolkit.language import install_language
from yolo_subbatch.gui.toolkit.section import BREAK
from yolo_subbatch.run.commands import ExportSettings, GuiSettings
from yolo_subbatch.run.events import EventWriter, RunFinished, RunStarted, Step
from yolo_subbatch.run.export import ExportProcess, checkpoints, network_size, pairs, problems_of
from yolo_subbatch.run.folder import RunFolder
from yolo_subbatch.run.settings import TrainSettings
from yolo_subbatch.run.values import make, parse_pairs
from yolo_subbatch.shapes import Numbers, write_shapes

ROOT = Path(__file__).parents[2]
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


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cfg, a small data set and a checkpoint, made by the command line."""
    folder = tmp_path_factory.mktemp("trained")
    write_shapes(folder / "shapes", Numbers(10, 4, 64, 7))
    (folder / "tiny.cfg").write_text(cfg_text(bn=True))
    save_weights(Network(read_cfg(folder / "tiny.cfg")), folder / "tiny.weights")
    files = {"cfg": "tiny.cfg", "weights": "tiny.weights", "to": "tiny.pt"}
    assert cli.main(["convert", *(f"{key}={folder / name}" for key, name in files.items())]) == 0
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory of one test; whatever still exports in it is ended afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(module, "LOOK", 50)
    yield tmp_path
    for run in (tmp_path / "runs").glob("*"):
        ExportProcess(run).kill()


@pytest.fixture
def run(place: Path, trained: Path) -> RunFolder:
    """A run that has ended, with checkpoints."""
    return ended_run(place, trained, "done")


def ended_run(place: Path, trained: Path, name: str, *kept: str) -> RunFolder:
    folder = RunFolder.create(place / "runs", name)
    folder.write_settings(TrainSettings(cfg="tiny.cfg", data=str(trained / "shapes" / "shapes.data")))
    writer = EventWriter(folder.events)
    writer.write(RunStarted(pid=1, steps_total=2, device="cpu"))
    writer.write(Step(step=2, epoch=1, loss={"total": 1.0}, lr=0.001, gnorm=1.0, ips=1.0))
    writer.write(RunFinished(status="completed", step=2))
    writer.close()
    folder.weights.mkdir()
    for file in kept or ("best.pt", "last.pt"):
        (folder.weights / file).write_bytes((trained / "tiny.pt").read_bytes())
    (folder.weights / "model.cfg").write_text((trained / "tiny.cfg").read_text())
    return folder


@pytest.fixture
def window(place: Path, run: RunFolder, qtbot: QtBot) -> Iterator[MainWindow]:
    """A window that shows the run."""
    store = QSettings(str(place / "window.ini"), QSettings.Format.IniFormat)
    program = Program(GuiSettings(run=str(run.path), language="en", theme="light"), store)
    program.window.program = program  # type: ignore[attr-defined]  # nothing else keeps it alive
    program.window.show()
    qtbot.waitUntil(lambda: program.window.reader is not None and program.window.reader.up_to_date)
    yield program.window
    program.window.close()
    program.window.deleteLater()
    install_language(program.app, "en")


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


def shown(dialog: ExportDialog, name: str) -> str:
    message = dialog.form.messages[name]
    return "" if message.isHidden() else message.text().replace(BREAK, "")


def asked(**settings: object) -> ExportSettings:
    return ExportSettings(**{"model": "runs/done/weights/best.pt", "to": "runs/done/weights/best.onnx", **settings})


@pytest.fixture
def dialog(run: RunFolder, qtbot: QtBot) -> ExportDialog:
    made = ExportDialog(run, None)
    qtbot.addWidget(made)
    made.show()
    return made


# The settings


def test_pairs_come_back_from_the_command_line() -> None:
    settings = ExportSettings(model="a b/best.pt", imgsz=(416, 608), half=True, conf=0.5, to="x=1.onnx", opset=17)
    assert make(ExportSettings, parse_pairs(pairs(settings))) == settings
    assert pairs(ExportSettings()) == []


def test_what_a_run_has_left(run: RunFolder, place: Path, trained: Path) -> None:
    assert [path.name for path in checkpoints(run)] == ["best.pt", "last.pt"]
    assert network_size(run) == 64
    other = ended_run(place, trained, "other", "last.pt")
    (other.weights / "model.cfg").write_text(cfg_text().replace("height=64", "height=32"))
    assert [path.name for path in checkpoints(other)] == ["last.pt"]
    assert network_size(other) == (32, 64)
    (other.weights / "model.cfg").unlink()
    assert network_size(other) is None
    assert problems_of(other, asked(imgsz=65)) == [], "without a cfg its stride is not known before torch is loaded"


def test_problems_without_torch(run: RunFolder) -> None:
    assert problems_of(run, asked()) == []
    assert [each.text for each in problems_of(run, asked(imgsz=65))] == [
        "imgsz=65: not a multiple of the network's stride 16; use 64 or 80"
    ]
    assert [each.field for each in problems_of(run, asked(imgsz=3))] == ["imgsz"], "one thing is said once"
    assert {each.field for each in problems_of(run, asked(int8=True, half=True))} == {"int8", "data"}


# The dialogue


def test_the_dialogue_proposes(dialog: ExportDialog) -> None:
    form = dialog.form
    assert set(form.fields) == set(SHOWN)
    assert all(form.fields[name].toolTip().endswith(f"{name}=") for name in SHOWN)
    assert form.read() == (asked(), [])
    assert form.fields["imgsz"].lineEdit().placeholderText() == "64"
    assert form.fields["to"].given() == "runs/done/weights/best.onnx"
    form.fields["model"].give("last.pt")
    assert form.fields["to"].given() == "runs/done/weights/last.onnx"
    form.fields["to"].give("mine.onnx")
    form.fields["model"].give("best.pt")
    assert form.read()[0] == asked(to="mine.onnx"), "what the user has written stays"


def test_what_means_nothing_is_grey_and_not_given(dialog: ExportDialog) -> None:
    form = dialog.form
    form.fields["conf"].give("0.5")
    form.fields["batch"].give("4")
    form.fields["data"].give("no such file")
    assert form.read()[0] == asked(batch=4)
    assert not form.fields["conf"].isEnabled()
    form.fields["nms"].give("True")
    form.fields["dynamic"].give("True")
    assert form.fields["conf"].isEnabled()
    assert not form.fields["batch"].isEnabled()
    assert form.read()[0] == asked(nms=True, conf=0.5, dynamic=True)


def test_settings_that_exclude_one_another(dialog: ExportDialog, qtbot: QtBot) -> None:
    form = dialog.form
    assert dialog.button.isEnabled()
    form.fields["half"].give("True")
    form.fields["int8"].give("True")
    qtbot.waitUntil(lambda: not dialog.button.isEnabled(), timeout=SOON)
    assert shown(dialog, "int8").startswith("✗ int8=True: half=True is given too")
    assert shown(dialog, "data") == "", "the built-in data set is proposed where the run used it"
    heard: list[object] = []
    dialog.wanted.connect(heard.append)
    dialog.button.setEnabled(True)  # as quick as a key may be
    dialog._accept()
    assert heard == []
    form.fields["half"].give("False")
    qtbot.waitUntil(dialog.button.isEnabled, timeout=SOON)
    assert shown(dialog, "int8") == ""
    form.fields["raw"].give("True")
    form.fields["nms"].give("True")
    dialog.check_now()
    assert "raw maps hold no boxes" in shown(dialog, "nms")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("batch", "many", "batch=many: not of the right kind; give a whole number"), ("batch", "0", "too small; give at least 1"),
        ("imgsz", "100", "use 96 or 112"), ("imgsz", "64,65", "use 64 or 80 instead of 65"),
        ("to", "best.engine", "only ONNX is written"), ("to", "none/best.onnx", "does not exist; make it first"),
        ("to", "x" * 300, "not a path"), ("opset", "99", "too large"),
    ],
)  # fmt: skip
def test_faults_stand_under_their_fields(dialog: ExportDialog, name: str, text: str, said: str) -> None:
    dialog.form.fields[name].give(text)
    errors = dialog.check_now()
    assert [each.field for each in errors] == [name]
    assert said in shown(dialog, name)
    assert not dialog.button.isEnabled()
    assert said in dialog.button.toolTip()
    assert dialog.form.messages[name].isVisible(), "a fault in a folded card unfolds it"


def test_a_file_that_exists_is_told_of(dialog: ExportDialog, run: RunFolder) -> None:
    assert shown(dialog, "to") == ""
    (run.weights / "best.onnx").write_bytes(b"\x08\x08\x12\x0cyolo-subbatch")
    dialog.check_now()
    assert shown(dialog, "to").startswith("! to=runs/done/weights/best.onnx: exists")
    assert dialog.button.isEnabled()
    (run.weights / "best.onnx").write_bytes(b"anything")
    assert [each.field for each in dialog.check_now()] == ["to"]
    assert "was not written by this program; it is not overwritten" in shown(dialog, "to")


def test_a_checkpoint_that_has_gone(dialog: ExportDialog, run: RunFolder) -> None:
    (run.weights / "best.pt").unlink()
    assert [each.field for each in dialog.check_now()] == ["model"]
    assert "no such file" in shown(dialog, "model")
    (run.weights / "best.pt").write_bytes(b"not a checkpoint")
    dialog.check_now()
    assert "no checkpoint, or a damaged one" in shown(dialog, "model")


def test_earlier_settings_come_back(dialog: ExportDialog) -> None:
    settings = asked(
        model="runs/done/weights/last.pt", to="other.onnx", nms=True, conf=0.5, imgsz=(32, 64), with_script=True
    )
    dialog.form.write(settings)
    assert dialog.form.read() == (settings, [])


# The window


def test_a_real_export(window: MainWindow, run: RunFolder, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
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
    file = run.weights / "best.onnx"
    assert export.target == file
    assert b"yolo-subbatch" in file.read_bytes()[:64]
    assert card.title.text() == f"Exported: runs/done/weights/best.onnx, {file.stat().st_size / 1024:.0f} KiB"
    assert "boxes within" in card.message.text()
    assert "boxes after suppression" in card.message.text()
    assert window.actions_.export.isEnabled()
    opened: list[QUrl] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    qtbot.mouseClick(card.folder, Qt.MouseButton.LeftButton)
    assert [url.toLocalFile() for url in opened] == [str(run.weights)]
    qtbot.mouseClick(card.details, Qt.MouseButton.LeftButton)
    box = window.findChild(OutputDialog)
    assert "computes what the network does" in box.text.toPlainText()
    assert "best.onnx: " in box.text.toPlainText()
    box.close()
    qtbot.mouseClick(card.close_button, Qt.MouseButton.LeftButton)
    assert card.isHidden()


@pytest.mark.usefixtures("quick")
def test_a_mistake_is_told_in_words_and_can_be_corrected(window: MainWindow, run: RunFolder, qtbot: QtBot) -> None:
    dialog = open_dialog(window, qtbot)
    dialog.form.fields["imgsz"].give("96")
    qtbot.mouseClick(dialog.button, Qt.MouseButton.LeftButton)
    (run.weights / "best.onnx").write_bytes(b"something of the user's")  # after the form has looked
    export = wait_for(window, qtbot, FAILED)
    card = window.desk.card
    assert export.failure.kind == "mistake"
    assert export.popen.returncode == 2
    assert card.title.text() == "The export is not possible this way"
    assert "is not overwritten, give another name" in card.message.text().replace(BREAK, "")
    assert card.property("role") == "failure"
    assert (run.weights / "best.onnx").read_bytes() == b"something of the user's"
    qtbot.mouseClick(card.again, Qt.MouseButton.LeftButton)
    again = next(each for each in window.findChildren(ExportDialog) if each.isVisible())
    assert again.form.fields["imgsz"].given() == "96"
    again.close()


@pytest.mark.usefixtures("quick")
def test_a_real_export_is_cancelled(window: MainWindow, run: RunFolder, qtbot: QtBot) -> None:
    dialog = open_dialog(window, qtbot)
    qtbot.mouseClick(dialog.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(list(run.weights.glob(".export-*"))), timeout=LONG)  # it is being traced
    qtbot.mouseClick(window.desk.card.cancel, Qt.MouseButton.LeftButton)
    assert window.desk.card.title.text() == "Cancelling the export ..."
    assert not window.desk.card.cancel.isEnabled()
    wait_for(window, qtbot, CANCELLED)
    assert ExportProcess(run.path).process() is None
    assert not list(run.weights.glob("*.onnx"))
    assert not list(run.weights.glob(".export-*"))
    assert window.desk.card.title.text() == "The export was cancelled; no file was written"
    assert window.actions_.export.isEnabled()


def test_one_that_does_not_obey_is_killed(
    window: MainWindow, run: RunFolder, qtbot: QtBot, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(DEAF)
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    other = run.weights / ".export-1-half"  # of a process that goes on
    other.mkdir()
    window.desk.start(run, asked())
    qtbot.waitUntil(lambda: window.desk.export.lines() == ["deaf"], timeout=SOON)
    window.desk.cancel()
    wait_for(window, qtbot, CANCELLED, SOON)
    assert [each.name for each in run.weights.glob(".export-*")] == [other.name]
    assert ExportProcess(run.path).process() is None


def test_two_at_a_time_are_refused(window: MainWindow, run: RunFolder, qtbot: QtBot, fake: Fake) -> None:
    fake(WAITS)
    window.desk.start(run, asked())
    number = window.desk.export.popen.pid
    window.desk.start(run, asked(to="other.onnx"))
    box = window.findChild(QMessageBox)
    assert box.text() == "done: is being exported already; wait until that is done, or cancel it"
    box.close()
    window.desk.ask()
    assert window.findChild(ExportDialog) is None
    other = Exports()  # of another window
    said: list[str] = []
    other.failed.connect(said.append)
    assert not other.start(run, asked())
    assert len(said) == 1
    assert other.of(run).process.process().pid == number


def test_a_run_without_a_checkpoint_or_that_still_trains(
    window: MainWindow, place: Path, trained: Path, run: RunFolder
) -> None:
    nothing = ended_run(place, trained, "nothing", "resume.pt")
    window.show_run(nothing)
    window.refresh_runs()
    assert not window.actions_.export.isEnabled()
    assert not window.status.export_button.isVisible()
    window.desk.ask()
    assert window.findChild(ExportDialog) is None
    window.show_run(run)
    assert window.actions_.export.isEnabled()
    window.reader.state = "running"
    window.refresh_runs()
    assert not window.actions_.export.isEnabled()
    window.show_run(None)
    assert not window.actions_.export.isEnabled()


def test_a_folder_that_takes_no_file(window: MainWindow, run: RunFolder) -> None:
    (run.path / "export.log").mkdir()
    window.desk.start(run, asked())
    box = window.findChild(QMessageBox)
    assert "the export cannot be started (Is a directory)" in box.text()
    box.close()
    assert window.desk.export is None


@pytest.mark.parametrize(
    ("code", "title", "message"),
    [
        ("import os; os.kill(os.getpid(), 9)", "The export ran out of memory", ""),
        ("import os; os.abort()", "The export crashed (SIGABRT)", ""),
        ("import sys; print('one'); sys.exit(1)", "The export ended without a word", ""),
        ("raise ValueError('odd')", "The export failed; the file was not kept", "ValueError: odd"),
        (
            "import sys; print('yolo-subbatch: x.onnx: not kept; boxes differ; try it', file=sys.stderr); sys.exit(1)",
            "The export failed; the file was not kept", "x.onnx: not kept; boxes differ; try it",
        ),
    ],
)  # fmt: skip
def test_other_ends(
    window: MainWindow, run: RunFolder, qtbot: QtBot, fake: Fake, code: str, title: str, message: str
) -> None:
    fake(code)
    window.desk.start(run, asked())
    wait_for(window, qtbot, FAILED, SOON)
    assert window.desk.card.title.text() == title
    assert window.desk.card.message.text() == message
    assert window.desk.card.details.isVisible()


def test_of_another_run_the_status_bar_tells(
    window: MainWindow, run: RunFolder, place: Path, trained: Path, qtbot: QtBot, fake: Fake
) -> None:
    fake("import time; time.sleep(0.5)")
    window.desk.start(run, asked())
    window.show_run(ended_run(place, trained, "other"))
    assert window.desk.card.isHidden()
    assert window.actions_.export.isEnabled(), "another run can be exported meanwhile"
    qtbot.waitUntil(lambda: window.statusBar().currentMessage() == "done: exported", timeout=SOON)
    window.show_run(run)
    assert window.desk.card.isVisible()
    assert window.desk.card.title.text() == "Exported: runs/done/weights/best.onnx, -"


def test_closing_the_window_ends_no_export(window: MainWindow, run: RunFolder, qtbot: QtBot, fake: Fake) -> None:
    fake(
        "import sys, time; time.sleep(1.5); "
        "open(next(each for each in sys.argv if each.startswith('to='))[3:], 'wb').write(b'x' * 2048)"
    )
    window.desk.start(run, asked())
    number = window.desk.export.popen.pid
    window.close()
    other = Exports()  # of the next window
    found = other.of(run)
    assert found.process.process().pid == number
    assert found.target == run.weights / "best.onnx"
    qtbot.waitUntil(lambda: other.known[run.path].state == DONE, timeout=SOON)
    other.forget(run)
    assert other.of(run) is None, "what has ended is not found again"


def test_one_of_another_window_that_failed(run: RunFolder, qtbot: QtBot, fake: Fake) -> None:
    fake("import time; time.sleep(0.7); print('yolo-subbatch: a: b; c')")
    process = ExportProcess(run.path).begin(asked())
    exports = Exports()
    assert exports.of(run).state == WORKING
    qtbot.waitUntil(lambda: process.poll() is not None and exports.known[run.path].state == FAILED, timeout=SOON)
    assert exports.known[run.path].failure.message == "a: b; c"


def test_another_language_while_it_works(window: MainWindow, run: RunFolder, qtbot: QtBot, fake: Fake) -> None:
    fake(WAITS)
    window.desk.start(run, asked())
    program = window.program
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
    dialog = ExportDialog(run, None, chinese)
    assert_chinese(dialog)
    assert dialog.windowTitle() == "将 done 导出为 ONNX"
    assert not dialog.grab().isNull()
    dialog.close()
    program.use_theme("light")


def assert_chinese_card(window: MainWindow) -> None:
    window.desk.card.message.setText("")  # in the words of the process
    window.desk.card.message.setToolTip("")
    assert_chinese(window.desk.card)
    assert all(button.text() for button in window.desk.card.findChildren(QPushButton))


def test_the_shortcut_is_free(window: MainWindow) -> None:
    keys = [keys for keys, _ in window.actions_.described()]
    assert len(keys) == len(set(keys))
    assert "Ctrl+Shift+X" in keys
