"""What a reader makes of a run's files while real processes write them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QTimer
from pytestqt.qtbot import QtBot

from tests.gui.conftest import Work
from tests.gui.run_files import events_of, record, step, write
from yolo_subbatch.folder import queue
from yolo_subbatch.folder.events import Event, Log, RunFinished, RunStarted, Step
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.gui.runs import reader
from yolo_subbatch.gui.runs.reader import RunReader
from yolo_subbatch.settings.train_settings import TrainSettings

WAIT = 20_000  # ms that a process may take on a busy machine
LONGEST_STALL = 0.1  # seconds
MANY = 30_000


class Watched:
    """A reader, and everything that it has told."""

    def __init__(self, folder: RunFolder, process: subprocess.Popen[bytes] | None = None) -> None:
        self.reader = RunReader(folder, process)
        self.events: list[Event] = []
        self.states: list[str] = []
        self.known: list[int] = []  # the number of events when each state was told
        self.restarts = self.ends = 0
        self.reader.received.connect(self.events.extend)
        self.reader.state_changed.connect(self._note)
        self.reader.restarted.connect(self._forget)
        self.reader.caught_up.connect(self._count)

    def _note(self, state: str) -> None:
        self.states.append(state)
        self.known.append(len(self.events))

    def _forget(self) -> None:
        self.restarts += 1
        self.events.clear()

    def _count(self) -> None:
        self.ends += 1

    @property
    def numbers(self) -> list[int]:
        return [event.seq for event in self.events]


Watch = Callable[..., Watched]


@pytest.fixture
def watch(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Start a reader, which reads a short file at once however busy the machine is; it is stopped at the end."""
    monkeypatch.setattr(reader, "BUSY", 10)
    made: list[Watched] = []

    def start(folder: RunFolder, process: subprocess.Popen[bytes] | None = None) -> Watched:
        watched = Watched(folder, process)
        made.append(watched)
        watched.reader.start()
        return watched

    yield start
    for each in made:
        each.reader.stop()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder.create(tmp_path, "run")
    made.write_settings(TrainSettings(cfg="yolov3-tiny", device="cpu"))
    return made


def wait_for(qtbot: QtBot, watched: Watched, state: str) -> None:
    qtbot.waitUntil(lambda: watched.reader.state == state, timeout=WAIT)


# --- every event, once -----------------------------------------------------------------------------------------------


def test_from_start_to_finish(folder: RunFolder, work: Work, watch: Watch, qtbot: QtBot) -> None:
    process = work(folder, "--steps", "400", "--rate", "1000")
    watched = watch(folder, process)
    assert watched.reader.state == "starting"
    wait_for(qtbot, watched, "completed")
    assert watched.states == ["running", "completed"]
    assert watched.events == events_of(folder)
    assert watched.numbers == list(range(len(watched.events)))
    assert list(watched.reader.history.steps.values) == list(range(1, 401))
    assert watched.restarts == 0
    assert watched.reader.progress == 1.0
    qtbot.waitUntil(lambda: watched.reader.exit_status == 0, timeout=WAIT)


def test_attached_in_the_middle(folder: RunFolder, work: Work, watch: Watch, qtbot: QtBot) -> None:
    work(folder, "--steps", "200", "--rate", "400")
    qtbot.waitUntil(lambda: len(events_of(folder)) > 50, timeout=WAIT)
    watched = watch(folder)
    assert watched.reader.state == "running"
    assert len(watched.events) > 50
    wait_for(qtbot, watched, "completed")
    assert watched.states == ["starting", "running", "completed"]
    assert watched.events == events_of(folder)
    assert watched.restarts == 0
    assert watched.ends == 1
    assert watched.reader.exit_status is None, "whose child it is knows it, nobody else"


@pytest.mark.parametrize("status", ["completed", "stopped", "failed"])
def test_a_run_that_is_over(folder: RunFolder, watch: Watch, status: str) -> None:
    write(folder, RunStarted(pid=1, steps_total=3), *map(step, (1, 2, 3)), RunFinished(status=status, reason="why"))
    record(folder, lives=False)
    watched = watch(folder)
    assert watched.states == [status]
    assert watched.ends == 1
    assert watched.events == events_of(folder)
    assert watched.reader.history.finished is not None
    assert watched.reader.history.finished.reason == "why"
    watched.reader.read()
    watched.reader.look_at_process()
    assert (watched.states, watched.restarts) == ([status], 0)


def test_a_torn_last_line_that_is_completed(folder: RunFolder, watch: Watch, qtbot: QtBot) -> None:
    write(folder, RunStarted(pid=1, steps_total=3), step(1), step(2))
    whole = folder.events.read_bytes()
    cut = len(whole) - 30
    folder.events.write_bytes(whole[:cut])
    watched = watch(folder)
    assert watched.numbers == [0, 1]
    assert watched.reader.progress < 1
    with folder.events.open("ab") as file:
        file.write(whole[cut:])
    qtbot.waitUntil(lambda: watched.numbers == [0, 1, 2], timeout=WAIT)
    assert watched.restarts == 0


def test_a_torn_last_line_that_never_is(folder: RunFolder, watch: Watch, qtbot: QtBot) -> None:
    write(folder, RunStarted(pid=1, steps_total=3), step(1))
    with folder.events.open("ab") as file:
        file.write(b'{"v":1,"type":"step","step":2,"epo')
    record(folder, lives=False)
    watched = watch(folder)
    assert watched.states == ["failed"]
    assert watched.numbers == [0, 1]
    write(folder, step(2))  # a resumed run ends the torn line first
    qtbot.waitUntil(lambda: watched.numbers == [0, 1, 2], timeout=WAIT)


def test_events_of_a_newer_version_are_skipped(folder: RunFolder, watch: Watch) -> None:
    lines = ['{"v":2,"type":"weather","seq":1,"t":1.0,"rain":true}', "no JSON", "[]", '{"v":2,"type":5}']
    write(folder, RunStarted(pid=1, steps_total=3))
    folder.events.write_text(folder.events.read_text() + "\n".join(lines) + "\n")
    write(folder, step(1))
    watched = watch(folder)
    assert [type(event) for event in watched.events] == [RunStarted, Step]
    assert watched.restarts == 0


def test_damage_while_a_run_goes_on(folder: RunFolder, watch: Watch, qtbot: QtBot) -> None:
    folder.write_process()
    write(folder, RunStarted(pid=1, steps_total=9), step(1))
    watched = watch(folder)
    damages = (300 * b"\0", b'{"v":1,"type":"log","text":"\xe9"}', 100_000 * b"[", b'{"type":"weather","seq":0}', b"")
    for number, damage in enumerate(damages, start=2):
        with folder.events.open("ab") as file:
            file.write(damage + b"\n")
        write(folder, step(number))
        qtbot.waitUntil(lambda number=number: len(watched.reader.history) == number, timeout=WAIT)
    assert list(watched.reader.history.steps.values) == [1, 2, 3, 4, 5, 6]
    assert watched.events == events_of(folder)
    assert (watched.restarts, watched.ends) == (0, 1)


def test_events_without_numbers_are_read_once(folder: RunFolder, watch: Watch, qtbot: QtBot) -> None:
    line = '{"v":1,"type":"log","level":"info","text":"' + 1000 * "x" + '"}\n'
    folder.events.write_text(400 * line)
    watched = watch(folder)
    qtbot.waitUntil(lambda: watched.ends == 1, timeout=WAIT)
    assert len(watched.events) == 400


# --- runs that are resumed -------------------------------------------------------------------------------------------------


def stopped_run(folder: RunFolder, work: Work, watch: Watch, qtbot: QtBot) -> Watched:
    """A run that was stopped some updates after its last state but one."""
    process = work(folder, "--steps", "5000", "--rate", "300")
    watched = watch(folder, process)
    qtbot.waitUntil(lambda: len(watched.reader.history) > 25, timeout=WAIT)
    folder.request_stop()
    wait_for(qtbot, watched, "stopped")
    process.wait()
    return watched


def test_a_stop_and_what_another_process_makes_of_the_rest(
    folder: RunFolder, work: Work, watch: Watch, qtbot: QtBot
) -> None:
    watched = stopped_run(folder, work, watch, qtbot)
    assert watched.states[-1] == "stopped"
    assert set(watched.states) <= {"running", "stopping", "stopped"}
    had = len(watched.reader.history)
    watched.states.clear()
    work(folder, "--resume", "--steps", str(had + 30), "--rate", "300", "--delay", "0.5")
    wait_for(qtbot, watched, "starting")
    qtbot.wait(250)
    assert watched.reader.state == "starting", "the end of before is not the end of what runs now"
    assert len(watched.reader.history) == had
    wait_for(qtbot, watched, "completed")
    assert watched.states == ["starting", "running", "completed"]
    assert watched.restarts >= 1
    assert watched.events == events_of(folder)
    assert watched.numbers == list(range(len(watched.events)))
    assert list(watched.reader.history.steps.values) == list(range(1, had + 31))
    assert watched.reader.exit_status is None, "it is another process's child"


def test_a_run_that_this_program_goes_on_with(folder: RunFolder, work: Work, watch: Watch, qtbot: QtBot) -> None:
    watched = stopped_run(folder, work, watch, qtbot)
    had = len(watched.reader.history)
    watched.states.clear()
    process = work(folder, "--resume", "--steps", str(had + 30), "--rate", "300")
    watched.reader.launched(process)
    assert watched.reader.state == "starting"
    wait_for(qtbot, watched, "completed")
    assert watched.states == ["starting", "running", "completed"]
    assert watched.events == events_of(folder)
    assert list(watched.reader.history.steps.values) == list(range(1, had + 31))
    qtbot.waitUntil(lambda: watched.reader.exit_status == 0, timeout=WAIT)


def test_a_run_that_was_killed_starts_before_it_runs(folder: RunFolder, work: Work, watch: Watch, qtbot: QtBot) -> None:
    work(folder, "--end", "kill", "--at", "25").wait()
    watched = watch(folder)
    assert watched.states == ["failed"]
    work(folder, "--resume", "--delay", "0.5")
    wait_for(qtbot, watched, "starting")
    wait_for(qtbot, watched, "completed")
    assert watched.states == ["failed", "starting", "running", "completed"]
    assert watched.events == events_of(folder)


def test_events_that_are_taken_back(folder: RunFolder, watch: Watch, qtbot: QtBot) -> None:
    """As a training does that has to repeat some updates: the file is shorter, and longer again at the next look."""
    write(folder, RunStarted(pid=1, steps_total=9), *map(step, (1, 2, 3)))
    watched = watch(folder)
    size = folder.events.stat().st_size
    write(folder, step(4), step(5))
    qtbot.waitUntil(lambda: len(watched.events) == 6, timeout=WAIT)
    watched.reader.stop()
    folder.cut_events(size)
    write(folder, Log(level="info", text=300 * "x"), *map(step, (4, 5, 6, 7)))
    watched.reader.start()
    assert watched.restarts == 1
    assert watched.events == events_of(folder)
    assert list(watched.reader.history.steps.values) == [1, 2, 3, 4, 5, 6, 7]


def test_what_was_said_before_does_not_explain_a_new_end(
    folder: RunFolder, work: Work, watch: Watch, qtbot: QtBot
) -> None:
    error = {"type": "OutOfMemoryError", "message": "CUDA out of memory"}
    write(folder, RunStarted(pid=1, steps_total=3), step(1), RunFinished(status="failed", error=error))
    record(folder, lives=False)
    watched = watch(folder)
    assert watched.reader.history.finished is not None
    qtbot.wait(50)  # no run is resumed in the very moment of its end
    process = work(folder, "--end", "mistake")
    watched.reader.launched(process)
    wait_for(qtbot, watched, "failed")
    assert watched.reader.exit_status == 2
    assert watched.reader.history.finished is None
    assert len(watched.reader.history) == 1


def test_a_run_whose_files_were_copied(folder: RunFolder, watch: Watch) -> None:
    """A copy's ``run.json`` is newer than every event, as that of a process is that has just begun."""
    write(folder, RunStarted(pid=1, steps_total=1), step(1), RunFinished(status="completed"))
    record(folder, lives=False)
    later = time.time() + 3600
    os.utime(folder.began, (later, later))
    watched = watch(folder)
    watched.reader.look_at_process()
    watched.reader.read()
    assert watched.states == ["completed"]
    assert watched.reader.history.finished is not None


# --- states ----------------------------------------------------------------------------------------------------------


def test_the_states_before_a_run(folder: RunFolder, work: Work, watch: Watch, qtbot: QtBot) -> None:
    watched = watch(folder)
    assert watched.reader.state == "prepared"
    queue.enqueue(folder)
    wait_for(qtbot, watched, "queued")
    assert queue.take(folder)
    wait_for(qtbot, watched, "prepared")
    queue.enqueue(folder)
    wait_for(qtbot, watched, "queued")
    assert queue.take(folder)
    work(folder, "--delay", "0.3", "--deaf")
    wait_for(qtbot, watched, "starting")
    wait_for(qtbot, watched, "running")
    folder.request_stop()
    wait_for(qtbot, watched, "stopping")
    folder.clear_request()
    wait_for(qtbot, watched, "running")
    assert not {"failed", "completed"} & set(watched.states)


def test_a_run_that_waits_to_go_on(folder: RunFolder, watch: Watch, qtbot: QtBot) -> None:
    write(folder, RunStarted(pid=1, steps_total=3), step(1), RunFinished(status="stopped"))
    record(folder, lives=False)
    watched = watch(folder)
    queue.enqueue(folder)
    wait_for(qtbot, watched, "queued")
    queue.take(folder)
    wait_for(qtbot, watched, "stopped")
    assert len(watched.reader.history) == 1


def test_a_run_that_stops_when_asked(folder: RunFolder, work: Work, watch: Watch, qtbot: QtBot) -> None:
    watched = watch(folder, work(folder, "--rate", "2"))
    qtbot.waitUntil(lambda: len(watched.reader.history) == 1, timeout=WAIT)
    folder.request_stop()
    wait_for(qtbot, watched, "stopped")
    assert watched.states == ["running", "stopping", "stopped"]
    assert watched.events == events_of(folder)
    qtbot.waitUntil(lambda: watched.reader.exit_status == 0, timeout=WAIT)


@pytest.mark.parametrize(("way", "status"), [("kill", -9), ("abort", -6), ("error", 1)])
def test_a_run_that_dies(folder: RunFolder, work: Work, watch: Watch, qtbot: QtBot, way: str, status: int) -> None:
    process = work(folder, "--steps", "900", "--rate", "1000", "--end", way, "--at", "100")
    watched = watch(folder, process)
    wait_for(qtbot, watched, "failed")
    assert watched.states == ["running", "failed"]
    assert watched.known[-1] == len(events_of(folder)), "failed, once everything is read"
    assert list(watched.reader.history.steps.values) == list(range(1, 101))
    qtbot.waitUntil(lambda: watched.reader.exit_status == status, timeout=WAIT)
    assert (watched.reader.history.finished is None) == (way != "error")
    qtbot.wait(250)
    assert watched.states == ["running", "failed"]


def test_a_run_that_fails_before_it_starts_is_told_once(
    folder: RunFolder, work: Work, watch: Watch, qtbot: QtBot
) -> None:
    watched = watch(folder, work(folder, "--end", "error"))
    wait_for(qtbot, watched, "failed")
    qtbot.wait(250)
    assert watched.states == ["failed"]
    assert watched.reader.history.finished is not None


def test_a_number_that_another_process_has_now(folder: RunFolder, watch: Watch) -> None:
    write(folder, RunStarted(pid=os.getpid(), steps_total=3), step(1))
    record(folder, lives=False)
    watched = watch(folder)
    assert watched.states == ["failed"]


def test_a_folder_that_vanishes(folder: RunFolder, watch: Watch) -> None:
    write(folder, RunStarted(pid=1, steps_total=1), step(1), RunFinished(status="completed"))
    record(folder, lives=False)
    watched = watch(folder)
    shutil.rmtree(folder.path)
    watched.reader.look_at_process()
    watched.reader.read()
    assert watched.states == ["completed"]
    assert watched.restarts == 0
    assert len(watched.reader.history) == 1, "what was read can still be looked at"


def test_events_that_vanish_and_return(folder: RunFolder, watch: Watch, qtbot: QtBot) -> None:
    folder.write_process()
    write(folder, RunStarted(pid=1, steps_total=3), step(1))
    watched = watch(folder)
    away = folder.events.rename(folder.path / "away")
    qtbot.wait(150)
    assert (watched.numbers, watched.states[-1]) == ([0, 1], "running")
    away.rename(folder.events)
    write(folder, step(2))
    qtbot.waitUntil(lambda: watched.numbers == [0, 1, 2], timeout=WAIT)
    assert watched.restarts == 0


def test_events_that_vanish_before_all_are_read(
    folder: RunFolder, watch: Watch, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "BUSY", 0)  # a slice at a time
    write(folder, RunStarted(pid=1, steps_total=2000), *map(step, range(1, 2001)))
    record(folder, lives=False)
    watched = watch(folder)
    had = len(watched.reader.history)
    assert 0 < had < 2000
    folder.events.unlink()
    wait_for(qtbot, watched, "failed")
    assert len(watched.reader.history) == had


def test_a_folder_that_cannot_be_read(folder: RunFolder, watch: Watch, qtbot: QtBot) -> None:
    folder.write_process()
    write(folder, RunStarted(pid=1, steps_total=3), step(1))
    watched = watch(folder)
    shutil.rmtree(folder.path)
    folder.path.write_text("a file where the folder was")
    wait_for(qtbot, watched, "failed")
    assert watched.numbers == [0, 1]
    assert watched.restarts == 0


def test_a_folder_that_vanishes_under_a_run(folder: RunFolder, work: Work, watch: Watch, qtbot: QtBot) -> None:
    process = work(folder, "--deaf")
    watched = watch(folder)
    qtbot.waitUntil(lambda: len(watched.reader.history) == 60, timeout=WAIT)
    process.kill()
    process.wait()
    shutil.rmtree(folder.path)
    wait_for(qtbot, watched, "failed")
    assert len(watched.reader.history) == 60


# --- long files ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("long"))
    write(folder, RunStarted(pid=1, steps_total=MANY), step(1))
    pattern = folder.events.read_text().splitlines()[1]
    lines = [pattern.replace('"step":1', f'"step":{n}').replace('"seq":1', f'"seq":{n}') for n in range(2, MANY + 1)]
    with folder.events.open("a") as file:
        file.write("\n".join(lines) + "\n")
    record(folder, lives=False)
    return folder


def longest_gap(folder: RunFolder, qtbot: QtBot) -> float:
    """Read a run, and return for how many seconds of the processor's time the window was held up at most."""
    ticks: list[float] = []
    timer = QTimer()
    timer.setInterval(5)
    timer.timeout.connect(lambda: ticks.append(time.process_time()))
    timer.start()
    long_reader = RunReader(folder)
    numbers: list[int] = []  # not the events: to keep them all would cost Python's garbage collector more than to read
    long_reader.received.connect(lambda events: numbers.extend(event.seq for event in events))
    long_reader.start()
    assert long_reader.progress < 0.5
    qtbot.waitUntil(lambda: long_reader.up_to_date, timeout=WAIT)
    long_reader.stop()
    assert list(long_reader.history.steps.values) == list(range(1, MANY + 1))
    assert numbers == list(range(MANY + 1))
    return max(after - before for before, after in zip(ticks, ticks[1:], strict=False))


def test_a_long_file_does_not_hold_up_the_window(long_run: RunFolder, qtbot: QtBot) -> None:
    gaps: list[float] = []
    while len(gaps) < 3 and (not gaps or min(gaps) >= LONGEST_STALL):
        gaps.append(longest_gap(long_run, qtbot))
    assert min(gaps) < LONGEST_STALL
