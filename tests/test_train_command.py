"""Which run ``train`` means, decided before torch is imported, and what it hands to the engine."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.settings.sample import write_cfg, write_data
from yolo_subbatch import train_command
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.events import EventWriter, Log, RunFinished, Step, last_event, read_events
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.late_imports import load
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.train_command import Task, task_of, train

ASKED = TrainSettings(cfg="small.cfg", data="obj.data", batch=4, extra={"plots": False})
Call = tuple[str, Any, RunFolder]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with everything that a training needs."""
    write_cfg(tmp_path)
    write_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANK", raising=False)
    return tmp_path


@pytest.fixture
def prepared(place: Path) -> RunFolder:
    folder = RunFolder.create("runs", "train")
    folder.write_settings(ASKED)
    return folder


@pytest.fixture
def stopped(prepared: RunFolder) -> RunFolder:
    """A run that has kept a state, and whose process is gone."""
    prepared.weights.mkdir()
    (prepared.weights / "state.pt").touch()
    step = Step(step=1, epoch=1, loss={"total": 1.0}, lr=0.1, gnorm=1.0)
    write(prepared, step, RunFinished(status="stopped"))
    return prepared


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Put functions in the place of the engine's that keep what they were called with."""
    calls: list[Call] = []

    def entry(place: str) -> Any:
        def run(what: Any, folder: RunFolder, listeners: list[Any]) -> int:
            calls.append((place, what, folder))
            return 0

        return run

    monkeypatch.setattr(train_command, "load", entry)
    return calls


def write(folder: RunFolder, *events: Any) -> None:
    writer = EventWriter(folder.events)
    for event in events:
        writer.write(event)
    writer.close()


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


# --- which run --------------------------------------------------------------------------------------------------------


def test_a_new_run_has_no_folder_yet(place: Path) -> None:
    before = listing(place)
    assert task_of(ASKED) == Task(None, ASKED)
    assert listing(place) == before


def test_a_prepared_run_is_what_its_file_says(prepared: RunFolder) -> None:
    assert task_of(TrainSettings(run_dir="runs/train")) == Task(prepared, ASKED)
    assert task_of(TrainSettings(run_dir=str(prepared.path))) == Task(prepared, ASKED)


@pytest.mark.parametrize("other", [{"batch": 8}, {"cfg": "small.cfg"}, {"extra": {"mosaic": 1.0}}, {"name": "x"}])
def test_nothing_is_given_beside_a_prepared_folder(prepared: RunFolder, other: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=f"run_dir=runs/train: {next(iter(other))} is given too"):
        task_of(TrainSettings(run_dir="runs/train", **other))


def test_a_used_folder_is_the_first_process_own(prepared: RunFolder) -> None:
    write(prepared, Log(level="info", text="begun"))
    with pytest.raises(SettingsError, match="holds the events of a run already"):
        task_of(TrainSettings(run_dir="runs/train"))
    assert task_of(TrainSettings(run_dir="runs/train"), first=False).settings == ASKED


@pytest.mark.parametrize(("run_dir", "words"), [("none", "no such folder"), ("runs", r"no settings\.json")])
def test_a_folder_that_is_not_prepared_is_refused(prepared: RunFolder, run_dir: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"run_dir={run_dir}: {words}"):
        task_of(TrainSettings(run_dir=run_dir))


def test_a_run_with_a_state_goes_on_with_it(stopped: RunFolder) -> None:
    before = listing(stopped.path)
    assert task_of(TrainSettings(resume="runs/train")) == Task(stopped, None, {})
    changes = {"device": "cpu", "subdivisions": 2, "workers": 0}
    task = task_of(TrainSettings(resume="runs/train/weights/state.pt", **changes, extra={"plots": True}))
    assert task == Task(stopped, None, {**changes, "plots": True})
    assert listing(stopped.path) == before


def test_a_run_without_a_state_begins_again_with_what_changes(prepared: RunFolder) -> None:
    write(prepared, Log(level="info", text="begun"), RunFinished(status="failed"))
    task = task_of(TrainSettings(resume="runs/train", subdivisions=2, extra={"plots": True, "verbose": True}))
    assert (task.folder, task.changes) == (prepared, {})
    extra = {"plots": True, "verbose": True}
    assert task.settings == TrainSettings(cfg="small.cfg", data="obj.data", batch=4, subdivisions=2, extra=extra)
    assert prepared.read_settings() == ASKED, "the file tells what was asked at first"


@pytest.mark.parametrize("first", [True, False])
def test_another_training_is_refused(stopped: RunFolder, first: bool) -> None:
    with pytest.raises(SettingsError, match="batch=8: cannot be given with resume="):
        task_of(TrainSettings(resume="runs/train", batch=8), first)
    with pytest.raises(SettingsError, match="run_dir=x: cannot be given with resume="):
        task_of(TrainSettings(resume="runs/train", run_dir="x"), first)


# --- what the engine gets ---------------------------------------------------------------------------------------------


def test_a_new_run_gets_a_folder(place: Path, engine: list[Call], capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train", "train2"):
        assert train(ASKED) == 0
        assert engine[-1] == ("engine.training_run:run_training", ASKED, RunFolder(place / "runs" / name))
        assert f"results are in {Path('runs', name)}" in capsys.readouterr().out


def test_a_run_goes_on_and_its_state_and_events_are_left_to_the_engine(stopped: RunFolder, engine: list[Call]) -> None:
    before = list(read_events(stopped.events))
    stopped.request_stop()
    assert train(TrainSettings(resume="runs/train", device="cpu")) == 0
    assert engine == [("engine.training_run:continue_training", {"device": "cpu"}, stopped)]
    assert list(read_events(stopped.events)) == before
    assert stopped.is_own()


def test_a_run_that_begins_again_has_no_events_of_before(prepared: RunFolder, engine: list[Call]) -> None:
    write(prepared, RunFinished(status="failed"))
    assert train(TrainSettings(resume="runs/train")) == 0
    assert engine == [("engine.training_run:run_training", ASKED, prepared)]
    assert list(read_events(prepared.events)) == []


def test_a_device_that_is_not_there_is_refused_before_the_run_is_touched(
    stopped: RunFolder, engine: list[Call]
) -> None:
    before = listing(stopped.path)
    with pytest.raises(SettingsError, match="device=99"):
        train(TrainSettings(resume="runs/train", device="99"))
    with pytest.raises(SettingsError, match="device=cuda:99"):
        train(TrainSettings(cfg="small.cfg", data="obj.data", device="cuda:99", name="new"))
    assert listing(stopped.path) == before
    assert not (stopped.path.parent / "new").exists()
    assert engine == []


def test_the_owner_of_a_prepared_folder_reads_there_what_was_wrong(prepared: RunFolder, engine: list[Call]) -> None:
    prepared.write_settings(TrainSettings(cfg="none.cfg", data="obj.data"))
    with pytest.raises(SettingsError, match=r"none\.cfg: no such file"):
        train(TrainSettings(run_dir="runs/train"))
    last = last_event(prepared.events)
    assert isinstance(last, RunFinished)
    assert (last.status, (last.error or {})["type"]) == ("failed", "SettingsError")
    assert engine == []


def test_a_run_that_fails_when_it_goes_on_says_so_itself(stopped: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last event is of the process before, and not to be taken for its own."""
    stopped.events.write_text("".join(aged(line) for line in stopped.events.read_text().splitlines()))

    def fail(*_: Any) -> int:
        raise RuntimeError("odd")

    monkeypatch.setattr(train_command, "load", lambda _: fail)
    with pytest.raises(RuntimeError, match="odd"):
        train(TrainSettings(resume="runs/train"))
    last = last_event(stopped.events)
    assert isinstance(last, RunFinished)
    assert (last.status, last.reason) == ("failed", "odd")
    assert (stopped.weights / "state.pt").is_file()


def aged(line: str) -> str:
    return json.dumps({**json.loads(line), "t": time.time() - 100}) + "\n"


def test_another_process_of_a_run_leaves_its_folder_alone(
    prepared: RunFolder, engine: list[Call], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    before = listing(prepared.path)
    assert train(TrainSettings(run_dir="runs/train")) == 0
    ((entry, what, folder),) = engine
    assert (entry, what) == ("engine.training_run:run_training", ASKED)
    assert folder != prepared
    assert not folder.path.exists(), "it was a temporary one"
    assert listing(prepared.path) == before
    assert capsys.readouterr().out == ""


def test_another_process_of_a_run_that_goes_on_reads_the_same_state(
    stopped: RunFolder, engine: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    stopped.write_process()
    before = listing(stopped.path)
    assert train(TrainSettings(resume="runs/train", workers=0)) == 0
    assert engine == [("engine.training_run:continue_training", {"workers": 0}, stopped)]
    assert listing(stopped.path) == before


@pytest.mark.parametrize("quiet", [True, False])
def test_the_users_own_choice_holds(monkeypatch: pytest.MonkeyPatch, quiet: bool) -> None:
    for name in ("YOLO_OFFLINE", "YOLO_VERBOSE"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("YOLO_AUTOINSTALL", "true")
    train_command.prepare_host(quiet)
    found = [os.environ.get(name) for name in ("YOLO_OFFLINE", "YOLO_AUTOINSTALL", "YOLO_VERBOSE")]
    assert found == ["true", "true", "false" if quiet else None]


# --- importing late ---------------------------------------------------------------------------------------------------


def test_a_part_is_imported_by_its_name() -> None:
    assert load("settings.train_settings:TrainSettings") is TrainSettings
    assert load("train_command:task_of") is task_of
    with pytest.raises(ModuleNotFoundError):
        load("none:x")
    with pytest.raises(AttributeError):
        load("train_command:none")
