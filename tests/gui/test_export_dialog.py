"""What can be exported of a run, and the dialogue that asks how."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from tests.engine.conftest import cfg_text
from tests.gui.exported import asked, ended_run
from yolo_subbatch.folder.run_export import checkpoints, network_size, pairs, problems_of
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.gui.export.export_dialog import ExportDialog
from yolo_subbatch.gui.export.export_form import SHOWN
from yolo_subbatch.gui.toolkit.section import BREAK
from yolo_subbatch.settings.commands import ExportSettings
from yolo_subbatch.settings.values import make, parse_pairs

SOON = 15_000


def shown(dialog: ExportDialog, name: str) -> str:
    message = dialog.form.messages[name]
    return "" if message.isHidden() else message.text().replace(BREAK, "")


@pytest.fixture
def dialog(exportable: RunFolder, qtbot: QtBot) -> ExportDialog:
    made = ExportDialog(exportable, None)
    qtbot.addWidget(made)
    made.show()
    return made


# The settings


def test_pairs_come_back_from_the_command_line() -> None:
    settings = ExportSettings(model="a b/best.pt", imgsz=(416, 608), half=True, conf=0.5, to="x=1.onnx", opset=17)
    assert make(ExportSettings, parse_pairs(pairs(settings))) == settings
    assert pairs(ExportSettings()) == []


def test_what_a_run_has_left(exportable: RunFolder, trained: Path) -> None:
    assert [path.name for path in checkpoints(exportable)] == ["best.pt", "last.pt"]
    assert network_size(exportable) == 64
    other = ended_run(trained, "other", "last.pt")
    (other.weights / "model.cfg").write_text(cfg_text().replace("height=64", "height=32"))
    assert [path.name for path in checkpoints(other)] == ["last.pt"]
    assert network_size(other) == (32, 64)
    (other.weights / "model.cfg").unlink()
    assert network_size(other) is None
    assert problems_of(other, asked(imgsz=65)) == [], "without a cfg its stride is not known before torch is loaded"


def test_problems_without_torch(exportable: RunFolder) -> None:
    assert problems_of(exportable, asked()) == []
    assert [each.text for each in problems_of(exportable, asked(imgsz=65))] == [
        "imgsz=65: not a multiple of the network's stride 16; use 64 or 80"
    ]
    assert [each.field for each in problems_of(exportable, asked(imgsz=3))] == ["imgsz"], "one thing is said once"
    assert {each.field for each in problems_of(exportable, asked(int8=True, half=True))} == {"int8", "data"}


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


FAULTS = (
    ("batch", "many", "batch=many: not of the right kind; give a whole number"),
    ("batch", "0", "too small; give at least 1"),
    ("imgsz", "100", "use 96 or 112"),
    ("imgsz", "64,65", "use 64 or 80 instead of 65"),
    ("to", "best.engine", "only ONNX is written"),
    ("to", "none/best.onnx", "does not exist; make it first"),
    ("to", "x" * 300, "not a path"),
    ("opset", "99", "too large"),
)


def test_faults_stand_under_their_fields(dialog: ExportDialog) -> None:
    for name, text, said in FAULTS:
        before = dialog.form.fields[name].given()
        dialog.form.fields[name].give(text)
        errors = dialog.check_now()
        assert [error.field for error in errors] == [name]
        assert said in shown(dialog, name)
        assert not dialog.button.isEnabled()
        assert said in dialog.button.toolTip()
        assert dialog.form.messages[name].isVisible(), "a fault in a folded card unfolds it"
        dialog.form.fields[name].give(before)


def test_a_file_that_exists_is_told_of(dialog: ExportDialog, exportable: RunFolder) -> None:
    assert shown(dialog, "to") == ""
    (exportable.weights / "best.onnx").write_bytes(b"\x08\x08\x12\x0cyolo-subbatch")
    dialog.check_now()
    assert shown(dialog, "to").startswith("! to=runs/done/weights/best.onnx: exists")
    assert dialog.button.isEnabled()
    (exportable.weights / "best.onnx").write_bytes(b"anything")
    assert [each.field for each in dialog.check_now()] == ["to"]
    assert "was not written by this program; it is not overwritten" in shown(dialog, "to")


def test_a_checkpoint_that_has_gone(dialog: ExportDialog, exportable: RunFolder) -> None:
    (exportable.weights / "best.pt").unlink()
    assert [each.field for each in dialog.check_now()] == ["model"]
    assert "no such file" in shown(dialog, "model")
    (exportable.weights / "best.pt").write_bytes(b"not a checkpoint")
    dialog.check_now()
    assert "no checkpoint, or a damaged one" in shown(dialog, "model")


def test_earlier_settings_come_back(dialog: ExportDialog) -> None:
    settings = asked(
        model="runs/done/weights/last.pt", to="other.onnx", nms=True, conf=0.5, imgsz=(32, 64), with_script=True
    )
    dialog.form.write(settings)
    assert dialog.form.read() == (settings, [])
