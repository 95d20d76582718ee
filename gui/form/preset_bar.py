"""The choice of a preset, and the menu to save and delete the user's own."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QWheelEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QInputDialog, QMenu, QToolButton, QWidget

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.train_settings import TrainSettings

from ..toolkit.message_boxes import agrees
from .presets import DEMO, Presets, bundled_titles, with_bundled

LAST, BUNDLED, OWN = "last", "cfg:", "own:"  # how the items of the list are told apart


class PresetBar(QWidget):
    """Offers the bundled cfgs, what was used last and the user's presets.

    ``chosen`` carries settings to be shown, ``failed`` why a preset could not be read or written, or nothing.

    Args:
        current: Returns the settings of the form.
    """

    chosen = Signal(object)
    failed = Signal(str)

    def __init__(self, presets: Presets, current: Callable[[], TrainSettings], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._presets, self._current = presets, current
        self.last: TrainSettings | None = None
        self.box = _Box()
        self.box.setObjectName("preset")
        self.box.activated.connect(self._activate)
        self.save_action = QAction(self.tr("Save preset …"), self)
        self.save_action.triggered.connect(self.save)
        self.delete_action = QAction(self.tr("Delete preset"), self)
        self.delete_action.triggered.connect(self.delete)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.box, 1)
        row.addWidget(self._menu_button())
        self.setFocusProxy(self.box)
        self.refresh()
        self.select(BUNDLED + DEMO)

    def _menu_button(self) -> QToolButton:
        button = QToolButton()
        button.setText("⋮")
        button.setToolTip(self.tr("Save or delete presets"))
        button.setAccessibleName(button.toolTip())
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setFixedHeight(self.box.sizeHint().height())
        menu = QMenu(button)
        menu.addActions([self.save_action, self.delete_action])
        button.clicked.connect(lambda: menu.popup(button.mapToGlobal(button.rect().bottomLeft())))
        return button

    def refresh(self) -> None:
        """Fill the list again; what is selected stays so if it is still there."""
        before = self.box.currentData()
        self.box.clear()
        for cfg, title in bundled_titles().items():
            self.box.addItem(title, BUNDLED + cfg)
        if self.last is not None:
            self.box.addItem(self.tr("Last used"), LAST)
        names = self._presets.names()
        if names:
            self.box.insertSeparator(self.box.count())
        for name in names:
            self.box.addItem(name, OWN + name)
        self.select(before)

    def select(self, key: str | None) -> None:
        """Mark an item as the chosen one without filling the form."""
        self.box.setCurrentIndex(self.box.findData(key))
        self.delete_action.setEnabled(str(key).startswith(OWN))

    def remember(self, settings: TrainSettings) -> None:
        """Offer settings as those used last."""
        self.last = settings
        self.refresh()

    def save(self) -> None:
        """Ask for a name and keep the form's settings under it."""
        own = self._own() or ""
        name, agreed = QInputDialog.getText(self, self.save_action.text(), self.tr("Name of the preset:"), text=own)
        name = name.strip()
        if not agreed or (name in self._presets.names() and not self._may_replace(name)):
            return
        try:
            self._presets.save(name, self._current())
        except SettingsError as error:
            self.failed.emit(str(error))
            return
        self.failed.emit("")
        self.refresh()
        self.select(OWN + name)

    def delete(self) -> None:
        """Remove the chosen preset of the user; the form keeps its values."""
        name = self._own()
        if name is None:
            return
        question = self.tr("Delete the preset {name}?").format(name=name)
        if agrees(self, self.delete_action.text(), question):
            self._presets.delete(name)
            self.refresh()
            self.select(None)

    def _may_replace(self, name: str) -> bool:
        question = self.tr("There is a preset {name}. Replace it?").format(name=name)
        return agrees(self, self.save_action.text(), question)

    def _own(self) -> str | None:
        key = str(self.box.currentData())
        return key.removeprefix(OWN) if key.startswith(OWN) else None

    def _activate(self) -> None:
        key = str(self.box.currentData())
        self.select(key)
        try:
            settings = self._settings_of(key)
        except SettingsError as error:
            self.failed.emit(str(error))
            return
        self.failed.emit("")
        self.chosen.emit(settings)

    def _settings_of(self, key: str) -> TrainSettings:
        if key.startswith(OWN):
            return self._presets.load(key.removeprefix(OWN))
        if key == LAST and self.last is not None:
            return self.last
        return with_bundled(key.removeprefix(BUNDLED), self._current())


class _Box(QComboBox):
    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(4)
        self.setPlaceholderText(self.tr("none"))

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()
