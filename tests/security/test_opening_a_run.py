"""A run's folder from somebody else: opened, shown and resumed, it runs none of its code and nobody's wishes but mine."""

from __future__ import annotations

import json
import os
import platform
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pytestqt.qtbot import QtBot

from tests.security import hostile_runs as hostile
from yolo_subbatch.folder import own, process, queue
from yolo_subbatch.folder.backup_folder import NOTE, Backup
from yolo_subbatch.folder.listing import list_runs
from yolo_subbatch.folder.process import module_command
from yolo_subbatch.folder.run_export import ExportProcess
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.gui.panes.predictions import is_picture
from yolo_subbatch.gui.runs import launcher as launcher_module
from yolo_subbatch.gui.runs.launcher import Launcher
from yolo_subbatch.settings.commands import ExportSettings
from yolo_subbatch.settings.train_settings import TrainSettings

WAIT = 60.0  # seconds


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLO_SUBBATCH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(launcher_module, "LOOK_AT_QUEUE", 20)
    return tmp_path


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, Any]]]:
    """Collect what would be started; nothing is."""
    calls: list[tuple[list[str], dict[str, Any]]] = []

    def refuse(argv: list[str], **details: Any) -> None:
        calls.append((argv, details))
        raise FileNotFoundError(2, "not started by this test")

    monkeypatch.setattr(process.subprocess, "Popen", refuse)
    return calls


@pytest.fixture
def launcher(place: Path) -> Iterator[Launcher]:
    made = Launcher()
    yield made
    made.only_look()


def trap(folder: Path) -> Path:
    """Put code into a folder under the names that a Python started there would import; it leaves a mark."""
    code = f"open({str(folder / 'executed')!r}, 'a').close()\n"
    (folder / "yolo_subbatch").mkdir()
    (folder / "yolo_subbatch" / "__init__.py").write_text(code)
    for name in ("runpy", "torch", "psutil", "sitecustomize"):
        (folder / f"{name}.py").write_text(code)
    return folder / "executed"


def foreign(folder: Path) -> RunFolder:
    """Make a run that is said to wait, in a folder full of code."""
    run = hostile.make_run(folder, hostile.start(), hostile.step(1))
    (run / "run.json").unlink()
    (run / "settings.json").write_text(json.dumps({"cfg": "none.cfg", "model": "evil.pt"}))
    (run / "control").mkdir()
    (run / "control" / "queued").write_text(f"0.0\n{folder}\n")
    return RunFolder(run)


def test_what_a_folder_says_of_a_queue_is_not_heard(
    place: Path, begun: list[tuple[list[str], dict[str, Any]]], launcher: Launcher, qtbot: QtBot
) -> None:
    runs = [foreign(place / "runs" / name) for name in ("opened", "beside")]
    entry = {"folder": str(runs[0].path), "place": str(runs[0].path), "since": 0.5, "settings": queue._digest(runs[0])}
    (runs[0].path / "queue").mkdir()
    (runs[0].path / "queue" / runs[0].waiting.name).write_text(json.dumps(entry))
    launcher.watch("runs")
    assert {run.path.name for run in launcher.runs()} == {"opened", "beside"}
    qtbot.wait(200)
    assert begun == []
    assert [run.status() for run in runs] == ["failed", "failed"]


def test_a_picture_is_taken_without_starting_anything(place: Path) -> None:
    """Neither what strangers put beside it, nor what waits in the user's own queue."""
    marks = [trap(foreign(place / "runs" / name).path) for name in ("opened", "beside")]
    mine = RunFolder.create("runs", "mine")
    mine.write_settings(TrainSettings(cfg="a.cfg"))
    queue.enqueue(mine)
    code = "import sys; from yolo_subbatch.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "gui", "run=runs/opened", "screenshot=picture.png"]
    done = subprocess.run(command, env={**os.environ, "QT_QPA_PLATFORM": "offscreen"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (place / "picture.png").is_file()
    assert not any(mark.exists() for mark in marks)
    assert mine.status() == "queued"
    assert not mine.console.exists()


def test_nothing_is_imported_from_the_working_directory(place: Path) -> None:
    """Wherever a run is started, and whatever the user's PYTHONPATH adds."""
    run = RunFolder.create(place / "runs", "evil")
    run.write_settings(TrainSettings(cfg="none.cfg"))
    mark = trap(run.path)
    assert run.launch(place=str(run.path)).wait(WAIT) == 2
    assert "none.cfg: no such file" in run.console.read_text()
    (place / "lib").mkdir()
    (place / "lib" / "mine.py").write_text("import sys; print('mine', sys.argv)")
    command = module_command("mine", "a=1")
    done = subprocess.run(
        command, cwd=run.path, env={**process.environment(), "PYTHONPATH": str(place / "lib")}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"mine ['{place / 'lib' / 'mine.py'}', 'a=1']\n"
    assert ExportProcess(run.path).command(ExportSettings())[:-1] == module_command("yolo_subbatch")
    assert not mark.exists()


def test_a_stranger_does_not_say_where_a_run_goes_on(
    place: Path, begun: list[tuple[list[str], dict[str, Any]]], launcher: Launcher, qtbot: QtBot
) -> None:
    evil = place / "evil"
    evil.mkdir()
    (evil / "a.cfg").touch()
    record = json.dumps({"pid": 1, "started": 1.0, "host": platform.node(), "argv": [], "folder": str(evil)})
    run = RunFolder(hostile.make_run(place / "runs" / "one", hostile.start(), record=record))
    run.write_settings(TrainSettings(cfg="a.cfg"))
    assert run.usable_settings().cfg == "a.cfg"
    with qtbot.waitSignal(launcher.failed):
        launcher.watch("runs")
        assert launcher.resume(run)
    ((argv, details),) = begun
    assert argv[-2:] == ["--resume", str(run.path)]
    assert details["cwd"] == str(place), "where the user was who asked for it"


def test_a_mark_holds_for_one_place_and_one_content(place: Path) -> None:
    run = RunFolder.create("runs", "one")
    run.write_process()
    assert run.began_in() == str(place)
    record = run.process_record()
    copy = RunFolder.create("runs", "copy")
    copy.began.write_text(run.began.read_text())
    assert copy.began_in() is None
    for change in ({"folder": "/"}, {own.MARK: "0" * 64}, {own.MARK: 3}, {own.MARK: "é"}, {"more": 1}):
        run.began.write_text(json.dumps({**record, **change}))
        assert run.began_in() is None
    run.began.write_text(json.dumps(record))
    assert run.began_in() == str(place)
    (own.data_folder() / "key").write_bytes(b"short")
    assert run.began_in() is None
    run.write_process()
    assert own.MARK not in run.process_record(), "without a key everything works, but for what needs a mark"


def test_the_queue_is_the_users_alone(place: Path) -> None:
    (place / "data").mkdir()
    (place / "data").chmod(0o777)
    run = RunFolder.create("runs", "one")
    run.write_settings(TrainSettings(cfg="a.cfg"))
    queue.enqueue(run)
    assert [each.path for each in queue.waiting_runs()] == [run.path]
    (place / "link").symlink_to("runs")
    assert RunFolder(place / "link" / "one").status() == "queued", "the same run, reached in another way"
    assert [each.path for each in list_runs(place / "link")] == [place / "link" / "one"]
    if os.name != "nt":
        modes = [stat.S_IMODE(folder.stat().st_mode) for folder in (run.waiting.parent, run.waiting.parent.parent)]
        assert modes == [0o700, 0o755], "a folder of before can be looked into, but not be written"
    assert not (run.path / "control").exists()
    for content in (
        "[" * hostile.DEEP,
        "{}",
        json.dumps({"folder": str(place / "other")}),
        json.dumps({"folder": "\0"}),
    ):
        run.waiting.write_text(content)
        assert queue.waiting_runs() == []


@pytest.mark.parametrize("change", ["other", "gone", "new"])
def test_settings_that_were_exchanged_are_not_started(
    place: Path, begun: list[tuple[list[str], dict[str, Any]]], launcher: Launcher, qtbot: QtBot, change: str
) -> None:
    run = RunFolder.create("runs", "one")
    if change != "new":
        run.write_settings(TrainSettings(cfg="a.cfg"))
    queue.enqueue(run)
    run.settings.unlink(missing_ok=True)
    if change != "gone":
        run.write_settings(TrainSettings(model="evil.pt"))
    with qtbot.waitSignal(launcher.failed) as told:
        launcher.watch("runs")
    assert f"{run.settings}: has changed since this run was put into the queue" in told.args[0]
    assert begun == []
    assert not run.waiting.exists()


def test_a_stranger_names_no_process_to_end_and_no_file_to_replace(place: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        started = psutil.Process(child.pid).create_time()
        argv = [f"to={place / 'mine.onnx'}"]
        record = {"pid": child.pid, "started": started, "host": platform.node(), "argv": argv, "folder": str(place)}
        run = RunFolder(hostile.make_run(place / "runs" / "one", hostile.start(), record=json.dumps(record)))
        assert run.status() == "running"
        with pytest.raises(OSError, match="not written by you"):
            run.kill()
        (run.path / "export.json").write_text(json.dumps(record))
        export = ExportProcess(run.path)
        half = place / f".export-{child.pid}-x"
        half.mkdir()
        assert export.interrupt()
        export.clear()
        assert export.target is None
        assert half.is_dir()
        assert child.poll() is None
    finally:
        child.communicate()
    note = {"folder": str(place), "cfg": str(place / "net.cfg"), "best": True}
    (run.path / NOTE).write_text(json.dumps(note))
    assert Backup.noted(run) is None
    mine = Backup(place, place / "net.cfg", True)
    mine.note(run)
    assert Backup.noted(run) == mine


def test_a_click_opens_pictures_of_the_run_alone(place: Path) -> None:
    run = hostile.make_run(place / "runs" / "one", hostile.start())
    for file in (run / "val.jpg", run / "evil.desktop", place / "away.jpg"):
        file.touch()
    (run / "link.jpg").symlink_to(place / "away.jpg")
    names = (
        "val.jpg",
        "evil.desktop",
        "../../away.jpg",
        str(place / "away.jpg"),
        "link.jpg",
        "none.jpg",
        "a\0.jpg",
        "x" * 9999,
    )
    assert [name for name in names if is_picture(run, name)] == ["val.jpg"]


def test_the_key_is_drawn_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where two programs draw one at the same time, and where the file system has no links."""
    link: Callable[..., None] = os.link

    def late(source: Path, target: Path) -> None:
        if not target.exists():
            target.write_bytes(b"o" * own.KEY_BYTES)  # the other program's
        link(source, target)

    monkeypatch.setattr(own.os, "link", late)
    assert own._key() == b"o" * own.KEY_BYTES
    (own.data_folder() / "key").unlink()
    monkeypatch.setattr(own.os, "link", lambda *_: (_ for _ in ()).throw(PermissionError()))
    drawn = own._key()
    assert own._key() == drawn
    assert [file.name for file in own.data_folder().iterdir()] == ["key"]
