"""The cards of a form: a heading, rows of a label and a field, and messages under them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from PySide6.QtCore import Qt
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from yolo_subbatch.settings.checks import Problem

from .text_labels import Label

GLYPHS = {"ok": "✓", "warn": "!", "bad": "✗"}
ROLES = {"warning": "warn", "error": "bad"}
BREAK = "\u200b"  # a place of no width where a line may end


def set_role(widget: QWidget, role: str) -> None:
    """Give a widget the look of a role, also after it was shown."""
    if widget.property("role") != role:
        widget.setProperty("role", role)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


def breakable(text: str) -> str:
    """Return a text whose long paths can be wrapped."""
    return re.sub(r"(?<=[/\\_=,])(?=\S)", BREAK, text)


def small(font: QFont) -> QFont:
    """Return a font of one point less."""
    smaller = QFont(font)
    smaller.setPointSizeF(font.pointSizeF() - 1)
    return smaller


class Message(Label):
    """What is wrong with a field, below it; hidden while nothing is."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.setFont(small(self.font()))
        self._told = ""
        self.hide()

    def show_problems(self, problems: Iterable[Problem]) -> bool:
        """Show problems, errors first; True if there is an error that was not shown before."""
        ordered = sorted(problems, key=lambda problem: problem.level)
        lines = [f"{GLYPHS[ROLES[problem.level]]} {problem.text}" for problem in ordered]
        before = self._told
        if "\n".join(lines) != before:
            self._told = "\n".join(lines)
            set_role(self, ROLES[ordered[0].level] if ordered else "")
            self.setText(breakable("\n".join(lines)))
            self.setToolTip("\n".join(lines))
            self.setVisible(bool(lines))
        return any(problem.level == "error" and f"{GLYPHS['bad']} {problem.text}" not in before for problem in ordered)


class Section(QFrame):
    """A card with a heading; one that folds has a heading to press."""

    def __init__(self, title: str, label_width: int, folds: bool = False) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self._label_width = label_width
        self.body = QWidget()
        self.rows = QVBoxLayout(self.body)
        self.rows.setContentsMargins(0, 0, 0, 0)
        self.rows.setSpacing(5)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 4, 10, 5) if folds else layout.setContentsMargins(10, 8, 10, 9)
        layout.setSpacing(6)
        self.header = self._folding_header(title) if folds else None
        layout.addWidget(self.header or _heading(title))
        layout.addWidget(self.body)

    @property
    def is_open(self) -> bool:
        """Whether its rows are to be seen."""
        return self.header is None or self.header.arrowType() == Qt.ArrowType.DownArrow

    def set_open(self, is_open: bool) -> None:
        """Fold or unfold it; a card without a heading to press is always open."""
        if self.header is not None:
            self.header.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
            self.body.setVisible(is_open)

    def add_heading(self, title: str) -> None:
        """Begin a group within the card."""
        label = Label(title)
        label.setProperty("role", "dim")
        self.rows.addSpacing(4)
        self.rows.addWidget(label)

    def add_row(self, title: str, tip: str, field: QWidget, below: Iterable[QWidget]) -> None:
        """Add a field with its label, and what is to be said of it below both."""
        label = Label(title)
        label.setProperty("role", "dim")
        label.setWordWrap(True)
        label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        label.setFixedWidth(self._label_width)
        label.setBuddy(field)
        label.setToolTip(tip)
        line = QHBoxLayout()
        line.setSpacing(8)
        line.addWidget(label)
        line.addWidget(field, 1)
        row = QVBoxLayout()
        row.setSpacing(2)
        row.addLayout(line)
        for widget in below:
            row.addWidget(widget)
        self.rows.addLayout(row)

    def add_wide_row(self, title: str, tip: str, field: QWidget, message: Message) -> None:
        """Add a field of the card's whole width below its label."""
        label = Label(title)
        label.setProperty("role", "dim")
        label.setBuddy(field)
        label.setToolTip(tip)
        for widget in (label, field, message):
            self.rows.addWidget(widget)

    def _folding_header(self, title: str) -> QToolButton:
        header = QToolButton()
        header.setText(title)
        header.setAutoRaise(True)
        header.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        header.setArrowType(Qt.ArrowType.RightArrow)
        header.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        header.clicked.connect(lambda: self.set_open(not self.is_open))
        self.body.hide()
        return header


def _heading(title: str) -> Label:
    label = Label(title)
    label.setProperty("role", "heading")
    return label
