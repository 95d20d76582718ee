"""A run on disk: its folder, its process, its state."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.run.events import EventWriter, RunFinished, Step, last_event
from yolo_subbatch.run.settings import TrainSettings

VERSIONS_OF = ("yolo-subbatch", "torch", "ultralytics", "numpy")
#: What makes a child outlive its parent and the terminal; Windows has flags for it, and no sessions.
OF_ITS_OWN: dict[str, Any] = (
    {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP") | getattr(subprocess, "CREATE_NO_WINDOW")}  # noqa: B009
    if sys.platform == "win32"
    else {"start_new_session": True}
)
SAME_START = 2.0  # seconds by which two readings of one process's start time may differ
STILL_WRITES = 600.0  # seconds without an event after which a run on another machine counts as dead


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run; the files in it have fixed names.

    ``settings.json`` what was asked, ``run.json`` which process, ``events.jsonl`` what happened, ``console.log`` what a
    launched process printed, ``control/stop`` a request to stop, ``weights/`` the results.
    """

    path: Path
    new_project: bool = field(default=False, compare=False)  # the folder that holds it was made for it

    @property
    def settings(self) -> Path:
        """The file with the settings."""
        return self.path / "settings.json"

    @property
    def events(self) -> Path:
        """The events file."""
        return self.path / "events.jsonl"

    @property
    def began(self) -> Path:
        """The file that tells which process runs, or ran, here."""
        return self.path / "run.json"

    @property
    def waiting(self) -> Path:
        """The file that a run has while it waits for its turn, see ``run.queue``."""
        return self.path / "control" / "queued"

    @property
    def console(self) -> Path:
        """What the process printed, where it was launched without a terminal."""
        return self.path / "console.log"

    @property
    def weights(self) -> Path:
        """The folder of checkpoints and weights."""
        return self.path / "weights"

    @classmethod
    def create(cls, project: str | Path, name: str) -> RunFolder:
        """Make a new folder ``project/name``; a taken name gets the next free number: ``name2``, ``name3``.

        Raises:
            SettingsError: If the folder cannot be made.
        """
        parent = Path(project).absolute()
        new_project = not parent.exists()
        try:
            parent.mkdir(parents=True, exist_ok=True)
            return cls(next(path for path in _candidates(parent, name) if _made(path)), new_project)
        except FileExistsError:
            raise SettingsError(f"project={project}: {parent} is a file; give a folder") from None
        except OSError as error:
            fault = f"project={project}: no folder can be made there ({error.strerror}); give one you may write to"
            raise SettingsError(fault) from error

    @classmethod
    def prepared(cls, path: str | Path) -> RunFolder:
        """Return the folder that a launcher prepared.

        Raises:
            SettingsError: If it has no settings, or was used already.
        """
        folder = cls(Path(path).absolute())
        if not folder.path.is_dir():
            raise SettingsError(f"run_dir={path}: no such folder; make it and write a settings.json into it")
        if folder.events.exists():
            raise SettingsError(f"run_dir={path}: holds the events of a run already; prepare a new folder")
        if not folder.settings.is_file():
            raise SettingsError(f"run_dir={path}: no settings.json in it; write the settings first")
        return folder

    @classmethod
    def attach(cls, path: str | Path) -> RunFolder:
        """Return the folder of a run that someone started, running or not.

        Raises:
            SettingsError: If it is no run folder.
        """
        folder = cls(Path(path).absolute())
        if not any(file.is_file() for file in (folder.began, folder.events, folder.settings)):
            raise SettingsError(f"{path}: not the folder of a run, it holds no run.json; give a run's folder")
        return folder

    def discard(self) -> None:
        """Remove a folder whose run never began; one that holds events or weights stays."""
        if not self.events.exists() and not (self.weights.is_dir() and any(self.weights.iterdir())):
            shutil.rmtree(self.path, ignore_errors=True)
            if self.new_project:
                with suppress(OSError):  # another run may have begun in it
                    self.path.parent.rmdir()

    def write_settings(self, settings: TrainSettings) -> None:
        """Keep what was asked."""
        _write(self.settings, settings.to_json())

    def read_settings(self) -> TrainSettings:
        """Return what was asked.

        Raises:
            SettingsError: If the file is missing or damaged.
        """
        try:
            text = self.settings.read_text(encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"{self.settings}: cannot be read ({error.strerror}); is this a run folder?") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"{self.settings}: not UTF-8 text; write the settings again") from error
        return TrainSettings.from_json(text, str(self.settings))

    def write_process(self, pid: int | None = None) -> None:
        """Keep which process runs here: pids are used again, so its start time is kept too.

        Args:
            pid: The process, this one by default.

        Raises:
            psutil.Error: If it is gone already.
        """
        process = psutil.Process(pid)
        document = {
            "pid": process.pid,
            "started": process.create_time(),
            "host": platform.node(),
            "argv": process.cmdline(),
            "folder": os.getcwd(),
            "versions": {name: _version(name) for name in VERSIONS_OF} | {"python": platform.python_version()},
        }
        _write(self.began, json.dumps(document, indent=1, ensure_ascii=False) + "\n")

    def process_record(self) -> dict[str, Any]:
        """Return what ``run.json`` says; empty without one."""
        try:
            document = json.loads(self.began.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def process(self) -> psutil.Process | None:
        """Return the run's living process on this machine, or None."""
        record = self.process_record()
        try:
            if record["host"] != platform.node():
                return None
            process = psutil.Process(int(record["pid"]))
            same = abs(process.create_time() - float(record["started"])) < SAME_START
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (KeyError, TypeError, ValueError, psutil.Error):
            return None

    def is_own(self) -> bool:
        """Tell whether this very process is the run's: who launches one writes its ``run.json`` at once."""
        process = self.process()
        return process is not None and process.pid == os.getpid()

    def alive(self) -> bool:
        """Tell whether the run's process lives; on another machine, whether it has written lately."""
        host = self.process_record().get("host")
        if host in (None, platform.node()):
            return self.process() is not None
        with suppress(OSError):
            return time.time() - self.events.stat().st_mtime < STILL_WRITES
        return False

    def status(self) -> str:
        """Return ``prepared``, ``queued``, ``running``, ``completed``, ``stopped`` or ``failed``.

        A run whose process is gone without a last event has failed. The events are read after looking at the process,
        so that a run that ends in between is not called dead.
        """
        alive = self.alive()
        last = last_event(self.events)
        if isinstance(last, RunFinished):
            return last.status
        if alive:
            return "running"
        if self.events.exists() or self.process_record():
            return "failed"
        return "queued" if self.waiting.exists() else "prepared"

    def changed(self) -> float:
        """Return when a file or folder was last made in this folder, in Unix seconds."""
        with suppress(OSError):
            return self.path.stat().st_mtime
        return 0.0

    def record_failure(self, error: BaseException) -> None:
        """Write the last event of a run that failed, unless the run itself has written one."""
        if isinstance(last_event(self.events), RunFinished):
            return
        stopped = isinstance(error, KeyboardInterrupt)
        trace = "".join(traceback.format_exception(error))
        details = {"type": type(error).__name__, "message": str(error), "traceback": trace}
        status, reason = "stopped" if stopped else "failed", str(error)
        writer = EventWriter(self.events)
        writer.write(RunFinished(status=status, reason=reason, error=None if stopped else details))
        writer.close()

    def launch(self, resume: bool = False, changes: Mapping[str, Any] | None = None) -> subprocess.Popen[bytes]:
        """Train in a process of its own that outlives this one; what it prints goes to ``console.log``.

        Args:
            resume: Go on with this run, in the working directory that it began in; else begin with its settings.
            changes: What is different when it goes on, see ``run.resume.MAY_CHANGE``.
        """
        what = ["--resume" if resume else "--run-dir", str(self.path)]
        what += [f"{key}={value}" for key, value in (changes or {}).items()]
        began_in = self.process_record().get("folder") if resume else None
        with self.console.open("ab") as console:
            process = subprocess.Popen(
                [sys.executable, "-u", "-m", "yolo_subbatch", "train", *what], stdin=subprocess.DEVNULL, stdout=console,
                stderr=subprocess.STDOUT, env={**os.environ, "PYTHONIOENCODING": "utf-8"}, **OF_ITS_OWN,
                cwd=began_in if began_in and os.path.isdir(began_in) else None,
            )  # fmt: skip
        with suppress(psutil.Error):  # it may have ended already; its events say how
            self.write_process(process.pid)
        return process

    def begin_again(self, size: int) -> None:
        """Prepare the folder of a run that goes on: an old request to stop is taken back, and events after its state.

        Args:
            size: The size of the events file in bytes when the state was kept.
        """
        self.cut_events(size)
        self.clear_request()
        for half in self.weights.glob(".*.????????"):  # what was being written when the process died
            if half.is_file():
                half.unlink()

    def clear_request(self) -> None:
        """Take back a request to stop."""
        (self.path / "control" / "stop").unlink(missing_ok=True)

    def cut_events(self, size: int) -> None:
        """Cut the events file to its first bytes; one that is shorter stays as it is."""
        with suppress(FileNotFoundError):
            if self.events.stat().st_size > size:
                os.truncate(self.events, size)

    def request_stop(self) -> None:
        """Ask the run to stop after its current update."""
        control = self.path / "control"
        control.mkdir(exist_ok=True)
        (control / "stop").touch()

    def stop_requested(self) -> bool:
        """Tell whether someone asked the run to stop."""
        return (self.path / "control" / "stop").exists()

    def kill(self) -> bool:
        """End the run's processes at once, loaders and all; return whether there was one."""
        process = self.process()
        if process is None:
            return False
        with suppress(psutil.Error):
            family = [*process.children(recursive=True), process]
            if hasattr(os, "killpg") and os.getsid(process.pid) == process.pid:
                # A launched run leads a session, in which no foreign process is.
                os.killpg(process.pid, signal.SIGKILL)
            for each in family:
                with suppress(psutil.Error):
                    each.kill()
            psutil.wait_procs(family, timeout=10)
        return True


def launch(settings: TrainSettings) -> tuple[RunFolder, subprocess.Popen[bytes]]:
    """Start a training in the background, in a new run folder.

    Raises:
        SettingsError: If the folder cannot be made.
    """
    folder = RunFolder.create(settings.project, settings.name)
    folder.write_settings(settings)
    return folder, folder.launch()


def list_runs(project: str | Path) -> list[RunFolder]:
    """Return the run folders in a project folder, the newest first; runs that wait in a queue are among them."""
    parent = Path(project)
    try:
        folders = [RunFolder(path) for path in parent.iterdir()]
    except OSError:
        return []
    found = [each for each in folders if any(file.is_file() for file in (each.began, each.events, each.waiting))]
    return sorted(found, key=lambda each: each.changed(), reverse=True)


def recorded_iteration(weights: str | Path, seen: int) -> int | None:
    """Return the iteration after which a run wrote its last weights; None for a file that no run here has left.

    Darknet divides the images seen by the batch; where epochs end in smaller updates that would be too few.
    """
    last = last_event(Path(weights).absolute().parent.parent / "events.jsonl", Step)
    return last.step if last is not None and last.seen == seen else None


def _candidates(parent: Path, name: str) -> Iterator[Path]:
    yield parent / name
    for number in count(2):
        yield parent / f"{name}{number}"


def _made(path: Path) -> bool:
    """Make a folder, unless it exists, whoever made it: no folder is ever used twice."""
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True


def _write(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    part.write_text(text, encoding="utf-8", errors="backslashreplace")
    os.replace(part, path)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
