"""The layer table of a cfg: the one in the form, or the one that the shown run trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QSizePolicy,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from yolo_subbatch.errors import YoloSubbatchError
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.ready import LayerRow, read_layers
from yolo_subbatch.settings.train_settings import TrainSettings

from ..toolkit.text_labels import Label, shown
from ..toolkit.theme import console_font
from .runs_model import stamp

Index = QModelIndex | QPersistentModelIndex
FIELDS = ("index", "kind", "filters", "kernel", "source", "output", "bflops", "parameters")
OF_THE_FORM, OF_THE_RUN = range(2)


class LayersModel(QAbstractTableModel):
    """The rows of a layer table, as ``yolo-subbatch info`` prints them, with each layer's parameters."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: list[LayerRow] = []

    def show(self, rows: list[LayerRow]) -> None:
        """Show another network."""
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008, N802
        """As in Qt."""
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008, N802
        """As in Qt."""
        return 0 if parent.isValid() else len(FIELDS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: N802
        """As in Qt."""
        if role != Qt.ItemDataRole.DisplayRole or orientation != Qt.Orientation.Horizontal:
            return None
        return (
            self.tr("Layer"),
            self.tr("Kind"),
            self.tr("Filters"),
            self.tr("Size / stride"),
            self.tr("Input"),
            self.tr("Output"),
            self.tr("BFLOPs"),
            self.tr("Parameters"),
        )[section]

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """As in Qt."""
        name = FIELDS[index.column()]
        value = getattr(self.rows[index.row()], name)
        if role == Qt.ItemDataRole.DisplayRole:
            if name == "bflops":
                return f"{value:.3f}" if value >= 0.0005 else ""
            if name == "parameters":
                return f"{value:,}" if value else ""
            return shown(" ".join(str(value).split()))
        if role == Qt.ItemDataRole.TextAlignmentRole and name not in {"kind", "source", "output", "kernel"}:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None


class ConfigPane(QWidget):
    """Shows the layer table and what the network costs."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.settings: TrainSettings | None = None
        self.folder: RunFolder | None = None
        self._read: tuple[object, ...] | None = None  # what the table was made from
        self.model = LayersModel(self)
        self.source = QComboBox()
        self.source.addItems([self.tr("The cfg in the form"), self.tr("The cfg of the shown run")])
        self.source.setAccessibleName(self.tr("Which cfg"))
        self.source.currentIndexChanged.connect(self.update_now)
        self.summary = Label()
        self.summary.setProperty("role", "dim")
        self.summary.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.table = self._table()
        line = QHBoxLayout()
        line.addWidget(self.source)
        line.addWidget(self.summary, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addLayout(line)
        layout.addWidget(self.table, 1)

    def _table(self) -> QTableView:
        table = QTableView()
        table.setModel(self.model)
        table.setFont(console_font())
        table.setAccessibleName(self.tr("Layers"))
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setFrameShape(QFrame.Shape.NoFrame)
        table.setShowGrid(False)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + 4)
        return table

    def show_settings(self, settings: TrainSettings | None) -> None:
        """Take the settings of the form, or None while they are not usable."""
        self.settings = settings
        self.update_now()

    def show_run(self, folder: RunFolder | None) -> None:
        """Take another run, whose table is shown until the form changes what is wanted."""
        self.folder = folder
        self.source.setCurrentIndex(OF_THE_FORM if folder is None else OF_THE_RUN)
        self.update_now()

    def update_now(self) -> None:
        """Read the table, where it is wanted and another one."""
        cfg, size = self._wanted()
        wanted = (cfg, size, stamp(Path(cfg)) if cfg else None)
        if wanted == self._read:
            return
        self._read = wanted
        try:
            rows = read_layers(cfg, size) if cfg else []
            text = self._summary(cfg, rows) if cfg else self.tr("No Darknet cfg: this network describes itself.")
        except YoloSubbatchError as error:
            rows, text = [], str(error)
        self.model.show(rows)
        self.table.resizeColumnsToContents()
        self.summary.setText(text)
        self.summary.setToolTip(text)

    def _wanted(self) -> tuple[str | None, tuple[int, int] | None]:
        """Return the cfg to show, and the input's height and width in pixels where they are not the cfg's own."""
        settings = self.settings
        if self.source.currentIndex() == OF_THE_RUN and self.folder is not None:
            trained = self.folder.weights / "model.cfg"
            if trained.is_file():
                return str(trained), None
            try:
                settings = self.folder.usable_settings()
            except YoloSubbatchError:
                return None, None
        if settings is None:
            return None, None
        size = settings.imgsz
        return settings.cfg, size if isinstance(size, tuple) or size is None else (size, size)

    def _summary(self, cfg: str, rows: list[LayerRow]) -> str:
        parameters, cost = sum(row.parameters for row in rows), sum(row.bflops for row in rows)
        return self.tr("{cfg}: {layers} layers, {parameters} parameters, {cost} BFLOPs an image").format(
            cfg=cfg, layers=len(rows), parameters=f"{parameters:,}", cost=f"{cost:.3f}"
        )
