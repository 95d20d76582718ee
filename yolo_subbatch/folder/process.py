"""The process of a run: which one it is, whether it lives, how it is started and ended."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from yolo_subbatch.folder.own import data_folder, is_own, marked, place_key
from yolo_subbatch.settings.safe_reading import MOST_RECORD, open_to_append, parse_json, read_small
from yolo_subbatch.settings.whole_files import write_whole

VERSIONS_OF = ("yolo-subbatch", "torch", "ultralytics", "numpy")
#: What makes a child outlive its parent and the terminal; Windows has flags for it, and no sessions.
OF_ITS_OWN: dict[str, Any] = (
    {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP") | getattr(subprocess, "CREATE_NO_WINDOW")}  # noqa: B009
    if sys.platform == "win32"
    else {"start_new_session": True}
)
QUEUE, ENTRY = "queue", ".json"  # the folder of waiting runs in the user's own, and how the files in it end
#: Runs a module as ``python -m`` does, but for the working directory, out of which nothing is imported: a file there
#: that has the name of a module is not code that anybody chose. Python itself can do so from 3.11 on alone.
RUN_MODULE = (
    "import sys; sys.path = [each for each in sys.path if each]; del sys.argv[0]; "
    "import runpy; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)
LAUNCHED = "YOLO_SUBBATCH_LAUNCHED"  # set for a process that a program started which took back old requests to stop
SAME_START = 2.0  # seconds by which two readings of one process's start time may differ
CLOCKS = 0.01  # seconds by which the clocks of files and of events may differ
STILL_WRITES = 600.0  # seconds without an event after which a run on another machine counts as dead


@dataclass(frozen=True)
class RunFiles:
    """The files in a run's folder."""

    path: Path

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
        """The file that the user's own queue has for this run while it waits for its turn, see ``run.queue``."""
        return data_folder() / QUEUE / f"{place_key(self.path)}{ENTRY}"

    @property
    def console(self) -> Path:
        """What the process printed, where it was launched without a terminal."""
        return self.path / "console.log"

    @property
    def weights(self) -> Path:
        """The folder of checkpoints and weights."""
        return self.path / "weights"


@dataclass(frozen=True)
class RunProcess(RunFiles):
    """The process that trains, or trained, in a run's folder."""

    def write_process(self, pid: int | None = None, argv: Sequence[str] | None = None) -> None:
        """Keep which process runs here: pids are used again, so its start time is kept too.

        Args:
            pid: The process, this one by default.
            argv: Its command line, from whoever has just started it here; the system may not know it yet.

        Raises:
            psutil.Error: If it is gone already.
        """
        process = psutil.Process(pid)
        document = {
            "pid": process.pid,
            "started": process.create_time(),
            "host": platform.node(),
            "argv": process.cmdline() if argv is None else list(argv),
            "folder": process.cwd() if argv is None else str(Path.cwd()),
            "versions": {name: _version(name) for name in VERSIONS_OF} | {"python": platform.python_version()},
        }
        write_whole(self.began, json.dumps(marked(document, self.began), indent=1, ensure_ascii=False) + "\n")

    def process_record(self) -> dict[str, Any]:
        """Return what ``run.json`` says; empty without one."""
        try:
            document = parse_json(read_small(self.began, MOST_RECORD))
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def is_own_record(self) -> bool:
        """Tell whether this user's program wrote ``run.json``, here: only then something is done because of it."""
        return is_own(self.process_record(), self.began)

    def began_in(self) -> str | None:
        """Return the working directory in which this user has begun the run; None where a stranger may say so."""
        place = self.process_record().get("folder")
        return place if isinstance(place, str) and self.is_own_record() else None

    def process(self) -> psutil.Process | None:
        """Return the run's living process on this machine, or None."""
        record = self.process_record()
        try:
            if record["host"] != platform.node():
                return None
            process = psutil.Process(int(record["pid"]))
            same = abs(process.create_time() - float(record["started"])) < SAME_START
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (KeyError, TypeError, ValueError, OverflowError, psutil.Error):
            return None

    def wait_for_end(self, seconds: float) -> bool:
        """Wait for the process of a run that has written its last event; return whether it ended in time."""
        process = self.process()
        if process is not None:
            psutil.wait_procs([process], timeout=seconds)
        return self.process() is None

    def is_own(self) -> bool:
        """Tell whether this very process is the run's: who launches one writes its ``run.json`` at once."""
        process = self.process()
        return process is not None and process.pid == os.getpid()

    def is_of(self, pid: int) -> bool:
        """Tell whether the newest process in this folder is the one of that number; one without a record may be."""
        return bool(self.process_record().get("pid", pid) == pid)

    def alive(self) -> bool:
        """Tell whether the run's process lives; on another machine, whether it has written lately."""
        host = self.process_record().get("host")
        if host in (None, platform.node()):
            return self.process() is not None
        with suppress(OSError):
            return time.time() - self.events.stat().st_mtime < STILL_WRITES
        return False

    def when_it_began(self) -> float:
        """Return when its newest process was started, in Unix seconds; 0 if none was."""
        with suppress(OSError):
            return self.began.stat().st_mtime
        return 0.0

    def begins_after(self, moment: float) -> bool:
        """Tell whether its newest process was started after a moment: an event of before is not that process's."""
        return self.when_it_began() > moment + CLOCKS

    def launch(
        self, resume: bool = False, changes: Mapping[str, Any] | None = None, place: str | None = None
    ) -> subprocess.Popen[bytes]:
        """Train in a process of its own that outlives this one; what it prints goes to ``console.log``.

        Args:
            resume: Go on with this run, in the working directory that this user began it in; else begin with its
                settings.
            changes: What is different when it goes on, see ``run.resume.MAY_CHANGE``.
            place: The working directory of any other, which its settings' paths are relative to; this process's by
                default.
        """
        what = ["--resume" if resume else "--run-dir", str(self.path)]
        what += [f"{key}={value}" for key, value in (changes or {}).items()]
        place = (self.began_in() if resume else None) or place
        self.clear_request()  # of before; one that comes from now on is obeyed
        with open_to_append(self.console) as console:
            process = subprocess.Popen(
                module_command("yolo_subbatch", "train", *what), stdin=subprocess.DEVNULL, stdout=console,
                stderr=subprocess.STDOUT, env=environment() | {LAUNCHED: "1"}, **OF_ITS_OWN,
                cwd=place if place and os.path.isdir(place) else None,
            )  # fmt: skip
        with suppress(psutil.Error):  # it may have ended already; its events say how
            self.write_process(process.pid)
        return process

    def request_stop(self) -> None:
        """Ask the run to stop after its current update."""
        control = self.path / "control"
        control.mkdir(exist_ok=True)
        (control / "stop").touch()

    def stop_requested(self) -> bool:
        """Tell whether someone asked the run to stop."""
        return (self.path / "control" / "stop").exists()

    def clear_request(self) -> None:
        """Take back a request to stop."""
        (self.path / "control" / "stop").unlink(missing_ok=True)

    def kill(self) -> bool:
        """End the run's processes at once, loaders and all; return whether there was one.

        Raises:
            OSError: If the run's folder names a process that this user's program did not put there.
        """
        process = self.process()
        if process is None:
            return False
        if not self.is_own_record():
            raise OSError(f"{self.began}: not written by you; end process {process.pid} yourself if it is the run's")
        with suppress(psutil.Error):
            family = [*process.children(recursive=True), process]
            with suppress(ProcessLookupError):  # it has ended by itself meanwhile
                if hasattr(os, "killpg") and os.getsid(process.pid) == process.pid:
                    # A launched run leads a session, in which no foreign process is.
                    os.killpg(process.pid, signal.SIGKILL)
            for each in family:
                with suppress(psutil.Error):
                    each.kill()
            psutil.wait_procs(family, timeout=10)
        return True


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module in a process of its own, importing nothing from its working directory."""
    return [sys.executable, "-u", "-c", RUN_MODULE, module, *arguments]


def environment() -> dict[str, str]:
    """Return the environment of such a process, which holds for the processes that it starts too."""
    return {**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONSAFEPATH": "1"}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
