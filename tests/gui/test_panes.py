"""The panes around the plots: how far a run is, which runs there are, its pictures, its network, and words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from tests.gui import run_files
from tests.gui.run_files import record, started, write
from tests.settings.sample import write_cfg
from yolo_subbatch.folder import queue
from yolo_subbatch.folder.events import Event, Image, RunFinished, Step, Val
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.gui.panes import predictions
from yolo_subbatch.gui.panes.config_pane import OF_THE_FORM, OF_THE_RUN, ConfigPane
from yolo_subbatch.gui.panes.predictions import Predictions
from yolo_subbatch.gui.panes.runs_model import NAME, NOTE, RunsModel
from yolo_subbatch.gui.panes.runs_pane import RunsPane
from yolo_subbatch.gui.panes.status_card import NUMBERS, StatusCard, done_share, running_loss, seconds_left
from yolo_subbatch.gui.runs.comparison import Comparison
from yolo_subbatch.gui.runs.history import History
from yolo_subbatch.gui.runs.reader import RunReader
from yolo_subbatch.gui.toolkit.run_states import GLYPHS, state_word
from yolo_subbatch.gui.toolkit.theme import DARK, LIGHT
from yolo_subbatch.settings.train_settings import TrainSettings

SOON = 10_000  # ms


def step(number: int, loss: float | None = 1.0, t: float = 0.0) -> Step:
    return run_files.step(number, loss, gnorm=6.31, ips=112.4, mem_mb=5325.0, t=t, seq=number)


Follow = Callable[..., RunReader]


@pytest.fixture
def follow(qtbot: QtBot) -> Iterator[Follow]:
    """Begin to read a run; it ends with the test."""
    made: list[RunReader] = []

    def begin(folder: RunFolder) -> RunReader:
        made.append(RunReader(folder))
        made[-1].start()
        while not made[-1].up_to_date:
            made[-1].read()
        return made[-1]

    yield begin
    for each in made:
        each.stop()


# --- how far a run is ------------------------------------------------------------------------------------------------


@pytest.fixture
def card(qtbot: QtBot) -> StatusCard:
    made = StatusCard(LIGHT)
    qtbot.addWidget(made)
    return made


def stop_text(card: StatusCard) -> str | None:
    return card.stop_button.text() if card.stop_button.isVisibleTo(card) else None


def test_no_run(card: StatusCard) -> None:
    assert card.name.text() == "No run"
    assert card.bar.value() == 0
    assert stop_text(card) is None
    assert {label.text() for label in card.numbers.values()} == {"-"}


def test_the_numbers_of_a_run(card: StatusCard, folder: RunFolder, follow: Follow, qtbot: QtBot) -> None:
    record(folder)
    write(folder, started(1800, device="cuda:0", clip=10.0), *(step(number) for number in range(1, 451)))
    reader = follow(folder)
    card.show_run(reader)
    assert card.name.text() == "run"
    assert card.state.text() == "●"
    assert card.bar.value() == 250
    assert card.detail.text().startswith("Running  ·  iteration 450 of 1\u202f800")
    texts = {name: label.text() for name, label in card.numbers.items()}
    assert texts == {
        "loss": "1.00", "map": "-", "lr": "0.001", "gnorm": "6.31 / 10", "ips": "112", "memory": "5.2 GiB",
    }  # fmt: skip
    assert [card.numbers[name].accessibleName() for name in NUMBERS] == [
        "loss (avg): 1.00", "best mAP@0.5: -", "learning rate: 0.001", "grad norm / clip: 6.31 / 10",
        "images / s: 112", "GPU memory: 5.2 GiB",
    ]  # fmt: skip
    assert card.bar.accessibleName() == "Progress of the run"
    figures = Val(step=450, epoch=1, map50=0.7184, map=0.4, best=True), Val(step=500, epoch=2, map50=0.5, map=0.3)
    write(folder, *figures, step(900))
    qtbot.waitUntil(lambda: card.bar.value() == 500, timeout=SOON)
    assert card.numbers["map"].text() == "71.8 %"
    write(folder, RunFinished(status="failed"))
    qtbot.waitUntil(lambda: card.state.text() == "✗", timeout=SOON)
    assert LIGHT.bad in card.state.styleSheet()
    assert "  ·  after " in card.detail.text()
    assert stop_text(card) is None
    card.apply_theme(DARK)
    assert DARK.bad in card.state.styleSheet()


def test_a_network_that_classifies_has_an_accuracy(card: StatusCard, folder: RunFolder, follow: Follow) -> None:
    write(folder, started(device="cpu"), Val(step=1, epoch=1, map50=None, map=None, accuracy=0.25, best=True))
    card.show_run(follow(folder))
    assert card.numbers["map"].accessibleName() == "best accuracy: 25.0 %"
    assert card.captions["memory"].text() == "memory"


def test_a_run_that_gets_ready(card: StatusCard, folder: RunFolder, follow: Follow, qtbot: QtBot) -> None:
    record(folder)
    card.show_run(follow(folder))
    assert card.detail.text().startswith("Starting  ·  loading torch")
    assert stop_text(card) == "■  Stop after this update"
    card.show_run(None)
    assert card.name.text() == "No run"


def test_a_run_that_waits(card: StatusCard, folder: RunFolder, follow: Follow, qtbot: QtBot) -> None:
    queue.enqueue(folder)
    card.show_run(follow(folder))
    assert card.state.text() == "…"
    assert card.detail.text() == "Queued"
    assert stop_text(card) == "■  Take out of the queue"
    assert not card.kill_action.isEnabled(), "there is nothing to end"
    with qtbot.waitSignal(card.stop_wanted):
        card.stop_button.click()


def test_the_stop_button(card: StatusCard, folder: RunFolder, follow: Follow, qtbot: QtBot) -> None:
    card._patience.setInterval(50)
    record(folder)
    write(folder, started(), step(1))
    card.show_run(follow(folder))
    assert stop_text(card) == "■  Stop after this update"
    with qtbot.waitSignal(card.kill_wanted):
        card.kill_action.trigger()
    with qtbot.waitSignal(card.stop_wanted), qtbot.assertNotEmitted(card.kill_wanted):
        card.stop_button.click()
    card.stop_asked()
    assert stop_text(card) == "■  Stopping after this update ..."
    qtbot.waitUntil(lambda: stop_text(card) == "■  Stop now", timeout=SOON)
    with qtbot.waitSignal(card.kill_wanted), qtbot.assertNotEmitted(card.stop_wanted):
        card.stop_button.click()
    write(folder, RunFinished(status="stopped"))
    qtbot.waitUntil(lambda: stop_text(card) is None, timeout=SOON)
    assert "Stopped" in card.detail.text()


def test_a_stop_asked_for_elsewhere(card: StatusCard, folder: RunFolder, follow: Follow, qtbot: QtBot) -> None:
    record(folder)
    write(folder, started(), step(1))
    card.show_run(follow(folder))
    folder.request_stop()
    qtbot.waitUntil(lambda: stop_text(card) == "■  Stopping after this update ...", timeout=SOON)
    assert card.state.text() == "◐"
    other = RunFolder.create(folder.path.parent, "other")
    record(other)
    write(other, started(), step(1))
    card.show_run(follow(other))
    assert stop_text(card) == "■  Stop after this update", "of another run nobody has asked it"


def timed(
    updates: int, *, first: int = 0, total: int = 1000, each: float = 2.0, epoch: int = 0, validation: float = 0.0
) -> History:
    """Return a history with so many updates, and a validation after every epoch."""
    history, now = History(), 5000.0
    events: list[Event] = [started(total, start_step=first, updates_per_epoch=epoch)]
    for number in range(first + 1, first + updates + 1):
        now += each + (validation if epoch and number > first + 1 and number % epoch == 1 else 0.0)
        events.append(step(number, t=now))
    history.take(events)
    return history


def test_a_duration_that_would_be_a_guess() -> None:
    assert seconds_left(History()) is None
    for updates in (0, 1, 29):
        assert seconds_left(timed(updates)) is None
        assert seconds_left(timed(updates, first=500)) is None


def test_the_time_left() -> None:
    for updates in (30, 199, 200, 201, 999, 1000):
        assert seconds_left(timed(updates)) == pytest.approx(2.0 * (1000 - updates))
        assert done_share(timed(updates)) == updates / 1000


def test_the_time_left_of_a_resumed_run() -> None:
    """The pause, and the speed of before, do not count."""
    history = timed(100, each=50.0)
    history.take([started(1000, start_step=100)])
    history.take([step(100 + number, t=90_000.0 + 3.0 * number) for number in range(1, 30)])
    assert seconds_left(history) is None
    history.take([step(130, t=90_090.0)])
    assert seconds_left(history) == pytest.approx(3.0 * 870)


def test_the_time_left_with_validations() -> None:
    """Wherever in an epoch it is, two whole ones are looked at, or some more short ones."""
    for epoch, off in ((40, 1e-9), (60, 0.1), (100, 1e-9), (150, 1e-9)):
        for updates in range(max(201, 2 * epoch + 1), 4 * epoch + 60, 7):
            history = timed(updates, total=10 * epoch, epoch=epoch, validation=100.0)
            steps = 10 * epoch - updates
            assert seconds_left(history) == pytest.approx((2.0 + 100.0 / epoch) * steps, rel=off), updates


def test_nothing_is_left_of_a_run_that_is_done() -> None:
    history = timed(100, total=100)
    assert seconds_left(history) == 0
    history.take([step(101, t=9000.0)])
    assert seconds_left(history) == 0
    assert done_share(history) == 1.0
    assert done_share(History()) == 0.0


def test_the_running_loss_is_darknets() -> None:
    history = History()
    assert running_loss(history) is None
    losses = [8.0 / (1 + number / 50) + math.sin(number) for number in range(500)]
    expected = losses[0]
    for number, loss in enumerate(losses):
        expected = 0.9 * expected + 0.1 * loss
        history.take([step(number + 1, loss)])
        if number in {0, 1, 30, 499}:
            assert running_loss(history) == pytest.approx(expected, rel=1e-6)
    history.take([step(501, None)])
    assert running_loss(history) == pytest.approx(expected, rel=1e-6), "an update that was skipped changes nothing"


def test_no_running_loss_of_nothing_finite() -> None:
    history = History()
    history.take([step(1, None), step(2, None)])
    assert running_loss(history) is None


# --- which runs there are --------------------------------------------------------------------------------------------


@pytest.fixture
def model(qtbot: QtBot) -> RunsModel:
    return RunsModel(LIGHT)


@pytest.fixture
def pane(model: RunsModel, qtbot: QtBot) -> RunsPane:
    made = RunsPane(model)
    qtbot.addWidget(made)
    made.resize(320, 300)
    made.show()
    return made


def note(model: RunsModel, row: int = 0) -> str:
    return str(model.data(model.index(row, NOTE)))


def ended(runs: Path, name: str, *events: Event, **finished: object) -> RunFolder:
    made = RunFolder.create(runs, name)
    write(made, *events, RunFinished(**{"status": "completed", **finished}))  # type: ignore[arg-type]
    return made


def write_results(folder: RunFolder, *values: float) -> None:
    rows = [f"{number}, {value}" for number, value in enumerate(values)]
    (folder.path / "results.csv").write_text("\n".join(["epoch, metrics/mAP50(B)", *rows]) + "\n")


def test_a_note_for_every_state(model: RunsModel, tmp_path: Path) -> None:
    runs = {name: RunFolder.create(tmp_path, name) for name in ("new", "waits", "ready", "half", "dead")}
    runs["whole"] = ended(tmp_path, "whole")
    runs["scored"] = ended(tmp_path, "scored")
    write_results(runs["scored"], 0.5, 0.7186, 0.6)
    runs["halted"] = ended(tmp_path, "halted", started(10), step(4), status="stopped", reason="asked to\nat night")
    runs["broken"] = ended(tmp_path, "broken", status="failed", error={"type": "ValueError", "message": "odd"})
    runs["short"] = ended(tmp_path, "short", status="failed", error={"type": "OutOfMemoryError", "message": "CUDA"})
    queue.enqueue(runs["waits"])
    record(runs["ready"])
    record(runs["half"])
    write(runs["half"], started(10), step(5))
    record(runs["dead"], lives=False)
    model.show(list(runs.values()))
    assert [model.data(model.index(row, NAME)) for row in range(len(runs))] == [
        "○  new", "…  waits", "●  ready", "●  half", "✗  dead", "✓  whole", "✓  scored", "■  halted", "✗  broken",
        "✗  short",
    ]  # fmt: skip
    assert [note(model, row) for row in range(len(runs))] == [
        "prepared", "queued", "running", "running 50 %", "failed", "completed", "71.9 %", "stopped", "failed",
        "no memory",
    ]  # fmt: skip
    tip = model.data(model.index(7, NAME), Qt.ItemDataRole.ToolTipRole)
    assert str(runs["halted"].path) in tip
    assert "40 % of its iterations" in tip
    assert "asked to" in tip
    assert "at night" not in tip
    assert "71.9 %" in model.data(model.index(6, NAME), Qt.ItemDataRole.ToolTipRole)
    assert model.data(model.index(9, NOTE), Qt.ItemDataRole.ForegroundRole) == QColor(LIGHT.bad)
    assert model.data(model.index(0, NAME), Qt.ItemDataRole.ForegroundRole) is None


def test_what_has_changed_is_seen(model: RunsModel, tmp_path: Path) -> None:
    """Files of a run that has ended are not read again, until one of them changes."""
    run = ended(tmp_path, "run", started(10), step(4), status="stopped")
    model.show([run])
    first = model.rows[0]
    model.show([run])
    assert model.rows[0] is first
    queue.enqueue(run)
    model.show([run])
    assert note(model) == "queued"
    queue.take(run)
    model.show([run])
    assert note(model) == "stopped"
    record(run)
    write(run, started(10, start_step=4))
    model.show([run])
    assert note(model) == "running 40 %"
    write(run, step(9))
    model.show([run])
    assert note(model) == "running 90 %"
    write(run, RunFinished(status="completed"))
    write_results(run, 0.5)
    model.show([run])
    assert note(model) == "50.0 %"


def test_what_is_compared(model: RunsModel, tmp_path: Path, qtbot: QtBot) -> None:
    runs = [ended(tmp_path, name) for name in ("one", "two")]
    model.show(runs)
    index = model.index(0, NAME)
    assert model.flags(index) & Qt.ItemFlag.ItemIsUserCheckable
    assert not model.flags(model.index(0, NOTE)) & Qt.ItemFlag.ItemIsUserCheckable
    role = Qt.ItemDataRole.CheckStateRole
    with qtbot.waitSignal(model.compared_changed):
        assert model.setData(index, Qt.CheckState.Checked.value, role)
    assert model.compared == {runs[0].path}
    assert model.data(index, role) == Qt.CheckState.Checked
    assert model.data(model.index(1, NAME), role) == Qt.CheckState.Unchecked
    with qtbot.assertNotEmitted(model.compared_changed):
        model.show([*reversed(runs)])
        assert not model.setData(index, "a name")
    assert model.data(model.index(1, NAME), role) == Qt.CheckState.Checked, "the mark stays with the run"
    with qtbot.waitSignal(model.compared_changed):
        model.show(runs[1:])
    assert model.compared == set()
    with qtbot.waitSignals([model.compared_changed] * 2):
        model.setData(model.index(0, NAME), Qt.CheckState.Checked, role)
        model.setData(model.index(0, NAME), Qt.CheckState.Unchecked, role)
    assert model.compared == set()


def test_the_list_is_chosen_from(pane: RunsPane, tmp_path: Path, qtbot: QtBot) -> None:
    model = pane.model
    assert pane.empty.isVisible()
    assert not pane.table.isVisible()
    runs = [ended(tmp_path, name) for name in ("one", "two", "three")]
    model.show(runs)
    assert pane.table.isVisible()
    assert not pane.empty.isVisible()
    assert pane.selected() is None
    chosen: list[RunFolder] = []
    pane.chosen.connect(chosen.append)
    pane.select(runs[1])
    assert pane.selected() == model.rows[1]
    pane.select(None)
    assert pane.selected() is None
    pane.select(runs[1])
    pane.select(RunFolder(tmp_path / "elsewhere"))
    assert pane.selected() is None
    assert chosen == [], "the program marks rows, the user chooses runs"
    places = [pane.table.visualRect(model.index(row, NAME)) for row in range(3)]
    view = pane.table.viewport()
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=places[1].center())
    assert chosen == [runs[1]]
    qtbot.keyClick(pane.table, Qt.Key.Key_Down)
    assert chosen == [runs[1], runs[2]]
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(places[0].left() + 9, places[0].center().y()))
    assert model.compared == {runs[0].path}
    assert chosen == [runs[1], runs[2]], "to compare a run is not to go there"
    model.show([])
    assert pane.selected() is None
    assert pane.empty.isVisible()


def test_a_run_is_chosen_again_after_it_was_left(pane: RunsPane, tmp_path: Path, qtbot: QtBot) -> None:
    run = ended(tmp_path, "one")
    pane.model.show([run])
    place = pane.table.visualRect(pane.model.index(0, NAME)).center()
    for _ in range(2):
        with qtbot.waitSignal(pane.chosen):
            qtbot.mouseClick(pane.table.viewport(), Qt.MouseButton.LeftButton, pos=place)
        pane.select(None)


# --- pictures --------------------------------------------------------------------------------------------------------


@pytest.fixture
def gallery(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Predictions:
    monkeypatch.setattr(predictions, "SETTLED", 20)
    made = Predictions()
    qtbot.addWidget(made)
    return made


def paint(folder: RunFolder, name: str, width: int = 40) -> Image:
    picture = QImage(width, 30, QImage.Format.Format_RGB32)
    picture.fill(QColor("teal"))
    assert picture.save(str(folder.path / name))
    return Image(step=1, path=name, kind="prediction")


def test_pictures_are_turned_over(gallery: Predictions, folder: RunFolder, follow: Follow, qtbot: QtBot) -> None:
    assert gallery.stack.currentWidget() is gallery.empty
    reader = follow(folder)
    gallery.show_run(reader)
    gallery.turn(1)
    assert gallery.stack.currentWidget() is gallery.empty
    write(folder, started(), *(paint(folder, f"{name}.png") for name in "abc"), Image(step=1, path="no.png", kind="x"))
    qtbot.waitUntil(lambda: len(gallery.pictures) == 3, timeout=SOON)
    assert [each.path for each in gallery.pictures] == ["a.png", "b.png", "c.png"], "one that is not there is left out"
    assert gallery.stack.currentWidget() is not gallery.empty
    assert gallery.caption.text() == "after iteration 1  ·  a.png  ·  1 of 3"
    gallery.after.click()
    assert gallery.picture.file == folder.path / "b.png"
    gallery.before.click()
    gallery.before.click()
    assert gallery.caption.text() == "after iteration 1  ·  c.png  ·  3 of 3"
    gallery.after.click()
    assert "1 of 3" in gallery.caption.text()
    assert gallery.before.accessibleName() == "Previous picture"
    gallery.show_run(None)
    assert gallery.stack.currentWidget() is gallery.empty


def test_the_newest_picture_is_shown(gallery: Predictions, folder: RunFolder, follow: Follow, qtbot: QtBot) -> None:
    """Each validation writes over the pictures of the one before."""
    write(folder, started(), paint(folder, "a.png"), paint(folder, "b.png"))
    gallery.show_run(follow(folder))
    gallery.turn(1)
    paint(folder, "b.png", width=80)
    write(folder, Image(step=50, path="a.png", kind="x"), Image(step=50, path="b.png", kind="x"))
    qtbot.waitUntil(lambda: gallery.caption.text() == "after iteration 50  ·  b.png  ·  2 of 2", timeout=SOON)
    assert gallery.picture.pixmap.width() == 80
    (folder.path / "b.png").unlink()
    gallery.update_now()
    assert gallery.caption.text() == "after iteration 50  ·  a.png  ·  1 of 1"
    assert not gallery.after.isEnabled()
    (folder.path / "a.png").write_bytes(b"no picture")
    gallery.update_now()
    assert gallery.picture.pixmap.isNull()
    gallery.resize(200, 200)
    assert not gallery.grab().isNull(), "the place stays empty"
    folder.cut_events(0)
    qtbot.waitUntil(lambda: gallery.stack.currentWidget() is gallery.empty, timeout=SOON)


# --- the network -----------------------------------------------------------------------------------------------------


@pytest.fixture
def config(qtbot: QtBot) -> ConfigPane:
    made = ConfigPane()
    qtbot.addWidget(made)
    return made


def cell(config: ConfigPane, row: int, heading: str) -> str:
    model = config.model
    headings = [model.headerData(each, Qt.Orientation.Horizontal) for each in range(model.columnCount())]
    return str(model.data(model.index(row, headings.index(heading))))


def test_the_network_of_the_form(config: ConfigPane, tmp_path: Path) -> None:
    assert config.model.rowCount() == 0
    assert config.summary.text() == ""
    cfg = write_cfg(tmp_path)
    config.show_settings(TrainSettings(cfg=str(cfg)))
    assert config.model.rowCount() == 4
    assert "4 layers" in config.summary.text()
    assert str(cfg) in config.summary.toolTip()
    assert cell(config, 0, "Filters") == "8"
    assert "32" in cell(config, 0, "Output")
    config.show_settings(TrainSettings(cfg=str(cfg), imgsz=128))
    assert "64" in cell(config, 0, "Output")
    assert "32" not in cell(config, 0, "Output")
    config.show_settings(TrainSettings(cfg=str(cfg), imgsz=(64, 128)))
    assert "64" in cell(config, 0, "Output")
    assert "32" in cell(config, 0, "Output")
    config.show_settings(TrainSettings(cfg=None, model="yolo11n.yaml"))
    assert config.model.rowCount() == 0
    assert "describes itself" in config.summary.text()


def test_a_network_that_cannot_be_used(config: ConfigPane, tmp_path: Path) -> None:
    for change in (("size=2\n", "size=odd\n"), ("[maxpool]", "[nonsense]"), ("classes=2", "classes=9")):
        config.show_settings(TrainSettings(cfg=str(write_cfg(tmp_path))))
        config.show_settings(TrainSettings(cfg=str(write_cfg(tmp_path, change, name="odd.cfg"))))
        assert config.model.rowCount() == 0
        assert "odd.cfg" in config.summary.text()
        assert "Traceback" not in config.summary.text()
    config.show_settings(TrainSettings(cfg=str(tmp_path / "none.cfg")))
    assert "none.cfg" in config.summary.text()


def test_a_file_that_was_mended_is_read_again(config: ConfigPane, tmp_path: Path) -> None:
    cfg = write_cfg(tmp_path, ("[maxpool]", "[nonsense]"))
    config.show_settings(TrainSettings(cfg=str(cfg)))
    assert config.model.rowCount() == 0
    write_cfg(tmp_path, ("filters=8", "filters=16"))
    config.show_settings(TrainSettings(cfg=str(cfg)))
    assert cell(config, 0, "Filters") == "16"


def test_the_network_of_a_run(config: ConfigPane, tmp_path: Path, folder: RunFolder) -> None:
    config.show_settings(TrainSettings(cfg=str(write_cfg(tmp_path))))
    config.show_run(folder)
    assert config.source.currentIndex() == OF_THE_RUN
    assert config.model.rowCount() == 0, "it has no settings yet"
    folder.write_settings(TrainSettings(cfg=str(write_cfg(tmp_path, ("filters=8", "filters=16"), name="run.cfg"))))
    config.update_now()
    assert cell(config, 0, "Filters") == "16"
    folder.weights.mkdir()
    write_cfg(folder.weights, ("filters=8", "filters=24"), name="model.cfg")
    config.update_now()
    assert cell(config, 0, "Filters") == "24", "what it trains is what counts"
    config.source.setCurrentIndex(OF_THE_FORM)
    assert cell(config, 0, "Filters") == "8"
    config.source.setCurrentIndex(OF_THE_RUN)
    config.show_run(None)
    assert config.source.currentIndex() == OF_THE_FORM
    assert cell(config, 0, "Filters") == "8"


# --- comparison ------------------------------------------------------------------------------------------------------


def test_a_reader_for_every_run_that_is_compared(tmp_path: Path, qtbot: QtBot) -> None:
    comparison = Comparison()
    one, two = (ended(tmp_path / "runs", name, started(), step(1)).path for name in ("one", "two"))
    twin = ended(tmp_path / "others", "one").path
    assert comparison.choose([]) == {}
    first = comparison.choose([one])
    assert list(first) == ["one"]
    assert len(first["one"].history) == 1
    assert first["one"].state == "completed"
    both = comparison.choose([two, one])
    assert list(both) == ["one", "two"]
    assert both["one"] is first["one"], "it is not read again"
    with qtbot.waitSignal(both["two"].destroyed):
        twins = comparison.choose([one, twin])
    assert list(twins) == ["others/one", "runs/one"]
    assert twins["runs/one"] is first["one"]
    assert twins["others/one"].folder.path == twin
    comparison.choose([])
    assert comparison.children() == [] or not any(each._timer.isActive() for each in twins.values())


def test_every_state_has_a_sign_and_a_word() -> None:
    assert len(set(GLYPHS.values())) == len(GLYPHS) == 8
    assert [state_word(state) for state in GLYPHS] == list(GLYPHS)
