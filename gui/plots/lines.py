"""What the plots draw of a run and of those it is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yolo_subbatch.folder.events import Val

from ..runs.history import TOTAL, Averages, History, Numbers
from ..toolkit.theme import Theme
from .curves import Line


@dataclass(frozen=True)
class Overlay:
    """Another run, laid over the one that is shown."""

    name: str
    averages: Averages
    colour: str

    @property
    def history(self) -> History:
        """Its numbers."""
        return self.averages.history


@dataclass(frozen=True)
class Shown:
    """Everything that one refresh draws: the run, the others, and how the user wants to see them."""

    theme: Theme
    run: Averages | None = None
    others: Sequence[Overlay] = ()
    keep: float = 0.0
    logarithmic: bool = True
    hidden: frozenset[str] = frozenset()

    @property
    def parts(self) -> list[str]:
        """The parts of the loss that are drawn."""
        return [part for part in self.run.history.parts if part not in self.hidden] if self.run else []


def loss_lines(shown: Shown) -> dict[str, Line]:
    """Return every visible part of the loss, pale and averaged, and the other runs' average of the whole."""
    lines: dict[str, Line] = {}
    for part in reversed(shown.parts):  # the whole is drawn last, on top
        lines |= _raw_and_average(shown, part)
    for other in shown.others:
        if TOTAL in other.history.parts:
            average = other.averages.of(TOTAL, shown.keep)
            lines[f"run {other.name}"] = Line(other.history.steps.values, average, other.colour, bold=shown.keep > 0)
    return lines


def norm_lines(shown: Shown) -> dict[str, Line]:
    """Return the norm of the gradient."""
    return _raw_and_average(shown, "gnorm")


def rate_lines(shown: Shown) -> dict[str, Line]:
    """Return the learning rate."""
    if shown.run is None:
        return {}
    history = shown.run.history
    return {"lr": Line(history.steps.values, history.columns["lr"].values, shown.theme.colour_of("lr"), bold=True)}


def map_lines(shown: Shown) -> dict[str, Line]:
    """Return what validations found: mAP of one overlap and of many, or the accuracy of a network that classifies."""
    lines: dict[str, Line] = {}
    if shown.run is not None:
        found = shown.run.history.validations
        figure = main_figure(found)
        if figure == "map50":
            lines["map"] = _validated(found, "map", shown.theme.colour_of("map"))
        lines[figure] = _validated(found, figure, shown.theme.colour_of("map50"), bold=True)
    for other in shown.others:
        found = other.history.validations
        lines[f"run {other.name}"] = _validated(found, main_figure(found), other.colour)
    return lines


def main_figure(validations: Sequence[Val]) -> str:
    """Return the figure that tells how good a network is: ``accuracy`` of one that classifies, else ``map50``."""
    return "accuracy" if any(val.accuracy is not None for val in validations) else "map50"


def _raw_and_average(shown: Shown, name: str) -> dict[str, Line]:
    """Return a column, pale below its average; without smoothing they are the same."""
    if shown.run is None:
        return {}
    history, colour = shown.run.history, shown.theme.colour_of(name)
    steps, raw = history.steps.values, history.columns[name].values
    if not shown.keep:
        return {name: Line(steps, raw, colour)}
    average = shown.run.of(name, shown.keep)
    return {f"{name} raw": Line(steps, raw, colour, pale=True), name: Line(steps, average, colour, bold=True)}


def _validated(validations: Sequence[Val], figure: str, colour: str, bold: bool = False) -> Line:
    values = [getattr(val, figure) for val in validations]
    return Line(np.array([val.step for val in validations], np.float64), _known(values), colour, bold, dots=True)


def _known(values: Sequence[float | None]) -> Numbers:
    return np.array([math.nan if value is None else value for value in values], np.float64)
