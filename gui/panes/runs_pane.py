"""The card with the list of runs: choose one to look at, check others to compare, act on them by a menu."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QAbstractItemView, QFrame, QHeaderView, QMenu, QTableView, QVBoxLayout, QWidget

from yolo_subbatch.folder.listing import RunSummary
from yolo_subbatch.folder.run_folder import RunFolder

from ..toolkit.text_labels import Label
from .runs_model import NAME, NOTE, RunsModel


class RunsPane(QFrame):
    """Shows a :class:`RunsModel`."""

    chosen = Signal(object)  #: the RunFolder that the user wants to see

    def __init__(self, model: RunsModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self.model = model
        self._by_program = False  # the row that is being marked was not chosen by the user
        heading = Label(self.tr("Runs"))
        heading.setProperty("role", "heading")
        self.empty = Label(self.tr("No run yet. The first one appears here."))
        self.empty.setProperty("role", "dim")
        self.empty.setWordWrap(True)
        self.table = self._table()
        heading.setBuddy(self.table)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(4)
        layout.addWidget(heading)
        layout.addWidget(self.empty)
        layout.addWidget(self.table, 1)
        layout.addStretch(0)
        model.modelReset.connect(self._show_whether_empty)
        self._show_whether_empty()

    def _table(self) -> QTableView:
        table = QTableView()
        table.setModel(self.model)
        table.setAccessibleName(self.tr("Runs"))
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setShowGrid(False)
        table.setFrameShape(QFrame.Shape.NoFrame)
        table.horizontalHeader().hide()
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + 8)
        table.horizontalHeader().setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        table.horizontalHeader().setSectionResizeMode(NOTE, QHeaderView.ResizeMode.ResizeToContents)
        table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        table.customContextMenuRequested.connect(self._open_menu)
        table.selectionModel().currentRowChanged.connect(lambda now, before: self._choose(now.row()))
        return table

    def set_menu(self, actions: list[QAction | None]) -> None:
        """Give the list its context menu; None is a line between two actions."""
        self.menu = QMenu(self)
        for action in actions:
            self.menu.addAction(action) if action is not None else self.menu.addSeparator()

    def _open_menu(self, place: QPoint) -> None:
        index = self.table.indexAt(place)
        if index.isValid():
            self.table.selectRow(index.row())
            self.menu.exec(self.table.viewport().mapToGlobal(place))

    def _choose(self, row: int) -> None:
        if not self._by_program and 0 <= row < len(self.model.rows):
            self.chosen.emit(self.model.rows[row].folder)

    def select(self, folder: RunFolder | None) -> None:
        """Mark the run that is shown, without choosing it once more."""
        row = self.model.row_of(folder) if folder is not None else None
        self._by_program = True
        if row is None:
            self.table.selectionModel().clear()  # the current row too: choosing it again is a choice
        else:
            self.table.selectRow(row)
        self._by_program = False

    def selected(self) -> RunSummary | None:
        """Return the run that is marked."""
        rows = self.table.selectionModel().selectedRows()
        return self.model.rows[rows[0].row()] if rows and rows[0].row() < len(self.model.rows) else None

    def _show_whether_empty(self) -> None:
        self.empty.setVisible(not self.model.rows)
        self.table.setVisible(bool(self.model.rows))
