"""The form of ``TrainSettings``, made from what its fields declare of themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.checks import Problem
from yolo_subbatch.settings.find import BUILT_IN_DATA, bundled_cfgs
from yolo_subbatch.settings.ready import Readiness
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.values import ALIASES, defaults, make, parse_pairs, read_setting

from ..toolkit.language import setting_text
from ..toolkit.section import Message, Section
from .batch_row import BatchRow
from .device_box import DeviceBox
from .field_factory import Field, dress, label_of, make_field, tip_of
from .fields import CheckField, ChoiceBox, KeysBox, text_of
from .number_box import NumberBox, by_doubling, by_stride

DEFAULTS = defaults(TrainSettings)
DECLARED = {field.name: field for field in dataclasses.fields(TrainSettings)}
NOT_HERE = {"resume", "run_dir", "trust", "max_pixels"}  # of the command line alone
STEPS = {"batch": by_doubling, "subdivisions": by_doubling, "imgsz": by_stride}
WIDEST_LABEL = 96  # wider ones are wrapped


class Form(QWidget):
    """A field for every setting, usual ones first.

    Args:
        lead: A label and a field to stand before all others, and the message that belongs to them.
    """

    changed = Signal()

    def __init__(self, lead: tuple[str, QWidget, Message], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.fields: dict[str, Field] = {}
        self.messages: dict[str, Message] = {}
        self.sections: dict[str, Section] = {}
        self._section_of: dict[str, Section] = {}
        labels = [label_of(field) for field in DECLARED.values()]
        widest = max(self.fontMetrics().horizontalAdvance(f"{label} ") for label in labels)
        self._label_width = min(widest, WIDEST_LABEL)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 4, 0)
        self._layout.setSpacing(8)
        self._build(lead)
        self._layout.addStretch(1)

    def _build(self, lead: tuple[str, QWidget, Message]) -> None:
        title, field, message = lead
        first = self._add_section("model", self.tr("Model and data"), folds=False)
        first.add_row(title, "", field, [message])
        self._add_rows(first, ("cfg", "model", "data", "weights"))
        batching = self._add_section("batching", self.tr("Batching"), folds=False)
        self._add_batch_row(batching)
        self._add_rows(batching, ("imgsz", "max_norm"))
        schedule = self._add_section("schedule", self.tr("Schedule"), folds=False)
        self._add_rows(schedule, ("max_batches", "epochs", "schedule", "learning_rate", "device", "name"))
        rest = [field for name, field in DECLARED.items() if name not in self.fields and name not in NOT_HERE]
        for group, names in _grouped(field for field in rest if not field.metadata.get("advanced")).items():
            self._add_rows(self._add_section(group, setting_text(group), folds=True), names)
        more = self._add_section("more", self.tr("More settings"), folds=True)
        for group, names in _grouped(field for field in rest if field.metadata.get("advanced")).items():
            more.add_heading(setting_text(group))
            self._add_rows(more, names)

    def _add_section(self, key: str, title: str, folds: bool) -> Section:
        self.sections[key] = Section(title, self._label_width, folds)
        self._layout.addWidget(self.sections[key])
        return self.sections[key]

    def _add_rows(self, section: Section, names: Iterable[str]) -> None:
        for name in names:
            field, message = self._add_field(name, section)
            label = label_of(DECLARED[name])
            if name == "extra":
                section.add_wide_row(label, tip_of(DECLARED[name]), field, message)
            else:
                section.add_row(label, tip_of(DECLARED[name]), field, [message])

    def _add_batch_row(self, section: Section) -> None:
        batch, batch_message = self._add_field("batch", section)
        parts, parts_message = self._add_field("subdivisions", section)
        assert isinstance(batch, NumberBox)
        assert isinstance(parts, NumberBox)
        self.batch_row = BatchRow(batch, parts)
        below = [self.batch_row.meaning, batch_message, parts_message]
        section.add_row(self.tr("Batch ÷ parts"), tip_of(DECLARED["batch"]), self.batch_row, below)

    def _add_field(self, name: str, section: Section) -> tuple[Field, Message]:
        field = _make_field(name)
        dress(field, DECLARED[name])
        if not isinstance(field, (ChoiceBox, CheckField)):
            field.show_effective(self._without(name))
        field.changed.connect(self.changed)
        self.fields[name], self.messages[name], self._section_of[name] = field, Message(), section
        return field, self.messages[name]

    def _without(self, name: str) -> str:
        """Return what to show in a field for which nothing is given, whatever the cfg is."""
        words = {
            "data": BUILT_IN_DATA,
            "weights": self.tr("none: random start"),
            "device": self.tr("automatic"),
            "extra": "mosaic=0.5",
        }
        return words.get(name) or text_of(DEFAULTS[name])

    def read(self) -> tuple[TrainSettings, list[Problem]]:
        """Return the settings, and what is wrong with texts that mean nothing; for those the default stands."""
        values: dict[str, Any] = {}
        faults: list[Problem] = []
        for name, field in self.fields.items():
            text = field.given().strip()
            try:
                if name == "extra":
                    values[name] = self._read_extra(text)
                elif text:
                    values[name] = read_setting(TrainSettings, name, text)
            except SettingsError as error:
                faults.append(Problem(name, "error", str(error)))
        return TrainSettings(**values), faults

    def _read_extra(self, text: str) -> Mapping[str, Any]:
        pairs = parse_pairs(line.strip() for line in text.splitlines() if line.strip())
        for key in pairs:
            if ALIASES.get(key, key) in DECLARED:
                raise SettingsError(self.tr("{key}: not one of these keys; it has a field of its own").format(key=key))
        return make(TrainSettings, pairs).extra

    def write(self, settings: TrainSettings) -> None:
        """Show settings; a field whose default they hold is left empty."""
        for name, field in self.fields.items():
            value = getattr(settings, name)
            if name == "extra":
                lines = (f"{key}={'None' if item is None else text_of(item)}" for key, item in value.items())
                field.give("\n".join(lines))
            else:
                field.give("" if value == DEFAULTS[name] else text_of(value))

    def show_readiness(self, ready: Readiness) -> None:
        """Show problems under their fields, and what holds where nothing is given."""
        by_field: dict[str, list[Problem]] = {}
        for problem in ready.problems:
            by_field.setdefault(self.field_of(problem), []).append(problem)
        for name, message in self.messages.items():
            if message.show_problems(by_field.get(name, [])):
                self._section_of[name].set_open(True)
        holding = _holding(ready)
        for name, field in self.fields.items():
            if DEFAULTS[name] is None and (name in holding or self._without(name) == ""):
                field.show_effective(text_of(holding.get(name)))
        self.batch_row.show_readiness(ready)

    def field_of(self, problem: Problem) -> str:
        """Return the field under which a problem is shown; keys of Ultralytics share one."""
        return problem.field if problem.field in self.fields else "extra"

    def reveal(self, name: str) -> QWidget:
        """Unfold a field's card and put the cursor into it."""
        self._section_of[name].set_open(True)
        self.fields[name].setFocus()
        return self.fields[name]


def _make_field(name: str) -> Field:
    if name == "extra":
        return KeysBox()
    if name == "device":
        return DeviceBox()
    names = {"cfg": bundled_cfgs(), "data": [BUILT_IN_DATA]}
    return make_field(DECLARED[name], STEPS, names.get(name, ()))


def _grouped(fields: Iterable[dataclasses.Field[Any]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for field in fields:
        groups.setdefault(field.metadata["group"], []).append(field.name)
    return groups


def _holding(ready: Readiness) -> dict[str, Any]:
    """Return what will hold where nothing is given, as far as that is known before the run."""
    if not ready.effective:
        return {}
    found = {"batch": ready.batch, "max_batches": ready.iterations, "epochs": ready.epochs}
    known = {name: value for name, value in found.items() if value is not None}
    return {**ready.effective, **known, "subdivisions": ready.subdivisions}
