"""Why a run failed, from what it left behind, and what the card says about it."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from yolo_subbatch.folder.events import RunFinished, RunStarted, Step, Warned
from yolo_subbatch.gui.panes.failure_card import FailureCard
from yolo_subbatch.gui.runs.console_text import TAIL_BYTES, console_tail
from yolo_subbatch.gui.runs.failure import Failure, explain, next_subdivisions
from yolo_subbatch.gui.runs.history import History
from yolo_subbatch.settings.train_settings import TrainSettings

SETTINGS = TrainSettings(cfg="a.cfg", batch=64, subdivisions=16)
CUDA = "CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of 7.79 GiB"
CPU = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
WINDOWS = "DefaultCPUAllocator: not enough memory: you tried to allocate 4294967296 bytes."
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n{}\n'


def history(*, error: tuple[str, str] | None = None, started: bool = True, retries: tuple[str, ...] = ()) -> History:
    """What a run with batch 64 and 16 subdivisions reported, as the reader hands it on."""
    events: list[Any] = [RunStarted(pid=1, steps_total=9, batch=64, subdivisions=16)] if started else []
    events += [Step(step=1, epoch=1, loss={"total": 1.0}, lr=0.1, gnorm=1.0)] if started else []
    events += [Warned(code="oom_retry", text=text) for text in retries]
    if error is not None:
        events.append(RunFinished(status="failed", error={"type": error[0], "message": error[1], "traceback": ""}))
    made = History()
    made.take([type(event)(**{**vars(event), "seq": place}) for place, event in enumerate(events)])
    return made


@pytest.mark.parametrize(
    ("error", "status", "console", "kind", "message", "finer"),
    [
        (("OutOfMemoryError", CUDA), 1, "", "memory", CUDA, 32),
        (("RuntimeError", CPU), 1, "", "memory", CPU, 32),
        (("RuntimeError", WINDOWS), 1, "", "memory", WINDOWS, 32),
        (("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), 1, "", "memory", "CUBLAS_STATUS_ALLOC_FAILED", 32),
        (("RuntimeError", "std::bad_alloc"), None, "", "memory", "std::bad_alloc", 32),
        (("MemoryError", ""), 1, "", "memory", "MemoryError", 32),
        (("_ArrayMemoryError", "Unable to allocate 8. GiB for an array"), 1, "", "memory", "Unable to allocate", 32),
        (None, 1, TRACEBACK.format("MemoryError"), "memory", "MemoryError", 32),
        (None, 1, TRACEBACK.format(f"torch.OutOfMemoryError: {CUDA}"), "memory", CUDA, 32),
        (None, -9, "", "memory", "", 32),
        (None, 137, "", "memory", "", 32),
        (None, -11, "", "signal", "", None),
        (None, -11, "Fatal Python error: Segmentation fault\n", "signal", "Segmentation fault", None),
        (("SettingsError", "cfg=x.cfg: no such file; give one"), 2, "", "mistake", "cfg=x.cfg: no such file", None),
        (("WeightsError", "odd.weights: too short"), None, "", "mistake", "odd.weights", None),
        (None, 2, "loading\nyolo-subbatch: device=7: no CUDA here; use cpu\n", "mistake", "device=7: no CUDA", None),
        (None, 2, "", "mistake", "", None),
        (("ValueError", "something odd"), 1, "", "error", "something odd", None),
        (("KeyError", ""), 1, "", "error", "KeyError", None),
        (None, 1, TRACEBACK.format("ValueError: odd"), "error", "ValueError: odd", None),
        (None, 0, "", "silent", "", None),
        (None, None, "epoch 3: mAP 0.5\n", "silent", "", None),
        (None, -999, "", "signal", "", None),
    ],
)  # fmt: skip
def test_what_a_run_left_behind(
    error: tuple[str, str] | None, status: int | None, console: str, kind: str, message: str, finer: int | None
) -> None:
    found = explain(history(error=error), SETTINGS, status, console)
    assert found.kind == kind
    assert message in found.message
    assert bool(found.message) == bool(message)
    assert found.subdivisions == finer
    assert found.batch == 64


def test_signals_have_names() -> None:
    assert explain(history(), SETTINGS, -11, "").signal == "SIGSEGV"
    assert explain(history(), SETTINGS, -6, "").signal == "SIGABRT"
    assert explain(history(), SETTINGS, -999, "").signal == "999"
    assert explain(history(), SETTINGS, -9, "").signal == "SIGKILL"


def test_a_message_of_several_lines_is_whole() -> None:
    console = "loading\nyolo-subbatch: batch=0: too small; give at least 1\nimgsz=3: too small; give at least 8\n"
    found = explain(history(started=False), SETTINGS, 2, console)
    assert found.message == "batch=0: too small; give at least 1\nimgsz=3: too small; give at least 8"


@pytest.mark.parametrize(
    ("since", "status", "kind", "message"),
    [
        (TRACEBACK.format("ValueError: odd"), 1, "error", "ValueError: odd"),
        ("loading\nyolo-subbatch: imgsz=3: too small\n", 2, "mistake", "imgsz=3: too small"),
        (5 * "   1/30      12/900    8.31   21 img/s\n", -11, "signal", ""),
        (5 * "   1/30      12/900    8.31   21 img/s\n", -9, "memory", ""),
    ],
)
def test_what_an_earlier_process_printed_is_no_reason(since: str, status: int, kind: str, message: str) -> None:
    """One file holds the console of a run and of each time that it went on."""
    found = explain(history(), SETTINGS, status, f"yolo-subbatch: cfg=x.cfg: no such file\n{since}")
    assert (found.kind, found.message) == (kind, message)


@pytest.mark.parametrize(
    ("batch", "subdivisions", "more"),
    [(64, 16, 32), (64, 1, 2), (10, 2, 5), (10, 5, 10), (64, 64, None), (1, 1, None), (7, 1, 7), (12, 5, 6)],
)
def test_the_next_number_of_parts(batch: int, subdivisions: int, more: int | None) -> None:
    assert next_subdivisions(batch, subdivisions) == more


def test_parts_that_the_run_has_raised_itself_count() -> None:
    short = ("OutOfMemoryError", CUDA)
    retries = ("memory is short: going on with subdivisions=32", "memory is short: going on with subdivisions=64")
    assert explain(history(error=short, retries=retries[:1]), SETTINGS, 1, "").subdivisions == 64
    assert explain(history(error=short, retries=retries), SETTINGS, 1, "").subdivisions is None
    last = ("SettingsError", "subdivisions=64: memory is short even for one image at a time; use a smaller imgsz")
    found = explain(history(error=last, retries=retries), SETTINGS, 2, "")
    assert (found.kind, found.subdivisions) == ("memory", None)


def test_parts_raised_before_the_run_went_on_do_not() -> None:
    made = history(retries=("going on with subdivisions=32",))
    made.take([RunStarted(seq=9, pid=1, steps_total=9, batch=64, subdivisions=8)])
    assert explain(made, SETTINGS, -9, "").subdivisions == 16


@pytest.mark.parametrize(
    ("settings", "batch", "finer"),
    [
        (SETTINGS, 64, 32),
        (TrainSettings(batch=64, subdivisions="auto"), 64, None),
        (TrainSettings(cfg="a.cfg"), None, None),
        (None, None, None),
    ],
)
def test_a_run_that_never_began_is_known_by_its_settings(
    settings: TrainSettings | None, batch: int | None, finer: int | None
) -> None:
    found = explain(history(started=False), settings, -9, "")
    assert (found.kind, found.batch, found.subdivisions) == ("memory", batch, finer)


def test_the_end_of_a_console(tmp_path: Path) -> None:
    file = tmp_path / "console.log"
    assert console_tail(file) == ""
    file.write_bytes("ü".encode() * TAIL_BYTES + b"\xff\nthe end\n")
    assert console_tail(file).endswith("\ufffd\nthe end\n")
    assert len(console_tail(file)) < TAIL_BYTES
    file.write_text("short")
    assert console_tail(file) == "short"


# --- the card --------------------------------------------------------------------------------------------------------


@pytest.fixture
def card(qtbot: QtBot) -> FailureCard:
    made = FailureCard()
    qtbot.addWidget(made)
    return made


def shown(card: FailureCard) -> set[QPushButton]:
    return {each for each in (card.finer, card.resume, card.again, card.console) if each.isVisibleTo(card)}


KINDS = {
    "memory": (Failure("memory", CUDA, 64, 32), "Out of memory", "the batch stays 64"),
    "killed": (Failure("memory", "", 64, 32, "SIGKILL"), "Ended by the system, probably out of memory", "system ended"),
    "single": (Failure("memory", CUDA, 64, None), "Out of memory", "One image at a time does not fit"),
    "mistake": (Failure("mistake", "cfg=x: no such file"), "Something in the settings is not usable", "Correct it"),
    "signal": (Failure("signal", "", signal="SIGSEGV"), "The process crashed (SIGSEGV)", "console shows"),
    "silent": (Failure("silent", ""), "The process ended without a word", "console shows"),
    "error": (Failure("error", "ValueError: odd"), "The run failed", "console shows"),
}


def test_what_the_card_says(card: FailureCard) -> None:
    for name, resumable in product(KINDS, (False, True)):
        failure, title, advice = KINDS[name]
        card.show_failure(failure, resumable)
        assert not card.isHidden()
        assert card.title.text() == f"✗  {title}"
        assert advice in card.advice.text()
        assert card.message.text() == failure.message
        assert card.message.isVisibleTo(card) == bool(failure.message)
        wanted = {card.again, card.console}
        wanted |= {card.resume} if resumable else set()
        wanted |= {card.finer} if name in {"memory", "killed"} else set()
        assert shown(card) == wanted
        if card.finer in wanted:
            assert card.finer.text() == "Try subdivisions 32"
        if resumable and name in {"signal", "silent", "error"}:
            assert "Resume continues from there" in card.advice.text()


def test_the_card_goes_away(card: FailureCard) -> None:
    assert card.isHidden()
    card.show_failure(Failure("error", "x"))
    card.show_failure(None)
    assert card.isHidden()


def test_a_long_message_is_shortened_and_kept_whole_in_the_tip(card: FailureCard) -> None:
    message = "\n".join([400 * "a", "b", "c", "d"])
    card.show_failure(Failure("error", message))
    assert card.message.text() == "\n".join([300 * "a", "b", "c …"])
    assert card.message.toolTip() == message
    card.show_failure(Failure("error", "short <b>and plain</b>"))
    assert card.message.text() == "short <b>and plain</b>"
    assert card.message.textFormat() == Qt.TextFormat.PlainText
    assert card.message.toolTip() == ""


def test_what_its_buttons_ask_for(card: FailureCard, qtbot: QtBot) -> None:
    wanted: list[Any] = []
    card.settings_wanted.connect(wanted.append)
    card.resume_wanted.connect(lambda: wanted.append("resume"))
    card.console_wanted.connect(lambda: wanted.append("console"))
    card.show_failure(KINDS["memory"][0], resumable=True)
    card.show()
    for button in (card.finer, card.again, card.resume, card.console):
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert wanted == [32, None, "resume", "console"]
