"""Curves that cost the same to draw however long they are: only what is in view, at most two points a pixel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtGui import QColor, QPainter

from ..runs.history import Numbers, decimate, in_view

PALE = 0.3  # how much of a pale curve is seen
APART = 0.8  # dots of the screen between the lines that make a bold curve
DOT = 5  # pixels
MANY_DOTS = 300  # points of a curve in view, from which on they are not dotted any more
OUTLIERS = (1.0, 99.5)  # percentiles of raw values between which all are in view


@dataclass(frozen=True)
class Line:
    """One curve as it is wanted: its numbers and its look. Pale ones are drawn below all others."""

    x: Numbers
    y: Numbers
    colour: str
    bold: bool = False
    pale: bool = False
    dots: bool = False


@dataclass(frozen=True)
class View:
    """What of the curves is in view, on how many pixels, and whether their logarithms are drawn."""

    left: float
    right: float
    pixels: int
    logarithmic: bool = False


def points(x: Numbers, y: Numbers, view: View) -> tuple[Numbers, Numbers]:
    """Return the points to draw; NaN where there is a gap.

    Numbers that are not finite, and on a logarithmic axis those that are not positive, are gaps.
    """
    place, size = in_view(x, view.left, view.right, view.pixels)
    x, y = x[place], y[place]
    few_x, few_y = decimate(x, y, size)
    if not np.all(_drawable(few_y, view)):  # they must not hide the others of their stretch
        few_x, few_y = decimate(x, np.where(_drawable(y, view), y, np.nan), size)
    return few_x, np.log10(few_y) if view.logarithmic else few_y


def _drawable(y: Numbers, view: View) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    finite = np.isfinite(y)
    return finite & (y > 0) if view.logarithmic else finite


class BoldItem(pg.PlotCurveItem):  # type: ignore[misc]
    """A curve that is drawn several times, a bit apart: ten times faster than a smooth line wider than a pixel."""

    def paint(self, painter: QPainter, *args: Any) -> None:
        """Draw the curve again and again to the upper right: where it falls or is level, that makes it wider."""
        super().paint(painter, *args)
        width, height = self.pixelSize()
        ratio = painter.device().devicePixelRatio()
        for _ in range(math.ceil(ratio)):
            painter.translate(APART * width / ratio, APART * height / ratio)
            super().paint(painter, *args)


class Curve:
    """One curve of a plot; ``x`` and ``y`` are the points that it draws."""

    def __init__(self, plot: pg.PlotItem, line: Line) -> None:
        self.plot = plot
        self.look = look_of(line)
        self.item = (BoldItem if line.bold else pg.PlotCurveItem)(connect="finite", antialias=not line.pale)
        self.item.setZValue(0 if line.pale else 1)
        colour = QColor(line.colour)
        colour.setAlphaF(PALE if line.pale else 1.0)
        self.item.setPen(pg.mkPen(colour))
        self.dots: pg.ScatterPlotItem | None = None
        self.x = self.y = np.empty(0)
        plot.addItem(self.item, ignoreBounds=True)

    def draw(self, line: Line, view: View) -> None:
        """Draw what is in view of a line."""
        if line.bold:  # half as many points of an average, which is smooth, look the same
            view = replace(view, pixels=view.pixels // 2)
        self.x, self.y = points(line.x, line.y, view)
        self.item.setData(self.x, self.y, skipFiniteCheck=bool(np.all(np.isfinite(self.y))))
        if line.dots:
            self._draw_dots(line)

    def _draw_dots(self, line: Line) -> None:
        if self.dots is None:
            self.dots = pg.ScatterPlotItem(size=DOT, pen=None, pxMode=True)
            self.dots.setZValue(2)
            self.plot.addItem(self.dots, ignoreBounds=True)
        seen = np.isfinite(self.y) if len(self.y) <= MANY_DOTS else np.zeros(len(self.y), bool)
        self.dots.setData(self.x[seen], self.y[seen], brush=QColor(line.colour))

    def remove(self) -> None:
        """Take it out of its plot."""
        self.plot.removeItem(self.item)
        if self.dots is not None:
            self.plot.removeItem(self.dots)


class Curves:
    """All curves of a plot by name; those that are not wanted any more vanish."""

    def __init__(self, plot: pg.PlotItem) -> None:
        self.plot = plot
        self.by_name: dict[str, Curve] = {}

    def draw(self, lines: Mapping[str, Line], view: View) -> None:
        """Draw these lines and no others."""
        for name, curve in list(self.by_name.items()):
            if name not in lines or curve.look != look_of(lines[name]):
                self.by_name.pop(name).remove()
        for name, line in lines.items():
            if name not in self.by_name:
                self.by_name[name] = Curve(self.plot, line)
            self.by_name[name].draw(line, view)

    def extent(self, lines: Mapping[str, Line]) -> tuple[float, float] | None:
        """Return the least and the largest value that should be in view: all averages, raw ones without outliers."""
        raw = _finite(self.by_name[name].y for name, line in lines.items() if line.pale)
        rest = _finite(self.by_name[name].y for name, line in lines.items() if not line.pale)
        ends = [*np.percentile(raw, OUTLIERS)] if len(raw) else []
        if len(rest):
            ends += [rest.min(), rest.max()]
        return (float(min(ends)), float(max(ends))) if ends else None


def look_of(line: Line) -> tuple[str, bool, bool]:
    """Return what a curve is made with; one that is to look different is made anew."""
    return line.colour, line.bold, line.pale


def _finite(arrays: Iterable[Numbers]) -> Numbers:
    values = np.concatenate([np.empty(0), *arrays])
    found: Numbers = values[np.isfinite(values)]
    return found
