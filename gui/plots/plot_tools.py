"""What stands above the plots: the legend, smoothing, check boxes, export."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QMenu, QSlider, QToolButton, QWidget

from ..toolkit.text_labels import Label
from .legend import Legend

DECADE = 20  # steps of the slider in which what an average takes from a new number falls to a tenth
MOST = 3 * DECADE
USUAL = 34  # 0.98


class PlotTools(QWidget):
    """The row above the plots.

    Args:
        legend: Stands on the left.
        checks: Actions that are turned on and off here too, by the word for each.
        exports: The actions of the export menu.
    """

    smoothing_changed = Signal()

    def __init__(self, legend: Legend, checks: dict[str, QAction], exports: Sequence[QAction]) -> None:
        super().__init__()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, MOST)
        self.slider.setMinimumWidth(60)
        self.slider.setMaximumWidth(110)
        self.slider.setAccessibleName(self.tr("Smoothing"))
        self.slider.setToolTip(self.tr("How much of the average so far each new number leaves; 0: no average"))
        self.value = Label()
        self.value.setProperty("role", "dim")
        self.value.setMinimumWidth(self.value.fontMetrics().horizontalAdvance("0.9999"))
        self.slider.valueChanged.connect(self._moved)
        self.slider.setValue(USUAL)
        caption = Label(self.tr("Smoothing"))
        caption.setProperty("role", "dim")
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(8)
        line.addWidget(legend)
        line.addStretch(1)
        for widget in (caption, self.slider, self.value):
            line.addWidget(widget)
        for text, action in checks.items():
            line.addWidget(_check_box(text, action))
        line.addWidget(self._export_button(exports))

    @property
    def keep(self) -> float:
        """The share of an average that each new number leaves, from 0 to 0.999."""
        return keep_of(self.slider.value())

    def set_keep(self, keep: float) -> None:
        """Move the slider to where it comes nearest."""
        self.slider.setValue(min(range(MOST + 1), key=lambda place: abs(keep_of(place) - keep)))

    def _moved(self, place: int) -> None:
        self.value.setText(f"{keep_of(place):.3f}".removesuffix("0") if place else "0")
        self.smoothing_changed.emit()

    def _export_button(self, actions: Sequence[QAction]) -> QToolButton:
        button = QToolButton()
        button.setText(self.tr("Export") + " ▾")
        button.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        button.setProperty("role", "plain")
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        menu.addActions(list(actions))
        button.setMenu(menu)
        return button


def keep_of(place: int) -> float:
    """Return the smoothing at a place of the slider; the nearer to 1, the finer."""
    return round(1 - 10 ** (-place / DECADE), 3)


def _check_box(text: str, action: QAction) -> QCheckBox:
    """Return a check box that says and does what an action does."""
    box = QCheckBox(text)
    box.setToolTip(action.toolTip())
    box.setChecked(action.isChecked())
    box.toggled.connect(action.setChecked)
    action.toggled.connect(box.setChecked)
    return box
