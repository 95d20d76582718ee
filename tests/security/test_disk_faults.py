"""A disk that is full, read-only or gone, and loaders that are ended: one line, and the run goes on afterwards."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.security.fault_runs import ARGUMENTS, TIMES, go_on, make_place, result, start, steps, wait_for
from yolo_subbatch import cli
from yolo_subbatch.engine import state
from yolo_subbatch.engine.shortage import is_shortage
from yolo_subbatch.errors import MachineError, SettingsError
from yolo_subbatch.folder.events import RunFinished, Step, last_event
from yolo_subbatch.folder.faults import explained
from yolo_subbatch.folder.resume import check_resume
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.folder.terminal import TerminalProgress
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.whole_files import write_whole

GONE_PID = 2**22 + 1  # above what Linux gives


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("disk"))


def train(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Train in this process; return the exit status and what was said of errors."""
    capsys.readouterr()
    status = cli.main(["train", *arguments])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return status, said.err.strip()


def full_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have the disk be full when the state is kept for the n-th time."""
    real, times = state.write_atomically, [0]

    def write(path: Path, data: bytes) -> None:
        times[0] += 1
        if times[0] == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, data)

    monkeypatch.setattr(state, "write_atomically", write)


def test_a_disk_that_fills_up_or_is_gone_is_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And exit status 1, as nobody's input is at fault; what was kept goes on."""
    monkeypatch.chdir(place)
    with monkeypatch.context() as patch:
        full_at(patch, 3)
        status, said = train(capsys, *ARGUMENTS, "name=full")
    assert status == 1
    assert said == (
        "yolo-subbatch: runs/full/weights/state.pt: cannot be written (No space left on device); free some space, and "
        "go on with: yolo-subbatch train resume=runs/full"
    )
    end = last_event(Path("runs/full/events.jsonl"), RunFinished)
    assert end is not None
    assert end.status == "failed"
    assert end.reason.startswith("runs/full/weights/state.pt: cannot be written")
    assert train(capsys, "resume=runs/full") == (0, "")
    assert train(capsys, *ARGUMENTS, "name=whole") == (0, "")
    assert result(Path("runs/full"))[2:] == result(Path("runs/whole"))[2:]

    original = TerminalProgress.__call__

    def remove(self: TerminalProgress, event: Any) -> None:
        original(self, event)
        if isinstance(event, Step) and event.step == 2:
            shutil.rmtree("runs/gone")

    monkeypatch.setattr(TerminalProgress, "__call__", remove)
    status, said = train(capsys, *ARGUMENTS, "name=gone")
    assert status == 1
    assert said == (
        "yolo-subbatch: runs/gone: the folder of this run is gone; put it back and go on with resume=, or start a new run"
    )
    assert not Path("runs/gone").exists()


def chained(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def test_what_the_machine_does_is_told_with_file_cause_and_advice(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "run")
    run.settings.write_text("{}")
    run.weights.mkdir()
    file = str(run.weights / "last.pt")
    killed = RuntimeError("DataLoader worker (pid 77) is killed by signal: Killed. ")
    cases = [
        (OSError(errno.ENOSPC, "No space left on device", file), "last.pt: cannot be written (No space left"),
        (OSError(errno.ENOSPC, "No space left on device"), f"{run.path}: cannot be written (No space left"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "Disk quota exceeded"),
        (OSError(errno.EROFS, "Read-only file system", file), "make the folder writable again"),
        (PermissionError(errno.EACCES, "Permission denied", file), "make the folder writable again"),
        (OSError(errno.EIO, "Input/output error"), "look at the disk"),
        (OSError(errno.EMFILE, "Too many open files"), "raise ulimit -n"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "free some memory"),
        (chained(KeyError("a"), OSError(errno.ENOSPC, "No space left on device")), "No space left"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed"), "a file of it"),
        (killed, "workers: process 77, which loads images, was ended by the signal Killed"),
        (RuntimeError("DataLoader worker (pid(s) 77, 78) exited unexpectedly"), "process 77, 78"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's "
                      "workers are out of shared memory."), "shared memory is full"),
        (RuntimeError("unable to write to file </torch_1_2_3>: No space left on device (28)"), "shared memory is full"),
    ]  # fmt: skip
    for error, words in cases:
        found = explained(error, run.path)
        assert isinstance(found, MachineError), error
        assert words in str(found), error
        assert str(found).endswith(f"go on with: yolo-subbatch train resume={run.path}"), error
    others = [
        RuntimeError("shape mismatch"), ValueError("a"), SettingsError("a: b; c"), KeyboardInterrupt(),
        FileNotFoundError(errno.ENOENT, "No such file or directory", str(tmp_path / "image.jpg")),
        PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "image.jpg")),
    ]  # fmt: skip
    assert [explained(each, run.path) for each in others] == [None] * len(others)
    (run.path / ".writable").symlink_to(tmp_path / "mine")
    assert explained(RuntimeError("shape mismatch"), run.path) is None
    assert not (tmp_path / "mine").exists(), "what a folder holds does not say where is tried to write"
    shutil.rmtree(run.path)
    assert "is gone" in str(explained(RuntimeError("shape mismatch"), run.path))
    assert not run.path.exists()


def test_a_primitive_that_onednn_has_no_memory_for_is_a_shortage() -> None:
    assert is_shortage(RuntimeError("could not create a primitive"))
    assert not is_shortage(RuntimeError("could not create a primitive descriptor for a convolution forward"))


def test_what_killed_processes_leave_is_cleaned_when_the_run_starts_again(tmp_path: Path) -> None:
    """Of processes that are gone; a run that had come to its end keeps no state that was not wanted."""
    run = RunFolder.create(tmp_path, "run")
    run.write_settings(TrainSettings(cfg="tiny.cfg"))
    gone, living = (run.path / f".run.json.{number}.0123abcd" for number in (GONE_PID, os.getppid()))
    others = [run.path / name for name in (f"run.json.part{GONE_PID}", f".run.json.{GONE_PID}", ".run.json.x.0123abcd")]
    for each in (gone, living, *others):
        each.write_text("half")
    run.write_process()
    assert not gone.exists()
    assert living.exists(), "somebody writes it"
    assert all(each.exists() for each in others), "no drafts of ours"
    gone.write_text("half")
    run.weights.mkdir()
    half = run.weights / ".state.pt.abcdefgh"
    half.write_text("half")
    run.begin_again(0)
    assert not gone.exists()
    assert not half.exists()
    write_whole(run.began, "{}")
    run.events.write_text('{"v":1,"type":"run_finished","seq":0,"t":1,"status":"completed","reason":"","step":4}\n')
    for name in ("state.pt", "best.pt.whole", "best.pt"):
        (run.weights / name).write_text("whole")
    for args in ("", "#: keep_state: false\n"):
        assert (run.weights / "state.pt").exists()
        (run.path / "args.yaml").write_text(args)
        with pytest.raises(SettingsError, match="this run is finished"):
            check_resume(TrainSettings(resume=str(run.path)))
    assert [each.name for each in run.weights.iterdir()] == ["best.pt"]


# --- what takes long ----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A disk of some size, that can be made larger or read-only; only root may mount one."""
    disk = tmp_path / "small"
    disk.mkdir()

    def mount(options: str, again: bool = False) -> Path:
        if not again:
            subprocess.run(["umount", str(disk)], check=False, capture_output=True)
        how = ["-o", f"{'remount,' if again else ''}{options}"]
        if subprocess.run(
            ["mount", "-t", "tmpfs", *how, "tmpfs", str(disk)], check=False, capture_output=True
        ).returncode:
            pytest.skip("no disk can be mounted here")
        return disk

    yield mount
    subprocess.run(["umount", "-l", str(disk)], check=False, capture_output=True)


def whole_run(place: Path, workers: int = 0) -> Path:
    run = place / "runs" / f"uncut{workers}"
    if not run.exists():
        assert start(place, *ARGUMENTS, f"workers={workers}", f"name={run.name}").wait() == 0
    return run


def check_said(place: Path, words: str = "cannot be written (No space left on device)") -> None:
    said = (place / "console.txt").read_text()
    assert "Traceback" not in said, said
    line = next((each for each in said.splitlines() if each.startswith("yolo-subbatch: ")), "")
    assert words in line, said
    assert "free some space" in line or "writable again" in line, said


@pytest.mark.slow
def test_every_point_of_a_full_disk(place: Path, small_disk: Callable[..., Path]) -> None:
    """From the first file that a run writes to the last; larger afterwards, it goes on to the same last bit."""
    whole, failed = whole_run(place), 0
    for size in range(8, 408, 4 if TIMES > 1 else 40):
        disk = small_disk(f"size={size}k")
        status = start(place, *ARGUMENTS, "workers=0", f"project={disk}", "name=run").wait()
        if status == 0:
            continue
        failed += 1
        assert status == 1, (place / "console.txt").read_text()
        small_disk("size=8m", again=True)
        run = disk / "run"
        if not (run / "settings.json").exists():
            continue  # not even begun
        check_said(place)
        assert not go_on(place, run), size
        assert result(run) == result(whole), size
    assert failed >= (60 if TIMES > 1 else 6)


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(TIMES))
def test_a_disk_that_fills_up_or_becomes_read_only_at_any_moment(
    place: Path, small_disk: Callable[..., Path], attempt: int
) -> None:
    """By somebody else, between any two files of the run's own."""
    whole, chance = whole_run(place), random.Random(attempt)
    disk = small_disk("size=8m")
    process = start(place, *ARGUMENTS, "workers=0", f"project={disk}", "name=run")
    run = disk / "run"
    wanted = chance.randrange(1, 20)
    assert wait_for(process, lambda: steps(run) >= wanted)
    time.sleep(chance.random() * 0.2)
    filled = disk / "filler"
    with filled.open("wb", buffering=0) as stream:
        try:
            while stream.write(b"\0" * 4096):
                pass
        except OSError:
            pass
    status = process.wait()
    filled.unlink()
    if status:
        assert status == 1
        check_said(place)
        assert not go_on(place, run)
    assert result(run) == result(whole)


@pytest.mark.slow
def test_a_loader_that_is_killed_is_one_line(place: Path) -> None:
    whole = whole_run(place, 2)
    process = start(place, *ARGUMENTS, "workers=2", "name=loaders")
    run = place / "runs" / "loaders"
    assert wait_for(process, lambda: steps(run) >= 3)
    loaders = psutil.Process(process.pid).children()
    loaders[0].send_signal(signal.SIGKILL)
    assert process.wait() == 1
    said = (place / "console.txt").read_text()
    assert "Traceback" not in said
    assert f"workers: process {loaders[0].pid}, which loads images, was ended by the signal Killed; " in said
    assert not go_on(place, run)
    assert result(run) == result(whole)
