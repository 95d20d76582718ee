"""Follows the events file of one run, running or finished, and tells the window what is new."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress

from PySide6.QtCore import QObject, QTimer, Signal

from yolo_subbatch.folder.events import ENDINGS, SLICE, Event, EventTail, RunFinished, RunStarted
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.safe_reading import open_regular

from .history import History

POLL = 40  # ms between two looks at the file
POLL_ENDED = 1000  # ms between two looks at a run that has ended, which someone may resume
MARK = 256  # bytes by which an event is known again
BUSY = 0.015  # seconds that one look may take from the window
LOOK_AT_PROCESS = 0.5  # seconds between two looks at the process
QUEUED, STARTING, RUNNING, STOPPING = "queued", "starting", "running", "stopping"
LIVE = (STARTING, RUNNING, STOPPING)
ENDED = ENDINGS


class RunReader(QObject):
    """Reads one run.

    ``history`` holds everything that was read. ``state`` is ``prepared``, ``queued``, ``starting``, ``running``,
    ``stopping``, ``completed``, ``stopped`` or ``failed``; a run is ``failed`` without a last event when its process is
    gone and the file was read to its end after that.

    Args:
        folder: The run.
        process: Its process, where this program started it; its exit status is known then.
        parent: As everywhere in Qt.
    """

    received = Signal(list)  #: new events, oldest first; ``history`` has them already
    restarted = Signal()  #: the file was cut, as a resumed run does: ``history`` is empty and fills again
    state_changed = Signal(str)
    caught_up = Signal()  #: the end of the file was reached for the first time

    def __init__(
        self, folder: RunFolder, process: subprocess.Popen[bytes] | None = None, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.folder, self.process = folder, process
        self.history = History()
        self.tail = EventTail(folder.events)
        self.state = STARTING if process is not None else "prepared"
        self.up_to_date = False
        self._last_seq, self._newest = -1, b""
        self._told: RunStarted | RunFinished | None = None  # which of the events read so far leads to a state
        self._looked = 0.0
        self._began = self.folder.when_it_began()
        self._timer = QTimer(self)
        self._timer.setInterval(POLL)
        self._timer.timeout.connect(self.read)

    def start(self) -> None:
        """Begin to follow."""
        self.look_at_process()
        self._timer.start()
        self.read()

    def stop(self) -> None:
        """Follow no longer."""
        self._timer.stop()

    @property
    def exit_status(self) -> int | None:
        """The exit status of a process that this program started, negative for a signal; None where unknown."""
        return self.process.poll() if self.process is not None and self.folder.is_of(self.process.pid) else None

    @property
    def progress(self) -> float:
        """The share of the events file that was read, from 0 to 1."""
        try:
            size = self.folder.events.stat().st_size
        except OSError:
            return 1.0
        return min(1.0, self.tail.offset / size) if size else 1.0

    def launched(self, process: subprocess.Popen[bytes]) -> None:
        """Follow the process that starts or resumes the run."""
        self.process = process
        self._began = self.folder.when_it_began()
        self._set_state(STARTING)
        self._begin_again()
        self._timer.setInterval(POLL)
        self._timer.start()

    def read(self) -> None:
        """Read what is new, for no longer than the window can spare."""
        gone = time.monotonic() - self._looked >= LOOK_AT_PROCESS and not self.look_at_process()
        if self._newest_bytes() != self._newest:
            self._begin_again()
        self._read_slices(gone)
        self._newest = self._newest_bytes()

    def _read_slices(self, gone: bool) -> None:
        began = time.monotonic()
        while True:
            before = self.tail.offset
            events: list[Event] = []
            with suppress(OSError):  # of a folder that is being removed, or on a share that is away for a moment
                events = self.tail.read(SLICE)
            # In a file that is read for the first time numbers may be missing; later they fall where it was cut.
            if self.tail.offset < before or (self.up_to_date and events and events[0].seq <= self._last_seq):
                self._begin_again()
                continue
            if events:
                self._take(events)
            if self.tail.offset == before:
                self._at_the_end(gone)
                return
            if time.monotonic() - began > BUSY:
                return

    def _newest_bytes(self) -> bytes:
        """Return what stands in the file where the newest event was read; others may have been written there since."""
        with suppress(OSError), open_regular(self.folder.events) as file:
            begin = max(0, self.tail.offset - MARK)
            file.seek(begin)
            return file.read(self.tail.offset - begin)
        return self._newest  # of a file that has vanished everything counts that was read

    def _begin_again(self) -> None:
        """Read the file from its start: events were cut off, and others may stand in their place."""
        self.tail = EventTail(self.folder.events)
        self._last_seq, self._newest = -1, b""
        self._told = None
        self.up_to_date = False
        self.history.clear()
        self.restarted.emit()

    def _take(self, events: list[Event]) -> None:
        self._last_seq = events[-1].seq
        self.history.take(events)
        for event in events:
            if isinstance(event, (RunStarted, RunFinished)):
                self._told = event
        self.received.emit(events)

    def _at_the_end(self, gone: bool) -> None:
        """Tell the state that the events lead to; while a long file is read, they tell of a time that is over."""
        told, self._told = self._told, None
        if told is not None and not self.folder.begins_after(told.t):  # else a process of before wrote it
            if isinstance(told, RunFinished):
                self._set_state(told.ending)
            elif self.state not in ENDED:
                self._set_state(RUNNING)
        if not self.up_to_date:
            self.up_to_date = True
            self.caught_up.emit()
        self._timer.setInterval(POLL_ENDED if self.state in ENDED else POLL)
        if gone and self.state in LIVE:
            self.history.finished = None  # what a process of before said is not why this one failed
            self._set_state("failed")

    def look_at_process(self) -> bool:
        """Return whether the run's process lives; of a run that has ended it is not asked again."""
        self._looked = time.monotonic()
        began = self.folder.when_it_began()
        if began not in (0, self._began):
            self._began = began
            if self.process is None or not self.folder.is_of(self.process.pid):
                self._follow_another()
        if self.process is not None and self.process.poll() is None:
            alive = True
        else:
            alive = self.state not in ENDED and self.folder.alive()
        waits = self.folder.waiting.exists()
        if waits != (self.state == QUEUED) and not alive:
            self._set_state(QUEUED if waits else self.folder.status())
        if alive and self.state in {RUNNING, STOPPING}:
            self._set_state(STOPPING if self.folder.stop_requested() else RUNNING)
        elif alive and self.state in {"prepared", QUEUED}:
            self._set_state(STARTING)
        elif not alive and self.state == "prepared":
            self._set_state(self.folder.status())
        return alive

    def _follow_another(self) -> None:
        """Follow a process that another program has started in this folder to resume the run."""
        if self.state in ENDED:
            self._set_state(STARTING)
        self._begin_again()

    def _set_state(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self.state_changed.emit(state)
