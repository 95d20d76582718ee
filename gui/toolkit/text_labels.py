"""Text from files in widgets: shown letter by letter, never as markup. Qt guesses which of the two a text is.

A label, a tool tip and a message box that are given ``<b>`` or ``<img src=...>`` would obey it otherwise.
"""

from __future__ import annotations

import html

from PySide6.QtCore import Qt
from PySide6.QtGui import Qt as GuiQt
from PySide6.QtWidgets import QLabel, QMessageBox, QWidget

from yolo_subbatch.settings.plain_text import plain

LONGEST = 4000  # letters of a text that one widget shows: laying out millions holds the window up


def shown(text: str) -> str:
    """Return a text as a widget shows it that knows no markup: control characters escaped, and not endless."""
    return plain(text if len(text) <= LONGEST else f"{text[:LONGEST]} …")


def tip(text: str) -> str:
    """Return what a tool tip is to be given: one that Qt would take for markup is made into markup that shows it."""
    found = shown(text)
    return escaped(found) if GuiQt.mightBeRichText(found) else found


def escaped(text: str) -> str:
    """Return markup that shows a text."""
    return f'<p style="white-space: pre-wrap">{html.escape(shown(text))}</p>'


class Label(QLabel):
    """A label without markup, also in its tool tip."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)

    def setText(self, text: str) -> None:  # noqa: N802
        """As in Qt."""
        super().setText(text if self.textFormat() == Qt.TextFormat.RichText else shown(text))

    def setToolTip(self, text: str) -> None:  # noqa: N802
        """As in Qt."""
        super().setToolTip(tip(text))


class Box(QMessageBox):
    """A message box without markup."""

    def __init__(
        self,
        icon: QMessageBox.Icon,
        title: str,
        text: str,
        parent: QWidget | None = None,
        buttons: QMessageBox.StandardButton = QMessageBox.StandardButton.NoButton,
        details: str = "",
    ) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setIcon(icon)
        self.setWindowTitle(title)
        self.setStandardButtons(buttons)
        self.setText(shown(text))
        if details:
            self.setInformativeText(shown(details))
            for label in self.findChildren(QLabel):
                label.setTextFormat(Qt.TextFormat.PlainText)
