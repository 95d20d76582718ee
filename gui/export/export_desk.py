"""What the window does about exports: asks how, starts them, shows them above the plots."""

from __future__ import annotations

from PySide6.QtCore import QObject, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QWidget

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.run_export import checkpoints
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.commands import ExportSettings

from ..runs.reader import ENDED, RunReader
from .export_card import ExportCard
from .export_dialog import ExportDialog
from .export_processes import CANCELLED, DONE, FAILED, WORKING, Export, Exports
from .output_dialog import OutputDialog


class ExportDesk(QObject):
    """Stands between the window, the dialogue, the card and the processes.

    Args:
        parent: The window, above which dialogues open.
    """

    offered = Signal(bool)  #: whether the run that is shown can be exported now
    ended = Signal()  #: an export, of whatever run
    told = Signal(str)  #: how the export of a run that is not shown has ended, in words
    failed = Signal(str)  #: something could not be done, in words

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._parent = parent
        self.reader: RunReader | None = None
        self.exports = Exports(self)
        self.card = ExportCard()
        self.exports.changed.connect(self._changed)
        self.exports.failed.connect(self.failed)
        self.card.cancel_wanted.connect(self.cancel)
        self.card.folder_wanted.connect(self.open_folder)
        self.card.details_wanted.connect(self.show_details)
        self.card.again_wanted.connect(self.ask)
        self.card.closed.connect(self.forget)

    @property
    def run(self) -> RunFolder | None:
        """The run that is shown."""
        return self.reader.folder if self.reader is not None else None

    @property
    def export(self) -> Export | None:
        """The newest export of that run."""
        return self.exports.of(self.run) if self.run is not None else None

    @property
    def working(self) -> bool:
        """Whether that run is being exported."""
        export = self.export
        return export is not None and export.state == WORKING

    def show_run(self, reader: RunReader | None) -> None:
        """Show another run, or none."""
        self.reader = reader
        self.update_now()

    def update_now(self) -> None:
        """Show the export of the run that is shown, and whether another one can begin."""
        export = self.export
        self.card.show_export(export)
        self.offered.emit(self._possible(export))

    def _possible(self, export: Export | None) -> bool:
        """Tell whether the run that is shown has ended with a checkpoint, and is not being exported."""
        reader = self.reader
        idle = export is None or export.state != WORKING
        return idle and reader is not None and reader.state in ENDED and bool(checkpoints(reader.folder))

    def ask(self) -> None:
        """Open the dialogue for the run that is shown; it does not hold up the window."""
        run, before = self.run, self.export
        if run is None or not self._possible(before):
            return
        dialog = ExportDialog(run, _data_of(run), self._parent)
        dialog.wanted.connect(lambda asked: self.start(run, asked))
        if before is not None and before.settings is not None and before.state in {FAILED, CANCELLED}:
            dialog.form.write(before.settings)
        dialog.open()

    def start(self, run: RunFolder, settings: ExportSettings) -> None:
        """Begin to export."""
        self.exports.start(run, settings)
        self.update_now()

    def cancel(self) -> None:
        """Have the export of the run that is shown end."""
        if self.run is not None:
            self.exports.cancel(self.run)

    def forget(self) -> None:
        """Hide how it ended."""
        if self.run is not None:
            self.exports.forget(self.run)

    def open_folder(self) -> None:
        """Open the folder with the file in the system's file manager."""
        export = self.export
        if export is not None and export.target.parent.is_dir():
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(export.target.parent)))

    def show_details(self) -> None:
        """Show everything that the process printed."""
        export = self.export
        if export is not None:
            OutputDialog(export.target.name, export.process.console, self._parent).open()

    def _changed(self, export: Export) -> None:
        self.update_now()
        if export.state == WORKING or self.exports.known.get(export.run.path) is not export:
            return  # it is not over, or not shown any more
        self.ended.emit()
        if export.run != self.run:
            if export.state == DONE:
                text = self.tr("{name}: exported")
            else:
                text = self.tr("{name}: not exported; choose the run to see why")
            self.told.emit(text.format(name=export.run.path.name))


def _data_of(run: RunFolder) -> str | None:
    """Return the data set that a run was trained with; None where its settings cannot be read."""
    try:
        return run.usable_settings().data
    except SettingsError:
        return None
