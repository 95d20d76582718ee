"""The list of runs as Qt's views want it: which there are, what became of each, and which are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QColor

from yolo_subbatch.folder.listing import RunSummary, summarise
from yolo_subbatch.folder.run_folder import RunFolder

from ..toolkit.run_states import GLYPHS, state_word
from ..toolkit.text_labels import shown, tip
from ..toolkit.theme import Theme

Index = QModelIndex | QPersistentModelIndex
NAME, NOTE = range(2)
COLOURS = {"running": "ok", "completed": "ok", "stopped": "warn", "failed": "bad"}
UNCHANGING = frozenset({"completed", "stopped", "failed"})


class RunsModel(QAbstractTableModel):
    """Two columns, name and note; a check mark chooses a run for comparison."""

    compared_changed = Signal()

    def __init__(self, theme: Theme, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.rows: list[RunSummary] = []
        self.compared: set[Path] = set()
        self._known: dict[Path, tuple[object, RunSummary]] = {}

    def show(self, folders: list[RunFolder]) -> None:
        """Show these runs; of those that have ended and have not changed since, no file is read again."""
        rows = [self._summary(folder) for folder in folders]
        if [row.folder for row in rows] == [row.folder for row in self.rows]:
            self.rows = rows
            self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, NOTE))
            return
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()
        gone = self.compared - {row.folder.path for row in rows}
        if gone:
            self.compared -= gone
            self.compared_changed.emit()

    def _summary(self, folder: RunFolder) -> RunSummary:
        mark = tuple(stamp(file) for file in (folder.events, folder.began, folder.waiting))
        known = self._known.get(folder.path)
        if known is not None and known[0] == mark and known[1].status in UNCHANGING:
            return known[1]
        summary = summarise(folder)
        self._known[folder.path] = (mark, summary)
        return summary

    def row_of(self, folder: RunFolder) -> int | None:
        """Return the row of a run."""
        return next((row for row, summary in enumerate(self.rows) if summary.folder.path == folder.path), None)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008, N802
        """As in Qt."""
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008, N802
        """As in Qt."""
        return 0 if parent.isValid() else 2

    def flags(self, index: Index) -> Qt.ItemFlag:
        """As in Qt."""
        usual = super().flags(index)
        return usual | Qt.ItemFlag.ItemIsUserCheckable if index.column() == NAME else usual

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: N802
        """As in Qt."""
        if role != Qt.ItemDataRole.DisplayRole or orientation != Qt.Orientation.Horizontal:
            return None
        return (self.tr("Run"), self.tr("State"))[section]

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """As in Qt."""
        if not index.isValid() or index.row() >= len(self.rows):
            return None
        run = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{GLYPHS[run.status]}  {shown(run.name)}" if index.column() == NAME else self._note(run)
        if role == Qt.ItemDataRole.CheckStateRole and index.column() == NAME:
            return Qt.CheckState.Checked if run.folder.path in self.compared else Qt.CheckState.Unchecked
        if role == Qt.ItemDataRole.ToolTipRole:
            return tip(self._explanation(run))
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() == NOTE:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ForegroundRole:
            colour = getattr(self.theme, COLOURS.get(run.status, "text"))
            return QColor(colour) if index.column() == NOTE else None
        return None

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:  # noqa: N802
        """Choose a run for comparison, or no longer."""
        if role != Qt.ItemDataRole.CheckStateRole or not index.isValid():
            return False
        path = self.rows[index.row()].folder.path
        if Qt.CheckState(value) == Qt.CheckState.Checked:
            self.compared.add(path)
        else:
            self.compared.discard(path)
        self.dataChanged.emit(index, index)
        self.compared_changed.emit()
        return True

    def _note(self, run: RunSummary) -> str:
        if run.status == "completed" and run.map50 is not None:
            return f"{100 * run.map50:.1f} %"
        if run.status == "failed" and "OutOfMemory" in run.error:
            return self.tr("no memory")
        if run.status == "running" and run.share is not None:
            return f"{state_word(run.status)} {100 * run.share:.0f} %"
        return state_word(run.status)

    def _explanation(self, run: RunSummary) -> str:
        lines = [str(run.folder.path), state_word(run.status)]
        if run.share is not None:
            lines.append(self.tr("{share} % of its iterations").format(share=round(100 * run.share)))
        if run.map50 is not None:
            lines.append(self.tr("best mAP@0.5 {value} %").format(value=f"{100 * run.map50:.1f}"))
        if run.reason:
            lines.append(run.reason.splitlines()[0][:200])
        lines.append(self.tr("Check it to compare its loss with the run that is shown."))
        return "\n".join(lines)


def stamp(file: Path) -> tuple[int, int] | None:
    """Return what changes when a file is written; None without one."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
