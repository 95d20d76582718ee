"""The four plots below each other: loss, mAP, norm of the gradient, learning rate, over the same iterations."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyqtgraph as pg
from PySide6.QtCore import QCoreApplication, QEvent, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QResizeEvent
from PySide6.QtWidgets import QGraphicsSimpleTextItem, QWidget

from yolo_subbatch.settings.number_texts import shortest

from ..runs.history import History
from ..toolkit.theme import Theme, interface_font
from .axes import FONT_SIZE, IterationAxis, ValueAxis
from .crosshair import Crosshair
from .curves import Curves, Line, View
from .lines import Shown, loss_lines, map_lines, norm_lines, rate_lines
from .marks import Marks, WarningMarks, best_mark, loss_marks

ROOM = 0.06  # of the height that stays free below; twice that above
FOR_LABELS = 0.17  # of the height of the loss plot that stays free below, for the labels of its marks
SLACK = 0.65  # a range stays as it is while what is in view fills this part of it
LIMIT_IN_VIEW = 3.0  # how many times higher than all values a limit may be and still be in view
STRIP_TICKS = 0.6  # how many numbers stand at the lower plots, which are not high
SHARES = (5, 2, 2, 2)  # of the height: loss, mAP, norm, rate
NEWEST_WARNINGS = 500


class Plot:
    """One of the plots.

    Args:
        item: Where it is drawn.
        axis: Its left axis.
        lines: Says what it draws.
        from_zero: Whether its range begins at 0, as of what cannot be negative.
        below: Share of what is in view that stays free below it.
    """

    def __init__(
        self,
        item: pg.PlotItem,
        axis: ValueAxis,
        lines: Callable[[Shown], dict[str, Line]],
        from_zero: bool = False,
        below: float = ROOM,
    ) -> None:
        self.item, self.axis, self.lines, self.from_zero, self.below = item, axis, lines, from_zero, below
        self.box: pg.ViewBox = item.vb
        self.curves = Curves(item)
        self.fitted = False
        item.hideButtons()
        item.setMenuEnabled(False)
        item.disableAutoRange()
        item.setMouseEnabled(x=True, y=False)

    def draw(self, shown: Shown, logarithmic: bool = False, limit: float | None = None) -> None:
        """Draw what is in view of the lines, and fit the range to it.

        Args:
            shown: What there is to draw.
            logarithmic: Draw the logarithms.
            limit: A value that is in view too, unless it is far above all others.
        """
        if self.axis.logarithmic != logarithmic:
            self.axis.logarithmic = logarithmic
            self.axis.picture = None
        lines = self.lines(shown)
        (left, right), _ = self.box.viewRange()
        self.curves.draw(lines, View(left, right, max(int(self.box.width()), 1), logarithmic))
        extent = self.curves.extent(lines)
        if extent is not None:
            self._fit(*self._with_limit(*extent, limit))

    def _with_limit(self, low: float, high: float, limit: float | None) -> tuple[float, float]:
        """Widen a range to a limit, unless that is far away; of logarithms, if the axis shows these."""
        if self.axis.logarithmic:
            near = limit is not None and low - 2 <= math.log10(limit) <= high + math.log10(LIMIT_IN_VIEW)
            return (min(low, math.log10(limit)), max(high, math.log10(limit))) if near and limit else (low, high)
        if limit is not None and limit <= LIMIT_IN_VIEW * high:
            high = max(high, limit)
        return 0.0 if self.from_zero else low, high

    def _fit(self, low: float, high: float) -> None:
        """Have these values in view; a range that fits well enough stays, for a steady picture."""
        shown_low, shown_high = self.box.viewRange()[1]
        if high - low < 1e-9 * max(abs(high), abs(low), 1e-9):
            from_zero = self.from_zero and not self.axis.logarithmic
            low, high = (0.0, 2 * high or 1.0) if from_zero else (low - 0.5, high + 0.5)
        if self.fitted and shown_low <= low and high <= shown_high and high - low >= SLACK * (shown_high - shown_low):
            return
        self.fitted = True
        span = high - low
        self.box.setYRange(low - self.below * span, high + 2 * ROOM * span, padding=0)

    def apply_theme(self, theme: Theme) -> None:
        """Use the colours of a theme."""
        self.axis.apply_theme(theme)
        self.item.getAxis("bottom").apply_theme(theme)


class Corner:
    """Words at the right edge of a plot: above a value, below it where there is no room, or in the upper corner."""

    def __init__(self, plot: Plot) -> None:
        self.box = plot.box
        self.text = QGraphicsSimpleTextItem(plot.box)
        self.text.setFont(interface_font(FONT_SIZE))
        self.text.setZValue(20)

    def show(self, text: str, colour: str, value: float) -> None:
        """Show a text at a value of the plot."""
        self.text.setText(text)
        self.text.setBrush(QColor(colour))
        size, (low, high) = self.text.boundingRect(), self.box.viewRange()[1]
        line = self.box.height() * (high - value) / (high - low)
        above = line - size.height()
        self.text.setPos(self.box.width() - size.width() - 6, above if above > 0 else max(1.0, line))


class Plots(pg.GraphicsLayoutWidget):  # type: ignore[misc]
    """The plots, with marks and a crosshair through all of them. ``draw`` draws anew; nothing else does."""

    zoomed = Signal(float, float)  #: the user zoomed or moved to these iterations
    everything_wanted = Signal()  #: a double click
    resized = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.ci.layout.setContentsMargins(4, 2, 10, 0)
        self.ci.layout.setSpacing(8)
        translate = QCoreApplication.translate
        self.loss = self._plot(0, translate("Plots", "loss"), loss_lines)
        self.map = self._plot(1, translate("Plots", "mAP"), map_lines, from_zero=True)
        self.norm = self._plot(2, translate("Plots", "|g|"), norm_lines, from_zero=True)
        self.rate = self._plot(
            3, translate("Plots", "lr"), rate_lines, from_zero=True, under=translate("Plots", "iteration")
        )
        self.all = (self.loss, self.map, self.norm, self.rate)
        for plot in self.all[1:]:
            plot.axis.setTickDensity(STRIP_TICKS)
            plot.item.setXLink(self.loss.item)
        for plot in self.all:
            plot.box.sigRangeChangedManually.connect(lambda _, box=plot.box: self.zoomed.emit(*box.viewRange()[0]))
        self.marks, self.best = Marks(self.loss.item, theme), Marks(self.map.item, theme)
        self.warnings = WarningMarks(self.loss.item, theme)
        self.clip_line = pg.InfiniteLine(angle=0, movable=False)
        self.norm.item.addItem(self.clip_line, ignoreBounds=True)
        self.clip_text = Corner(self.norm)
        self.crosshair = Crosshair(self, [plot.item for plot in self.all])
        self.shown = Shown(theme)
        self.scene().sigMouseMoved.connect(self.crosshair.move_to)
        self.apply_theme(theme)

    def _plot(
        self,
        row: int,
        title: str,
        lines: Callable[[Shown], dict[str, Line]],
        from_zero: bool = False,
        under: str = "",
    ) -> Plot:
        axis = ValueAxis(title)
        item = self.addPlot(row=row, col=0, axisItems={"left": axis, "bottom": IterationAxis(under)})
        self.ci.layout.setRowStretchFactor(row, SHARES[row])
        return Plot(item, axis, lines, from_zero, ROOM if row else FOR_LABELS)

    def draw(self, shown: Shown, left: float, right: float) -> None:
        """Draw these iterations of everything that is to be shown."""
        self.shown = shown
        self.loss.box.setXRange(left, right, padding=0)
        history = shown.run.history if shown.run is not None else History()
        self.loss.draw(shown, shown.logarithmic)
        self.map.draw(shown)
        self.norm.draw(shown, shown.logarithmic, limit=clip_of(history))
        self.rate.draw(shown)
        self.marks.show(loss_marks(history))
        self.best.show(best_mark(history))
        self.warnings.show([(step, warning.text) for step, warning in history.warnings[-NEWEST_WARNINGS:]])
        self._show_clip(history)
        self.crosshair.show(shown)

    def _show_clip(self, history: History) -> None:
        clip = clip_of(history)
        self.clip_line.setVisible(clip is not None)
        if clip is None:
            self.clip_text.show("", self.theme.bad, 0.0)
            return
        place = math.log10(clip) if self.norm.axis.logarithmic else clip
        self.clip_line.setValue(place)
        translate = QCoreApplication.translate
        text = translate("Plots", "clip {norm}").format(norm=shortest(clip))
        if len(history):
            share = f"{100 * history.clipped / len(history):.0f}"
            text += " · " + translate("Plots", "clipped {share} %").format(share=share)
        self.clip_text.show(text, self.theme.bad, place)

    def apply_theme(self, theme: Theme) -> None:
        """Use the colours of a theme; what is drawn takes them at the next ``draw``."""
        self.theme = theme
        self.setBackground(theme.panel)
        for plot in self.all:
            plot.apply_theme(theme)
        for marks in (self.marks, self.best):
            marks.clear()
            marks.theme = theme
        self.warnings.apply_theme(theme)
        self.clip_line.setPen(pg.mkPen(theme.bad, style=Qt.PenStyle.DashLine))

    def leaveEvent(self, event: QEvent) -> None:  # noqa: N802
        """Take the crosshair away."""
        self.crosshair.hide()
        super().leaveEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Say that everything is to be drawn anew."""
        super().resizeEvent(event)
        self.resized.emit()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Ask for everything to be in view."""
        super().mouseDoubleClickEvent(event)
        self.everything_wanted.emit()


def clip_of(history: History) -> float | None:
    """Return the largest norm that a gradient may have; None where it is not clipped."""
    clip = history.started.clip if history.started is not None else None
    return clip if clip and math.isfinite(clip) else None
