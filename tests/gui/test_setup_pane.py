from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shiboken6
from PySide6.QtCore import QSettings, Qt, QTimer
from PySide6.QtWidgets import QApplication, QComboBox, QFileDialog, QInputDialog, QLabel, QMessageBox, QPushButton

from tests.settings.sample import write_cfg, write_data
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.gui.form.path_field import PathField
from yolo_subbatch.gui.form.presets import Presets
from yolo_subbatch.gui.form.setup_pane import SetupPane
from yolo_subbatch.gui.toolkit.section import BREAK
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.training_checks import validate

Make = Callable[[], SetupPane]


@pytest.fixture
def make(qtbot: Any, tmp_path: Path) -> Make:
    def made() -> SetupPane:
        pane = SetupPane(presets=Presets(tmp_path / "presets"))
        qtbot.addWidget(pane)
        pane.resize(340, 760)
        pane.show()
        return pane

    return made


@pytest.fixture
def pane(make: Make) -> SetupPane:
    return make()


def card(pane: SetupPane) -> list[str]:
    """Return the lines of the card as one reads them."""
    shown = [f"{each.glyph.text()} {each.label.text()}" for each in pane.card.lines if not each.isHidden()]
    return [line.replace(BREAK, "").replace("\n", "") for line in shown]


def start_button(pane: SetupPane) -> QPushButton:
    found = pane.findChild(QPushButton, "start")
    assert isinstance(found, QPushButton)
    return found


def choose(pane: SetupPane, title: str) -> None:
    box = pane.findChild(QComboBox, "preset")
    assert isinstance(box, QComboBox)
    index = box.findText(title)
    assert index >= 0, title
    box.setCurrentIndex(index)
    box.activated.emit(index)


def answer(kind: type[QInputDialog] | type[QMessageBox], reply: Callable[[Any], None]) -> None:
    """Reply to the next dialogue of a kind as soon as it is open."""

    def look() -> None:
        dialogue = QApplication.activeModalWidget()
        reply(dialogue) if isinstance(dialogue, kind) else QTimer.singleShot(5, look)

    QTimer.singleShot(0, look)


def named(name: str) -> Callable[[Any], None]:
    def reply(dialogue: QInputDialog) -> None:
        dialogue.setTextValue(name)
        dialogue.accept()

    return reply


def pressed(button: QMessageBox.StandardButton) -> Callable[[Any], None]:
    return lambda box: box.button(button).click()


def test_the_demonstration_is_ready_at_once(qtbot: Any, pane: SetupPane) -> None:
    assert not start_button(pane).isEnabled()
    qtbot.waitUntil(start_button(pane).isEnabled)
    assert pane.card.heading.text() == "Ready"
    assert card(pane) == [
        "✓ cfg: 30 layers, 2 heads, 3 classes",
        "✓ data: 1\u202f600 train / 200 val images",
        "✓ run: 1\u202f200 iterations, 12 epochs",
    ]
    assert pane.settings() == TrainSettings(cfg="shapes.cfg", data="shapes", name="shapes-160-b16s2")


def test_three_clicks_to_a_run(
    qtbot: Any, pane: SetupPane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    data = write_data(tmp_path)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(data), ""))
    field = pane.form.fields["data"]
    assert isinstance(field, PathField)
    qtbot.mouseClick(field.button, Qt.MouseButton.LeftButton)
    pane.check_now()
    with qtbot.waitSignal(pane.start_requested) as signal:
        qtbot.mouseClick(start_button(pane), Qt.MouseButton.LeftButton)
    assert signal.args == [TrainSettings(cfg="shapes.cfg", data=str(data), name="obj-160-b16s2")]


def test_typing_is_checked_with_the_words_of_validate(qtbot: Any, pane: SetupPane) -> None:
    pane.check_now()
    with qtbot.waitSignal(pane.readiness_changed) as signal:
        pane.form.fields["batch"].give("64")
        pane.form.fields["subdivisions"].give("7")
    wanted = validate(TrainSettings(cfg="shapes.cfg", data="shapes", batch=64, subdivisions=7))
    assert list(signal.args[0].problems) == wanted
    message = pane.form.messages["subdivisions"]
    assert message.isVisible()
    assert message.text().replace(BREAK, "") == f"✗ {wanted[0].text}"
    assert not start_button(pane).isEnabled()
    assert pane.card.heading.text() == "Not ready yet"
    assert card(pane)[0].startswith("✗ subdivisions=7: does not divide batch=64")
    with qtbot.waitSignal(pane.readiness_changed):
        pane.form.fields["subdivisions"].give("8")
    assert not message.isVisible()
    assert start_button(pane).isEnabled()


def test_a_text_without_meaning_prevents_the_start(pane: SetupPane) -> None:
    pane.form.fields["epochs"].give("ten")
    pane.check_now()
    assert pane.form.messages["epochs"].text() == f"✗ epochs={BREAK}ten: not of the right kind; give a whole number"
    assert not start_button(pane).isEnabled()
    with pytest.raises(SettingsError, match="epochs=ten: not of the right kind; give a whole number"):
        pane.settings()


def test_starting_with_a_wrong_field_leads_to_it(qtbot: Any, pane: SetupPane) -> None:
    pane.set_settings(TrainSettings(cfg="shapes.cfg", angle=-1.0, seed=-1))
    with qtbot.assertNotEmitted(pane.start_requested):
        pane.start_action.trigger()
    assert pane.form.sections["Run"].is_open
    assert pane.focusWidget() is pane.form.fields["seed"]
    pane.form.fields["seed"].give("")
    pane.start_action.trigger()
    assert pane.focusWidget() is pane.form.fields["angle"]
    pane.form.fields["angle"].give("")
    with qtbot.waitSignal(pane.start_requested):
        pane.start_action.trigger()


def test_the_newest_result_wins(qtbot: Any, pane: SetupPane) -> None:
    pane.check_now()
    seen: list[int | None] = []
    pane.readiness_changed.connect(lambda ready: seen.append(ready.batch))
    for batch in range(1, 30):
        pane.form.fields["batch"].give(str(batch))
        pane._check()
    qtbot.waitUntil(lambda: bool(seen))
    assert seen[-1] == 29
    pane.form.fields["batch"].give("30")
    pane._check()
    pane.form.fields["batch"].give("31")
    pane.check_now()
    qtbot.wait(50)
    assert seen[-1] == 31
    assert 30 not in seen


def test_a_pane_may_go_while_it_is_checked(qtbot: Any, tmp_path: Path) -> None:
    answers: list[object] = []
    before = set(threading.enumerate())
    with qtbot.captureExceptions() as exceptions:
        for _ in range(5):
            pane = SetupPane(presets=Presets(tmp_path))
            pane.readiness_changed.connect(answers.append)
            pane._check()
            shiboken6.delete(pane)
        left = set(threading.enumerate()) - before
        qtbot.waitUntil(lambda: not any(thread.is_alive() for thread in left), timeout=60_000)
        QApplication.processEvents()
    assert (answers, exceptions) == ([], []), "the answer comes to nobody"


def test_a_busy_device_is_told(pane: SetupPane) -> None:
    pane.form.fields["device"].give("cpu")
    assert pane.device == "cpu"
    pane.check_now()
    pane.set_busy(["mask-416-b64s16"])
    assert start_button(pane).text() == pane.start_action.text() == "Queue after current run"
    assert "! cpu is busy with mask-416-b64s16" in card(pane)
    assert start_button(pane).isEnabled()
    pane.set_busy([])
    assert start_button(pane).text() == "Start"
    assert not any("busy" in line for line in card(pane))


def test_the_name_follows_until_one_types_another(pane: SetupPane, tmp_path: Path) -> None:
    cfg = write_cfg(tmp_path)
    pane.set_settings(TrainSettings(cfg=str(cfg), data=str(write_data(tmp_path))))
    pane.check_now()
    assert pane.settings().name == "obj-64-b8s2"
    pane.form.fields["subdivisions"].give("auto")
    pane.form.fields["imgsz"].give("64,96")
    pane.check_now()
    assert pane.settings().name == "obj-64x96-b8"
    again = pane.settings()
    pane.set_settings(again)
    pane.check_now()
    pane.form.fields["imgsz"].give("96")
    assert pane.settings().name == "obj-96-b8"
    pane.form.fields["name"].give("mine")
    pane.check_now()
    assert pane.settings().name == "mine"


def test_many_problems_are_counted(pane: SetupPane) -> None:
    pane.set_settings(TrainSettings(cfg="no.cfg", weights="no", data="no", hue=2, jitter=2, decay=2, momentum=2))
    pane.check_now()
    assert len(card(pane)) == 4
    assert pane.card.more.text() == "and 3 more"
    assert pane.card.more.toolTip().count("\n") == 2
    assert all(each.label.text().count("\n") <= 1 for each in pane.card.lines)
    assert pane.card.lines[0].toolTip() == validate(TrainSettings(cfg="no.cfg"))[0].text


def test_a_long_path_does_not_widen_the_form(qtbot: Any, pane: SetupPane) -> None:
    pane.set_settings(TrainSettings(cfg="/a" * 300 + ".cfg", data="b" * 200))
    pane.check_now()
    qtbot.waitUntil(lambda: pane.form.messages["cfg"].isVisible())
    assert pane.width() == 340
    assert pane.form.width() <= 340
    assert pane.card.lines[0].label.text().replace(BREAK, "").endswith("…")


def test_a_path_that_the_system_refuses_is_a_problem(qtbot: Any, pane: SetupPane) -> None:
    pane.set_settings(TrainSettings(cfg="yolov3.cfg", data="b" * 300))
    pane.check_now()
    assert pane.form.messages["data"].toolTip().startswith("✗ data=bbbbbb")
    with qtbot.waitSignal(pane.readiness_changed):
        pane._check()
    with qtbot.assertNotEmitted(pane.start_requested):
        pane.start_action.trigger()


def test_presets_fill_the_form(pane: SetupPane) -> None:
    pane.form.fields["data"].give("my.data")
    pane.form.fields["batch"].give("3")
    choose(pane, "YOLOv3-tiny (416)")
    assert pane.form.read()[0] == TrainSettings(cfg="yolov3-tiny.cfg", data="my.data")
    choose(pane, "Shapes demo (160)")
    assert pane.form.read()[0] == TrainSettings(cfg="shapes.cfg", data="shapes")


def test_presets_are_saved_replaced_chosen_and_deleted(pane: SetupPane, tmp_path: Path) -> None:
    store = Presets(tmp_path / "presets")
    pane.set_settings(TrainSettings(cfg="yolov3.cfg", max_norm=5.0))
    answer(QInputDialog, named(" mine "))
    pane.save_preset_action.trigger()
    assert store.load("mine") == TrainSettings(cfg="yolov3.cfg", max_norm=5.0)
    pane.form.fields["max_norm"].give("6")
    for button, kept in ((QMessageBox.StandardButton.No, 5.0), (QMessageBox.StandardButton.Yes, 6.0)):
        answer(QInputDialog, named("mine"))
        answer(QMessageBox, pressed(button))
        pane.save_preset_action.trigger()
        assert store.load("mine").max_norm == kept
    choose(pane, "Shapes demo (160)")
    assert not pane.preset_bar.delete_action.isEnabled()
    choose(pane, "mine")
    assert pane.form.read()[0] == TrainSettings(cfg="yolov3.cfg", max_norm=6.0)
    answer(QMessageBox, pressed(QMessageBox.StandardButton.Yes))
    pane.preset_bar.delete_action.trigger()
    assert store.names() == []
    assert pane.preset_bar.box.findText("mine") < 0


def test_a_damaged_preset_is_told_and_changes_nothing(make: Make, tmp_path: Path) -> None:
    store = Presets(tmp_path / "presets")
    store.save("mine", TrainSettings(batch=4))
    (store.folder / "mine.json").write_text("{")
    pane = make()
    before = pane.form.read()
    choose(pane, "mine")
    assert pane.form.read() == before
    texts = [label.text() for label in pane.findChildren(QLabel) if label.isVisible()]
    assert any("mine.json: not valid JSON" in text for text in texts)
    choose(pane, "Shapes demo (160)")
    texts = [label.text() for label in pane.findChildren(QLabel) if label.isVisible()]
    assert not any("mine.json" in text for text in texts)


def test_a_name_for_no_file_is_told(pane: SetupPane) -> None:
    answer(QInputDialog, named("a/b"))
    pane.save_preset_action.trigger()
    assert any("not a name for a preset" in label.text() for label in pane.findChildren(QLabel) if label.isVisible())


def test_everything_is_as_it_was_after_a_restart(make: Make, tmp_path: Path) -> None:
    file = str(tmp_path / "window.ini")
    first = make()
    settings = TrainSettings(cfg="yolov3.cfg", imgsz=(416, 608), extra={"freeze": [0, 1]}, name="x")
    first.set_settings(settings)
    first.form.sections["more"].set_open(True)
    first.form.sections["Run"].set_open(True)
    field = first.form.fields["cfg"]
    assert isinstance(field, PathField)
    field.folder = str(tmp_path)
    store = QSettings(file, QSettings.Format.IniFormat)
    first.save(store)
    store.sync()
    second = make()
    second.restore(QSettings(file, QSettings.Format.IniFormat))
    assert second.settings() == settings
    assert second.preset_bar.box.currentText() == "Last used"
    is_open = {key for key, section in second.form.sections.items() if section.header and section.is_open}
    assert is_open == {"more", "Run"}
    again = second.form.fields["cfg"]
    assert isinstance(again, PathField)
    assert again.folder == str(tmp_path)
    choose(second, "YOLOv3 (608)")
    choose(second, "Last used")
    assert second.settings() == settings


def test_nothing_kept_or_something_damaged_leaves_the_demonstration(pane: SetupPane, tmp_path: Path) -> None:
    store = QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)
    for text in ("", "{", '{"no_such_key": 1}'):
        store.setValue("setup/last", text)
        pane.restore(store)
        assert pane.form.read()[0] == TrainSettings(cfg="shapes.cfg", data="shapes")
        told = [label for label in pane.findChildren(QLabel) if label.isVisible() and "Last used:" in label.text()]
        assert bool(told) == bool(text)


def test_a_started_run_is_the_last_used(qtbot: Any, pane: SetupPane) -> None:
    pane.form.fields["batch"].give("32")
    with qtbot.waitSignal(pane.start_requested):
        pane.start_action.trigger()
    assert not start_button(pane).isEnabled(), "the second press of a double click starts nothing"
    qtbot.waitUntil(start_button(pane).isEnabled)
    choose(pane, "YOLOv3 (608)")
    choose(pane, "Last used")
    assert pane.settings().batch == 32
