"""The console: what the process of a run printed, or a line an update where it printed to a terminal elsewhere."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from PySide6.QtCore import QTimer
from PySide6.QtGui import QResizeEvent, QTextCursor
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from yolo_subbatch.folder.events import Event
from yolo_subbatch.settings.safe_reading import open_regular

from ..runs.console_text import describe, first_place, terminal_line
from ..runs.reader import ENDED, RunReader
from ..toolkit.text_labels import shown
from ..toolkit.theme import console_font

MOST_LINES = 5000
MOST_EVENTS = 1000  # lines made of the events of a run that was not launched by a window
SLICE = 65_536  # bytes a look
POLL = 150  # ms between two looks


class Console(QPlainTextEdit):
    """Follows ``console.log`` of a run; the end stays in view unless the user has scrolled away from it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setReadOnly(True)
        self.setFont(console_font())
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setMaximumBlockCount(MOST_LINES)
        self.setUndoRedoEnabled(False)
        self.setFrameShape(QPlainTextEdit.Shape.NoFrame)
        self.setAccessibleName(self.tr("Console"))
        self.setPlaceholderText(self.tr("What the run prints appears here."))
        self._sideways = 0
        self.horizontalScrollBar().actionTriggered.connect(self._went_sideways)
        self.reader: RunReader | None = None
        self._offset = 0
        self._rest = ""  # a line without its end
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._timer = QTimer(self)
        self._timer.setInterval(POLL)
        self._timer.timeout.connect(self.read)

    def show_run(self, reader: RunReader | None) -> None:
        """Show another run, or none."""
        if self.reader is not None:
            self.reader.received.disconnect(self._events_came)
            self.reader.caught_up.disconnect(self._show_events)
            self.reader.restarted.disconnect(self._start_over)
        self.reader = reader
        self._start_over()
        if reader is None:
            self._timer.stop()
            return
        reader.received.connect(self._events_came)
        reader.caught_up.connect(self._show_events)
        reader.restarted.connect(self._start_over)
        self._timer.start()
        self.read()

    def _start_over(self) -> None:
        self.clear()
        self._waiting.clear()
        self._decoder.reset()
        self._rest = ""
        self._offset = 0
        if self.reader is not None:
            self._offset = first_place(self.reader.folder.console)

    def read(self) -> None:
        """Show what the file has got since the last look."""
        if self.reader is None:
            return
        try:
            with open_regular(self.reader.folder.console) as file:
                file.seek(self._offset)
                data = file.read(SLICE)
        except OSError:
            return
        self._offset += len(data)
        if data:
            self._show(self._decoder.decode(data))
        elif self._rest and self.reader.state in ENDED:
            self._show("\n")  # this line gets no end any more

    def _show(self, text: str) -> None:
        whole, end, self._rest = (self._rest + text).rpartition("\n")
        if len(self._rest) > SLICE:
            self._rest = self._rest.rpartition("\r")[2][-SLICE:]
        self._append([terminal_line(line) for line in whole.split("\n")] if end else [])

    def _append(self, lines: list[str]) -> None:
        if lines:
            with self._place_kept():
                self.appendPlainText("\n".join(lines))

    def _went_sideways(self) -> None:
        self._sideways = self.horizontalScrollBar().sliderPosition()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Keep the end in view."""
        with self._place_kept():
            super().resizeEvent(event)

    @contextmanager
    def _place_kept(self) -> Iterator[None]:
        """Have what is in view stay, or the end if that is; only the user goes sideways, not Qt to a line's end."""
        down = self.verticalScrollBar()
        at_end = down.value() >= down.maximum()
        first = QTextCursor(self.firstVisibleBlock())  # its number falls while the oldest lines go
        yield
        self.horizontalScrollBar().setValue(self._sideways)
        down.setValue(down.maximum() if at_end else first.blockNumber())

    def _events_came(self, events: list[Event]) -> None:
        if self.reader is None or self.reader.folder.console.is_file():
            return
        self._waiting.extend(events)
        if self.reader.up_to_date:
            self._show_events()

    def _show_events(self) -> None:
        lines = [shown(line) for line in map(describe, self._waiting) if line]
        self._waiting.clear()
        self._append(lines)
