"""The numbers behind the plots: columns, averages, what of a curve is drawn, the table. No window."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from yolo_subbatch.folder.events import Checkpoint, Event, Image, Log, RunFinished, RunStarted, Step, Val, Warned
from yolo_subbatch.gui.runs.history import (
    FIRST_ROOM,
    Averages,
    Column,
    History,
    Smoothed,
    decimate,
    in_view,
    moving_average,
)

NAN, INF = math.nan, math.inf
ODD_VALUES = [NAN, 3.0, NAN, 5.0, INF, -INF, 0.0, -2.0, 1e-300, 1e300, 4.0, NAN]


def step(number: int, **values: object) -> Step:
    given = {"epoch": 1, "loss": {"total": 1.0 / number, "box": 0.5 / number}, "lr": 0.1, "gnorm": 2.0, **values}
    return Step(step=number, **given)  # type: ignore[arg-type]


def plain_average(values: list[float], keep: float) -> list[float]:
    average, found = NAN, []
    for value in values:
        if math.isfinite(value):
            average = value if math.isnan(average) else keep * average + (1 - keep) * value
        found.append(average)
    return found


def test_a_column_grows() -> None:
    column = Column([1.0, 2.0])
    for start in range(0, 5000, 7):
        column.extend(np.arange(start, start + 7, dtype=float))
    assert len(column) == 2 + 715 * 7
    assert column.values[:4].tolist() == [1, 2, 0, 1]
    assert column.values[-1] == 5004
    assert len(column.room) > FIRST_ROOM


def test_a_column_takes_much_at_once() -> None:
    column = Column()
    column.extend(np.arange(100_000, dtype=float))
    column.extend(np.empty(0))
    assert column.values[-1] == 99_999


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.98, 0.999])
@pytest.mark.parametrize("size", [0, 1, 2, 5, 1000, 20_000])
def test_the_average_is_that_of_a_plain_loop(keep: float, size: int) -> None:
    values = np.random.default_rng(size).normal(size=size) * 10
    values[3::11] = NAN
    np.testing.assert_allclose(
        moving_average(values, keep), plain_average(values.tolist(), keep), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.999])
def test_numbers_that_are_not_finite_leave_the_average(keep: float) -> None:
    found = moving_average(np.array(ODD_VALUES), keep)
    np.testing.assert_allclose(found, plain_average(ODD_VALUES, keep), rtol=1e-9)
    assert math.isnan(found[0])
    assert np.isfinite(found[1:]).all()


def test_nothing_finite_has_no_average() -> None:
    assert np.isnan(moving_average(np.array([NAN, INF]), 0.9)).all()
    assert moving_average(np.array([NAN, INF]), 0.9, before=2.0).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("keep", [0.0, 0.6, 0.98, 0.999])
def test_bit_by_bit_is_as_at_once(keep: float) -> None:
    values = np.random.default_rng(1).exponential(size=9000)
    values[:5] = NAN
    values[7000:7100] = INF
    source = Column()
    smoothed = Smoothed(source, keep)
    place = 0
    for size in (0, 1, 1, 2, 500, 4000, 3, 4493):
        source.extend(values[place : place + size])
        place += size
        assert len(smoothed.update()) == place
    assert place == len(values)
    np.testing.assert_allclose(smoothed.update(), Smoothed(source, keep).update(), rtol=1e-9)


@pytest.mark.parametrize("keep", [0.0, 0.6, 0.98])
def test_the_beginning_is_the_mean_of_what_there_is(keep: float) -> None:
    values = [NAN, *np.random.default_rng(1).exponential(size=50).tolist()]
    found = Smoothed(Column(values), keep).update()
    assert math.isnan(found[0])
    for last in range(1, len(values)):
        weights = keep ** np.arange(last)[::-1] if keep else np.eye(last)[-1]
        assert found[last] == pytest.approx(np.average(values[1 : last + 1], weights=weights))


def test_another_smoothing_begins_anew() -> None:
    source = Column([4.0, 2.0])
    smoothed = Smoothed(source, 0.5)
    assert smoothed.update().tolist() == pytest.approx([4, 8 / 3])
    assert smoothed.update(0.0).tolist() == [4, 2]
    source.extend(np.array([6.0]))
    assert smoothed.update(0.5).tolist() == pytest.approx([4, 8 / 3, 32 / 7])


def test_averages_follow_a_history_that_was_cleared() -> None:
    history = History()
    averages = Averages(history)
    history.take([step(1, loss={"total": 8.0}), step(2, loss={"total": 4.0})])
    assert averages.of("total", 0.5).tolist() == pytest.approx([8, 16 / 3])
    history.clear()
    history.take([step(1, loss={"total": 1.0})])
    assert averages.of("total", 0.5).tolist() == [1]


@pytest.mark.parametrize("size", [1, 4, 7, 64, 1000, 5000])
def test_least_and_largest_stay(size: int) -> None:
    x = np.arange(3001.0)
    y = np.random.default_rng(2).normal(size=3001)
    few_x, few_y = decimate(x, y, size)
    assert len(few_x) == len(few_y) <= (3001 if size < 4 else 2 * math.ceil(3001 / size))
    assert (few_y.min(), few_y.max()) == (y.min(), y.max())
    assert (np.diff(few_x) >= 0).all()
    assert set(few_y) <= set(y)


@pytest.mark.parametrize("place", [0, 17, 123_456, 999_999])
@pytest.mark.parametrize("height", [50.0, -50.0])
def test_a_spike_of_one_update_stays(place: int, height: float) -> None:
    y = np.ones(1_000_000)
    y[place] = height
    few_x, few_y = decimate(np.arange(1_000_000.0), y, 1024)
    assert (few_y == height).sum() == 1
    assert abs(few_x[few_y == height][0] - place) < 1024


def test_a_smooth_curve_stays_smooth() -> None:
    x = np.arange(4096.0)
    assert (np.diff(decimate(x, x, 32)[1]) > 0).all()
    assert (np.diff(decimate(x, -x, 32)[1]) < 0).all()


def test_nan_counts_only_alone() -> None:
    y = np.arange(32.0)
    y[[0, 5, 15]] = NAN
    y[16:24] = NAN
    _, few = decimate(np.arange(32.0), y, 8)
    assert sorted(few[:2]) == [1, 7]
    assert sorted(few[2:4]) == [8, 14]
    assert np.isnan(few[4:6]).all()
    assert sorted(few[6:]) == [24, 31]


def test_what_is_in_view_has_a_neighbour_on_either_side() -> None:
    x = np.arange(1.0, 101.0)
    place, size = in_view(x, 10, 20, 800)
    assert size == 1
    assert x[place].tolist() == list(range(9, 22))
    assert in_view(np.empty(0), 0, 10, 800)[0] == slice(0, 0)
    assert len(x[in_view(x, 200, 300, 800)[0]]) <= 1


def test_stretches_stay_while_a_curve_grows_and_the_view_moves() -> None:
    x = np.arange(100_000.0)
    for left in (1000, 1001, 1003, 1777):
        place, size = in_view(x, left, left + 50_000, 500)
        assert size == 128
        assert place.start % size == 0
        assert (place.stop - place.start) % size == 0
        assert place.start <= left
        assert place.stop > left + 50_000
    assert {in_view(x[:count], 0, 1e9, 500)[1] for count in range(33_000, 64_000, 500)} == {128}


def test_history_takes_every_event() -> None:
    history = History()
    best = Val(step=2, epoch=1, map50=0.5, map=0.25, best=True)
    events: list[Event] = [
        RunStarted(pid=1, steps_total=3, clip=20.0),
        Warned(code="slow", text="before the first update"),
        step(1, clipped=True),
        Log(level="info", text="hello"),
        step(2, gnorm=None),
        Warned(code="nan_loss", text="after two"),
        best,
        Val(step=3, epoch=2, map50=0.4, map=None),
        Checkpoint(step=2, path="weights/best.pt", kind="best"),
        Image(step=2, path="val0.jpg", kind="val"),
        step(3, clipped=True),
        RunFinished(status="completed", step=3),
    ]
    history.take(events[:4])
    history.take(events[4:])
    assert history.steps.values.tolist() == [1, 2, 3]
    assert history.parts == ["total", "box"]
    assert history.columns["box"].values.tolist() == [0.5, 0.25, 0.5 / 3]
    assert history.columns["gnorm"].values[0] == 2.0
    assert np.isnan(history.columns["gnorm"].values[1])
    assert all(len(column) == len(history) for column in history.columns.values())
    assert [(at, warning.text) for at, warning in history.warnings] == [
        (0, "before the first update"),
        (2, "after two"),
    ]
    assert history.best == best
    assert (history.clipped, len(history.images), len(history.validations)) == (2, 1, 2)
    assert history.started == events[0]
    assert history.finished == events[-1]
    assert history.last == events[-2]
    assert history.last_known("gnorm") == 2.0
    assert history.last_known("no such") is None
    history.clear()
    assert (len(history), history.parts, history.last, history.best, history.clipped) == (0, [], None, None, 0)


def test_a_part_that_comes_late() -> None:
    history = History()
    history.take([step(1, loss={"box": 1.0, "dfl": 2.0})])
    history.take([step(2, loss={"total": 3.0, "box": None, "seg": 1.5}), step(3, loss={"box": 4.0})])
    assert history.parts == ["total", "box", "dfl", "seg"]
    found = {part: history.columns[part].values for part in history.parts}
    np.testing.assert_array_equal(found["total"], [NAN, 3, NAN])
    np.testing.assert_array_equal(found["box"], [1, NAN, 4])
    np.testing.assert_array_equal(found["dfl"], [2, NAN, NAN])
    np.testing.assert_array_equal(found["seg"], [NAN, 1.5, NAN])


def test_the_table_holds_every_number(tmp_path: Path) -> None:
    history = History()
    losses = [0.1 + 0.2, 1e-9, 12345.678901]
    history.take(
        [step(place + 1, loss={"total": loss, "box": None}, seen=64 * place) for place, loss in enumerate(losses)]
    )
    history.take([Val(step=2, epoch=1, map50=0.718, map=0.4, recall=0.9, best=True)])
    path = tmp_path / "表.csv"
    history.write_csv(path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert [float(row["total"]) for row in rows] == pytest.approx(losses, rel=1e-14)
    assert [row["box"] for row in rows] == ["", "", ""]
    assert [row["seen"] for row in rows] == ["0", "64", "128"]
    assert [row["map50"] for row in rows] == ["", "0.718", ""]
    assert rows[1]["recall"] == "0.9"
    assert rows[1]["precision"] == ""


def test_a_run_without_updates_has_a_table_of_names(tmp_path: Path) -> None:
    History().write_csv(tmp_path / "empty.csv")
    assert (tmp_path / "empty.csv").read_text().startswith("step,darknet_loss,lr,gnorm,")
