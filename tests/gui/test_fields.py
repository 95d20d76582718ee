from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QFileDialog, QWidget

from yolo_subbatch.gui.form.device_box import DeviceBox, read_cards
from yolo_subbatch.gui.form.fields import CheckField, ChoiceBox, text_of
from yolo_subbatch.gui.form.number_box import NumberBox, by_doubling, by_last_digit, by_one, by_stride
from yolo_subbatch.gui.form.path_field import PathField
from yolo_subbatch.settings.conversion import convert


@pytest.mark.parametrize(("step", "rule", "before", "up", "down"), [
    (by_one, {"min": 1}, "5", "6", "4"),
    (by_one, {"min": 1}, "1", "2", None),
    (by_one, {"min": 0}, "1e2", "101", "99"),
    (by_doubling, {"min": 1}, "16", "32", "8"),
    (by_doubling, {"min": 1}, "3", "6", "1"),
    (by_doubling, {"min": 1, "max": 16}, "16", None, "8"),
    (by_stride, {"min": 8}, "416", "448", "384"),
    (by_stride, {"min": 8}, "400", "416", "384"),
    (by_stride, {"min": 8}, "416,608", "448,640", "384,576"),
    (by_last_digit, {"above": 0}, "0.001", "0.002", "0.0009"),
    (by_last_digit, {"above": 0}, "1e-05", "0.00002", "0.000009"),
    (by_last_digit, {"min": 0, "below": 1}, "0.9", "0.91", "0.8"),
    (by_last_digit, {"min": 0, "max": 1}, "1", None, "0"),
    (by_last_digit, {"min": 0}, "10.0", "10.1", "9.9"),
])  # fmt: skip
def test_arrows_step_as_suits_the_number(
    qtbot: Any, step: Any, rule: dict[str, int], before: str, up: str | None, down: str | None
) -> None:
    box = NumberBox(step, rule)
    qtbot.addWidget(box)
    for sign, after in ((1, up), (-1, down)):
        box.give(before)
        flag = NumberBox.StepEnabledFlag.StepUpEnabled if sign > 0 else NumberBox.StepEnabledFlag.StepDownEnabled
        assert bool(box.stepEnabled() & flag) == (after is not None)
        box.stepBy(sign)
        assert box.given() == (before if after is None else after)


def test_arrows_start_from_what_holds(qtbot: Any) -> None:
    box = NumberBox(by_doubling, {"min": 1})
    qtbot.addWidget(box)
    box.stepBy(1)
    assert box.given() == "2"
    box.show_effective("64")
    for text in ("", "auto", "inf", "1e999999999", "x,y"):
        box.give(text)
        qtbot.keyClick(box, Qt.Key.Key_Up)
        assert box.given() == "128"


def test_a_chosen_file_inside_the_working_folder_is_relative(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "work"
    inside.mkdir()
    monkeypatch.chdir(inside)
    asked: list[tuple[str, str]] = []
    answers = [str(inside / "cfg" / "a.cfg"), str(tmp_path / "b.cfg"), ""]

    def dialogue(_parent: QWidget, _title: str, place: str, pattern: str) -> tuple[str, str]:
        asked.append((place, pattern))
        return answers.pop(0), ""

    monkeypatch.setattr(QFileDialog, "getOpenFileName", dialogue)
    field = PathField("Darknet cfg (*.cfg)")
    qtbot.addWidget(field)
    for wanted in (str(Path("cfg", "a.cfg")), str(tmp_path / "b.cfg"), str(tmp_path / "b.cfg")):
        qtbot.mouseClick(field.button, Qt.MouseButton.LeftButton)
        assert field.given() == wanted
    assert [place for place, _ in asked] == [".", str(inside / "cfg"), str(tmp_path)]
    assert {pattern for _, pattern in asked} == {"Darknet cfg (*.cfg);;All files (*)"}


def test_a_dropped_file_is_taken(qtbot: Any, tmp_path: Path) -> None:
    field = PathField("Darknet cfg (*.cfg)")
    qtbot.addWidget(field)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "a.cfg"))])
    event = QDropEvent(
        QPointF(3, 3), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    field.dropEvent(event)
    assert field.given() == str(tmp_path / "a.cfg")


def test_cards_are_shown_by_name_and_given_by_number(qtbot: Any) -> None:
    cards = read_cards("0, NVIDIA GeForce RTX 4090, 24564\n1, Tesla T4, 15360\nNo devices were found\n")
    assert cards == {"0": "0 · RTX 4090 24 GB", "1": "1 · Tesla T4 15 GB"}
    box = DeviceBox()
    qtbot.addWidget(box)
    box.give("1")
    box.offer(cards)
    assert (box.given(), box.currentText()) == ("1", "1 · Tesla T4 15 GB")
    for text in ("cpu", "0,1", ""):
        box.give(text)
        assert box.given() == text
    qtbot.keyClicks(box.lineEdit(), "0")
    assert box.given() == "0"


def test_a_choice_that_is_not_offered_is_kept(qtbot: Any) -> None:
    box = ChoiceBox(["a", "b"], "b")
    qtbot.addWidget(box)
    assert box.given() == "b"
    box.give("c")
    assert box.given() == "c"
    box.give("")
    assert box.given() == "b"


def test_a_check_box_has_its_default(qtbot: Any) -> None:
    box = CheckField(True)
    qtbot.addWidget(box)
    box.give("False")
    assert box.given() == "False"
    box.give("")
    assert box.given() == "True"


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e300, 5e-324, 20.0, -0.0, math.inf])
def test_numbers_keep_every_digit(value: float) -> None:
    assert convert("hue", text_of(value), float) == value
