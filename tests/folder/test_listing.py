"""What is told of the runs in a project folder."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from yolo_subbatch.folder.events import EventWriter, Log, RunFinished, RunStarted, Step
from yolo_subbatch.folder.listing import best_map50, list_runs, list_waiting, recorded_iteration, summarise
from yolo_subbatch.folder.queue import enqueue
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.train_settings import TrainSettings

STARTED = RunStarted(pid=1, steps_total=20)


def step(number: int, seen: int = 0) -> Step:
    return Step(step=number, epoch=1, loss={"total": 1.0}, lr=0.1, gnorm=1.0, seen=seen)


def write(folder: RunFolder, *events: Any) -> None:
    writer = EventWriter(folder.events)
    for event in events:
        writer.write(event)
    writer.close()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder.create(tmp_path, "train")
    made.write_settings(TrainSettings(cfg="a.cfg"))
    return made


def test_a_prepared_run_has_nothing_to_tell(folder: RunFolder) -> None:
    found = summarise(folder)
    assert (found.name, found.status, found.share, found.map50, found.resumable) == (
        "train",
        "prepared",
        None,
        None,
        False,
    )


def test_a_running_run_tells_how_far_it_is(folder: RunFolder) -> None:
    folder.write_process()
    write(folder, STARTED)
    assert summarise(folder).share is None
    write(folder, step(1), step(5), Log(level="info", text="x"))
    found = summarise(folder)
    assert (found.status, found.share, found.resumable) == ("running", 0.25, False)
    write(folder, step(21))
    assert summarise(folder).share == 1.0


def test_the_share_of_a_run_that_became_longer_is_that_of_its_new_length(folder: RunFolder) -> None:
    folder.write_process()
    longer = RunStarted(pid=1, steps_total=100, start_step=20)
    write(folder, STARTED, step(20), longer, *(Log(level="info", text="x" * 1000) for _ in range(400)), step(25))
    assert summarise(folder).share == 0.25


def test_a_finished_run_needs_no_share(folder: RunFolder) -> None:
    write(folder, STARTED, step(20), RunFinished(status="completed", reason="all done"))
    found = summarise(folder)
    assert (found.status, found.share, found.reason, found.error) == ("completed", None, "all done", "")
    assert not found.resumable


def test_a_failed_run_tells_why_and_whether_it_can_go_on(folder: RunFolder) -> None:
    write(folder, STARTED, step(10), RunFinished(status="failed", reason="odd", error={"type": "ValueError"}))
    found = summarise(folder)
    assert (found.status, found.share, found.reason, found.error) == ("failed", 0.5, "odd", "ValueError")
    assert not found.resumable, "it was trained, and no state is there"
    folder.weights.mkdir()
    (folder.weights / "state.pt").touch()
    assert summarise(folder).resumable


def test_a_run_that_never_began_can_begin_again(folder: RunFolder) -> None:
    write(folder, RunFinished(status="stopped"))
    assert summarise(folder).resumable
    folder.settings.unlink()
    assert not summarise(folder).resumable


TABLE = "epoch,  metrics/mAP50(B), other\n"


@pytest.mark.parametrize(
    ("text", "best"),
    [
        (TABLE + "1, 0.25, 3\n2, 0.5, 3\n3, 0.125, 3\n", 0.5),
        (TABLE, None),
        ("", None),
        ("epoch,other\n1,2\n", None),
        (TABLE + "1, much, 3\n", None),
        (TABLE + "1\n2, 0.5\n3, 0.25, 1, 2, 3\n", 0.5),
        (TABLE + "1, nan, 3\n2, 0.5, 3\n3, nan, 3\n", 0.5),
        (TABLE + "1, nan, 3\n", None),
        ("\udcff", None),
    ],
)
def test_the_best_validation(folder: RunFolder, text: str, best: float | None) -> None:
    (folder.path / "results.csv").write_text(text, encoding="utf-8", errors="surrogateescape")
    assert best_map50(folder) == best


def test_without_a_table_there_is_no_best(folder: RunFolder) -> None:
    assert best_map50(folder) is None


def test_the_newest_run_is_first_and_waiting_ones_are_among_them(tmp_path: Path) -> None:
    began, wrote, waits = (RunFolder.create(tmp_path, name) for name in ("began", "wrote", "waits"))
    began.write_process()
    write(wrote, Log(level="info", text="x"))
    enqueue(waits)
    RunFolder.create(tmp_path, "nothing in it")
    prepared = RunFolder.create(tmp_path, "prepared")
    prepared.write_settings(TrainSettings())
    (tmp_path / "a file").touch()
    for age, each in ((1, wrote), (2, began), (3, waits)):
        os.utime(each.path, (time.time() - age,) * 2)
    assert list_runs(tmp_path) == [wrote, began, waits]
    assert list_runs(str(tmp_path)) == [wrote, began, waits]
    assert list_waiting(tmp_path) == [waits]


@pytest.mark.parametrize("place", ["none", "file", "x" * 300])
def test_where_no_folder_is_no_runs_are(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    assert list_runs(tmp_path / place) == []
    assert list_waiting(tmp_path / place) == []


def test_the_iteration_of_weights_is_that_of_their_run(folder: RunFolder) -> None:
    weights = folder.weights / "last.weights"
    assert recorded_iteration(weights, 40) is None
    write(folder, step(1, 8), step(6, 40))
    assert recorded_iteration(weights, 40) == 6
    assert recorded_iteration(str(weights), 40) == 6
    assert recorded_iteration(weights, 48) is None, "of another run"
