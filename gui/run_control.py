"""What the user can have done with the run that is shown: stopped, resumed, opened, deleted."""

from __future__ import annotations

from PySide6.QtCore import QObject, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QWidget

from yolo_subbatch.folder.listing import summarise

from .runs.launcher import Launcher
from .runs.reader import RunReader
from .toolkit.message_boxes import ask_to_delete


class RunControl(QObject):
    """Hands what is asked for on to the launcher, for the run that is shown.

    Args:
        launcher: Does it.
        parent: The window, above which questions are asked.
    """

    stop_asked = Signal()  #: the run was asked to stop after its current update
    left = Signal()  #: the run is deleted or taken out of the queue, and not to be shown any more

    def __init__(self, launcher: Launcher, parent: QWidget) -> None:
        super().__init__(parent)
        self._launcher, self._parent = launcher, parent
        self.reader: RunReader | None = None

    def show_run(self, reader: RunReader | None) -> None:
        """Take another run, or none."""
        self.reader = reader

    def ask_to_stop(self) -> None:
        """Have the run stop after its current update; one that waits leaves the queue."""
        if self.reader is None:
            return
        folder, waiting = self.reader.folder, self.reader.state == "queued"
        self._launcher.ask_to_stop(folder)
        if not waiting:
            self.stop_asked.emit()
        elif not folder.path.exists():
            self.left.emit()

    def stop_at_once(self) -> None:
        """End the run's processes."""
        if self.reader is not None:
            self._launcher.stop_at_once(self.reader.folder)

    def resume(self) -> None:
        """Resume the run."""
        if self.reader is not None and summarise(self.reader.folder).resumable:
            self._launcher.resume(self.reader.folder)

    def open_folder(self) -> None:
        """Open the run's folder in the system's file manager."""
        if self.reader is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.reader.folder.path)))

    def delete(self) -> None:
        """Delete the run's folder, after asking."""
        if self.reader is None:
            return
        folder = self.reader.folder
        if ask_to_delete(self._parent, folder):
            self.left.emit()
            self._launcher.delete(folder)
