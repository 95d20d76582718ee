"""Runs that are started, queued, stopped and removed, with processes that only speak as trainings do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import shiboken6
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot

from tests.gui.conftest import Work
from tests.gui.run_files import events_of, steps_of
from yolo_subbatch.folder import queue
from yolo_subbatch.folder.events import EventWriter, RunFinished, RunStarted, Step, last_event
from yolo_subbatch.folder.listing import summarise
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.gui.runs import launcher as module
from yolo_subbatch.gui.runs.launcher import STOPPED_AT_ONCE, Launcher
from yolo_subbatch.gui.toolkit.background import run_in_background
from yolo_subbatch.settings.train_settings import TrainSettings

WAIT = 20_000  # ms that a process may take on a busy machine
FOREVER = ("--steps", "100000", "--rate", "200")


class Heard:
    """What a launcher told."""

    def __init__(self, launcher: Launcher) -> None:
        self.started: list[str] = []
        self.faults: list[str] = []
        launcher.started.connect(lambda folder: self.started.append(folder.path.name))
        launcher.failed.connect(self.faults.append)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def open_launcher(place: Path, qtbot: QtBot) -> Iterator[Callable[[], Launcher]]:
    """Make a launcher that lists ``runs``; it looks at the queue no longer when the test is over."""
    made: list[Launcher] = []

    def make() -> Launcher:
        made.append(Launcher())
        made[-1].watch("runs")
        return made[-1]

    yield make
    for each in made:
        each._timer.stop()


@pytest.fixture
def launcher(open_launcher: Callable[[], Launcher]) -> Launcher:
    return open_launcher()


@pytest.fixture
def heard(launcher: Launcher) -> Heard:
    return Heard(launcher)


def settings(name: str, device: str | None = "cpu") -> TrainSettings:
    return TrainSettings(cfg="yolov3-tiny", name=name, device=device)


def start(launcher: Launcher, name: str, device: str | None = "cpu") -> RunFolder:
    folder = launcher.start(settings(name, device))
    assert folder is not None
    return folder


def wait_for(qtbot: QtBot, folder: RunFolder, state: str) -> None:
    qtbot.waitUntil(lambda: folder.status() == state, timeout=WAIT)


def wait_for_steps(qtbot: QtBot, folder: RunFolder, number: int) -> None:
    qtbot.waitUntil(lambda: getattr(last_event(folder.events, Step), "step", 0) >= number, timeout=WAIT)


def span_of(folder: RunFolder) -> tuple[float, float]:
    """Return when a run began and ended."""
    events = events_of(folder)
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    return events[0].t, events[-1].t


# --- the queue -------------------------------------------------------------------------------------------------------


def test_one_run_after_the_other_on_one_device(
    launcher: Launcher, heard: Heard, options: list[str], qtbot: QtBot
) -> None:
    options += ["--steps", "40", "--rate", "200"]
    runs = [start(launcher, name) for name in ("one", "two", "three")]
    assert [run.status() for run in runs] == ["running", "queued", "queued"]
    assert [run.path.name for run in launcher.busy("cpu", runs)] == ["one"]
    assert launcher.busy("0", runs) == []
    assert launcher.process_of(runs[0]) is not None
    assert launcher.process_of(runs[1]) is None
    wait_for(qtbot, runs[2], "completed")
    assert heard.started == ["one", "two", "three"]
    assert heard.faults == []
    spans = [span_of(run) for run in runs]
    assert spans == sorted(spans)
    assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:], strict=False))
    assert all(steps_of(run) == list(range(1, 41)) for run in runs)


def test_runs_on_two_devices_do_not_wait_for_one_another(launcher: Launcher, options: list[str], qtbot: QtBot) -> None:
    options += FOREVER
    first, second, third = start(launcher, "one"), start(launcher, "two", "0"), start(launcher, "three", "cuda:0")
    assert [run.status() for run in (first, second, third)] == ["running", "running", "queued"]
    assert {run.path.name for run in launcher.busy(None, launcher.runs())} == {"one", "two"}, "no device= may be any"
    fourth = start(launcher, "four", None)
    assert fourth.status() == "queued"
    fifth = start(launcher, "five", "1")
    assert fifth.status() == "queued", "the fourth may take any device, and comes first"


def test_a_later_run_does_not_overtake(launcher: Launcher, options: list[str], qtbot: QtBot) -> None:
    options += FOREVER
    first, both, later = start(launcher, "one", "0"), start(launcher, "two", "0,1"), start(launcher, "three", "1")
    assert [run.status() for run in (first, both, later)] == ["running", "queued", "queued"]
    launcher.ask_to_stop(first)
    wait_for(qtbot, both, "running")
    assert later.status() == "queued"


def test_two_windows_start_a_run_once(
    launcher: Launcher, open_launcher: Callable[[], Launcher], options: list[str], qtbot: QtBot
) -> None:
    other = open_launcher()
    options += ["--steps", "10"]
    runs = [start(launcher, f"run{number}x") for number in range(4)]
    qtbot.waitUntil(lambda: all(run.status() == "completed" for run in runs), timeout=WAIT)
    counts = [sum(isinstance(event, RunStarted) for event in events_of(run)) for run in runs]
    assert counts == [1, 1, 1, 1]
    assert sorted([*launcher.processes, *other.processes]) == sorted(run.path for run in runs)


def test_the_next_window_serves_the_queue(
    place: Path, open_launcher: Callable[[], Launcher], options: list[str], qtbot: QtBot
) -> None:
    waiting = RunFolder.create("runs", "left")
    waiting.write_settings(settings("left"))
    queue.enqueue(waiting)
    looking = open_launcher()
    looking.only_look()  # as for a screenshot
    qtbot.wait(120)
    assert not waiting.began.exists()
    launcher = open_launcher()
    assert launcher.runs() == [waiting]
    wait_for(qtbot, waiting, "completed")
    assert launcher.process_of(waiting) is not None


def test_a_run_is_taken_out_of_the_queue(launcher: Launcher, options: list[str], qtbot: QtBot) -> None:
    options += FOREVER
    first, second, third = (start(launcher, name) for name in ("one", "two", "three"))
    launcher.withdraw(second)
    assert not second.path.exists(), "it never began"
    launcher.ask_to_stop(third)
    assert not third.path.exists()
    launcher.ask_to_stop(first)
    wait_for(qtbot, first, "stopped")
    launcher.withdraw(first)
    assert first.path.is_dir()


def test_settings_that_were_changed_in_the_queue_are_not_started(
    launcher: Launcher, heard: Heard, options: list[str], qtbot: QtBot
) -> None:
    options += FOREVER
    first, second = start(launcher, "one"), start(launcher, "two")
    second.write_settings(settings("other"))
    launcher.ask_to_stop(first)
    qtbot.waitUntil(lambda: bool(heard.faults), timeout=WAIT)
    assert "has changed since this run was put into the queue" in heard.faults[0]
    assert not second.began.exists()
    assert second.status() == "prepared"
    assert heard.started == ["one"]


def test_what_may_not_be_taken_is_left_there(
    launcher: Launcher, heard: Heard, options: list[str], qtbot: QtBot
) -> None:
    odd = RunFolder.create("runs", "odd")
    odd.write_settings(settings("odd", "0"))
    odd.waiting.mkdir(parents=True)  # cannot be removed as a file can
    odd.began.touch()
    run = start(launcher, "mine")
    wait_for(qtbot, run, "completed")
    assert heard.started == ["mine"]
    assert odd.status() == "queued"


# --- stopping and resuming -------------------------------------------------------------------------------------------


def test_a_stop_that_is_asked_for_and_what_follows(
    launcher: Launcher, heard: Heard, options: list[str], qtbot: QtBot
) -> None:
    options += FOREVER
    run = start(launcher, "one")
    wait_for_steps(qtbot, run, 5)
    launcher.ask_to_stop(run)
    wait_for(qtbot, run, "stopped")
    done = steps_of(run)
    assert done == list(range(1, len(done) + 1))
    assert summarise(run).resumable
    first = launcher.process_of(run)
    assert first is not None
    first.wait()
    options[:] = ["--steps", str(len(done) + 20)]
    launcher.resume(run)
    wait_for(qtbot, run, "completed")
    assert heard.started == ["one", "one"]
    assert launcher.process_of(run) is not first
    assert steps_of(run) == list(range(1, len(done) + 21))
    assert sum(isinstance(event, RunStarted) for event in events_of(run)) == 2


def test_a_resumed_run_waits_for_its_device_too(launcher: Launcher, options: list[str], qtbot: QtBot) -> None:
    options += FOREVER
    run = start(launcher, "one")
    wait_for_steps(qtbot, run, 1)
    launcher.ask_to_stop(run)
    wait_for(qtbot, run, "stopped")
    other = start(launcher, "two")
    wait_for_steps(qtbot, other, 1)
    launcher.resume(run)
    assert run.status() == "queued"
    launcher.withdraw(run)
    assert run.status() == "stopped", "it has begun: only the queue forgets it"


def child_of(folder: RunFolder, qtbot: QtBot) -> psutil.Process:
    file = folder.path / "child"
    qtbot.waitUntil(lambda: file.is_file() and bool(file.read_text()), timeout=WAIT)
    return psutil.Process(int(file.read_text()))


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_stopped_at_once(launcher: Launcher, heard: Heard, options: list[str], qtbot: QtBot) -> None:
    options += ["--deaf", "--child", "--steps", "25"]
    run = start(launcher, "hangs")
    wait_for_steps(qtbot, run, 25)
    launcher.ask_to_stop(run)
    child = child_of(run, qtbot)
    qtbot.wait(100)
    assert run.status() == "running"
    launcher.stop_at_once(run)
    wait_for(qtbot, run, "stopped")
    last = last_event(run.events)
    assert isinstance(last, RunFinished)
    assert (last.status, last.reason, last.error) == ("stopped", STOPPED_AT_ONCE, None)
    qtbot.waitUntil(lambda: is_gone(child), timeout=WAIT)
    assert run.process() is None
    assert summarise(run).resumable, "the twentieth update was kept"
    assert heard.faults == []


def test_stopped_at_once_before_anything_was_kept(launcher: Launcher, options: list[str], qtbot: QtBot) -> None:
    options += ["--deaf", "--steps", "5"]
    run = start(launcher, "short")
    wait_for_steps(qtbot, run, 5)
    launcher.stop_at_once(run)
    wait_for(qtbot, run, "stopped")
    assert not summarise(run).resumable


def test_stopped_at_once_while_it_gets_ready_to_resume(launcher: Launcher, options: list[str], qtbot: QtBot) -> None:
    """The last event of the process before does not pass for this one's."""
    options += FOREVER
    run = start(launcher, "one")
    wait_for_steps(qtbot, run, 12)
    launcher.ask_to_stop(run)
    wait_for(qtbot, run, "stopped")
    run.wait_for_end(WAIT / 1000)
    options[:] = ["--delay", "60"]
    launcher.resume(run)
    assert run.status() == "running"
    launcher.stop_at_once(run)
    wait_for(qtbot, run, "stopped")
    qtbot.waitUntil(lambda: getattr(last_event(run.events), "reason", "") == STOPPED_AT_ONCE, timeout=WAIT)
    assert summarise(run).resumable


def test_stopping_what_does_not_run(launcher: Launcher, heard: Heard, options: list[str], qtbot: QtBot) -> None:
    run = start(launcher, "one")
    wait_for(qtbot, run, "completed")
    run.wait_for_end(WAIT / 1000)
    events = run.events.read_bytes()
    with qtbot.waitSignal(launcher.changed, timeout=WAIT):
        launcher.stop_at_once(run)
    assert run.events.read_bytes() == events
    assert heard.faults == []


def test_a_run_of_another_machine_is_not_ended_from_here(
    launcher: Launcher, heard: Heard, options: list[str], qtbot: QtBot
) -> None:
    options += FOREVER
    run = start(launcher, "far")
    wait_for_steps(qtbot, run, 1)
    run.began.write_text(json.dumps({**run.process_record(), "host": "elsewhere"}))
    launcher.stop_at_once(run)
    qtbot.waitUntil(lambda: bool(heard.faults), timeout=WAIT)
    assert heard.faults == ["far runs on another machine; stop it there"]
    assert run.status() == "running"


# --- removing --------------------------------------------------------------------------------------------------------


def test_what_runs_is_not_removed(launcher: Launcher, heard: Heard, options: list[str], qtbot: QtBot) -> None:
    options += FOREVER
    run = start(launcher, "one")
    wait_for_steps(qtbot, run, 1)
    launcher.delete(run)
    assert heard.faults == ["one is running; stop it first"]
    assert run.status() == "running"
    launcher.ask_to_stop(run)
    wait_for(qtbot, run, "stopped")
    launcher.delete(run)
    qtbot.waitUntil(lambda: not run.path.exists(), timeout=WAIT)
    assert launcher.runs() == []
    assert heard.faults == ["one is running; stop it first"]


def test_what_waits_can_be_removed(launcher: Launcher, options: list[str], qtbot: QtBot) -> None:
    options += FOREVER
    start(launcher, "one")
    second = start(launcher, "two")
    launcher.delete(second)
    qtbot.waitUntil(lambda: not second.path.exists(), timeout=WAIT)


def test_what_is_being_removed_is_not_started(
    launcher: Launcher, options: list[str], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    options += FOREVER
    first, second = start(launcher, "one"), start(launcher, "two")
    waited: list[bool] = []
    monkeypatch.setattr(module.shutil, "rmtree", lambda path: waited.append(RunFolder(path).waiting.exists()))
    launcher.delete(second)
    qtbot.waitUntil(lambda: bool(waited), timeout=WAIT)
    assert waited == [False]
    first.kill()
    qtbot.wait(200)
    assert not second.began.exists()


def finish_but_live(launcher: Launcher, options: list[str], qtbot: QtBot) -> RunFolder:
    """Return a run that has written its last event, and whose process still ends."""
    options += ["--deaf", "--steps", "1"]
    run = start(launcher, "slow")
    wait_for_steps(qtbot, run, 1)
    writer = EventWriter(run.events)
    writer.write(RunFinished(status="completed"))
    writer.close()
    assert run.status() == "completed"
    assert run.alive()
    return run


def test_only_runs_are_removed(launcher: Launcher, heard: Heard) -> None:
    folder = RunFolder.create("runs", "photos")
    (folder.path / "photo.jpg").touch()
    launcher.delete(folder)
    assert len(heard.faults) == 1
    assert "not the folder of a run" in heard.faults[0]
    assert (folder.path / "photo.jpg").exists()


def test_what_still_ends_is_removed_afterwards(
    launcher: Launcher, heard: Heard, options: list[str], qtbot: QtBot
) -> None:
    run = finish_but_live(launcher, options, qtbot)
    launcher.delete(run)
    qtbot.wait(200)
    assert run.events.exists()
    run.kill()
    qtbot.waitUntil(lambda: not run.path.exists(), timeout=WAIT)
    assert heard.faults == []


def test_what_does_not_end_stays(
    launcher: Launcher, heard: Heard, options: list[str], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_BREATH", 0.05)
    run = finish_but_live(launcher, options, qtbot)
    launcher.delete(run)
    qtbot.waitUntil(lambda: bool(heard.faults), timeout=WAIT)
    assert heard.faults == ["slow is running; stop it first"]
    assert run.events.exists()


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_project_that_is_a_file(place: Path, launcher: Launcher, heard: Heard, options: list[str]) -> None:
    (place / "file").touch()
    assert launcher.start(TrainSettings(cfg="yolov3-tiny", project="file")) is None
    assert len(heard.faults) == 1
    assert heard.faults[0].startswith("project=file: ")
    assert "Traceback" not in heard.faults[0]


def test_a_folder_that_cannot_be_put_into_the_queue(
    place: Path, launcher: Launcher, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.create("runs", "old")
    folder.write_settings(settings("old"))
    (folder.path / "control").touch()
    (place / "no folder").touch()
    monkeypatch.setenv("YOLO_SUBBATCH_DATA", str(place / "no folder"))
    assert not launcher.resume(folder)
    launcher.ask_to_stop(folder)
    assert len(heard.faults) == 2
    assert "cannot be put into the queue" in heard.faults[0]
    assert "cannot be asked to stop" in heard.faults[1]
    assert all(str(folder.path) in fault for fault in heard.faults)


def test_a_process_that_cannot_be_started(launcher: Launcher, heard: Heard) -> None:
    folder = RunFolder.create("runs", "old")
    folder.write_settings(settings("old"))
    folder.console.mkdir()
    assert launcher.resume(folder), "it was in the queue"
    assert heard.started == []
    assert len(heard.faults) == 1
    assert "the process cannot be started" in heard.faults[0]
    assert not folder.waiting.exists()
    assert folder.status() == "failed", "it stays in the list"


def test_a_taken_name_gets_a_number(launcher: Launcher, options: list[str]) -> None:
    options += FOREVER
    assert [start(launcher, "b64s16").path.name for _ in range(3)] == ["b64s16", "b64s16-2", "b64s16-3"]
    assert [start(launcher, "train").path.name for _ in range(3)] == ["train", "train2", "train3"]


def test_a_run_that_another_program_resumes(launcher: Launcher, options: list[str], work: Work, qtbot: QtBot) -> None:
    options += ["--end", "kill", "--at", "15"]
    run = start(launcher, "one")
    wait_for(qtbot, run, "failed")
    assert launcher.process_of(run) is not None
    work(run, "--resume", "--steps", "30")
    assert launcher.process_of(run) is None
    wait_for(qtbot, run, "completed")


def test_settings_that_cannot_be_read_may_mean_any_device(launcher: Launcher) -> None:
    folder = RunFolder.create("runs", "odd")
    assert module.device_of(folder) is None
    folder.settings.write_text("{")
    assert module.device_of(folder) is None
    folder.write_settings(settings("odd", "1"))
    assert module.device_of(folder) == "1"


def test_projects_are_listed_once(place: Path, launcher: Launcher, qtbot: QtBot) -> None:
    with qtbot.assertNotEmitted(launcher.changed):
        launcher.watch(place / "runs")
    with qtbot.waitSignal(launcher.changed):
        launcher.watch("elsewhere")
    assert launcher.projects == [place / "runs", place / "elsewhere"]
    assert launcher.runs() == []


# --- work beside the window ------------------------------------------------------------------------------------------


def test_an_answer_comes_in_the_windows_thread(qtbot: QtBot) -> None:
    owner = QObject()
    threads: list[threading.Thread] = []
    answers: list[object] = []

    def work() -> str:
        threads.append(threading.current_thread())
        return "done"

    def then(answer: object) -> None:
        threads.append(threading.current_thread())
        answers.append(answer)

    run_in_background(owner, work, then)
    qtbot.waitUntil(lambda: bool(answers), timeout=WAIT)
    assert answers == ["done"]
    assert threads[0] is not threads[1]
    assert threads[1] is threading.main_thread()
    qtbot.waitUntil(lambda: owner.children() == [], timeout=WAIT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_work_that_fails_is_answered_too(qtbot: QtBot) -> None:
    owner = QObject()
    answers: list[object] = []
    run_in_background(owner, lambda: 1 / 0, answers.append)
    qtbot.waitUntil(lambda: bool(answers), timeout=WAIT)
    assert answers == [None]


@pytest.mark.parametrize("answered", [False, True])
def test_an_answer_is_dropped_once_its_owner_is_gone(qtbot: QtBot, answered: bool) -> None:
    """Whether the work is still done then, or its answer is on the way."""
    owner = QObject()
    threads: list[threading.Thread] = []
    may_end = threading.Event()
    answers: list[object] = []

    def work() -> str:
        threads.append(threading.current_thread())
        may_end.wait(WAIT / 1000)
        return "done"

    run_in_background(owner, work, answers.append)
    qtbot.waitUntil(lambda: bool(threads), timeout=WAIT)
    with qtbot.captureExceptions() as exceptions:
        if answered:
            may_end.set()
            threads[0].join()
        shiboken6.delete(owner)
        may_end.set()
        threads[0].join()
        qtbot.wait(50)
    assert answers == []
    assert exceptions == []
