from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.events import EventWriter, Log, RunFinished
from yolo_subbatch.folder.listing import list_runs
from yolo_subbatch.folder.process import RUN_MODULE
from yolo_subbatch.folder.run_folder import RunFolder, launch
from yolo_subbatch.settings.train_settings import TrainSettings

WAIT = 30.0  # seconds for another process to do something


def wait_until(condition: object) -> None:
    end = time.monotonic() + WAIT
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[tuple[RunFolder, subprocess.Popen[bytes]]]:
    """Yield a run whose process leads a session and has a child of its own, as with loaders."""
    folder = RunFolder.create(tmp_path, "sleeper")
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])\n"
        f"open({str(folder.path / 'child')!r}, 'w').write(str(child.pid)); time.sleep(100)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    folder.write_process(process.pid)
    wait_until(lambda: (folder.path / "child").exists() and (folder.path / "child").read_text())
    yield folder, process
    for pid in (process.pid, int((folder.path / "child").read_text())):
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def test_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    names = [RunFolder.create(tmp_path / "a" / "b", "train").path.name for _ in range(3)]
    assert names == ["train", "train2", "train3"]


def test_nobody_shares_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: RunFolder.create(tmp_path, "train").path, range(40)))
    assert len(set(made)) == 40


def test_a_project_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for project in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SettingsError, match=f"project={project}: "):
            RunFolder.create(project, "train")


def test_a_relative_project_is_below_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert RunFolder.create("runs", "train").path == tmp_path / "runs" / "train"


def test_a_prepared_folder_is_used_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such folder"):
        RunFolder.prepared(tmp_path / "none")
    with pytest.raises(SettingsError, match=r"no settings\.json"):
        RunFolder.prepared(tmp_path)
    settings = TrainSettings(cfg="a.cfg", steps=(1, 2), extra={"mosaic": 0.5})
    RunFolder(tmp_path).write_settings(settings)
    folder = RunFolder.prepared(tmp_path)
    assert folder.read_settings() == settings
    assert folder.status() == "prepared"
    EventWriter(folder.events).write(Log(level="info", text="x"))
    with pytest.raises(SettingsError, match="events of a run already"):
        RunFolder.prepared(tmp_path)


def test_settings_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(SettingsError, match="cannot be read"):
        folder.read_settings()
    folder.settings.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8"):
        folder.read_settings()
    folder.settings.write_text("{")
    with pytest.raises(SettingsError, match=r"settings\.json: not valid JSON"):
        folder.read_settings()


def test_a_run_that_never_began_leaves_no_folder(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "train")
    folder.write_settings(TrainSettings())
    folder.discard()
    assert not folder.path.exists()
    kept = RunFolder.create(tmp_path, "train")
    kept.weights.mkdir()
    (kept.weights / "last.weights").touch()
    kept.discard()
    assert kept.path.exists()


def test_this_process_is_recorded(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_process()
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["pid"] == os.getpid()
    assert record["versions"]["ultralytics"].startswith("8.4")
    assert set(record) >= {"started", "host", "argv", "versions"}
    assert folder.alive()
    assert folder.status() == "running"


def test_a_pid_that_was_used_again_is_not_the_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_process()
    record = folder.process_record()
    (tmp_path / "run.json").write_text(json.dumps({**record, "started": record["started"] - 100}))
    assert not folder.alive()
    assert folder.status() == "failed"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x", "started": null}', '{"pid": -1, "started": 0}'])
def test_a_damaged_record_is_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    assert not RunFolder(tmp_path).alive()
    assert not RunFolder(tmp_path).kill()


def test_a_run_on_another_machine_lives_while_it_writes(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_process()
    (tmp_path / "run.json").write_text(json.dumps({**folder.process_record(), "host": "elsewhere"}))
    assert not folder.alive()
    EventWriter(folder.events).write(Log(level="info", text="x"))
    assert folder.alive()
    os.utime(folder.events, (0, 0))
    assert folder.status() == "failed"


@pytest.mark.parametrize("status", ["completed", "stopped", "failed"])
def test_the_last_event_says_how_a_run_ended(tmp_path: Path, status: str) -> None:
    folder = RunFolder(tmp_path)
    folder.write_process()
    writer = EventWriter(folder.events)
    writer.write(Log(level="info", text="x"))
    assert folder.status() == "running"
    writer.write(RunFinished(status=status))
    assert folder.status() == status


def test_a_killed_run_takes_its_children_along(sleeper: tuple[RunFolder, subprocess.Popen[bytes]]) -> None:
    folder, process = sleeper
    attached = RunFolder.attach(folder.path)
    assert attached.alive()
    child = psutil.Process(int((folder.path / "child").read_text()))
    assert attached.kill()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert not attached.alive(), "a process that nobody has waited for is dead all the same"
    process.wait()
    assert attached.status() == "failed"
    assert not attached.kill()


def test_attaching_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not the folder of a run"):
        RunFolder.attach(tmp_path)


def test_a_stop_is_asked_for_by_a_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert not folder.stop_requested()
    folder.request_stop()
    folder.request_stop()
    assert folder.stop_requested()
    assert (tmp_path / "control" / "stop").exists()


def test_a_launched_run_leaves_its_reason_in_the_folder(tmp_path: Path) -> None:
    settings = TrainSettings(cfg=str(tmp_path / "none.cfg"), project=str(tmp_path / "runs"), name="r")
    folder, process = launch(settings)
    assert process.wait(WAIT) == 2
    assert folder.status() == "failed"
    assert "none.cfg: no such file" in folder.console.read_text()
    assert "Traceback" not in folder.console.read_text()
    assert folder.process_record()["argv"][1:5] == ["-u", "-c", RUN_MODULE, "yolo_subbatch"]
    assert folder.read_settings() == settings


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    for age, name in ((300, "old"), (200, "middle"), (100, "new")):
        folder = RunFolder.create(tmp_path, name)
        folder.write_process()
        os.utime(folder.path, (time.time() - age,) * 2)
    RunFolder.create(tmp_path, "no run")
    (tmp_path / "file").touch()
    assert [run.path.name for run in list_runs(tmp_path)] == ["new", "middle", "old"]
    assert list_runs(tmp_path / "none") == []
