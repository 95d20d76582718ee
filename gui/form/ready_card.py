"""Whether a run can start, why not, and the button that starts it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent, QTextLayout, QTextOption
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from yolo_subbatch.settings.number_texts import grouped
from yolo_subbatch.settings.ready import Readiness

from ..toolkit.section import GLYPHS, breakable, set_role, small
from ..toolkit.text_labels import Label, shown, tip

MOST_LINES = 4
Line = tuple[str, str]  # a role and a text


class ReadyCard(QFrame):
    """Stays at the bottom of the form; ``start_pressed`` says that its button was pressed."""

    start_pressed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self._ready: Readiness | None = None
        self._busy: list[str] = []
        self._device = ""
        self.heading = Label(self.tr("Checking …"))
        self.heading.setProperty("role", "heading")
        self.lines = [_StatusLine() for _ in range(MOST_LINES)]
        self.more = Label()
        self.more.setProperty("role", "dim")
        self.more.setFont(small(self.more.font()))
        self.more.hide()
        self.button = QPushButton()
        self.button.setObjectName("start")
        self.button.setProperty("role", "primary")
        self.button.setEnabled(False)
        self.button.clicked.connect(self.start_pressed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 10)
        layout.setSpacing(4)
        for widget in (self.heading, *self.lines, self.more):
            layout.addWidget(widget)
        layout.addSpacing(2)
        layout.addWidget(self.button)
        self._show()

    def show_readiness(self, ready: Readiness) -> None:
        """Show what was found."""
        self._ready = ready
        self._show()

    def set_busy(self, names: Sequence[str], device: str | None) -> None:
        """Tell which runs occupy the device, so that a new one has to wait."""
        self._busy = list(names)
        self._device = device or self.tr("the device")
        self._show()

    def _show(self) -> None:
        self.button.setText(self.tr("Queue after current run") if self._busy else self.tr("Start"))
        if self._ready is None:
            return
        self.button.setEnabled(self._ready.ready)
        self.heading.setText(self.tr("Ready") if self._ready.ready else self.tr("Not ready yet"))
        lines = self._problem_lines("error", "bad", self._ready) + self._fact_lines(self._ready)
        lines += self._busy_lines() + self._problem_lines("warning", "warn", self._ready)
        for place, widget in enumerate(self.lines):
            widget.show_line(lines[place] if place < len(lines) else None)
        hidden = lines[MOST_LINES:]
        self.more.setText(self.tr("and {number} more").format(number=len(hidden)))
        self.more.setToolTip("\n".join(f"{GLYPHS[role]} {text}" for role, text in hidden))
        self.more.setVisible(bool(hidden))

    @staticmethod
    def _problem_lines(level: str, role: str, ready: Readiness) -> list[Line]:
        return [(role, problem.text) for problem in ready.problems if problem.level == level]

    def _fact_lines(self, ready: Readiness) -> list[Line]:
        """Return what is known of a network, its data and the length of the run, where nothing is wrong with them."""
        lines: list[Line] = []
        wrong = {problem.field for problem in ready.errors}
        if ready.cfg is not None and "cfg" not in wrong:
            text = self.tr("cfg: {layers} layers, {heads} heads, {classes} classes")
            facts = ready.cfg
            lines.append(("ok", text.format(layers=facts.layers, heads=facts.heads, classes=facts.classes)))
        if ready.data is not None and ready.data.train and "data" not in wrong:
            text = self.tr("data: {train} train / {val} val images")
            lines.append(("ok", text.format(train=grouped(ready.data.train), val=grouped(ready.data.val or 0))))
        if ready.iterations is not None and ready.epochs is not None and not wrong:
            text = self.tr("run: {iterations} iterations, {epochs} epochs")
            lines.append(("ok", text.format(iterations=grouped(ready.iterations), epochs=grouped(ready.epochs))))
        return lines

    def _busy_lines(self) -> list[Line]:
        text = self.tr("{device} is busy with {name}")
        return [("warn", text.format(device=self._device, name=name)) for name in self._busy[:1]]


class _StatusLine(QWidget):
    """A glyph and a text of at most two lines; all of it is in the tool tip."""

    def __init__(self) -> None:
        super().__init__()
        self._text = ""
        self.glyph, self.label = Label(), Label()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        for label in (self.glyph, self.label):
            label.setFont(small(label.font()))
        self.glyph.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.glyph.setFixedWidth(self.glyph.fontMetrics().horizontalAdvance(GLYPHS["ok"]) + 2)
        self.label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        row.addWidget(self.glyph)
        row.addWidget(self.label, 1)
        self.hide()

    def show_line(self, line: Line | None) -> None:
        """Show a line, or nothing."""
        self.setVisible(line is not None)
        if line is None:
            return
        role, self._text = line
        for label in (self.glyph, self.label):
            set_role(label, role)
        self.glyph.setText(GLYPHS[role])
        self.setToolTip(tip(self._text))
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Break the text anew."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        text, width = breakable(shown(self._text)), self.label.width()
        layout = QTextLayout(text, self.label.font())
        layout.setTextOption(QTextOption(Qt.AlignmentFlag.AlignLeft))
        layout.beginLayout()
        first = layout.createLine()
        first.setLineWidth(width)
        layout.endLayout()
        head, rest = text[: first.textLength()], text[first.textLength() :]
        elided = self.label.fontMetrics().elidedText(rest, Qt.TextElideMode.ElideRight, width)
        self.label.setText(f"{head}\n{elided}" if rest else head)
