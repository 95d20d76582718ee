"""The names of the curves with their colours; a click on one hides or shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QWidget

from ..toolkit.text_labels import Label, shown
from ..toolkit.theme import Theme

SWATCH = QSize(14, 8)
SHARPNESS = 3  # pixels of a picture for one of the screen, for scaled screens
LONGEST = 170  # pixels of a name


class Legend(QWidget):
    """A check box for every part of the loss, made when the run first has it; ``hidden`` are those not checked."""

    changed = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.hidden: set[str] = set()
        self.boxes: dict[str, QCheckBox] = {}
        self.setMinimumWidth(1)  # many parts must not make the window wider
        self._line = QHBoxLayout(self)
        self._line.setContentsMargins(0, 0, 0, 0)
        self._line.setSpacing(10)

    def show_parts(self, parts: Sequence[str]) -> None:
        """Offer these parts, in this order."""
        if list(self.boxes) == list(parts):
            return
        for box in self.boxes.values():
            self._line.removeWidget(box)
            box.hide()
            box.deleteLater()
        self.boxes = {part: self._box(part) for part in parts}

    def _box(self, part: str) -> QCheckBox:
        box = QCheckBox(self.fontMetrics().elidedText(shown(part), Qt.TextElideMode.ElideMiddle, LONGEST))
        box.setIcon(QIcon(swatch(self.theme.colour_of(part))))
        box.setIconSize(SWATCH)
        box.setChecked(part not in self.hidden)
        box.setToolTip(self.tr("Show or hide this part of the loss"))
        box.toggled.connect(lambda on: self._toggled(part, on))
        self._line.addWidget(box)
        return box

    def _toggled(self, part: str, on: bool) -> None:
        if on:
            self.hidden.discard(part)
        else:
            self.hidden.add(part)
        self.changed.emit()

    def set_hidden(self, hidden: set[str]) -> None:
        """Hide these parts and no others."""
        self.hidden = set(hidden)
        for part, box in self.boxes.items():
            box.setChecked(part not in self.hidden)

    def apply_theme(self, theme: Theme) -> None:
        """Use the colours of a theme."""
        self.theme = theme
        for part, box in self.boxes.items():
            box.setIcon(QIcon(swatch(theme.colour_of(part))))


class ComparedLegend(QWidget):
    """The names of the runs that are laid over the shown one; there is nothing to see without any."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._line = QHBoxLayout(self)
        self._line.setContentsMargins(0, 0, 0, 0)
        self._line.setSpacing(5)
        self.names: list[str] = []
        self.hide()

    def show_runs(self, colours: Mapping[str, str]) -> None:
        """Show these runs' names, each with its colour."""
        while (item := self._line.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        self.names = list(colours)
        for name, colour in colours.items():
            picture, label = Label(), Label()
            picture.setPixmap(swatch(colour))
            label.setText(label.fontMetrics().elidedText(shown(name), Qt.TextElideMode.ElideMiddle, LONGEST))
            label.setToolTip(name)
            label.setMinimumWidth(1)  # many names must not make the window wider
            self._line.addWidget(picture)
            self._line.addWidget(label)
            self._line.addSpacing(9)
        self._line.addStretch(1)
        self.setVisible(bool(colours))


def swatch(colour: str) -> QPixmap:
    """Return a small piece of a curve."""
    picture = QPixmap(SWATCH * SHARPNESS)
    picture.setDevicePixelRatio(SHARPNESS)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colour))
    painter.drawRoundedRect(QRectF(0.5, 0.5, SWATCH.width() - 1, SWATCH.height() - 1), 3, 3)
    painter.end()
    return picture
