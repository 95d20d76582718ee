"""Where the panes stand in the window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QTabWidget, QVBoxLayout, QWidget

BOTTOM = 160  # pixels of the lower part at first
RUNS = 330  # pixels of the list of runs at first


class CentralWidget(QWidget):
    """The form on the left; on the right cards, plots, and below them tabs and the list of runs.

    ``splitters`` holds, by name, what the user can move.
    """

    def __init__(
        self, form: QWidget, cards: Sequence[QWidget], plots: QWidget, tabs: QTabWidget, runs: QWidget
    ) -> None:
        super().__init__()
        bottom = QSplitter(Qt.Orientation.Horizontal)
        bottom.addWidget(tabs)
        bottom.addWidget(runs)
        bottom.setStretchFactor(0, 1)
        bottom.setSizes([10 * RUNS, RUNS])
        right = QSplitter(Qt.Orientation.Vertical)
        right.addWidget(plots)
        right.addWidget(bottom)
        right.setStretchFactor(0, 1)
        right.setSizes([10 * BOTTOM, BOTTOM])
        self.splitters: Mapping[str, QSplitter] = {"bottom": bottom, "right": right}
        for splitter in self.splitters.values():
            splitter.setChildrenCollapsible(False)
            splitter.setHandleWidth(8)
        column = QVBoxLayout()
        column.setSpacing(8)
        for card in cards:
            column.addWidget(card)
        column.addWidget(right, 1)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 4)
        layout.setSpacing(8)
        layout.addWidget(form)
        layout.addLayout(column, 1)
