"""Exports at work and how they ended: processes of their own, which need no window."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from yolo_subbatch.folder.run_export import ExportProcess
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.commands import ExportSettings

from ..runs.console_text import console_tail, terminal_line
from ..runs.failure import Failure, explain
from ..runs.history import History
from ..toolkit.background import run_in_background

LOOK = 250  # ms between two looks at the processes
PATIENCE = 5.0  # seconds after which an export that was asked to end is killed
WORKING, DONE, FAILED, CANCELLED = "working", "done", "failed", "cancelled"
#: How lines begin that tell how far the file agrees with the network.
FINDINGS = ("computes what the ", "int8: mAP")


@dataclass
class Export:
    """One export; ``state`` is working, done, failed or cancelled, ``failure`` says why it failed."""

    run: RunFolder
    process: ExportProcess
    target: Path
    settings: ExportSettings | None = None
    popen: subprocess.Popen[bytes] | None = None  # this and the settings are None for one that another window started
    state: str = WORKING
    failure: Failure | None = None
    cancelled_at: float | None = None  # seconds after its start
    killing: bool = False

    def lines(self) -> list[str]:
        """Return the end of what it printed, as a terminal shows it."""
        lines = map(terminal_line, console_tail(self.process.console).split("\n"))
        return [line.strip() for line in lines if line.strip()]

    def findings(self) -> list[str]:
        """Return what it says of how far the file agrees with the network."""
        return [line for line in self.lines() if line.startswith(FINDINGS)]

    def look(self) -> bool:
        """Look whether it has ended; True if it just has."""
        status = self.popen.poll() if self.popen is not None else None
        alive = status is None and (self.popen is not None or self.process.process() is not None)
        if self.state != WORKING or alive:
            return False
        told = "\n".join(self.lines())
        known = self.popen is not None and not self.killing  # who kills takes the exit status
        if status == 0 if known else self.process.has_written():
            self.state = DONE
        elif self.cancelled_at is not None:
            self.state = CANCELLED
        else:
            self.process.clear()  # an end from outside, as for want of memory, leaves half a file
            self.state, self.failure = FAILED, explain(History(), None, status, told)
        return True


class Exports(QObject):
    """At most one export for each run, the newest."""

    changed = Signal(object)  #: an Export that has begun, printed something or ended
    failed = Signal(str)  #: something could not be done, in words

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.known: dict[Path, Export] = {}
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK)
        self._timer.timeout.connect(self.look)

    def of(self, run: RunFolder) -> Export | None:
        """Return the newest export of a run; one that another window has begun is found too while it works."""
        found = self.known.get(run.path)
        if found is None or found.state != WORKING:
            process = ExportProcess(run.path)
            target = process.target if process.process() is not None else None
            if target is not None:
                found = self._follow(Export(run, process, target))
        return found

    def start(self, run: RunFolder, settings: ExportSettings) -> bool:
        """Begin to export a run's network; False where that is not possible, or another export of it is at work."""
        before = self.of(run)
        if before is not None and before.state == WORKING:
            text = self.tr("{name}: is being exported already; wait until that is done, or cancel it")
            self.failed.emit(text.format(name=run.path.name))
            return False
        process = ExportProcess(run.path)
        try:
            popen = process.begin(settings)
        except OSError as error:
            text = self.tr("{folder}: the export cannot be started ({reason}); check that it may be written to")
            self.failed.emit(text.format(folder=run.path, reason=error.strerror))
            return False
        export = self._follow(Export(run, process, Path(settings.to or "").absolute(), settings, popen))
        self.changed.emit(export)
        return True

    def cancel(self, run: RunFolder) -> None:
        """Have an export end without a file; one that does not obey is killed."""
        export = self.known.get(run.path)
        if export is None or export.state != WORKING or export.cancelled_at is not None:
            return
        export.cancelled_at = export.process.seconds()
        if not export.process.interrupt():
            self._kill(export)
        self.changed.emit(export)

    def forget(self, run: RunFolder) -> None:
        """Do not show how an export has ended any more."""
        export = self.known.get(run.path)
        if export is not None and export.state != WORKING:
            del self.known[run.path]
            self.changed.emit(export)

    def take_over(self, other: Exports) -> None:
        """Follow the exports of a window that this one replaces: how they end is known to this program alone."""
        for export in other.known.values():
            self._follow(export)
        other.known = {}

    def look(self) -> None:
        """Look how far the exports are."""
        for export in [export for export in self.known.values() if export.state == WORKING]:
            ended = export.look()
            late = export.cancelled_at is not None and export.process.seconds() > export.cancelled_at + PATIENCE
            if late and not ended:
                self._kill(export)
            self.changed.emit(export)
        if not any(export.state == WORKING for export in self.known.values()):
            self._timer.stop()

    def _follow(self, export: Export) -> Export:
        self.known[export.run.path] = export
        self._timer.start()
        return export

    def _kill(self, export: Export) -> None:
        """Kill it without holding up the window; the next look finds it ended."""
        if not export.killing:
            export.killing = True
            run_in_background(self, export.process.kill_and_clear, lambda nothing: None)
