"""Axes whose numbers are short, and a logarithmic one that says 10, 1, 0.1."""

from __future__ import annotations

import math

import pyqtgraph as pg
from PySide6.QtCore import QRectF

from yolo_subbatch.settings.number_texts import grouped, shortest

from ..toolkit.theme import Theme, interface_font

WIDTH = 58  # pixels that every left axis takes, so that the plots stand exactly below each other
BOTTOM = 34  # pixels of the numbers and the title below the lowest plot
FONT_SIZE = 8
GRID = 24  # of 255: how much of the grid is seen
OVER = 8  # pixels by which a number may stand above or below its axis
FEW_DECADES = 1.3  # with no more of them in view, 2 and 5 are labelled too
LOGS = {2: math.log10(2), 5: math.log10(5)}


class ValueAxis(pg.AxisItem):  # type: ignore[misc]
    """A left axis. ``logarithmic`` says that what it shows are the logarithms of the numbers it is to write."""

    def __init__(self, title: str) -> None:
        super().__init__("left")
        self.logarithmic = False
        self.title = title
        self.enableAutoSIPrefix(False)
        self.setWidth(WIDTH)
        self.setStyle(tickFont=interface_font(FONT_SIZE), tickLength=0, maxTickLevel=0)

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:  # noqa: N802
        """Return where lines are; on a logarithmic axis at powers of ten, and between them where few are in view."""
        if not self.logarithmic:
            found: list[tuple[float, list[float]]] = super().tickValues(low, high, size)
            return found
        span = high - low
        if span < 0.5 * LOGS[2]:  # not even a factor of two: as good as linear
            return _linear_values(10**low, 10**high)
        step = max(1, math.ceil(span / max(2.0, size / 30)))
        decades = range(math.floor(low), math.ceil(high) + 1)
        places = [float(decade) for decade in decades if decade % step == 0]
        if span < FEW_DECADES:
            places += [decade + part for decade in decades for part in LOGS.values()]
        return [(1.0, [place for place in places if low <= place <= high])]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:  # noqa: N802
        """Return the numbers as text."""
        return [shortest(10**value if self.logarithmic else value) for value in values]

    def boundingRect(self) -> QRectF:  # noqa: N802
        """Return where it paints: a bit more than its place, so that a number at its end is not left out."""
        place: QRectF = super().boundingRect()
        return place.adjusted(0, -OVER, 0, OVER)

    def apply_theme(self, theme: Theme) -> None:
        """Use the colours of a theme."""
        paint_axis(self, theme, self.title)


class IterationAxis(pg.AxisItem):  # type: ignore[misc]
    """A bottom axis in iterations; between two of them it writes nothing, and nothing at all without a title."""

    def __init__(self, title: str) -> None:
        super().__init__("bottom")
        self.title = title
        self.enableAutoSIPrefix(False)
        self.setStyle(tickFont=interface_font(FONT_SIZE), tickLength=0, maxTickLevel=0, showValues=bool(title))
        self.setHeight(BOTTOM if title else 1)

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:  # noqa: N802
        """Return the iterations as text."""
        return [grouped(round(value)) if abs(value - round(value)) < 1e-6 else "" for value in values]

    def apply_theme(self, theme: Theme) -> None:
        """Use the colours of a theme."""
        paint_axis(self, theme, self.title)


def paint_axis(axis: pg.AxisItem, theme: Theme, title: str) -> None:
    """Give an axis and the grid that goes out from it their colours."""
    axis.setPen(pg.mkPen(theme.line))
    axis.setTickPen(pg.mkPen(theme.dim))
    axis.setTextPen(pg.mkPen(theme.dim))
    axis.setGrid(GRID)
    if title:
        axis.setLabel(title, color=theme.dim, **{"font-size": f"{FONT_SIZE}pt"})


def _linear_values(low: float, high: float) -> list[tuple[float, list[float]]]:
    """Return the logarithms of a few round numbers between two that are close to each other."""
    step = 10.0 ** math.floor(math.log10((high - low) / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= 5)
    first = math.ceil(low / step)
    return [(step, [math.log10(step * index) for index in range(first, int(high / step) + 1)])]
