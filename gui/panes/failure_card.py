"""The red card above the plots of a run that failed: what happened, in words, and what to do about it."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from ..runs.failure import Failure
from ..toolkit.text_labels import Label

MOST_LINES, WIDEST = 3, 300  # of a message; all of it is in the tool tip and on the console


class FailureCard(QFrame):
    """Shows a :class:`Failure`; hidden without one."""

    console_wanted = Signal()
    settings_wanted = Signal(object)  #: the subdivisions to set in the form, or None to take the settings as they were
    resume_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "failure")
        self.failure: Failure | None = None
        self.title, self.message, self.advice = Label(), Label(), Label()
        self.title.setProperty("role", "bad")
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        for label in (self.message, self.advice):
            label.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.finer = QPushButton()
        self.again = QPushButton(self.tr("Use these settings again"))
        self.resume = QPushButton(self.tr("Resume"))
        self.console = QPushButton(self.tr("Open console"))
        self.finer.clicked.connect(
            lambda: self.settings_wanted.emit(self.failure.subdivisions if self.failure else None)
        )
        self.again.clicked.connect(lambda: self.settings_wanted.emit(None))
        self.resume.clicked.connect(self.resume_wanted)
        self.console.clicked.connect(self.console_wanted)
        self._arrange()
        self.hide()

    def _arrange(self) -> None:
        buttons = QHBoxLayout()
        for button in (self.finer, self.resume, self.again, self.console):
            button.setProperty("role", "plain")
            buttons.addWidget(button)
        self.finer.setProperty("role", "primary")
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 8)
        layout.setSpacing(4)
        for label in (self.title, self.message, self.advice):
            layout.addWidget(label)
        layout.addLayout(buttons)

    def show_failure(self, failure: Failure | None, resumable: bool = False) -> None:
        """Show why a run failed, or nothing; ``resumable`` offers to resume it."""
        self.failure = failure
        self.setVisible(failure is not None)
        if failure is None:
            return
        whole = failure.message.strip()
        shown = "\n".join(line[:WIDEST] for line in whole.splitlines()[:MOST_LINES])
        self.message.setText(shown if shown == whole else f"{shown} …")
        self.message.setToolTip("" if shown == whole else whole)
        self.message.setVisible(bool(whole))
        self.title.setText(f"✗  {self._title(failure)}")
        self.advice.setText(self._advice(failure, resumable))
        self.finer.setVisible(failure.kind == "memory" and failure.subdivisions is not None)
        if failure.subdivisions is not None:
            self.finer.setText(self.tr("Try subdivisions {number}").format(number=failure.subdivisions))
        self.resume.setVisible(resumable)

    def _title(self, failure: Failure) -> str:
        if failure.kind == "memory" and failure.signal:
            return self.tr("Ended by the system, probably out of memory")
        if failure.kind == "memory":
            return self.tr("Out of memory")
        if failure.kind == "mistake":
            return self.tr("Something in the settings is not usable")
        if failure.kind == "signal":
            return self.tr("The process crashed ({signal})").format(signal=failure.signal)
        if failure.kind == "silent":
            return self.tr("The process ended without a word")
        return self.tr("The run failed")

    def _advice(self, failure: Failure, resumable: bool) -> str:
        if failure.kind == "memory":
            return self._about_memory(failure)
        if failure.kind == "mistake":
            return self.tr("Correct it in the form and start again; nothing was overwritten.")
        kept = self.tr("What the last checkpoint holds is kept: Resume continues from there.") if resumable else ""
        look = self.tr("The console shows all that the process printed.")
        return f"{kept} {look}".strip()

    def _about_memory(self, failure: Failure) -> str:
        if failure.subdivisions is None:
            text = self.tr("One image at a time does not fit: choose a smaller image size, or a smaller network.")
        else:
            text = self.tr(
                "Raise subdivisions: the batch stays {batch} and so does every update; batch normalisation then "
                "averages over fewer images."
            ).format(batch=failure.batch)
        if failure.signal:
            text = self.tr("The system ended the process, as it does when memory runs out.") + " " + text
        return text
