"""The form of an export, made from what the fields of ``ExportSettings`` declare of themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.process import RunFiles
from yolo_subbatch.folder.run_export import checkpoints, network_size
from yolo_subbatch.settings.checks import Problem, warning
from yolo_subbatch.settings.commands import ExportSettings
from yolo_subbatch.settings.find import BUILT_IN_DATA, short_path
from yolo_subbatch.settings.values import read_setting

from ..form.field_factory import Field, dress, label_of, make_field, tip_of
from ..form.fields import CheckField, ChoiceBox, text_of
from ..form.number_box import by_doubling, by_stride
from ..toolkit.language import setting_text
from ..toolkit.section import Message, Section

DECLARED = {field.name: field for field in dataclasses.fields(ExportSettings)}
#: The cards, in two columns; the last one, of settings that are rarely needed, is folded.
COLUMNS = (
    {"Network": ("model",), "Input": ("imgsz", "batch", "dynamic", "preprocess"), "Result": ("to",)},
    {"Precision": ("half", "int8", "data"), "Output": ("nms", "conf", "iou", "max_det")},
)
MORE = ("agnostic_nms", "raw", "calibration", "opset", "simplify", "with_script")
SHOWN = (*(name for column in COLUMNS for names in column.values() for name in names), *MORE)
#: What another setting has to be for these to mean anything.
NEEDS = {
    "data": ("int8", "True"),
    "calibration": ("int8", "True"),
    "conf": ("nms", "True"),
    "iou": ("nms", "True"),
    "max_det": ("nms", "True"),
    "agnostic_nms": ("nms", "True"),
    "batch": ("dynamic", "False"),
}
STEPS = {"batch": by_doubling, "imgsz": by_stride}
WIDEST_LABEL = 96  # wider ones are wrapped


class ExportForm(QWidget):
    """A field for every setting that makes sense for the checkpoint of a run.

    Args:
        run: The run.
        data: The data set to propose for int8.
    """

    changed = Signal()

    def __init__(self, run: RunFiles, data: str | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.run = run
        self.fields: dict[str, Field] = {}
        self.messages: dict[str, Message] = {}
        self._section_of: dict[str, Section] = {}
        widest = max(self.fontMetrics().horizontalAdvance(f"{label_of(DECLARED[name])} ") for name in SHOWN)
        self._label_width = min(widest, WIDEST_LABEL)
        self._proposed = ""  # the target that is filled in, until the user writes another
        self._arrange()
        self.fields["data"].give(data or BUILT_IN_DATA)
        self.fields["imgsz"].show_effective(text_of(network_size(run)))
        self._follow()

    def _arrange(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 4, 0)
        grid.setSpacing(8)
        for place, column in enumerate(COLUMNS):
            cards = QVBoxLayout()
            cards.setSpacing(8)
            for group, names in column.items():
                cards.addWidget(self._section(setting_text(group), names))
            cards.addStretch(1)
            grid.addLayout(cards, 0, place)
            grid.setColumnStretch(place, 1)
        grid.addWidget(self._section(self.tr("More settings"), MORE, folds=True), 1, 0, 1, len(COLUMNS))
        grid.setRowStretch(2, 1)

    def _section(self, title: str, names: Iterable[str], folds: bool = False) -> Section:
        section = Section(title, self._label_width, folds)
        for name in names:
            declared = DECLARED[name]
            field = self._field(name)
            dress(field, declared)
            field.changed.connect(self._something_changed)
            self.fields[name], self.messages[name], self._section_of[name] = field, Message(), section
            section.add_row(label_of(declared), tip_of(declared), field, [self.messages[name]])
        return section

    def _field(self, name: str) -> Field:
        if name == "model":
            names = [path.name for path in checkpoints(self.run)]
            return ChoiceBox(names, names[0] if names else "best.pt")
        names = [BUILT_IN_DATA] if name == "data" else []
        field = make_field(DECLARED[name], STEPS, names, new=name == "to")
        if not isinstance(field, (ChoiceBox, CheckField)):
            field.show_effective(text_of(DECLARED[name].default))
        return field

    def _something_changed(self) -> None:
        self._follow()
        self.changed.emit()

    def _follow(self) -> None:
        """Have the proposed target follow the checkpoint, and fields that mean nothing now be grey."""
        for name, (other, value) in NEEDS.items():
            self.fields[name].setEnabled(self.fields[other].given() == value)
        target, before = self._target(), self._proposed
        if target != before:
            self._proposed = target
            if self.fields["to"].given() == before:
                self.fields["to"].give(target)
        self.fields["to"].show_effective(target)

    def _target(self) -> str:
        return short_path(self._checkpoint().with_suffix(".onnx"))

    def _checkpoint(self) -> Path:
        return self.run.weights / self.fields["model"].given()

    def read(self) -> tuple[ExportSettings, list[Problem]]:
        """Return the settings, and what is wrong with texts that mean nothing; what is grey is not given."""
        values: dict[str, Any] = {}
        faults: list[Problem] = []
        for name, field in self.fields.items():
            text = field.given().strip() if field.isEnabled() else ""
            try:
                if text:
                    values[name] = read_setting(ExportSettings, name, text)
            except SettingsError as error:
                values.pop(name, None)
                faults.append(Problem(name, "error", str(error)))
        values["model"] = short_path(self._checkpoint())
        values.setdefault("to", self._proposed)
        return ExportSettings(**values), faults

    def write(self, settings: ExportSettings) -> None:
        """Show settings; a field whose default they hold is left empty."""
        for name, field in self.fields.items():
            value = getattr(settings, name)
            if name == "model":
                field.give(Path(value or "").name)
            elif name != "data" or value:  # what is proposed stays
                field.give("" if value == DECLARED[name].default else text_of(value))

    def show_problems(self, problems: Iterable[Problem]) -> None:
        """Show problems under their fields."""
        found = list(problems)
        if not any(problem.field == "to" for problem in found):
            found += self._replaced()
        for name, message in self.messages.items():
            if message.show_problems(problem for problem in found if self._field_of(problem) == name):
                self._section_of[name].set_open(True)

    def _replaced(self) -> list[Problem]:
        target = self.fields["to"].given().strip() or self._proposed
        text = self.tr("to={file}: exists; an earlier export is replaced, anything else is not overwritten")
        with suppress(OSError):  # a folder that may not be looked into
            return [warning("to", text.format(file=target))] if Path(target).is_file() else []
        return []

    def _field_of(self, problem: Problem) -> str:
        return problem.field if problem.field in self.fields else "model"

    def reveal(self, problem: Problem) -> QWidget:
        """Put the cursor into the field of a problem."""
        name = self._field_of(problem)
        self._section_of[name].set_open(True)
        self.fields[name].setFocus()
        return self.fields[name]
