"""The card above the plots about an export of the run that is shown: at work, done, or why it failed."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from yolo_subbatch.settings.find import short_path
from yolo_subbatch.settings.number_texts import file_size

from ..runs.failure import Failure
from ..toolkit.durations import duration_text
from ..toolkit.section import breakable, set_role
from ..toolkit.text_labels import Label
from .export_processes import CANCELLED, DONE, FAILED, WORKING, Export

MOST_LINES, WIDEST = 4, 400  # of a message; all of it is in the details
LOOKS = {WORKING: ("◌", "dim"), DONE: ("✓", "ok"), FAILED: ("✗", "bad"), CANCELLED: ("■", "warn")}


class ExportCard(QFrame):
    """Shows an :class:`Export`; hidden without one."""

    cancel_wanted = Signal()
    folder_wanted = Signal()
    details_wanted = Signal()
    again_wanted = Signal()
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self.glyph, self.title, self.message = Label(), Label(), Label()
        self.title.setProperty("role", "heading")
        self.title.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.message.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.bar.setRange(0, 0)  # it is not known how long it takes
        self.bar.setAccessibleName(self.tr("The export is at work"))
        self.cancel = QPushButton(self.tr("Cancel"))
        self.folder = QPushButton(self.tr("Open folder"))
        self.again = QPushButton(self.tr("Change and try again ..."))
        self.details = QPushButton(self.tr("Show what it printed"))
        self.close_button = QPushButton(self.tr("Hide"))
        for button, signal in (
            (self.cancel, self.cancel_wanted),
            (self.folder, self.folder_wanted),
            (self.again, self.again_wanted),
            (self.details, self.details_wanted),
            (self.close_button, self.closed),
        ):
            button.setProperty("role", "plain")
            button.clicked.connect(signal)
        self._arrange()
        self.hide()

    def _arrange(self) -> None:
        top = QHBoxLayout()
        top.addWidget(self.glyph)
        top.addWidget(self.title, 1)
        for button in (self.folder, self.again, self.details, self.cancel, self.close_button):
            top.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 8)
        layout.setSpacing(6)
        layout.addLayout(top)
        layout.addWidget(self.bar)
        layout.addWidget(self.message)

    def show_export(self, export: Export | None) -> None:
        """Show how far an export is or how it ended, or nothing."""
        if export is None:
            self.hide()
            return
        state = export.state
        glyph, role = LOOKS[state]
        self.glyph.setText(glyph)
        set_role(self.glyph, role)
        set_role(self, "failure" if state == FAILED else "card")
        self.title.setText(self._title(export))
        message = self._message(export)
        self.message.setText(breakable(_shortened(message)))
        self.message.setToolTip(message)
        self.message.setVisible(bool(message))
        self.bar.setVisible(state == WORKING)
        self.cancel.setVisible(state == WORKING)
        self.cancel.setEnabled(export.cancelled_at is None)
        self.folder.setVisible(state == DONE)
        self.again.setVisible(state in {FAILED, CANCELLED})
        self.details.setVisible(state != CANCELLED)
        self.close_button.setVisible(state != WORKING)
        self.show()

    def _title(self, export: Export) -> str:
        file = short_path(export.target)
        if export.state == WORKING and export.cancelled_at is not None:
            return self.tr("Cancelling the export ...")
        if export.state == WORKING:
            text = self.tr("Exporting to {file} ... {span}")
            return text.format(file=file, span=duration_text(export.process.seconds()))
        if export.state == DONE:
            return self.tr("Exported: {file}, {size}").format(file=file, size=_size(export))
        if export.state == CANCELLED:
            return self.tr("The export was cancelled; no file was written")
        return self._what_failed(export.failure)

    def _what_failed(self, failure: Failure | None) -> str:
        kind = failure.kind if failure is not None else ""
        if kind == "memory":
            return self.tr("The export ran out of memory")
        if kind == "mistake":
            return self.tr("The export is not possible this way")
        if kind == "signal" and failure is not None:
            return self.tr("The export crashed ({signal})").format(signal=failure.signal)
        if kind == "silent":
            return self.tr("The export ended without a word")
        return self.tr("The export failed; the file was not kept")

    def _message(self, export: Export) -> str:
        if export.state == WORKING:
            lines = export.lines()
            return lines[-1] if lines else self.tr("loading torch, some seconds; it continues if this window is closed")
        if export.state == DONE:
            return "\n".join(export.findings())
        return export.failure.message.strip() if export.failure is not None else ""


def _shortened(message: str) -> str:
    lines = [line[:WIDEST] for line in message.splitlines()[:MOST_LINES]]
    short = "\n".join(lines)
    return short if short == message else f"{short} …"


def _size(export: Export) -> str:
    try:
        return file_size(export.target.stat().st_size)
    except OSError:
        return "-"
