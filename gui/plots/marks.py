"""Vertical marks through a plot: where the burn-in ends, the rate changes, the best network was, warnings came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyqtgraph as pg
from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtGui import QColor

from yolo_subbatch.settings.number_texts import percent

from ..runs.history import History
from ..toolkit.text_labels import escaped
from ..toolkit.theme import Theme, interface_font
from .axes import FONT_SIZE
from .lines import main_figure

APART = 60  # pixels between two labels at least
LABEL_AT = 0.06  # of the height; labels near the top would be cut off
BEHIND = 150  # of 255: how much a label hides of the curves behind it
MOST_STEPS = 100  # of the rate that are marked
WARNING_AT = 0.93
WARNING_SIZE = 9  # pixels


@dataclass(frozen=True)
class Mark:
    """One line through a plot; ``best`` is dotted and has the colour of what validations found."""

    step: int
    text: str
    best: bool = False


def loss_marks(history: History) -> list[Mark]:
    """Return the marks of a run in the order of their iterations."""
    translate = QCoreApplication.translate
    marks: list[Mark] = []
    if history.started is not None:
        if history.started.burn_in > 0:
            marks.append(Mark(history.started.burn_in, translate("Marks", "burn-in end")))
        marks += [Mark(step, translate("Marks", "lr step")) for step in history.started.lr_steps[:MOST_STEPS]]
    if history.best is not None:
        marks.append(Mark(history.best.step, translate("Marks", "best"), best=True))
    return sorted(marks, key=lambda mark: mark.step)


def best_mark(history: History) -> list[Mark]:
    """Return the mark of the best validation, with its figure."""
    best = history.best
    figure = getattr(best, main_figure(history.validations), None)
    if best is None or figure is None:
        return []
    return [
        Mark(
            best.step,
            QCoreApplication.translate("Marks", "best {figure} %").format(figure=percent(figure)),
            best=True,
        )
    ]


class Marks:
    """The marks of one plot."""

    def __init__(self, plot: pg.PlotItem, theme: Theme) -> None:
        self.plot, self.theme = plot, theme
        self.marks: list[Mark] = []
        self.lines: list[pg.InfiniteLine] = []

    def show(self, marks: list[Mark]) -> None:
        """Show these marks, and as many of their labels as there is room for."""
        if marks != self.marks:
            self.clear()
            self.marks = marks
            self.lines = [self._line(mark) for mark in marks]
        self._label()

    def clear(self) -> None:
        """Take all marks away."""
        for line in self.lines:
            self.plot.removeItem(line)
        self.marks, self.lines = [], []

    def _line(self, mark: Mark) -> pg.InfiniteLine:
        colour = QColor(self.theme.colour_of("map50") if mark.best else self.theme.dim)
        pen = pg.mkPen(colour, style=Qt.PenStyle.DotLine if mark.best else Qt.PenStyle.DashLine)
        behind = QColor(self.theme.panel)
        behind.setAlpha(BEHIND)
        label = {"position": LABEL_AT, "anchors": [(0, 1), (0, 1)], "color": colour, "fill": behind}
        line = pg.InfiniteLine(mark.step, angle=90, pen=pen, label=mark.text, labelOpts=label)
        line.label.setFont(interface_font(FONT_SIZE))
        line.setZValue(3)
        self.plot.addItem(line, ignoreBounds=True)
        return line

    def _label(self) -> None:
        """Show the labels that stand apart from those before them; the best network's comes before all others."""
        (left, right), width = self.plot.vb.viewRange()[0], self.plot.vb.width()
        taken: list[float] = []
        for mark, line in sorted(zip(self.marks, self.lines, strict=True), key=lambda pair: not pair[0].best):
            place = (mark.step - left) / (right - left) * width
            free = bool(0 <= place <= width) and all(abs(place - other) >= APART for other in taken)
            if free:
                taken.append(place)
                anchor = (1, 1) if place > width - APART else (0, 1)
                line.label.anchors = [anchor, anchor]
            line.label.setVisible(free)


class WarningMarks:
    """A triangle for every warning; its words are shown while the mouse is over it."""

    def __init__(self, plot: pg.PlotItem, theme: Theme) -> None:
        self.plot = plot
        self.item = pg.ScatterPlotItem(
            symbol="t1", size=WARNING_SIZE, pxMode=True, hoverable=True, tip=lambda x, y, data: escaped(data)
        )
        self.item.setZValue(4)
        plot.addItem(self.item, ignoreBounds=True)
        self.apply_theme(theme)

    def apply_theme(self, theme: Theme) -> None:
        """Use the colours of a theme."""
        self.item.setPen(pg.mkPen(theme.panel))
        self.item.setBrush(QColor(theme.warn))

    def show(self, warnings: Sequence[tuple[int, str]]) -> None:
        """Show these warnings, each at its iteration, near the upper edge of the plot."""
        low, high = self.plot.vb.viewRange()[1]
        height = low + WARNING_AT * (high - low)
        steps = [step for step, _ in warnings]
        self.item.setData(steps, [height] * len(steps), data=[text for _, text in warnings])
