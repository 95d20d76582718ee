"""The process of a run: how it is started, and which one it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from yolo_subbatch.folder import own, process
from yolo_subbatch.folder.events import EventWriter, Log, RunFinished
from yolo_subbatch.folder.queue import enqueue, take
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.train_settings import TrainSettings

WAIT = 30.0  # seconds for another process to do something


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "runs", "train")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until its input is closed."""
    made = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    yield made
    made.kill()
    made.communicate()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, Any]]]:
    """Collect what would be started; in its place a process runs that does nothing."""
    calls: list[tuple[list[str], dict[str, Any]]] = []
    popen = subprocess.Popen

    def start(argv: list[str], **details: Any) -> subprocess.Popen[bytes]:
        calls.append((argv, details))
        return popen([sys.executable, "-c", "print('begun')"], **details)

    monkeypatch.setattr(process.subprocess, "Popen", start)
    return calls


def began_in(folder: RunFolder, place: Path) -> None:
    folder.write_process()
    document = {**folder.process_record(), "folder": str(place)}
    folder.began.write_text(json.dumps(own.marked(document, folder.began)))


def rewind(folder: RunFolder, seconds: float) -> None:
    """Let a run's newest process have been started earlier or, with less than nothing, later."""
    moment = folder.when_it_began() - seconds
    os.utime(folder.began, (moment, moment))


def gone(folder: RunFolder) -> None:
    """Make its process one that is dead; what else is recorded stays."""
    moment = folder.when_it_began()
    folder.began.write_text(json.dumps({**folder.process_record(), "started": 0}))
    os.utime(folder.began, (moment, moment))


# --- starting ---------------------------------------------------------------------------------------------------------


def test_a_run_begins_with_its_settings(folder: RunFolder, started: list[tuple[list[str], dict[str, Any]]]) -> None:
    made = folder.launch()
    made.wait(WAIT)
    ((argv, details),) = started
    assert argv[:3] == [sys.executable, "-u", "-c"]
    assert argv[4:] == ["yolo_subbatch", "train", "--run-dir", str(folder.path)]
    assert details["cwd"] is None
    assert details["stdin"] == subprocess.DEVNULL
    assert details["env"]["PYTHONIOENCODING"] == "utf-8"
    assert folder.console.read_text() == "begun\n"


def test_a_run_that_waited_begins_where_its_settings_were_made(
    folder: RunFolder, tmp_path: Path, started: list[tuple[list[str], dict[str, Any]]]
) -> None:
    folder.launch(place=str(tmp_path)).wait(WAIT)
    folder.launch(place=str(tmp_path / "gone")).wait(WAIT)
    assert [details["cwd"] for _, details in started] == [str(tmp_path), None]
    assert folder.console.read_text() == "begun\n" * 2, "what was printed before stays"


def test_a_run_goes_on_where_it_began(
    folder: RunFolder, tmp_path: Path, started: list[tuple[list[str], dict[str, Any]]]
) -> None:
    began_in(folder, tmp_path)
    folder.launch(resume=True, changes={"subdivisions": 4, "device": "0,1"}).wait(WAIT)
    ((argv, details),) = started
    assert argv[6:] == ["--resume", str(folder.path), "subdivisions=4", "device=0,1"]
    assert details["cwd"] == str(tmp_path)


@pytest.mark.parametrize("place", ["gone", "file"])
def test_a_run_whose_place_is_gone_goes_on_from_here(
    folder: RunFolder, tmp_path: Path, started: list[tuple[list[str], dict[str, Any]]], place: str
) -> None:
    (tmp_path / "file").touch()
    began_in(folder, tmp_path / place)
    folder.launch(resume=True).wait(WAIT)
    assert started[0][1]["cwd"] is None


# --- which process ----------------------------------------------------------------------------------------------------


def test_a_launcher_is_not_the_run(folder: RunFolder, child: subprocess.Popen[bytes]) -> None:
    assert not folder.is_own()
    assert folder.is_of(1), "nobody has said otherwise"
    folder.write_process(child.pid)
    assert not folder.is_own()
    assert folder.is_of(child.pid)
    assert not folder.is_of(os.getpid())
    folder.write_process()
    assert folder.is_own()
    gone(folder)
    assert not folder.is_own()


def test_the_record_tells_where_the_process_works(folder: RunFolder, tmp_path: Path) -> None:
    made = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=tmp_path)
    folder.write_process(made.pid)
    made.communicate(b"\n")
    assert folder.process_record()["folder"] == str(tmp_path)


def test_one_waits_for_the_end(folder: RunFolder, child: subprocess.Popen[bytes]) -> None:
    assert folder.wait_for_end(0), "there is none"
    folder.write_process(child.pid)
    assert not folder.wait_for_end(0.01)
    assert child.stdin is not None
    child.stdin.close()
    assert folder.wait_for_end(WAIT)
    assert not folder.alive()


def test_an_event_of_before_is_not_of_the_newest_process(folder: RunFolder) -> None:
    assert not folder.begins_after(0.0)
    folder.write_process()
    moment = folder.when_it_began()
    assert not folder.begins_after(moment)
    assert not folder.begins_after(moment + 5)
    assert folder.begins_after(moment - 5)


# --- what became of it ------------------------------------------------------------------------------------------------


def test_a_run_that_goes_on_is_running_whatever_its_last_event_says(folder: RunFolder) -> None:
    EventWriter(folder.events).write(RunFinished(status="stopped"))
    assert folder.status() == "stopped"
    folder.write_process()
    rewind(folder, -5)
    assert folder.status() == "running"
    EventWriter(folder.events).write(Log(level="info", text="goes on"))
    assert folder.status() == "running"
    EventWriter(folder.events).write(RunFinished(status="completed"))
    rewind(folder, 10)
    assert folder.status() == "completed", "while its process still ends"


def test_a_run_whose_last_try_left_no_event_is_what_it_was(folder: RunFolder) -> None:
    EventWriter(folder.events).write(RunFinished(status="stopped"))
    folder.write_process()
    rewind(folder, -5)
    gone(folder)
    assert folder.status() == "stopped"


def test_a_waiting_file_counts_once_the_process_is_gone(folder: RunFolder) -> None:
    folder.write_process()
    enqueue(folder)
    assert folder.status() == "running"
    gone(folder)
    assert folder.status() == "queued"
    EventWriter(folder.events).write(RunFinished(status="stopped"))
    assert folder.status() == "queued"
    assert take(folder)
    assert folder.status() == "stopped"


# --- its settings, from elsewhere -------------------------------------------------------------------------------------


def test_paths_hold_from_another_place(folder: RunFolder, tmp_path: Path) -> None:
    for name in ("a.cfg", "obj.data"):
        (tmp_path / name).touch()
    away = tmp_path / "away.weights"
    asked = TrainSettings(cfg="a.cfg", data="obj.data", weights=str(away), model="yolo26n.yaml", name="a.cfg")
    folder.write_settings(asked)
    assert folder.usable_settings() == asked, "nobody knows where it began"
    began_in(folder, tmp_path)
    usable = folder.usable_settings()
    assert (usable.cfg, usable.data) == (str(tmp_path / "a.cfg"), str(tmp_path / "obj.data"))
    assert usable.project == str(tmp_path / "runs")
    assert (usable.weights, usable.model, usable.name) == (str(away), "yolo26n.yaml", "a.cfg")
    assert folder.read_settings() == asked


def test_paths_stay_as_they_are_where_they_were_given(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.cfg").touch()
    folder.write_settings(TrainSettings(cfg="a.cfg"))
    began_in(folder, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert folder.usable_settings() == TrainSettings(cfg="a.cfg")
