"""What a run's events said, kept in columns of numbers that plots draw from. No Qt here."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolo_subbatch.folder.events import Event, Image, RunFinished, RunStarted, Step, Val, Warned

Numbers = NDArray[np.float64]
FIRST_ROOM = 1024  # numbers a column has room for at first
TOTAL = "total"
MOST_PARTS = 12  # of the loss, which have a check box each
#: Columns besides the parts of the loss, in the order of a table.
OTHERS = ("darknet_loss", "lr", "gnorm", "ips", "mem_mb", "images", "seen", "epoch", "t")


class Column:
    """Numbers that grow at the end; the room doubles, so that adding costs the same however many there are."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        self.room: Numbers = np.empty(FIRST_ROOM)
        self.size = 0
        self.extend(np.fromiter(values, np.float64))

    def __len__(self) -> int:
        return self.size

    @property
    def values(self) -> Numbers:
        """A view of the numbers; it is valid until the next ``extend``."""
        return self.room[: self.size]

    def extend(self, more: Numbers) -> None:
        """Add numbers at the end."""
        wanted = self.size + len(more)
        if wanted > len(self.room):
            room = np.empty(max(wanted, 2 * len(self.room)))
            room[: self.size] = self.values
            self.room = room
        self.room[self.size : wanted] = more
        self.size = wanted


class Smoothed:
    """The exponential moving average of a column, brought up to date by what was added alone.

    It is corrected for its beginning: the first numbers are averaged over as many as there are, and do not stick to
    the very first one. Numbers that are not finite do not count: the average stays where it was.

    Args:
        source: The raw numbers.
        keep: Share of the old average that each new number leaves, from 0 (no smoothing) to below 1.

    Source: Kingma and Ba 2014, section 3, for the correction.
    """

    def __init__(self, source: Column, keep: float) -> None:
        self.source = source
        self._begin(keep)

    def _begin(self, keep: float) -> None:
        self.keep, self.column = keep, Column()
        self._counted = 0  # finite numbers so far
        self._biased = 0.0  # the average that begins at nothing

    def update(self, keep: float | None = None) -> Numbers:
        """Return the average at every number, all of it anew where ``keep`` has changed."""
        if keep is not None and keep != self.keep:
            self._begin(keep)
        new = self.source.values[len(self.column) :]
        if len(new):
            counts = self._counted + np.cumsum(np.isfinite(new))
            biased = moving_average(new, self.keep, self._biased)
            self._counted, self._biased = int(counts[-1]), float(biased[-1])
            with np.errstate(invalid="ignore", under="ignore"):  # nothing over nothing, before the first finite number
                self.column.extend(biased / (1 - self.keep**counts))
        return self.column.values


def moving_average(values: Numbers, keep: float, before: float = math.nan) -> Numbers:
    """Return the exponential moving average ``a = keep * a + (1 - keep) * value`` at every value.

    Args:
        values: The numbers, of which those that are not finite leave the average where it was.
        keep: From 0 to below 1.
        before: The average so far; NaN where there is none, and the first finite value starts it.
    """
    finite = np.isfinite(values)
    averages: Numbers = np.full(len(values), before)
    found = values[finite]
    if not len(found):
        return averages
    start, average = 0, before
    if math.isnan(average):
        start, average = 1, float(found[0])
    result = np.empty(len(found))
    result[:start] = average
    # In a block, a_i = keep^(i+1) * a_0 + (1 - keep) * keep^i * sum_j x_j / keep^j; short enough not to overflow.
    length = 1 if keep <= 0 else max(1, min(4096, int(200 / -math.log10(keep))))
    if keep <= 0:
        result[start:] = found[start:]
    else:
        powers = keep ** np.arange(length + 1)
        for first in range(start, len(found), length):
            block = found[first : first + length]
            weights = powers[: len(block)]
            sums = np.cumsum(block / weights)
            result[first : first + len(block)] = powers[1 : len(block) + 1] * average + (1 - keep) * weights * sums
            average = float(result[first + len(block) - 1])
    # Every place takes the average after the last finite value up to it.
    last = np.cumsum(finite) - 1
    known = last >= 0
    averages[known] = result[last[known]]
    return averages


def in_view(x: Numbers, left: float, right: float, stretches: int) -> tuple[slice, int]:
    """Return which places of a curve lie in view, and how many of them make one stretch for ``decimate``.

    A neighbour on either side belongs to it, so that the curve is drawn up to the edge. The length of a stretch is a
    power of two and stretches begin at its multiples: they stay the same while the curve grows or the view moves,
    and what is drawn does not shimmer.
    """
    first = max(0, int(np.searchsorted(x, left)) - 1)
    last = min(len(x), int(np.searchsorted(x, right, "right")) + 1)
    size = 1
    while last - first > size * max(stretches, 1):
        size *= 2
    return slice(first - first % size, min(len(x), last + -last % size)), size


def decimate(x: Numbers, y: Numbers, size: int) -> tuple[Numbers, Numbers]:
    """Return two points for every stretch of so many points of a curve: its least and its largest value.

    What is drawn looks the same, spikes and all, and costs no more however long the curve is. NaN is left out of a
    stretch that has other values.
    """
    if size < 4:  # nothing is saved
        return x, y
    starts = np.arange(0, len(x), size)
    ends = np.minimum(starts + size, len(x)) - 1
    low, high = np.fmin.reduceat(y, starts), np.fmax.reduceat(y, starts)
    rising = y[starts] <= y[ends]  # in this order the two points follow the curve, and a smooth one stays smooth
    few_x, few_y = np.empty(2 * len(starts)), np.empty(2 * len(starts))
    few_x[0::2], few_x[1::2] = x[starts], x[(starts + ends) // 2]
    few_y[0::2], few_y[1::2] = np.where(rising, low, high), np.where(rising, high, low)
    return few_x, few_y


class History:
    """Everything that a run has reported so far.

    ``columns`` holds one column for every part of the loss (``total`` first) and for what else an update reports;
    all are as long as ``steps``, NaN where a number is missing.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.started: RunStarted | None = None
        self.finished: RunFinished | None = None
        self.last: Step | None = None
        self.steps = Column()
        self.parts: list[str] = []
        self.columns: dict[str, Column] = {name: Column() for name in OTHERS}
        self.validations: list[Val] = []
        self.images: list[Image] = []
        self.warnings: list[tuple[int, Warned]] = []
        self.clipped = 0

    def __len__(self) -> int:
        return len(self.steps)

    def take(self, events: Iterable[Event]) -> None:
        """Add events, oldest first."""
        steps: list[Step] = []
        for event in events:
            if isinstance(event, Step):
                steps.append(event)
                self.last = event
            elif isinstance(event, Val):
                self.validations.append(event)
            elif isinstance(event, Image):
                self.images.append(event)
            elif isinstance(event, Warned):
                self.warnings.append((self.last.step if self.last else 0, event))
            elif isinstance(event, RunStarted):
                self.started, self.finished = event, None
            elif isinstance(event, RunFinished):
                self.finished = event
        if steps:
            self._add(steps)

    def _add(self, steps: list[Step]) -> None:
        before = len(self.steps)
        for name in dict.fromkeys(name for step in steps for name in step.loss):
            if name not in self.columns and len(self.parts) < MOST_PARTS:
                self.columns[name] = Column([math.nan] * before)
                self.parts.insert(0 if name == TOTAL else len(self.parts), name)
        self.steps.extend(np.array([step.step for step in steps], np.float64))
        for name in self.parts:
            self.columns[name].extend(_numbers(step.loss.get(name) for step in steps))
        for name in OTHERS:
            self.columns[name].extend(_numbers(getattr(step, name) for step in steps))
        self.clipped += sum(step.clipped for step in steps)

    @property
    def best(self) -> Val | None:
        """The newest validation that was the best so far."""
        return next((val for val in reversed(self.validations) if val.best), None)

    def last_known(self, name: str) -> float | None:
        """Return the newest number of a column that is known."""
        values = self.columns[name].values if name in self.columns else np.empty(0)
        return next((float(value) for value in values[:-100:-1] if value == value), None)

    def write_csv(self, path: Path) -> None:
        """Write every update, all columns, as a table; validations have columns of their own.

        Raises:
            OSError: If the file cannot be written.
        """
        figures = ("map50", "map", "precision", "recall", "accuracy")
        at_step = {val.step: val for val in self.validations}
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", *self.parts, *OTHERS, *figures])
            table = np.stack([self.columns[name].values for name in (*self.parts, *OTHERS)])
            for index, step in enumerate(self.steps.values):
                found = at_step.get(int(step))
                extra = [getattr(found, name) if found else None for name in figures]
                writer.writerow([int(step), *(_text(value) for value in table[:, index]), *map(_text, extra)])


class Averages:
    """The moving averages of a history's columns; each call computes only what is new."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._known: dict[str, Smoothed] = {}

    def of(self, name: str, keep: float) -> Numbers:
        """Return the average of a column at every number of it."""
        source = self.history.columns[name]
        known = self._known.get(name)
        if known is None or known.source is not source:  # the history was cleared meanwhile
            known = self._known[name] = Smoothed(source, keep)
        return known.update(keep)


def _numbers(values: Iterator[float | None] | Iterable[float | None]) -> Numbers:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _text(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.15g}"
