"""Text from files and arguments reaches a terminal and a window as text: neither of them obeys it."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtGui import Qt as GuiQt
from PySide6.QtWidgets import QLabel, QMessageBox, QWidget
from pytestqt.qtbot import QtBot

from tests.engine.conftest import cfg_text
from tests.security import hostile_runs as hostile
from yolo_subbatch import cli
from yolo_subbatch.export.infer import plain as script_plain
from yolo_subbatch.folder.events import Log, RunFinished, RunStarted, Step, Warned
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.folder.signals import lasting_output
from yolo_subbatch.folder.terminal import TerminalProgress
from yolo_subbatch.gui.app import Program
from yolo_subbatch.gui.plots.crosshair import Reading, _table
from yolo_subbatch.gui.runs.console_text import terminal_line as console_line
from yolo_subbatch.gui.toolkit import message_boxes
from yolo_subbatch.gui.toolkit.text_labels import LONGEST, tip
from yolo_subbatch.settings.commands import GuiSettings
from yolo_subbatch.settings.plain_text import PlainOutput, PlainRecords, plain, plain_output

TITLE, RED, BACK = "\x1b]0;title\x07", "\x1b[31m", "\u202etxt.exe"
EVIL = f"a{TITLE}{RED}\x9b2J\r\x08{BACK}"
SEEN = "a\\x1b]0;title\\x07\\x1b[31m\\x9b2J\\x0d\\x08\\u202etxt.exe"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
BOLD = "<b>bold</b>"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLO_SUBBATCH_DATA", str(tmp_path / "data"))
    return tmp_path


# --- a terminal -------------------------------------------------------------------------------------------------------


def test_control_characters_are_shown() -> None:
    assert plain(EVIL) == SEEN
    kept = "Zürich 東京 עברית\tx\n"
    assert plain(kept) == kept


def test_the_script_alone_escapes_them_too() -> None:
    """It has a function of its own, since it stands alone; it escapes what is not printable besides."""
    for code in range(0x3000):
        if plain(chr(code)) != chr(code):
            assert script_plain(chr(code)).isprintable(), hex(code)
    assert script_plain("Zürich 東京 עברית\n") == "Zürich 東京 עברית\n"


def arguments() -> Iterator[list[str]]:
    """Yield every command with control characters in each place that is read."""
    yield [f"x{EVIL}"]
    yield ["help", EVIL]
    for name in cli.COMMANDS:
        for given in (EVIL, f"{EVIL}=1", f"cfg={EVIL}", f"model={EVIL}.pt", f"data={EVIL}.data", f"device={EVIL}"):
            yield [name, given]
        yield [name, "cfg=names.cfg", f"source={EVIL}", "data=evil.yaml"]
        yield [name, "cfg=names.cfg", "data=evil.data"]
        yield [name, f"{EVIL}.cfg"]
    for word in ("train", "test", "map", EVIL):
        yield ["detector", word, "evil.data", f"{EVIL}.cfg", f"-{EVIL}"]


def test_no_command_echoes_them(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / f"{EVIL}.cfg").write_text(f"[net]\nwidth={EVIL}\n[{EVIL}]\n{EVIL}={EVIL}\n")
    (place / "names.cfg").write_text(cfg_text())
    (place / "evil.data").write_text(f"classes=2\ntrain={EVIL}.txt\nnames={EVIL}.names\n{EVIL}={EVIL}\n")
    (place / "evil.yaml").write_text(f'path: "{SEEN}"\ntrain: "{SEEN}"\nnames: ["{SEEN}"]\n', encoding="utf-8")
    shown = 0
    for given in arguments():
        assert cli.main(given) in {cli.DONE, cli.MISTAKE}, given
        output, errors = capsys.readouterr()
        assert not OBEYED.search(output + errors), given
        assert "Traceback" not in errors
        shown += "\\x1b]0;title\\x07" in output + errors
    assert shown > 50, "they are shown, not left out"


def test_the_progress_of_a_run_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [
        RunStarted(pid=1, steps_total=2, warnings=[EVIL]), Log(level="info", text=f"log {EVIL}"),
        Warned(code="x", text=EVIL), Step(step=1, epoch=1, loss={EVIL: 1.0}, lr=0.1, gnorm=1.0),
        RunFinished(status="stopped", reason=EVIL),
    ]  # fmt: skip
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setenv("COLUMNS", "400")
        progress = TerminalProgress(PlainOutput(stream))  # type: ignore[arg-type]
        for event in events:
            progress(event)
        progress.handler().emit(logging.LogRecord("x", logging.INFO, "", 1, "%s", (f"{RED}red {EVIL}",), None))
        text = stream.getvalue()
        assert text.count("\\x1b]0;title\\x07") >= 5
        assert not OBEYED.search(re.sub(r"\r\x1b\[2K|\x1b\[1A\x1b\[2K", "", text)), "its own commands alone are left"


def test_the_live_lines_of_a_training_are_painted_over_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that stands between it and a terminal in a command."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    with plain_output(), lasting_output():
        progress = TerminalProgress(sys.stdout)
        for step in (1, 2):
            progress(Step(step=step, epoch=1, loss={EVIL: 1.0}, lr=0.1, gnorm=1.0))
        progress.print("between")
        print(EVIL)
    assert "\r\x1b[2K\x1b[1A\x1b[2Kbetween" in terminal.getvalue()
    assert "\\x1b[2K" not in terminal.getvalue()
    assert terminal.getvalue().endswith(f"{SEEN}\n")


def test_a_progress_bar_of_a_library_paints_and_its_text_does_not() -> None:
    for stream, begin in ((io.StringIO(), ""), (Terminal(), "\r\x1b[K")):
        guarded = PlainOutput(stream)  # type: ignore[arg-type]
        guarded.write(f"\r\x1b[K\x1b[34m\x1b[1mval: \x1b[0mScanning {EVIL}")
        assert stream.getvalue() == f"{begin}val: Scanning {SEEN}"
    record = logging.LogRecord("ultralytics", logging.INFO, "", 1, "\x1b[1mval: \x1b[0m%s", (TITLE,), None)
    assert PlainRecords().filter(record)
    assert record.getMessage() == f"val: {plain(TITLE)}"


def test_print_is_guarded_while_a_command_runs_and_not_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    with plain_output(), plain_output():
        print(EVIL, end="", flush=True)
    print(RED, end="")
    assert capsys.readouterr().out == SEEN + RED


def test_a_program_without_output_stays_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a window's program on Windows, in which Python has none."""
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    with plain_output(), lasting_output():
        print(EVIL, flush=True)


# --- the window -------------------------------------------------------------------------------------------------------


def is_obeyed(widget: QLabel) -> bool:
    """Tell whether a label takes what it shows for markup that the program has not written itself."""
    text, form = widget.text(), widget.textFormat()
    if form == Qt.TextFormat.RichText:
        return BOLD in text
    guessed = form == Qt.TextFormat.AutoText and GuiQt.mightBeRichText(text)
    return guessed or bool(OBEYED.search(text))


def test_the_window_shows_markup_as_text(place: Path, qtbot: QtBot) -> None:
    name = f"<b>bold<b> <img src=x>{RED}"
    finished = hostile.event(
        "run_finished", 3, status="failed", reason=f"{BOLD}{TITLE}", error={"type": BOLD, "message": f"{BOLD}{TITLE}"}
    )
    started = hostile.start(device=BOLD, names=[BOLD], warnings=[BOLD])
    warned = hostile.event("warning", 2, code="x", text=f"{BOLD}{TITLE}")
    updates = hostile.step(1, loss={BOLD: 1.0}), hostile.step(2, loss={BOLD: 1.0})
    run = RunFolder(hostile.make_run(place / "runs" / name, started, *updates, warned, finished))
    run.settings.write_text('{"cfg": "<b>bold</b>.cfg", "name": "<b>bold</b>"}')
    (run.path / "console.log").write_text(f"{RED}{BOLD}{TITLE}\n")
    program = Program(GuiSettings(run=str(run.path)), QSettings("window.ini", QSettings.Format.IniFormat))
    window = program.window
    qtbot.addWidget(window)
    window.show()
    assert window.reader is not None
    reader = window.reader
    qtbot.waitUntil(lambda: reader.up_to_date and BOLD in window.console.toPlainText())
    window.duplicate()
    window.setup.check_now()
    window.runs_model.compared.add(run.path)
    window.plots.compare({name: reader})
    window.plots.refresh()
    widgets = [each for each in window.findChildren(QWidget) if not isinstance(each, QMessageBox)]
    labels = [each for each in widgets if isinstance(each, QLabel)]
    assert [each.text() for each in labels if is_obeyed(each)] == []
    assert sum("<b>bold" in each.text() for each in labels) >= 3, "the name, the message, the legend"
    for each in widgets:
        assert not GuiQt.mightBeRichText(each.toolTip()) or "<b>" not in each.toolTip(), each
        assert not OBEYED.search(each.toolTip() + each.windowTitle())
    row = window.runs_model.row_of(run)
    assert row is not None
    index = window.runs_model.index(row, 0)
    assert plain(name) in window.runs_model.data(index)
    assert "&lt;b&gt;bold" in window.runs_model.data(index, Qt.ItemDataRole.ToolTipRole)
    assert not OBEYED.search(window.statusBar().currentMessage() + window.console.toPlainText() + window.windowTitle())


def test_boxes_show_markup_as_text(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    shown: list[QMessageBox] = []
    monkeypatch.setattr(QMessageBox, "exec", lambda box: shown.append(box) or 0)
    monkeypatch.setattr(QMessageBox, "open", lambda box: shown.append(box))
    message_boxes.complain(parent, f"{BOLD}{TITLE}")
    message_boxes.ask_to_delete(parent, RunFolder(tmp_path / f"<b>bold{TITLE}"))
    assert not message_boxes.agrees(parent, "Delete", f"{BOLD}{TITLE}")
    labels = [label for box in shown for label in box.findChildren(QLabel) if "bold" in label.text()]
    assert len(labels) == 4, "one of them in small print"
    assert not any(map(is_obeyed, labels))


def test_what_a_tool_tip_and_the_crosshair_show() -> None:
    assert tip("a < b") == "a < b"
    assert not GuiQt.mightBeRichText(tip("plain words"))
    assert "&lt;img src=x&gt;\\x1b[31m" in tip(f"<img src=x>{RED}")
    assert len(tip("x" * 10**6)) < LONGEST + 10
    table = _table(3, [replace(Reading("x", "1"), name=f"{BOLD}{RED}")], "#888888")
    assert "&lt;b&gt;bold&lt;/b&gt;\\x1b[31m" in table
    assert console_line(f"old\r{RED}new\x1b[0m{TITLE}") == "new\\x1b]0;title\\x07"
