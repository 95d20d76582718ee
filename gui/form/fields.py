"""The fields of a form that hold one text, one choice or one truth.

Every field, also those in ``number_box``, ``path_field`` and ``device_box``, has the same four members: ``given()`` is
its text as on the command line, empty if nothing is given; ``give(text)`` sets it; ``show_effective(text)`` shows
dimly what holds while nothing is given; ``changed`` is emitted after every change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit, QPlainTextEdit, QWidget


def text_of(value: Any) -> str:
    """Return a value as one types it; the opposite of ``values.convert``."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(map(text_of, value))
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


class TextField(QLineEdit):
    """One line of text."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.textChanged.connect(self.changed)

    def given(self) -> str:
        """Return the text."""
        return self.text()

    def give(self, text: str) -> None:
        """Set the text."""
        self.setText(text)

    def show_effective(self, text: str) -> None:
        """Show, dimly, what holds while there is no text."""
        self.setPlaceholderText(text)


class ChoiceBox(QComboBox):
    """One of several words; if there is no default, its first item gives nothing."""

    changed = Signal()

    def __init__(self, choices: Iterable[str], default: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._default = default
        if not default:
            self.addItem(self.tr("default"), "")
        for choice in choices:
            self.addItem(choice, choice)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(4)
        self.give("")
        self.currentIndexChanged.connect(self.changed)

    def given(self) -> str:
        """Return the chosen word."""
        return str(self.currentData())

    def give(self, text: str) -> None:
        """Choose a word; one that is not offered is kept too, for its fault to be shown."""
        wanted = text or self._default
        if self.findData(wanted) < 0:
            self.addItem(wanted, wanted)
        self.setCurrentIndex(self.findData(wanted))

    def show_effective(self, text: str) -> None:
        """Tell in the first item what the cfg says."""
        if not self._default:
            self.setItemText(0, self.tr("from the cfg: {value}").format(value=text) if text else self.tr("default"))

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        """Leave the wheel to the form while another field is in use."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class CheckField(QCheckBox):
    """Yes or no."""

    changed = Signal()

    def __init__(self, default: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._default = default
        self.setChecked(default)
        self.toggled.connect(self.changed)

    def given(self) -> str:
        """Return True or False as text."""
        return str(self.isChecked())

    def give(self, text: str) -> None:
        """Check the box for True, and its default for nothing."""
        self.setChecked(text == "True" if text else self._default)

    def show_effective(self, text: str) -> None:
        """Show nothing: a check box always has a value of its own."""


class KeysBox(QPlainTextEdit):
    """Several lines of ``key=value``."""

    changed = Signal()
    LINES = 4

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTabChangesFocus(True)
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setFixedHeight(self.fontMetrics().lineSpacing() * self.LINES + 14)
        self.textChanged.connect(self.changed)

    def given(self) -> str:
        """Return the lines."""
        return self.toPlainText()

    def give(self, text: str) -> None:
        """Set the lines."""
        self.setPlainText(text)

    def show_effective(self, text: str) -> None:
        """Show an example while there is no text."""
        self.setPlaceholderText(text)
