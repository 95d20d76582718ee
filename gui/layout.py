"""Where the panes stand in the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from .main_window import MainWindow

BOTTOM = 160  # pixels of the lower part at first
RUNS = 330  # pixels of the list of runs at first


def arrange(window: MainWindow) -> dict[str, QSplitter]:
    """Put the panes into the window: form left, plots right, console and runs below. Return what can be moved."""
    for pane, title in (
        (window.console, QCoreApplication.translate("MainWindow", "Console")),
        (window.predictions, QCoreApplication.translate("MainWindow", "Predictions")),
        (window.config, QCoreApplication.translate("MainWindow", "Config")),
    ):
        window.tabs.addTab(pane, title)
    bottom = QSplitter(Qt.Orientation.Horizontal)
    bottom.addWidget(window.tabs)
    bottom.addWidget(window.runs)
    bottom.setStretchFactor(0, 1)
    bottom.setSizes([10 * RUNS, RUNS])
    right = QSplitter(Qt.Orientation.Vertical)
    right.addWidget(window.plots)
    right.addWidget(bottom)
    right.setStretchFactor(0, 1)
    right.setSizes([10 * BOTTOM, BOTTOM])
    for splitter in (bottom, right):
        splitter.setChildrenCollapsible(False)
        splitter.setHandleWidth(8)
    column = QVBoxLayout()
    column.setSpacing(8)
    column.addWidget(window.status)
    column.addWidget(window.failure)
    column.addWidget(window.desk.card)
    column.addWidget(right, 1)
    whole = QWidget()
    layout = QHBoxLayout(whole)
    layout.setContentsMargins(8, 8, 8, 4)
    layout.setSpacing(8)
    layout.addWidget(window.setup)
    layout.addLayout(column, 1)
    window.setCentralWidget(whole)
    return {"bottom": bottom, "right": right}
