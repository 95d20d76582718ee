"""The plots of real runs' events: what is drawn, in view, marked, read, exported."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, QSettings, Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QCheckBox, QMessageBox
from pytestqt.qtbot import QtBot

from tests.gui import run_files
from yolo_subbatch.folder.events import Event, RunFinished, RunStarted, Step, Val, Warned
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.gui.plots.crosshair import readings
from yolo_subbatch.gui.plots.curves import View, points
from yolo_subbatch.gui.plots.plot_pane import PlotPane
from yolo_subbatch.gui.plots.plot_tools import MOST, keep_of
from yolo_subbatch.gui.plots.viewport import Extent, Viewport
from yolo_subbatch.gui.runs.history import Column, Smoothed
from yolo_subbatch.gui.runs.reader import RunReader
from yolo_subbatch.gui.toolkit.theme import DARK, LIGHT

NAN, INF = math.nan, math.inf
STARTED = RunStarted(pid=1, steps_total=1000, clip=20.0, burn_in=100, lr_steps=[800, 900])
Made = Callable[..., RunReader]


def step(number: int, total: float | None = None, **values: object) -> Step:
    loss = 10 / number if total is None else total
    given = {
        "epoch": 1, "loss": {"total": loss, "box": 0.25 * loss, "obj": 0.5 * loss, "cls": 0.25 * loss}, "lr": 1e-3,
        "gnorm": 5.0 + number % 3, "ips": 100.0, **values,
    }  # fmt: skip
    return Step(step=number, **given)  # type: ignore[arg-type]


def steps(count: int, first: int = 1, **values: object) -> list[Event]:
    return [step(number, **values) for number in range(first, first + count)]  # type: ignore[arg-type]


def write(reader: RunReader, events: Sequence[Event]) -> None:
    """Write events as a training does, and have the reader read them."""
    run_files.write(reader.folder, *events)
    reader.read()
    while reader.progress < 1:
        reader.read()


@pytest.fixture
def run(tmp_path: Path, qtbot: QtBot) -> Made:
    """Make runs with these events in their files."""

    def made(*events: Event, name: str = "first") -> RunReader:
        folder = tmp_path / name
        folder.mkdir()
        reader = RunReader(RunFolder(folder))
        write(reader, events)
        return reader

    return made


@pytest.fixture
def pane(qtbot: QtBot) -> PlotPane:
    made = PlotPane(LIGHT)
    qtbot.addWidget(made)
    made.resize(940, 480)
    made.show()
    qtbot.waitExposed(made)
    return made


def smooth(values: np.ndarray, keep: float) -> np.ndarray:
    return Smoothed(Column(values), keep).update()


def drawn(pane: PlotPane, name: str, plot: str = "loss") -> tuple[np.ndarray, np.ndarray]:
    curve = getattr(pane.plots, plot).curves.by_name[name]
    x, y = curve.item.getData()
    return x, y


def in_view(pane: PlotPane) -> tuple[float, float]:
    left, right = pane.plots.loss.box.viewRange()[0]
    return left, right


def show(pane: PlotPane, reader: RunReader | None) -> None:
    pane.show_run(reader)
    pane.refresh()


# What is drawn


def test_raw_and_averaged_curves(pane: PlotPane, run: Made) -> None:
    show(pane, run(STARTED, *steps(300)))
    steps_, total = np.arange(1.0, 301.0), 10 / np.arange(1.0, 301.0)
    x, y = drawn(pane, "total raw")
    np.testing.assert_array_equal(x, steps_)
    np.testing.assert_allclose(y, np.log10(total))
    np.testing.assert_allclose(drawn(pane, "total")[1], np.log10(smooth(total, 0.98)))
    np.testing.assert_allclose(drawn(pane, "obj raw")[1], np.log10(0.5 * total))
    assert drawn(pane, "lr", "rate")[1].tolist() == [1e-3] * 300
    assert {round(10**each, 6) for each in drawn(pane, "gnorm raw", "norm")[1]} == {5, 6, 7}
    assert set(pane.plots.loss.curves.by_name) == {
        f"{part}{raw}" for part in ("total", "box", "obj", "cls") for raw in ("", " raw")
    }


def test_logarithmic_and_linear(pane: PlotPane, run: Made) -> None:
    show(pane, run(*steps(50)))
    assert pane.plots.loss.axis.tickStrings([1.0, 0.0, -1.0, -4.0], 1, 1) == ["10", "1", "0.1", "1e-4"]
    pane.log_action.setChecked(False)
    pane.refresh()
    np.testing.assert_allclose(drawn(pane, "total raw")[1], 10 / np.arange(1.0, 51.0))
    assert pane.plots.loss.axis.tickStrings([10.0, 0.5], 1, 1) == ["10", "0.5"]
    low, high = pane.plots.loss.box.viewRange()[1]
    assert low < 0.05
    assert high > 10
    pane.log_action.setChecked(True)
    pane.refresh()
    assert pane.plots.loss.box.viewRange()[1][1] < 2


def test_a_spike_of_one_update_among_a_million_is_drawn(pane: PlotPane, run: Made) -> None:
    reader = run(*steps(1))
    history, more = reader.history, 999_999
    history.steps.extend(np.arange(2.0, more + 2))
    for name, column in history.columns.items():
        column.extend(np.full(more, 0.5 if name in history.parts else 1.0))
    history.columns["cls"].values[654_321] = 700.0
    pane.tools.slider.setValue(0)
    show(pane, reader)
    x, y = drawn(pane, "cls")
    assert y.max() == pytest.approx(math.log10(700))
    assert abs(x[y.argmax()] - 654_321) < 4000
    assert len(x) <= 2 * pane.plots.loss.box.width()


def test_odd_numbers_are_gaps_and_no_faults(pane: PlotPane, run: Made) -> None:
    for place, (value, logarithmic) in enumerate(product((NAN, INF, -INF, 0.0, -3.0), (True, False))):
        reader = run(STARTED, *steps(20), name=f"run{place}")
        reader.history.take([step(number, value, gnorm=value, lr=value, ips=value) for number in range(21, 24)])
        reader.history.take(steps(20, 24))
        reader.history.take([Val(step=43, epoch=1, map50=value, map=value, best=True)])
        pane.log_action.setChecked(logarithmic)
        show(pane, reader)
        pane.grab()
        y = drawn(pane, "total raw")[1]
        assert np.isfinite(y[20:23]).any() == (math.isfinite(value) and not logarithmic)
        assert np.isfinite(y[:20]).all()
        assert np.isfinite(y[23:]).all()
        assert all(math.isfinite(end) for plot in pane.plots.all for end in plot.box.viewRange()[1])


def test_a_zero_does_not_hide_its_neighbours() -> None:
    y = np.full(10_000, 0.5)
    y[::10] = 0.0
    y[5003] = INF
    y[7001] = 9.0
    _, few = points(np.arange(10_000.0), y, View(0, 10_000, 100, logarithmic=True))
    assert np.isfinite(few).all()
    assert (few.min(), few.max()) == (math.log10(0.5), math.log10(9.0))


def test_only_zeros_or_nothing_at_all(pane: PlotPane, run: Made) -> None:
    pane.log_action.setChecked(False)
    show(pane, run(*steps(5, total=0.0, gnorm=0.0, lr=0.0)))
    pane.grab()
    assert drawn(pane, "total")[1].tolist() == [0.0] * 5
    low, high = pane.plots.loss.box.viewRange()[1]
    assert low < 0 < high, "zero is in view, and not at the edge"
    for plot in (pane.plots.norm, pane.plots.rate):
        low, high = plot.box.viewRange()[1]
        assert -0.2 < low < 0 < 0.5 < high, "what cannot be negative begins at zero"
    assert pane.stack.currentWidget() is pane.plots
    show(pane, run(STARTED, name="second"))
    pane.grab()
    assert pane.stack.currentWidget() is pane.empty


def test_raw_outliers_do_not_flatten_the_curves(pane: PlotPane, run: Made) -> None:
    events = steps(500, total=1.0)
    events[250] = step(251, 1e9)
    pane.log_action.setChecked(False)
    reader = run(*events)
    show(pane, reader)
    high = pane.plots.loss.box.viewRange()[1][1]
    average = smooth(reader.history.columns["total"].values, pane.tools.keep).max()
    assert average < high < 1.5 * average


def test_parts_of_other_models(pane: PlotPane, run: Made) -> None:
    reader = run(
        *[Step(step=n, epoch=1, loss={"box": 1.0, "cls": 2.0, "dfl": 1.5}, lr=0.1, gnorm=None) for n in range(1, 9)]
    )
    show(pane, reader)
    assert list(pane.legend.boxes) == ["box", "cls", "dfl"]
    assert np.isnan(drawn(pane, "gnorm raw", "norm")[1]).all()
    reader.history.take([Step(step=9, epoch=1, loss={"total": 4.5, "seg": 1.0}, lr=0.1, gnorm=1.0)])
    pane.refresh()
    assert list(pane.legend.boxes) == ["total", "box", "cls", "dfl", "seg"]
    assert np.isfinite(drawn(pane, "seg raw")[1]).sum() == 1


def test_a_part_is_hidden_by_its_box(pane: PlotPane, run: Made, qtbot: QtBot) -> None:
    show(pane, run(*steps(30)))
    box = pane.legend.boxes["obj"]
    assert box.focusPolicy() & Qt.FocusPolicy.TabFocus
    box.setFocus()
    qtbot.keyClick(box, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: "obj" not in pane.plots.loss.curves.by_name)
    assert "obj raw" not in pane.plots.loss.curves.by_name
    box.setChecked(True)
    qtbot.waitUntil(lambda: "obj" in pane.plots.loss.curves.by_name)


def test_smoothing(pane: PlotPane, run: Made, qtbot: QtBot) -> None:
    show(pane, run(*steps(100)))
    assert (keep_of(0), keep_of(MOST)) == (0, 0.999)
    assert pane.tools.value.text() == "0.98"
    pane.tools.set_keep(0.5)
    qtbot.waitUntil(lambda: pane.plots.shown.keep == pane.tools.keep)
    total = 10 / np.arange(1.0, 101.0)
    np.testing.assert_allclose(drawn(pane, "total")[1], np.log10(smooth(total, pane.tools.keep)))
    pane.tools.slider.setValue(0)
    qtbot.waitUntil(lambda: "total raw" not in pane.plots.loss.curves.by_name)
    np.testing.assert_allclose(drawn(pane, "total")[1], np.log10(total))
    assert pane.tools.value.text() == "0"


def test_validations(pane: PlotPane, run: Made) -> None:
    found = [Val(step=at, epoch=1, map50=at / 100, map=at / 200, best=at == 60) for at in (20, 40, 60, 80)]
    show(pane, run(*steps(80), *found))
    assert [each.tolist() for each in drawn(pane, "map50", "map")] == [[20, 40, 60, 80], [0.2, 0.4, 0.6, 0.8]]
    assert drawn(pane, "map", "map")[1].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert len(pane.plots.map.curves.by_name["map50"].dots.data) == 4
    assert [mark.text for mark in pane.plots.best.marks] == ["best 60.0 %"]
    low, high = pane.plots.map.box.viewRange()[1]
    assert low < 0 < 0.8 < high < 1.3


def test_the_accuracy_of_a_network_that_classifies(pane: PlotPane, run: Made) -> None:
    show(pane, run(*steps(9), Val(step=9, epoch=1, map50=None, map=None, accuracy=0.75, best=True)))
    assert drawn(pane, "accuracy", "map")[1].tolist() == [0.75]
    assert pane.plots.best.marks[0].text == "best 75.0 %"
    assert ("accuracy", "75.0 %") in [(each.name, each.value) for each in readings(pane.plots.shown, 9)]


# Marks


def test_marks_of_a_run(pane: PlotPane, run: Made) -> None:
    warned = Warned(code="nan_loss", text="left out")
    show(pane, run(STARTED, *steps(400), warned, Val(step=400, epoch=1, map50=0.5, map=0.2, best=True)))
    pane.follow_action.setChecked(False)
    pane.refresh()
    assert [(mark.step, mark.text) for mark in pane.plots.marks.marks] == [
        (100, "burn-in end"), (400, "best"), (800, "lr step"), (900, "lr step"),
    ]  # fmt: skip
    assert [line.value() for line in pane.plots.marks.lines] == [100, 400, 800, 900]
    assert all(line.label.isVisible() for line in pane.plots.marks.lines)
    assert [point.data() for point in pane.plots.warnings.item.points()] == ["left out"]
    assert pane.plots.warnings.item.points()[0].pos().x() == 400
    low, high = pane.plots.loss.box.viewRange()[1]
    assert low < pane.plots.warnings.item.points()[0].pos().y() < high


def test_labels_that_would_overlap_are_left_out(pane: PlotPane, run: Made) -> None:
    started = RunStarted(pid=1, steps_total=1000, lr_steps=list(range(500, 600, 5)))
    show(pane, run(started, *steps(1000)))
    lines = pane.plots.marks.lines
    assert len(lines) == 20
    places = [line.value() * pane.plots.loss.box.width() / 1000 for line in lines if line.label.isVisible()]
    assert 1 < len(places) < 4
    assert np.diff(places).min() >= 55


def test_the_clip_line(pane: PlotPane, run: Made) -> None:
    pane.log_action.setChecked(False)
    for place, (clip, text) in enumerate(((20.0, "clip 20 · clipped 25 %"), (0.0, ""), (None, ""), (INF, ""))):
        reader = run(name=f"run{place}")
        started = RunStarted(pid=1, steps_total=8, clip=clip)
        reader.history.take([started, *steps(6), *steps(1, 7, clipped=True)])
        reader.history.take(steps(1, 8, clipped=True))
        show(pane, reader)
        assert pane.plots.clip_text.text.text() == text
        assert pane.plots.clip_line.isVisible() == bool(text)
        if text:
            assert pane.plots.clip_line.value() == 20
            assert pane.plots.norm.box.viewRange()[1][1] > 20


def test_the_clip_line_among_logarithms(pane: PlotPane, run: Made) -> None:
    show(pane, run(RunStarted(pid=1, steps_total=8, clip=20.0), *steps(8, gnorm=300.0)))
    assert pane.plots.clip_line.value() == pytest.approx(np.log10(20))
    low, high = pane.plots.norm.box.viewRange()[1]
    assert low < np.log10(20) < np.log10(300) < high
    np.testing.assert_allclose(drawn(pane, "gnorm", "norm")[1], np.log10(300))


def test_a_clip_far_above_is_not_in_view(pane: PlotPane, run: Made) -> None:
    show(pane, run(RunStarted(pid=1, steps_total=9, clip=1000.0), *steps(9)))
    assert pane.plots.norm.box.viewRange()[1][1] < 20
    assert pane.plots.clip_text.text.text().startswith("clip 1000")
    assert pane.plots.clip_text.text.y() >= 0


# What is in view


def test_follow_grows_with_the_run(pane: PlotPane, run: Made) -> None:
    reader = run(STARTED, *steps(100))
    show(pane, reader)
    left, right = in_view(pane)
    assert left == 0
    assert 100 <= right < 105
    write(reader, steps(300, 101))
    pane.refresh()
    left, right = in_view(pane)
    assert left == 0
    assert 400 <= right < 410
    for plot in pane.plots.all:
        assert plot.box.viewRange()[0] == pytest.approx([left, right])


def test_without_follow_the_whole_run_is_in_view(pane: PlotPane, run: Made) -> None:
    show(pane, run(STARTED, *steps(100)))
    pane.follow_action.setChecked(False)
    pane.refresh()
    assert in_view(pane) == (0, 1000)


def test_the_mouse_moves_and_ends_follow(pane: PlotPane, run: Made, qtbot: QtBot) -> None:
    reader = run(STARTED, *steps(400))
    show(pane, reader)
    qtbot.wait(60)
    box = pane.plots.norm.box
    drag(pane, box.sceneBoundingRect().center().toPoint(), 150)
    assert not pane.follow_action.isChecked()
    pane.refresh()
    moved = in_view(pane)
    assert moved[0] == 0
    pane.plots.zoomed.emit(200.0, 300.0)
    pane.refresh()
    assert in_view(pane) == (200, 300)
    assert drawn(pane, "total raw")[0][[0, -1]].tolist() == [199, 301]
    write(reader, steps(100, 401))
    pane.refresh()
    assert in_view(pane) == (200, 300)
    pane.follow_action.setChecked(True)
    pane.refresh()
    left, right = in_view(pane)
    assert right - left == 100
    assert 500 <= right < 503
    pane.reset_action.trigger()
    pane.refresh()
    assert in_view(pane)[0] == 0
    assert pane.follow_action.isChecked()


def drag(pane: PlotPane, start: QPoint, right: int) -> None:
    """Drag with the left button."""
    view = pane.plots.viewport()
    QTest.mousePress(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, start)
    for part in range(1, 6):
        QTest.mouseMove(view, start + QPoint(right * part // 5, 0), 30)
    QTest.mouseRelease(view, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, start + QPoint(right, 0))


def test_a_double_click_shows_everything(pane: PlotPane, run: Made, qtbot: QtBot) -> None:
    show(pane, run(STARTED, *steps(400)))
    pane.plots.zoomed.emit(200.0, 300.0)
    pane.refresh()
    middle = pane.plots.loss.box.sceneBoundingRect().center().toPoint()
    qtbot.mouseDClick(pane.plots.viewport(), Qt.MouseButton.LeftButton, pos=middle)
    pane.refresh()
    assert in_view(pane) == (0, 1000)


def test_a_viewport_goes_no_further_than_everything() -> None:
    extent = Extent(0, 500, 1000)
    viewport = Viewport()
    viewport.zoom_to(-200, 1200, extent)
    assert (viewport.follow, viewport.edges(extent)) == (False, (0, 1000))
    viewport.zoom_to(-50, 400, extent)
    assert viewport.edges(extent) == (0, 400)
    viewport.zoom_to(2000, 3000, extent)
    assert viewport.edges(extent) == (0, 1000)
    viewport.zoom_to(100, 200, extent)
    viewport.set_follow(True, extent)
    assert viewport.edges(extent) == (400, 500)
    viewport.set_follow(False, Extent(0, 700, 1000))
    assert viewport.edges(Extent(0, 900, 1000)) == (600, 700)
    viewport.zoom_to(0, 950, extent)
    viewport.set_follow(True, extent)
    assert viewport.zoom is None


def test_the_range_of_a_steady_curve_stays(pane: PlotPane, run: Made) -> None:
    reader = run(*steps(400, total=2.0))
    show(pane, reader)
    before = [plot.box.viewRange()[1] for plot in pane.plots.all]
    write(reader, steps(1, 401, total=2.01))
    pane.refresh()
    assert [plot.box.viewRange()[1] for plot in pane.plots.all] == before


# Runs


def test_new_events_are_drawn(pane: PlotPane, run: Made, qtbot: QtBot) -> None:
    reader = run(STARTED, *steps(10))
    pane.show_run(reader)
    qtbot.waitUntil(lambda: len(pane.plots.loss.curves.by_name) == 8)
    write(reader, steps(10, 11))
    qtbot.waitUntil(lambda: drawn(pane, "total raw")[0][-1] == 20)


def test_a_restart_empties_the_curves(pane: PlotPane, run: Made, qtbot: QtBot) -> None:
    reader = run(STARTED, *steps(40))
    show(pane, reader)
    reader.folder.events.unlink()
    write(reader, [STARTED, *steps(5, total=3.0)])
    qtbot.waitUntil(lambda: len(drawn(pane, "total")[0]) == 5)
    np.testing.assert_allclose(drawn(pane, "total")[1], math.log10(3.0))
    reader.history.clear()
    reader.restarted.emit()
    qtbot.waitUntil(lambda: pane.stack.currentWidget() is pane.empty)


def test_another_run_takes_the_place_of_the_first(pane: PlotPane, run: Made, qtbot: QtBot) -> None:
    first, second = run(*steps(40)), run(*steps(7), name="second")
    show(pane, first)
    show(pane, second)
    assert drawn(pane, "total raw")[0][-1] == 7
    qtbot.wait(60)
    pane._dirty = False
    write(first, steps(10, 41))
    assert not pane._dirty
    write(second, steps(1, 8))
    assert pane._dirty


def test_without_a_run_there_is_advice(pane: PlotPane, run: Made) -> None:
    show(pane, None)
    assert pane.stack.currentWidget() is pane.empty
    assert all(word in pane.empty.text() for word in ("cfg", "green", "Start"))
    show(pane, run(STARTED))
    assert "first iteration" in pane.empty.text()
    ended = run(STARTED, RunFinished(status="failed"), name="ended")
    ended.state = "failed"
    show(pane, ended)
    assert "ended before" in pane.empty.text()
    show(pane, run(*steps(1), name="begun"))
    assert pane.stack.currentWidget() is pane.plots


def test_runs_are_compared(pane: PlotPane, run: Made) -> None:
    show(pane, run(STARTED, *steps(50)))
    other = run(*steps(90, total=3.0), Val(step=80, epoch=1, map50=0.6, map=0.3), name="other")
    third = run(*steps(20, total=4.0), name="third")
    pane.compare({"other": other, "third": third})
    pane.refresh()
    assert drawn(pane, "run other")[1] == pytest.approx(math.log10(3.0))
    assert drawn(pane, "run other", "map")[1].tolist() == [0.6]
    assert pane.compared_legend.names == ["other", "third"]
    assert pane.compared_legend.isVisible()
    colours = {
        name: pane.plots.loss.curves.by_name[f"run {name}"].item.opts["pen"].color().name()
        for name in ("other", "third")
    }
    assert list(colours.values()) == list(LIGHT.compared[:2])
    pane.compare({"third": third})
    pane.refresh()
    assert "run other" not in pane.plots.loss.curves.by_name
    assert pane.plots.loss.curves.by_name["run third"].item.opts["pen"].color().name() == colours["third"]
    pane.follow_action.setChecked(False)
    pane.compare({"other": other})
    pane.show_run(None)
    pane.refresh()
    assert in_view(pane) == (0, 90)
    pane.compare({})
    pane.refresh()
    assert not pane.compared_legend.isVisible()
    assert pane.stack.currentWidget() is pane.empty


def test_a_hidden_pane_draws_nothing(pane: PlotPane, run: Made, qtbot: QtBot) -> None:
    reader = run(STARTED, *steps(10))
    show(pane, reader)
    pane.hide()
    write(reader, steps(30, 11))
    pane.compare({"other": run(*steps(3), name="other")})
    pane.log_action.trigger()
    qtbot.wait(120)
    assert len(drawn(pane, "total raw")[0]) == 10
    assert set(pane.plots.loss.curves.by_name) >= {"total", "box"}
    assert "run other" not in pane.plots.loss.curves.by_name
    assert not pane._timer.isActive()
    pane.show()
    qtbot.waitUntil(lambda: len(drawn(pane, "total raw")[0]) == 40)


def test_a_burst_of_events_is_drawn_at_once(pane: PlotPane, run: Made, qtbot: QtBot) -> None:
    reader = run(STARTED, *steps(10))
    show(pane, reader)
    for number in range(11, 40):
        write(reader, steps(1, number))
    assert len(drawn(pane, "total raw")[0]) == 10
    qtbot.waitUntil(lambda: len(drawn(pane, "total raw")[0]) == 39)


def test_pause(pane: PlotPane, run: Made, qtbot: QtBot) -> None:
    reader = run(STARTED, *steps(10))
    show(pane, reader)
    qtbot.wait(60)
    pane.pause_action.setChecked(True)
    write(reader, steps(10, 11))
    qtbot.wait(120)
    assert len(drawn(pane, "total raw")[0]) == 10
    assert len(reader.history) == 20
    pane.pause_action.setChecked(False)
    qtbot.waitUntil(lambda: len(drawn(pane, "total raw")[0]) == 20)


# The crosshair


def test_the_box_tells_every_number(pane: PlotPane, run: Made, qtbot: QtBot) -> None:
    found = Val(step=40, epoch=1, map50=0.5, map=0.25)
    show(pane, run(STARTED, *steps(60, total=8.0), found))
    pane.compare({"other": run(*steps(55, total=8.0), name="other")})
    pane.legend.boxes["cls"].setChecked(False)
    pane.refresh()
    at = pane.plots.rate.box.mapViewToScene(QPointF(50, 0.0))
    at.setY(pane.plots.rate.box.sceneBoundingRect().center().y())
    qtbot.mouseMove(pane.plots.viewport(), at.toPoint())
    qtbot.waitUntil(pane.plots.crosshair.box.isVisible)
    crosshair = pane.plots.crosshair
    assert all(line.isVisible() for line in crosshair.lines)
    shown = round(crosshair.lines[0].value())
    assert abs(shown - 50) <= 1
    assert f"iteration {shown}" in crosshair.box.text()
    norm = f"{smooth(5.0 + np.arange(1, 51) % 3, 0.98)[-1]:.2f}"
    assert [(each.name, each.value, each.raw) for each in readings(pane.plots.shown, 50)] == [
        ("total", "8.00", "8.00"), ("box", "2.00", "2.00"), ("obj", "4.00", "4.00"), ("mAP50", "50.0 %", ""),
        ("mAP50-95", "25.0 %", ""), ("|g|", norm, "7.00"), ("lr", "1e-3", ""), ("images / s", "100", ""),
        ("other", "8.00", ""),
    ]  # fmt: skip
    assert pane.plots.rect().contains(crosshair.box.geometry())
    pane.plots.crosshair.move_to(QPointF(2, 2))
    assert not crosshair.box.isVisible()
    assert not any(line.isVisible() for line in crosshair.lines)


def test_there_are_no_numbers_where_the_run_has_not_been(pane: PlotPane, run: Made) -> None:
    show(pane, run(STARTED, *steps(10, ips=None)))
    assert readings(pane.plots.shown, 0) == []
    assert readings(pane.plots.shown, 11) == []
    assert [each.name for each in readings(pane.plots.shown, 10)] == ["total", "box", "obj", "cls", "|g|", "lr"]


def test_names_are_no_markup(pane: PlotPane, run: Made) -> None:
    show(pane, run(*steps(9)))
    pane.compare({"<b>&": run(*steps(9), name="strange")})
    pane.refresh()
    pane.plots.crosshair.move_to(pane.plots.loss.box.sceneBoundingRect().center())
    assert "&lt;b&gt;&amp;" in pane.plots.crosshair.box.text()


# Themes, settings, files


def test_a_theme_changes_every_colour(pane: PlotPane, run: Made) -> None:
    show(pane, run(STARTED, *steps(30)))
    pane.apply_theme(DARK)
    pane.refresh()
    assert pane.plots.loss.curves.by_name["box"].item.opts["pen"].color().name() == DARK.colour_of("box")
    assert pane.plots.backgroundBrush().color().name() == DARK.panel
    assert pane.plots.marks.lines[0].pen.color().name() == DARK.dim
    assert DARK.panel in {pane.plots.grab().toImage().pixelColor(3, 3).name()}


def test_what_the_user_chose_is_kept(pane: PlotPane, run: Made, qtbot: QtBot, tmp_path: Path) -> None:
    show(pane, run(*steps(9)))
    pane.log_action.setChecked(False)
    pane.follow_action.setChecked(False)
    pane.tools.set_keep(0.9)
    pane.legend.boxes["obj"].setChecked(False)
    store = QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)
    pane.save(store)
    store.sync()
    other = PlotPane(LIGHT)
    qtbot.addWidget(other)
    other.restore(QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat))
    assert (other.log_action.isChecked(), other.follow_action.isChecked(), other.tools.keep) == (False, False, 0.9)
    show(other, run(*steps(9), name="second"))
    assert [part for part, box in other.legend.boxes.items() if not box.isChecked()] == ["obj"]
    assert "obj" not in other.plots.loss.curves.by_name


def test_without_anything_kept_the_usual_holds(pane: PlotPane, tmp_path: Path) -> None:
    store = QSettings(str(tmp_path / "none.ini"), QSettings.Format.IniFormat)
    pane.restore(store)
    assert (pane.log_action.isChecked(), pane.follow_action.isChecked(), pane.tools.keep) == (True, True, 0.98)
    store.setValue("plots/smoothing", "much")
    pane.restore(store)
    assert pane.tools.keep == 0.98


def test_check_boxes_and_actions_are_one(pane: PlotPane) -> None:
    boxes = {box.text(): box for box in pane.tools.findChildren(QCheckBox)}
    assert set(boxes) == {"Log", "Follow"}
    for text, action in (("Log", pane.log_action), ("Follow", pane.follow_action)):
        boxes[text].setChecked(False)
        assert not action.isChecked()
        action.trigger()
        assert boxes[text].isChecked()


def test_a_picture(pane: PlotPane, run: Made, tmp_path: Path) -> None:
    show(pane, run(STARTED, *steps(300, total=2.0)))
    path = tmp_path / "图.png"
    pane.save_png(path)
    image = QImage(str(path))
    assert image.width() == 2 * pane.plots.width()
    assert image.height() > 2 * pane.plots.height()
    assert LIGHT.panel == image.pixelColor(1, 1).name()
    head = 2 * 34
    assert LIGHT.colour_of("cls") in {image.pixelColor(x, head // 2).name() for x in range(image.width())}
    for name in ("total", "box", "obj", "gnorm", "lr"):
        assert holds(image.copy(600, head, 60, image.height() - head), QColor(LIGHT.colour_of(name))), name


def holds(image: QImage, colour: QColor) -> bool:
    """Say whether a picture has a point of about this colour; the edges of curves are mixed with what is behind."""
    image = image.convertToFormat(QImage.Format.Format_RGBA8888)
    shape = (image.height(), image.bytesPerLine() // 4, 4)
    found = np.frombuffer(image.constBits(), np.uint8).reshape(shape)[..., :3].astype(int)
    return bool((np.abs(found - colour.getRgb()[:3]).max(axis=2) < 40).any())


def test_a_picture_of_a_pane_that_was_never_shown(run: Made, qtbot: QtBot, tmp_path: Path) -> None:
    hidden = PlotPane(DARK)
    qtbot.addWidget(hidden)
    hidden.show_run(run(STARTED, *steps(50)))
    hidden.save_png(tmp_path / "hidden.png")
    image = QImage(str(tmp_path / "hidden.png"))
    assert image.pixelColor(1, 1).name() == DARK.panel
    assert holds(image, QColor(DARK.colour_of("box"))), "its curves are in it"


def test_a_table(pane: PlotPane, run: Made, tmp_path: Path) -> None:
    show(pane, run(STARTED, *steps(30)))
    pane.save_csv(tmp_path / "numbers.csv")
    with (tmp_path / "numbers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["total"]) for row in rows] == pytest.approx([10 / number for number in range(1, 31)], rel=1e-14)


@pytest.mark.parametrize("kind", ["png", "csv"])
def test_what_cannot_be_written_is_said(pane: PlotPane, run: Made, tmp_path: Path, kind: str) -> None:
    show(pane, run(*steps(3)))
    place = tmp_path / "no such folder" / f"file.{kind}"
    getattr(pane, f"save_{kind}")(place)
    message = pane.findChild(QMessageBox)
    assert message is not None
    assert str(place) in message.text()
    assert "No such file" in message.text()
    message.close()
    assert pane.cursor().shape() == Qt.CursorShape.ArrowCursor


def test_a_logarithmic_axis_has_numbers(pane: PlotPane) -> None:
    axis = pane.plots.loss.axis
    axis.logarithmic = True
    for low, high in ((-3.2, 2.1), (-0.4, 0.5), (0.30, 0.301), (0.2, 0.35), (-12.0, 8.0)):
        places = [place for _, level in axis.tickValues(low, high, 170) for place in level]
        assert 2 <= len(places) <= 12
        assert all(low <= place <= high for place in places)
        assert all(axis.tickStrings(places, 1, 1))
