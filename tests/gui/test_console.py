"""What the console shows of what a run printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QAbstractSlider
from pytestqt.qtbot import QtBot

from tests.gui.run_files import step, write
from yolo_subbatch.folder.events import Checkpoint, Log, RunFinished, RunStarted, Val, Warned
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.gui.panes import console as module
from yolo_subbatch.gui.panes.console import Console
from yolo_subbatch.gui.runs.console_text import FIRST_BYTES, describe, terminal_line
from yolo_subbatch.gui.runs.reader import RunReader

SOON = 10_000
STEP = step(12, loss={"total": 1.5, "box": None}, gnorm=6.31, ips=112.4)


@pytest.fixture
def console(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setattr(module, "POLL", 100_000)  # a test says itself when it looks
    made = Console()
    qtbot.addWidget(made)
    return made


@pytest.fixture
def reader(folder: RunFolder) -> Iterator[RunReader]:
    made = RunReader(folder)
    yield made
    made.stop()


def add(folder: RunFolder, data: bytes) -> None:
    with folder.console.open("ab") as file:
        file.write(data)


def lines(console: Console) -> list[str]:
    return console.toPlainText().split("\n")


def show(console: Console, reader: RunReader) -> None:
    """As the window does: first the panes learn of a reader, then it begins."""
    console.show_run(reader)
    reader.start()
    while not reader.up_to_date:
        reader.read()


def test_it_follows_what_is_printed(console: Console, folder: RunFolder, reader: RunReader) -> None:
    show(console, reader)
    assert console.toPlainText() == ""
    add(folder, b"one\ntwo\nthr")
    console.read()
    assert lines(console) == ["one", "two"]
    add(folder, b"ee\n\n")
    console.read()
    assert lines(console) == ["one", "two", "three", ""]
    add(folder, b"\n")
    console.read()
    add(folder, b"four\n")
    console.read()
    assert lines(console) == ["one", "two", "three", "", "", "four"]


def test_it_looks_by_itself(folder: RunFolder, reader: RunReader, qtbot: QtBot) -> None:
    console = Console()
    qtbot.addWidget(console)
    show(console, reader)
    add(folder, b"one\n")
    qtbot.waitUntil(lambda: lines(console) == ["one"], timeout=SOON)
    console.show_run(None)
    assert console.toPlainText() == ""


TERMINAL = {
    "plain": "plain",
    "\x1b[1;31mred\x1b[0m and \x1b[Kmore": "red and more",
    "\x1b[?25lhidden cursor": "hidden cursor",
    "10 %\r20 %\r30 %": "30 %",
    "10 %\r100 %\r": "100 %",
    "a line of Windows\r": "a line of Windows",
    "\r\x1b[Kdone": "done",
    "": "",
}


def test_what_a_terminal_would_show() -> None:
    assert {line: terminal_line(line) for line in TERMINAL} == TERMINAL


def test_what_is_cut_between_two_looks_is_whole(console: Console, folder: RunFolder, reader: RunReader) -> None:
    text = "\x1b[1m训练 ü 🙂\x1b[0m 10 %\r\x1b[31m训练完成\x1b[0m\n"
    show(console, reader)
    for byte in text.encode():
        add(folder, bytes([byte]))
        console.read()
    assert lines(console) == ["训练完成"]
    add(folder, b"bad \xff\xfe bytes\n")
    console.read()
    assert lines(console) == ["训练完成", "bad \ufffd\ufffd bytes"]


def test_only_the_newest_lines_are_kept(console: Console, folder: RunFolder, reader: RunReader) -> None:
    add(folder, "".join(f"line {number}\n" for number in range(8000)).encode())
    show(console, reader)
    for _ in range(10):
        console.read()
    assert console.blockCount() == module.MOST_LINES
    assert lines(console)[-1] == "line 7999"
    assert lines(console)[0] == "line 3000"


def test_of_a_long_file_the_end_is_read(console: Console, folder: RunFolder, reader: RunReader) -> None:
    line = 99 * "x" + "\n"
    add(folder, f"the beginning\n{line * (FIRST_BYTES // 100 + 50)}the end\n".encode())
    show(console, reader)
    for _ in range(10):
        console.read()
    assert lines(console)[-1] == "the end"
    assert "the beginning" not in console.toPlainText()
    assert set(lines(console)[:-1]) == {99 * "x"}, "no part of a line"


def test_a_progress_bar_without_an_end_takes_no_room(console: Console, folder: RunFolder, reader: RunReader) -> None:
    show(console, reader)
    for number in range(5):
        add(folder, b"".join(b"\r%6d images of many" % (number * 5000 + each) for each in range(5000)))
        for _ in range(3):
            console.read()
    assert len(console._rest) < 2 * module.SLICE
    add(folder, b"\n")
    for _ in range(5):
        console.read()
    assert lines(console) == [" 24999 images of many"]


def test_a_last_line_without_an_end_is_shown_when_the_run_is_over(
    console: Console, folder: RunFolder, reader: RunReader
) -> None:
    write(folder, RunStarted(pid=1, steps_total=1), RunFinished(status="failed"))
    add(folder, b"one\nAborted")
    show(console, reader)
    console.read()
    assert lines(console) == ["one", "Aborted"]


def test_another_run(console: Console, folder: RunFolder, reader: RunReader, tmp_path: Path, qtbot: QtBot) -> None:
    add(folder, b"first\nhalf a li")
    show(console, reader)
    other = RunReader(RunFolder.create(tmp_path, "other"), parent=console)
    add(other.folder, b"second\n")
    show(console, other)
    assert lines(console) == ["second"]
    write(folder, Log(level="info", text="not of the run that is shown"))
    reader.read()
    add(folder, b"ne\n")
    console.read()
    assert lines(console) == ["second"]
    other.stop()


def test_a_run_that_goes_on_is_shown_from_its_start(console: Console, folder: RunFolder, reader: RunReader) -> None:
    add(folder, b"before\n")
    show(console, reader)
    add(folder, b"half")
    console.read()
    reader.restarted.emit()
    assert console.toPlainText() == ""
    add(folder, b" a line\nafter\n")
    console.read()
    assert lines(console) == ["before", "half a line", "after"]


# --- runs of a terminal ----------------------------------------------------------------------------------------------


def test_without_a_console_file_events_are_shown(console: Console, folder: RunFolder, reader: RunReader) -> None:
    write(folder, RunStarted(pid=1, steps_total=2, device="cpu", batch=8, subdivisions=2), STEP)
    show(console, reader)
    assert len(lines(console)) == 2
    assert "started on cpu: batch 8, subdivisions 2" in lines(console)[0]
    write(folder, Checkpoint(step=12, path="weights/last.pt", kind="last"), RunFinished(status="completed"))
    reader.read()
    assert len(lines(console)) == 3
    assert lines(console)[-1].endswith("completed")


def test_only_the_newest_events_are_made_lines_of(console: Console, folder: RunFolder, reader: RunReader) -> None:
    write(folder, *(Log(level="info", text=f"event {number}") for number in range(1500)))
    show(console, reader)
    assert len(lines(console)) == module.MOST_EVENTS
    assert lines(console)[-1].endswith("event 1499")


def test_events_are_shown_from_the_start_too(console: Console, folder: RunFolder, reader: RunReader) -> None:
    write(folder, Log(level="info", text="one"), Log(level="info", text="two"))
    show(console, reader)
    folder.cut_events(len(folder.events.read_bytes().splitlines(keepends=True)[0]))
    reader.read()
    assert len(lines(console)) == 1
    assert lines(console)[0].endswith("one")


def test_events_beside_a_console_file_are_not(console: Console, folder: RunFolder, reader: RunReader) -> None:
    add(folder, b"printed\n")
    write(folder, Log(level="info", text="printed"))
    show(console, reader)
    assert lines(console) == ["printed"]


def test_a_line_for_an_event() -> None:
    for event, text in (
        (STEP, "    12  total 1.50  box -  lr 0.001  |g| 6.31  112 img/s"),
        (Val(step=1, epoch=3, map50=0.718, map=None), "epoch 3: mAP50 0.718, mAP50-95 -"),
        (Log(level="info", text="hello"), "hello"),
        (Warned(code="x", text="careful"), "warning: careful"),
        (RunFinished(status="failed", reason="no memory"), "failed no memory"),
        (RunFinished(status="completed"), "completed"),
    ):
        assert describe(event)[10:] == text
    assert describe(Checkpoint(step=1, path="x", kind="last")) == "", "some events have no line"


def test_the_view_stays_where_the_user_put_it(console: Console, folder: RunFolder, reader: RunReader) -> None:
    console.resize(200, 100)
    console.show()
    show(console, reader)
    add(folder, ("x" * 300 + "\n").encode() * 50)
    console.read()
    down, across = console.verticalScrollBar(), console.horizontalScrollBar()
    assert down.value() == down.maximum(), "the end is in view"
    assert across.value() == 0
    down.setValue(3)
    add(folder, b"more\n")
    console.read()
    assert down.value() == 3
    down.setValue(down.maximum())
    add(folder, ("y" * 300 + "\n").encode() * 5)
    console.read()
    assert down.value() == down.maximum(), "back at the end, it follows again"
    console.resize(200, 60)
    assert down.value() == down.maximum()
    assert across.value() == 0


def test_what_is_read_stays_in_view_while_the_oldest_lines_go(
    console: Console, folder: RunFolder, reader: RunReader
) -> None:
    console.resize(200, 100)
    console.show()
    show(console, reader)
    add(folder, "".join(f"{number}\n" for number in range(module.MOST_LINES)).encode())
    console.read()
    console.verticalScrollBar().setValue(1000)
    assert console.firstVisibleBlock().text() == "1000"
    add(folder, b"more\n" * 10)
    console.read()
    assert console.firstVisibleBlock().text() == "1000"


def test_who_has_gone_sideways_stays_there(console: Console, folder: RunFolder, reader: RunReader) -> None:
    console.resize(200, 100)
    console.show()
    show(console, reader)
    add(folder, ("x" * 300 + "\n").encode() * 50)
    console.read()
    across = console.horizontalScrollBar()
    across.triggerAction(QAbstractSlider.SliderAction.SliderPageStepAdd)
    place = across.value()
    assert place > 0
    add(folder, b"short\n")
    console.read()
    assert across.value() == place
