"""A line through all plots at the mouse, and a box with every number of that iteration."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QCoreApplication, QPoint, QPointF, Qt
from PySide6.QtWidgets import QWidget

from yolo_subbatch.folder.events import Val
from yolo_subbatch.settings.number_texts import brief, grouped, percent, shortest

from ..runs.history import TOTAL, Averages
from ..toolkit.text_labels import Label
from ..toolkit.text_labels import shown as shown_text
from ..toolkit.theme import interface_font
from .axes import FONT_SIZE
from .lines import Overlay, Shown

AWAY = 14  # pixels between the line and the box


@dataclass(frozen=True)
class Reading:
    """One number in the box: what it is, how it reads, in which colour its curve is."""

    name: str
    value: str
    colour: str = ""
    raw: str = ""


def readings(shown: Shown, step: int) -> list[Reading]:
    """Return every visible number of an iteration; none of one that the run has not reached."""
    found: list[Reading] = []
    if shown.run is not None and (index := place_of(shown.run, step)) is not None:
        found += [_column(shown, shown.run, part, index) for part in shown.parts]
        found += _validation(shown, shown.run.history.validations, step)
        found += _others(shown, shown.run, index)
    return found + [reading for other in shown.others for reading in _compared(shown, other, step)]


def place_of(run: Averages, step: int) -> int | None:
    """Return the place of the newest update up to an iteration; None before the first and after the last."""
    steps = run.history.steps.values
    if not len(steps) or not steps[0] <= step <= steps[-1]:
        return None
    return int(np.searchsorted(steps, step, "right")) - 1


def _column(shown: Shown, run: Averages, name: str, index: int) -> Reading:
    raw = brief(float(run.history.columns[name].values[index]))
    colour = shown.theme.colour_of(name)
    title = QCoreApplication.translate("Plots", "|g|") if name == "gnorm" else name
    if not shown.keep:
        return Reading(title, raw, colour)
    return Reading(title, brief(float(run.of(name, shown.keep)[index])), colour, raw)


def _validation(shown: Shown, validations: Sequence[Val], step: int) -> list[Reading]:
    """Return what the newest validation up to then found."""
    last = next((val for val in reversed(validations) if val.step <= step), None)
    if last is None:
        return []
    figures = (
        (QCoreApplication.translate("Plots", "accuracy"), last.accuracy, "map50"),
        ("mAP50", last.map50, "map50"),
        ("mAP50-95", last.map, "map"),
    )
    return [
        Reading(name, f"{percent(value)} %", shown.theme.colour_of(series))
        for name, value, series in figures
        if value is not None
    ]


def _others(shown: Shown, run: Averages, index: int) -> list[Reading]:
    columns = run.history.columns
    rate, speed = float(columns["lr"].values[index]), float(columns["ips"].values[index])
    found = [_column(shown, run, "gnorm", index)]
    found.append(Reading(QCoreApplication.translate("Plots", "lr"), _rate(rate), shown.theme.colour_of("lr")))
    if speed == speed:
        found.append(Reading(QCoreApplication.translate("Plots", "images / s"), brief(speed)))
    return found


def _compared(shown: Shown, other: Overlay, step: int) -> list[Reading]:
    index = place_of(other.averages, step)
    if index is None or TOTAL not in other.history.parts:
        return []
    value = float(other.averages.of(TOTAL, shown.keep)[index])
    return [Reading(other.name, brief(value), other.colour)]


def _rate(value: float) -> str:
    return shortest(float(f"{value:.4g}")) if value == value else "-"


class Crosshair:
    """Follows the mouse over some plots that share their iterations.

    Args:
        parent: The widget that holds the plots.
        plots: The plots.
    """

    def __init__(self, parent: QWidget, plots: Sequence[pg.PlotItem]) -> None:
        self.parent, self.plots = parent, plots
        self.shown: Shown | None = None
        self.at: QPointF | None = None
        self.lines = [pg.InfiniteLine(angle=90, movable=False) for _ in plots]
        for plot, line in zip(plots, self.lines, strict=True):
            line.setZValue(5)
            line.hide()
            plot.addItem(line, ignoreBounds=True)
        self.box = Label(parent=parent)
        self.box.setProperty("role", "card")
        self.box.setFont(interface_font(FONT_SIZE))
        self.box.setTextFormat(Qt.TextFormat.RichText)
        self.box.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.box.setMargin(5)
        self.box.hide()

    def show(self, shown: Shown) -> None:
        """Use what was drawn anew."""
        if self.shown is None or shown.theme is not self.shown.theme:
            for line in self.lines:
                line.setPen(pg.mkPen(shown.theme.accent))
        self.shown = shown
        if self.at is not None:
            self.move_to(self.at)

    def hide(self) -> None:
        """Go away until the mouse comes back."""
        self.at = None
        self.box.hide()
        for line in self.lines:
            line.hide()

    def move_to(self, at: QPointF) -> None:
        """Go to a place of the scene; away where no plot is."""
        over = next((plot for plot in self.plots if plot.vb.sceneBoundingRect().contains(at)), None)
        if over is None or self.shown is None:
            self.hide()
            return
        self.at = at
        step = round(over.vb.mapSceneToView(at).x())
        for line in self.lines:
            line.setValue(step)
            line.show()
        self.box.setText(_table(step, readings(self.shown, step), self.shown.theme.dim))
        self.box.adjustSize()
        self._place(at.toPoint())
        self.box.show()

    def _place(self, at: QPoint) -> None:
        """Put the box beside the mouse, on the side that has room for it."""
        right = at.x() + AWAY
        if right + self.box.width() > self.parent.width():
            right = max(0, at.x() - AWAY - self.box.width())
        down = min(at.y() + AWAY, self.parent.height() - self.box.height() - 2)
        self.box.move(right, max(0, down))
        self.box.raise_()


def _table(step: int, rows: Sequence[Reading], dim: str) -> str:
    """Return the content of the box."""
    title = QCoreApplication.translate("Plots", "iteration {step}").format(step=grouped(step))
    cells = "".join(
        f'<tr><td><span style="color:{row.colour or "transparent"}">■</span> {html.escape(shown_text(row.name))}</td>'
        f'<td align="right">&nbsp;&nbsp;{row.value}</td>'
        f'<td align="right" style="color:{dim}">&nbsp;&nbsp;{row.raw}</td></tr>'
        for row in rows
    )
    return f'<b>{title}</b><table cellspacing="0" cellpadding="0">{cells}</table>'
