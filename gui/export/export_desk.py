"""What the window does about exports: asks how, starts them, shows them above the plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication

from yolo_subbatch.run.commands import ExportSettings
from yolo_subbatch.run.export import checkpoints
from yolo_subbatch.run.folder import RunFolder

from ..runs.reader import ENDED
from ..toolkit.labels import shown
from .export_card import ExportCard
from .export_dialog import ExportDialog
from .export_processes import CANCELLED, DONE, FAILED, WORKING, Export, Exports
from .output_dialog import OutputDialog

if TYPE_CHECKING:
    from ..main_window import MainWindow

SAY = 10_000  # ms that a message stays in the status bar


class ExportDesk(QObject):
    """Stands between the window, the dialogue, the card and the processes."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self.window = window
        self.exports = Exports(self)
        self.card = ExportCard()
        self.exports.changed.connect(self._changed)
        self.exports.failed.connect(window.complain)
        self.card.cancel_wanted.connect(self.cancel)
        self.card.folder_wanted.connect(self.open_folder)
        self.card.details_wanted.connect(self.show_details)
        self.card.again_wanted.connect(self.ask)
        self.card.closed.connect(self.forget)

    @property
    def run(self) -> RunFolder | None:
        """The run that the window shows."""
        return self.window.reader.folder if self.window.reader is not None else None

    @property
    def export(self) -> Export | None:
        """The newest export of that run."""
        return self.exports.of(self.run) if self.run is not None else None

    def update_now(self) -> None:
        """Show the export of the run that is shown, and whether another one can begin."""
        export = self.export
        self.card.show_export(export)
        self.window.actions_.export.setEnabled(self.possible(export))
        self.window.status.offer_export(self.possible(export))
        if export is not None and export.state == WORKING:
            self.window.actions_.delete.setEnabled(False)

    def possible(self, export: Export | None) -> bool:
        """Tell whether the run that is shown has ended with a checkpoint, which nobody exports at the moment."""
        reader = self.window.reader
        idle = export is None or export.state != WORKING
        return idle and reader is not None and reader.state in ENDED and bool(checkpoints(reader.folder))

    def ask(self) -> None:
        """Open the dialogue for the run that is shown; it does not hold up the window."""
        run, before = self.run, self.export
        if run is None or not self.possible(before):
            return
        trained = self.window.settings_of(run, quietly=True)
        dialog = ExportDialog(run, trained.data if trained is not None else None, self.window)
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
            OutputDialog(export.target.name, export.process.console, self.window).open()

    def _changed(self, export: Export) -> None:
        self.update_now()
        if export.state == WORKING or self.exports.known.get(export.run.path) is not export:
            return  # it goes on, or is to be seen no longer
        if not self.window.isActiveWindow():
            QApplication.alert(self.window)
        if export.run != self.run:
            if export.state == DONE:
                text = self.tr("{name}: exported")
            else:
                text = self.tr("{name}: not exported; choose the run to see why")
            self.window.statusBar().showMessage(shown(text.format(name=export.run.path.name)), SAY)
