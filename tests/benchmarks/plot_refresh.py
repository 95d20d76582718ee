"""CPU time of one refresh of the plots, four parts of the loss raw and averaged, for runs of several lengths.

Not a test: run it by hand, ``python tests/benchmarks/plot_refresh.py``. A refresh sets the data of all curves and
paints them, with ten new updates each time. *Loss* is the loss plot alone, *all* the four plots; *everything* has the
whole run in view, *newest* follows its last 5000 updates.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PySide6.QtWidgets import QApplication

from yolo_subbatch.folder.events import RunStarted, Step
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.gui.plots.plot_pane import PlotPane
from yolo_subbatch.gui.plots.viewport import Extent
from yolo_subbatch.gui.runs.history import History
from yolo_subbatch.gui.runs.reader import RunReader
from yolo_subbatch.gui.toolkit.theme import LIGHT, apply_theme

SIZES = (10_000, 100_000, 1_000_000)
ROUNDS = 50
NEW = 10  # updates between two refreshes
WINDOW = 5000
PARTS = ("total", "box", "obj", "cls")


def steps(count: int, first: int) -> list[Step]:
    """Return updates of a run whose losses fall and are noisy."""
    numbers = np.arange(first, first + count)
    noise = np.exp(0.3 * np.random.default_rng(first).standard_normal((4, count)))
    losses = (10 * np.exp(-numbers / 3000) + 0.2) * noise * np.array([[4.0], [1.0], [2.0], [0.5]])
    return [
        Step(
            step=int(number),
            epoch=1,
            loss=dict(zip(PARTS, map(float, each), strict=True)),
            lr=1e-3,
            gnorm=5.0 * each[1],
        )
        for number, each in zip(numbers, losses.T, strict=True)
    ]


def fill(history: History, size: int) -> None:
    """Give a history a run of that size, in pieces that fit into memory."""
    history.take([RunStarted(pid=1, steps_total=2 * size, clip=20.0, burn_in=1000)])
    for first in range(1, size + 1, 20_000):
        history.take(steps(min(20_000, size + 1 - first), first))


def measure(pane: PlotPane, history: History, whole: bool) -> float:
    """Return the milliseconds of CPU time that one refresh takes."""
    view = pane.plots.viewport()
    box = pane.plots.loss.item.sceneBoundingRect().toAlignedRect()
    total = 0.0
    for _ in range(ROUNDS):
        history.take(steps(NEW, len(history) + 1))
        began = time.process_time()
        if whole:
            pane.refresh()
            view.repaint()
        else:
            left, right = pane.viewport.edges(Extent(0, len(history), 0))
            pane.plots.loss.box.setXRange(left, right, padding=0)
            pane.plots.loss.draw(pane.plots.shown, logarithmic=True)
            view.repaint(box)
        total += time.process_time() - began
    return 1000 * total / ROUNDS


def main() -> None:
    """Measure every length and print a table."""
    app = QApplication([])
    apply_theme(app, LIGHT)
    print(f"{'updates':>10} {'loss, everything':>18} {'all, everything':>18} {'loss, newest':>18} {'all, newest':>18}")
    for size in SIZES:
        pane = PlotPane(LIGHT)
        pane.resize(940, 480)
        reader = RunReader(RunFolder(Path("benchmark")))
        fill(reader.history, size)
        pane.show_run(reader)
        pane.show()
        pane.refresh()
        app.processEvents()
        found = []
        for zoom in (None, (0.0, float(WINDOW))):
            pane.viewport.follow, pane.viewport.zoom = True, zoom
            pane.refresh()
            found += [measure(pane, reader.history, whole) for whole in (False, True)]
        print(f"{size:>10} " + " ".join(f"{each:>15.1f} ms" for each in found), flush=True)
        pane.close()


if __name__ == "__main__":
    main()
