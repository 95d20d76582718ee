"""The left side of the window: what to train, whether that can start, and the start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QSettings, Qt, QTimer, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.checks import NOT_IN_NAMES, Problem
from yolo_subbatch.settings.find import BUILT_IN_DATA
from yolo_subbatch.settings.ready import Readiness
from yolo_subbatch.settings.train_settings import TrainSettings

from ..toolkit.section import Message
from .checker import Checker
from .path_field import PathField
from .preset_bar import LAST, PresetBar
from .presets import DEMO, Presets, with_bundled
from .ready_card import ReadyCard
from .train_form import Form

WIDTH = 340
QUIET = 200  # milliseconds without a change before the settings are checked


class SetupPane(QWidget):
    """A form of settings that is checked while one types.

    ``start_requested`` carries settings without errors, ``readiness_changed`` the result of every check.

    Args:
        presets: Where the user's presets are kept.
    """

    start_requested = Signal(object)
    readiness_changed = Signal(object)

    def __init__(self, parent: QWidget | None = None, presets: Presets | None = None) -> None:
        super().__init__(parent)
        self.setFixedWidth(WIDTH)
        self.preset_bar = PresetBar(presets or Presets(), lambda: self.form.read()[0])
        self._preset_message = Message()
        self.form = Form((self.tr("Preset"), self.preset_bar, self._preset_message))
        self.card = ReadyCard()
        self._scroll = self._scroll_area()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self._scroll, 1)
        layout.addWidget(self.card)
        self.save_preset_action = self.preset_bar.save_action
        self.start_action = QAction(self.tr("Start"), self)
        self._ready = Readiness()
        self._faults: list[Problem] = []
        self._busy: list[str] = []
        self._name_may_be_generated = False
        self._checker = Checker(self)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(QUIET)
        self._connect()
        self._show_settings(with_bundled(DEMO, TrainSettings()))

    def _scroll_area(self) -> QScrollArea:
        area = QScrollArea()
        area.setWidget(self.form)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return area

    def _connect(self) -> None:
        self.form.changed.connect(self._timer.start)
        self._timer.timeout.connect(self._check)
        self._checker.checked.connect(self._receive)
        self.preset_bar.chosen.connect(self._show_settings)
        self.preset_bar.failed.connect(self._tell_of_presets)
        self.card.start_pressed.connect(self._start)
        self.start_action.triggered.connect(self._start)

    @property
    def device(self) -> str | None:
        """The device that is given, or None."""
        return self.form.fields["device"].given().strip() or None

    def settings(self) -> TrainSettings:
        """Return the settings of the form, with a name for the run.

        Raises:
            SettingsError: If the text of a field means nothing.
        """
        settings, faults = self.form.read()
        if faults:
            raise SettingsError("\n".join(fault.text for fault in faults))
        return self._named(settings)

    def set_settings(self, settings: TrainSettings) -> None:
        """Show settings; a name that would be made from them anyway follows them further."""
        self.preset_bar.select(None)
        self._show_settings(settings)

    def set_busy(self, names: Sequence[str]) -> None:
        """Tell which runs occupy the device."""
        self._busy = list(names)
        self.card.set_busy(self._busy, self.device)
        self.start_action.setText(self.card.button.text())

    def check_now(self) -> None:
        """Check the settings and show the result before returning."""
        self._timer.stop()
        settings, self._faults = self.form.read()
        self._receive(self._checker.check_at_once(self._named(settings)))

    def save(self, settings: QSettings) -> None:
        """Keep what the form holds, where its dialogues were, and which cards are unfolded."""
        settings.setValue("setup/last", self.form.read()[0].to_json())
        settings.setValue("setup/open", ",".join(key for key, card in self.form.sections.items() if card.is_open))
        for name, field in self._path_fields().items():
            settings.setValue(f"setup/folders/{name}", field.folder)

    def restore(self, settings: QSettings) -> None:
        """Show what was kept, if anything was."""
        is_open = str(settings.value("setup/open", "")).split(",")
        for key, card in self.form.sections.items():
            card.set_open(key in is_open)
        for name, field in self._path_fields().items():
            field.folder = str(settings.value(f"setup/folders/{name}", ""))
        text = str(settings.value("setup/last", ""))
        if not text:
            return
        try:
            last = TrainSettings.from_json(text, self.tr("Last used"))
        except SettingsError as error:
            self._tell_of_presets(str(error))
            return
        self.preset_bar.remember(last)
        self.preset_bar.select(LAST)
        self._show_settings(last)

    def _show_settings(self, settings: TrainSettings) -> None:
        self.form.write(settings)
        self._name_may_be_generated = True
        self._timer.start()

    def _path_fields(self) -> dict[str, PathField]:
        return {name: field for name, field in self.form.fields.items() if isinstance(field, PathField)}

    def _named(self, settings: TrainSettings) -> TrainSettings:
        typed = self.form.fields["name"].given().strip()
        return settings if typed else replace(settings, name=run_name(settings, self._ready))

    def _check(self) -> None:
        settings, self._faults = self.form.read()
        self._checker.check(self._named(settings))

    def _receive(self, ready: Readiness) -> None:
        order = [*self.form.fields]
        problems = sorted(
            (*self._faults, *ready.problems), key=lambda problem: order.index(self.form.field_of(problem))
        )
        self._ready = replace(ready, problems=tuple(problems))
        settings, _ = self.form.read()
        generated = run_name(settings, ready)
        name = self.form.fields["name"]
        if self._name_may_be_generated and name.given() == generated:
            name.give("")
        self._name_may_be_generated = False
        self.form.show_readiness(self._ready)
        name.show_effective(generated)
        self.card.show_readiness(self._ready)
        self.card.set_busy(self._busy, self.device)
        self.readiness_changed.emit(self._ready)

    def _start(self) -> None:
        self.check_now()
        if not self._ready.ready:
            first = self.form.field_of(self._ready.errors[0])
            self._scroll.ensureWidgetVisible(self.form.reveal(first))
            return
        self.preset_bar.remember(self.form.read()[0])
        self.start_requested.emit(self.settings())
        self.card.button.setEnabled(False)  # until the next check: the second press of a double click is no second run
        self._timer.start()

    def _tell_of_presets(self, text: str) -> None:
        self._preset_message.show_problems([Problem("preset", "error", text)] if text else [])


def run_name(settings: TrainSettings, ready: Readiness) -> str:
    """Return a name made of data, input size, batch and subdivisions: ``mask-416-b64s16``."""
    data = NOT_IN_NAMES.sub("_", Path(settings.data or BUILT_IN_DATA).stem)
    size = settings.imgsz or ready.effective.get("imgsz")
    pixels = "x".join(map(str, size)) if isinstance(size, tuple) else size
    batch = settings.batch or ready.batch
    parts = f"s{ready.subdivisions}" if ready.subdivisions else ""
    return "-".join(str(part) for part in (data, pixels, f"b{batch}{parts}" if batch else "") if part)
