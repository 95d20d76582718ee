"""Starts, stops and removes runs: the only part of the window that changes anything on the disk or among processes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path

from PySide6.QtCore import QLockFile, QObject, QStandardPaths, QTimer, Signal

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder import queue
from yolo_subbatch.folder.listing import list_runs, list_waiting
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.train_settings import TrainSettings

from ..toolkit.background import run_in_background

LOOK_AT_QUEUE = 1000  # ms
LOCK = "yolo-subbatch-queue.lock"  # one for all projects: these share the devices
STALE = 20_000  # ms after which the lock of a window that has died is not minded
LAST_BREATH = 20.0  # seconds in which a process ends after its last event
STOPPED_AT_ONCE = "stopped at once, from the window"


class Launcher(QObject):
    """Runs of some project folders: those that this window started and any others.

    A run is a process of its own that needs no window; what waits for its turn is in the user's own queue, so that the
    next window serves it. Folders that were opened start nothing, whatever is in them.
    """

    started = Signal(object)  #: a RunFolder whose process was just started
    failed = Signal(str)  #: something could not be done, in words
    changed = Signal()  #: the list of runs is another one

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.projects: list[Path] = []  # whose runs are listed and whose queues are served
        self.processes: dict[Path, subprocess.Popen[bytes]] = {}
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_AT_QUEUE)
        self._timer.timeout.connect(self.serve_queue)
        self._timer.start()

    def watch(self, project: str | Path) -> None:
        """List the runs of a project folder too, and serve its queue."""
        path = Path(project).absolute()
        if path not in self.projects:
            self.projects.append(path)
            self.changed.emit()

    def only_look(self) -> None:
        """Start nothing from now on, also of what this user has put into the queue."""
        self._timer.stop()

    def runs(self) -> list[RunFolder]:
        """Return every run, the newest first in each project folder."""
        return [folder for project in self.projects for folder in list_runs(project)]

    @staticmethod
    def busy(device: str | None, running: Iterable[RunFolder]) -> list[RunFolder]:
        """Return those of the running runs that compute on a device of this machine that ``device`` would use."""
        here = (folder for folder in running if folder.process() is not None)
        return [folder for folder in here if queue.share_a_device(device, device_of(folder))]

    def start(self, settings: TrainSettings) -> RunFolder | None:
        """Start a run, or put it into the queue where its device is busy; None where that failed.

        The folder is a new one: a taken name gets a number, as in ``b64s16-2``.
        """
        try:
            folder = RunFolder.create(settings.project, readable_name(settings))
            folder.write_settings(settings)
        except (SettingsError, OSError) as error:
            self.failed.emit(str(error))
            return None
        self.watch(folder.path.parent)
        return folder if self.resume(folder) else None

    def resume(self, folder: RunFolder) -> bool:
        """Begin a run, or resume one that was stopped or has failed, as soon as its device is free.

        False where it cannot be put into the queue.
        """
        try:
            queue.enqueue(folder)
        except OSError as error:
            self.failed.emit(f"{folder.path}: cannot be put into the queue ({error.strerror})")
            return False
        self.serve_queue()
        self.changed.emit()
        return True

    def serve_queue(self) -> None:
        """Start the waiting runs whose devices are free; another window does not do so at the same moment."""
        for process in self.processes.values():
            process.poll()  # of one that has ended nothing is to be left in the system's table
        waiting = queue.in_order(folder for project in self.projects for folder in list_waiting(project))
        lock = QLockFile(f"{QStandardPaths.writableLocation(QStandardPaths.StandardLocation.TempLocation)}/{LOCK}")
        lock.setStaleLockTime(STALE)
        if waiting and lock.tryLock(0):
            try:
                self._start_those_that_can(waiting)
            finally:
                lock.unlock()

    def _start_those_that_can(self, waiting: list[RunFolder]) -> None:
        taken = [device_of(folder) for folder in self.runs() if folder.process() is not None]
        for folder in waiting:
            device, place = device_of(folder), queue.place_of(folder)
            if not queue.is_as_queued(folder):
                self._refuse(folder)
                continue
            if not any(queue.share_a_device(device, other) for other in taken) and self._take(folder):
                self._launch(folder, place)
            taken.append(device)  # the order is kept: a later run does not overtake on the same device

    def _refuse(self, folder: RunFolder) -> None:
        """Take a run out of the queue whose settings have changed since: the user has not asked for these."""
        if self._take(folder):
            found = f"{folder.settings}: has changed since this run was put into the queue"
            self.failed.emit(f"{found}; look at its settings and start it again")
            self.changed.emit()

    @staticmethod
    def _take(folder: RunFolder) -> bool:
        """Take a run out of the queue to start it; one in a folder that may not be changed is left to its owner."""
        try:
            return queue.take(folder)
        except OSError:
            return False

    def _launch(self, folder: RunFolder, place: str | None) -> None:
        resume = folder.began.exists()
        try:
            self.processes[folder.path] = folder.launch(resume, place=place)
        except OSError as error:
            text = self.tr("{folder}: the process cannot be started ({reason})")
            self.failed.emit(text.format(folder=folder.path, reason=error.strerror))
            with suppress(OSError):
                folder.record_failure(error)  # it is in no queue any more, but stays in the list
            return
        self.started.emit(folder)
        self.changed.emit()

    def process_of(self, folder: RunFolder) -> subprocess.Popen[bytes] | None:
        """Return the newest process of a run, if this window started it."""
        process = self.processes.get(folder.path)
        return process if process is not None and folder.is_of(process.pid) else None

    def ask_to_stop(self, folder: RunFolder) -> None:
        """Have a run stop after its current update; one that waits is taken out of the queue."""
        try:
            if folder.waiting.exists():
                self.withdraw(folder)
            else:
                folder.request_stop()
        except OSError as error:
            text = self.tr("{folder}: cannot be asked to stop ({reason}); stop it at once instead")
            self.failed.emit(text.format(folder=folder.path, reason=error.strerror))

    def stop_at_once(self, folder: RunFolder) -> None:
        """End a run's processes now; what its last checkpoint holds is kept."""
        elsewhere = self.tr("{name} runs on another machine; stop it there").format(name=folder.path.name)

        def work() -> None:
            if folder.kill():
                folder.record_failure(KeyboardInterrupt(STOPPED_AT_ONCE))
            elif folder.status() == "running":
                raise OSError(elsewhere)

        self._beside(work)

    def withdraw(self, folder: RunFolder) -> None:
        """Take a run out of the queue; the folder of one that never began goes with it."""
        if queue.take(folder) and not folder.began.exists():
            folder.discard()
        self.changed.emit()

    def delete(self, folder: RunFolder) -> None:
        """Remove a run's folder with everything in it; one that is running stays."""
        running = self.tr("{name} is running; stop it first").format(name=folder.path.name)
        if not any(file.is_file() for file in (folder.events, folder.began, folder.waiting)):
            text = self.tr("{folder}: not the folder of a run; it is not deleted")
            self.failed.emit(text.format(folder=folder.path))
            return
        queued = folder.waiting.exists()
        # Once it is out of the queue no window starts it; if it is out already, one is starting it.
        if folder.status() == "running" or (queued and not self._take(folder)):
            self.failed.emit(running)
            return

        def work() -> None:
            if not folder.wait_for_end(LAST_BREATH):
                raise OSError(running)
            shutil.rmtree(folder.path)

        self._beside(work)

    def _beside(self, work: Callable[[], None]) -> None:
        """Do something that may take seconds without holding up the window."""

        def attempt() -> str:
            try:
                work()
            except OSError as error:
                return str(error)
            return ""

        run_in_background(self, attempt, self._done)

    def _done(self, fault: str) -> None:
        if fault:
            self.failed.emit(fault)
        self.changed.emit()


def readable_name(settings: TrainSettings) -> str:
    """Return a free name for a run: a 2 right after ``b64s16`` would read as 162 subdivisions."""
    name = settings.name
    if not name[-1:].isdigit() or not (Path(settings.project) / name).exists():
        return name
    return next(f"{name}-{number}" for number in count(2) if not (Path(settings.project) / f"{name}-{number}").exists())


def device_of(folder: RunFolder) -> str | None:
    """Return the device that a run's settings name."""
    try:
        return folder.read_settings().device
    except SettingsError:
        return None
