"""The card above the plots: which run, how far, how long still, and the numbers of now."""

from __future__ import annotations

import math

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QMenu,
    QProgressBar,
    QPushButton,
    QToolButton,
    QVBoxLayout,
)

from yolo_subbatch.settings.number_texts import MIB, brief, grouped, memory_size, percent

from ..runs.history import TOTAL, History, moving_average
from ..runs.reader import ENDED, LIVE, STOPPING, RunReader
from ..toolkit.durations import duration_text
from ..toolkit.run_states import GLYPHS, state_word
from ..toolkit.text_labels import Label
from ..toolkit.theme import Theme

REFRESH = 200  # ms between two changes of the numbers: faster ones cannot be read
PATIENCE = 20_000  # ms after which the button offers to stop at once
STEADY = 30  # updates before a duration is worth guessing
RECENT = 200  # updates whose speed tells how long the rest takes, two epochs with their validations if that is more
KEEP = 0.9  # Darknet's running average keeps this share of itself
NUMBERS = ("loss", "map", "lr", "gnorm", "ips", "memory")


class StatusCard(QFrame):
    """Shows one run's progress.

    The stop button asks for a stop after the current update; after twenty seconds without one, or from its menu at
    once, it ends the processes.
    """

    stop_wanted = Signal()
    kill_wanted = Signal()
    export_wanted = Signal()

    def __init__(self, theme: Theme, parent: QFrame | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self.theme = theme
        self.reader: RunReader | None = None
        self.name, self.state, self.detail = Label(), Label(), Label()
        self.name.setProperty("role", "heading")
        self.name.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.detail.setProperty("role", "dim")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.bar.setRange(0, 1000)
        self.bar.setAccessibleName(self.tr("Progress of the run"))
        self.stop_button = self._stop_button()
        self.export_button = QPushButton(self.tr("Export ONNX ..."))
        self.export_button.setProperty("role", "plain")
        self.export_button.setToolTip(self.tr("Write the trained network as an ONNX file, checked before it is kept"))
        self.export_button.clicked.connect(self.export_wanted)
        self.numbers = {name: Label("-") for name in NUMBERS}
        self.captions = {name: Label() for name in NUMBERS}
        self._arrange()
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(PATIENCE)
        self._patience.timeout.connect(self._offer_to_kill)
        self._refresh = QTimer(self)
        self._refresh.setSingleShot(True)
        self._refresh.setInterval(REFRESH)
        self._refresh.timeout.connect(self.update_now)
        self._asked = self._killing = False  # a stop was asked for; the button ends the processes
        self.offer_export(False)
        self.show_run(None)

    def _stop_button(self) -> QToolButton:
        button = QToolButton()
        button.setProperty("role", "stop")
        button.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
        menu = QMenu(button)
        self.kill_action = QAction(self.tr("Stop now (loses the updates since the last checkpoint)"), self)
        self.kill_action.triggered.connect(self.kill_wanted)
        menu.addAction(self.kill_action)
        button.setMenu(menu)
        button.clicked.connect(self._clicked)
        return button

    def _arrange(self) -> None:
        top = QHBoxLayout()
        for label in (self.state, self.name, self.detail):
            top.addWidget(label)
        top.addStretch(1)
        top.addWidget(self.export_button)
        top.addWidget(self.stop_button)
        grid = QGridLayout()
        grid.setHorizontalSpacing(28)
        grid.setVerticalSpacing(0)
        for column, name in enumerate(NUMBERS):
            self.numbers[name].setProperty("role", "number")
            self.captions[name].setProperty("role", "dim")
            grid.addWidget(self.numbers[name], 0, column)
            grid.addWidget(self.captions[name], 1, column)
        grid.setColumnStretch(len(NUMBERS), 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 8)
        layout.setSpacing(6)
        layout.addLayout(top)
        layout.addWidget(self.bar)
        layout.addLayout(grid)

    def show_run(self, reader: RunReader | None) -> None:
        """Show another run, or none."""
        if self.reader is not None:
            self.reader.received.disconnect(self._something_new)
            self.reader.restarted.disconnect(self._something_new)
            self.reader.state_changed.disconnect(self._state_changed)
        self.reader = reader
        if reader is not None:
            reader.received.connect(self._something_new)
            reader.restarted.connect(self._something_new)
            reader.state_changed.connect(self._state_changed)
        self._forget_stop()
        self.update_now()

    def offer_export(self, possible: bool) -> None:
        """Show the button that exports, or not."""
        self.export_button.setVisible(possible)

    def apply_theme(self, theme: Theme) -> None:
        """Use the colours of a theme."""
        self.theme = theme
        self.update_now()

    def _something_new(self) -> None:
        if not self._refresh.isActive():
            self._refresh.start()

    def _state_changed(self, state: str) -> None:
        if state == STOPPING:
            self.stop_asked()
        elif state not in LIVE:
            self._forget_stop()
        self.update_now()

    def stop_asked(self) -> None:
        """Show that a stop was asked for, and wait for it."""
        if not self._asked:
            self._asked = True
            self._patience.start()
            self.update_now()

    def _forget_stop(self) -> None:
        self._patience.stop()
        self._asked = self._killing = False

    def _clicked(self) -> None:
        if self._killing:
            self.kill_wanted.emit()
        else:
            self.stop_wanted.emit()

    def _offer_to_kill(self) -> None:
        self._killing = True
        self.update_now()

    def update_now(self) -> None:
        """Show what the run has reported."""
        reader = self.reader
        state = reader.state if reader is not None else None
        self.name.setText(reader.folder.path.name if reader is not None else self.tr("No run"))
        self.state.setText(GLYPHS[state] if state else "○")
        self.state.setStyleSheet(f"color: {self._colour(state)}; font-size: 13pt;")
        self.bar.setValue(round(1000 * done_share(reader.history))) if reader else self.bar.setValue(0)
        self.detail.setText(self._detail(reader) if reader else self.tr("Choose what to train on the left, then Start"))
        self._update_numbers(reader.history if reader else History())
        self._update_button(state)

    def _colour(self, state: str | None) -> str:
        by_state = {"stopping": self.theme.warn, "stopped": self.theme.warn, "failed": self.theme.bad}
        return by_state.get(state or "", self.theme.ok if state in {"running", "completed"} else self.theme.dim)

    def _detail(self, reader: RunReader) -> str:
        """Return state, place and time left in one line."""
        history = reader.history
        word = state_word(reader.state)
        parts = [word[:1].upper() + word[1:]]
        if not reader.up_to_date:
            parts.append(self.tr("reading {percent} %").format(percent=round(100 * reader.progress)))
        elif reader.state == "starting":
            parts.append(self.tr("loading torch and the data, some seconds"))
        if history.started and history.started.steps_total:
            place = self.tr("iteration {done} of {total}")
            done = history.last.step if history.last else history.started.start_step
            parts.append(place.format(done=grouped(done), total=grouped(history.started.steps_total)))
        left = seconds_left(history) if reader.state in LIVE else None
        if left is not None:
            parts.append(self.tr("{span} left").format(span=duration_text(left)))
        if reader.state in ENDED and history.started and not history.started.start_step and len(history):
            took = history.columns["t"].values[-1] - history.started.t
            parts.append(self.tr("after {span}").format(span=duration_text(max(0.0, float(took)))))
        return "  ·  ".join(parts)

    def _update_numbers(self, history: History) -> None:
        started, best = history.started, history.best
        clip = started.clip if started else None
        norm = brief(history.last_known("gnorm"))
        newest = history.validations[-1] if history.validations else None
        shown = best or newest
        classifies = shown is not None and shown.map50 is None and shown.accuracy is not None
        score = (shown.accuracy if classifies else shown.map50) if shown else None
        on_gpu = bool(started and started.device.startswith("cuda"))
        self._number("loss", brief(running_loss(history)), self.tr("loss (avg)"))
        caption = self.tr("best accuracy") if classifies else self.tr("best mAP@0.5")
        self._number("map", "-" if score is None else f"{percent(score)} %", caption)
        self._number("lr", brief(history.last_known("lr")), self.tr("learning rate"))
        self._number("gnorm", f"{norm} / {clip:g}" if clip else norm, self.tr("grad norm / clip"))
        self._number("ips", brief(history.last_known("ips")), self.tr("images / s"))
        memory = history.last_known("mem_mb")
        caption = self.tr("GPU memory") if on_gpu else self.tr("memory")
        self._number("memory", memory_size(None if memory is None else memory * MIB), caption)

    def _number(self, name: str, value: str, caption: str) -> None:
        self.numbers[name].setText(value)
        self.captions[name].setText(caption)
        self.numbers[name].setAccessibleName(f"{caption}: {value}")

    def _update_button(self, state: str | None) -> None:
        self.stop_button.setVisible(state in (*LIVE, "queued"))
        self.kill_action.setEnabled(state in LIVE)
        if state == "queued":
            text = self.tr("Take out of the queue")
        elif self._killing:
            text = self.tr("Stop now")
        elif self._asked:
            text = self.tr("Stopping after this update ...")
        else:
            text = self.tr("Stop after this update")
        self.stop_button.setText(f"■  {text}")
        self.stop_button.setToolTip(self.tr("The run can be resumed later."))


def done_share(history: History) -> float:
    """Return the share of a run's updates that are done, from 0 to 1."""
    if history.started is None or not history.started.steps_total or history.last is None:
        return 0.0
    return min(1.0, history.last.step / history.started.steps_total)


def seconds_left(history: History) -> float | None:
    """Return how long the rest of a run takes at its recent speed; None while that is a guess."""
    started, times = history.started, history.columns["t"].values
    if started is None or not started.steps_total or history.last is None:
        return None
    since_start = history.last.step - started.start_step
    reach = min(len(times), since_start, max(RECENT, 2 * started.updates_per_epoch) + 1)  # with both ends
    if reach < STEADY:
        return None
    seconds = (times[-1] - times[-reach]) / (reach - 1)
    return max(0.0, float(seconds) * (started.steps_total - history.last.step))


def running_loss(history: History) -> float | None:
    """Return the average that Darknet shows: nine tenths of itself and a tenth of every new loss."""
    column = history.columns.get(TOTAL)
    if column is None or not len(column):
        return None
    average = float(moving_average(column.values[-RECENT:], KEEP)[-1])
    return None if math.isnan(average) else average
