"""The window without a screen, and children that never outlive a test."""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication

from tests.gui.opened import OPENED, open_window, write_what_is_trained
from tests.gui.worker import launch_with
from tests.program import launched
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.gui import main_window
from yolo_subbatch.gui.export import export_processes
from yolo_subbatch.gui.main_window import MainWindow
from yolo_subbatch.gui.runs import launcher, reader
from yolo_subbatch.gui.toolkit.language import install_language

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("worker.py")
Work = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(autouse=True)
def _no_old_windows() -> Iterator[None]:
    """Remove what a test has given up, which happens in an event loop otherwise: the next window would restyle it."""
    yield
    while OPENED:
        OPENED[-1].window.close()
        OPENED.pop().window.deleteLater()
    if (app := QCoreApplication.instance()) is not None:
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        install_language(app, "en")


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything that looks at files and processes look more often, so that a test need not wait for it."""
    monkeypatch.setattr(reader, "POLL", 20)
    monkeypatch.setattr(reader, "POLL_ENDED", 20)
    monkeypatch.setattr(reader, "LOOK_AT_PROCESS", 0.1)
    monkeypatch.setattr(launcher, "LOOK_AT_QUEUE", 50)
    monkeypatch.setattr(export_processes, "LOOK", 50)
    monkeypatch.setattr(main_window, "REFRESH_RUNS", 100)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, with the user's settings in it, from which processes find this checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run that has not begun."""
    return RunFolder.create(tmp_path / "runs", "run")


@pytest.fixture
def begun() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that lead sessions; whatever lives at the end is killed."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session: its own children go with it
        process.kill()
        process.wait()


@pytest.fixture
def work(begun: list[subprocess.Popen[bytes]]) -> Work:
    """Start ``worker.py`` in a run's folder as a window starts a training."""

    def start(folder: RunFolder, *options: str) -> subprocess.Popen[bytes]:
        folder.clear_request()
        command = [sys.executable, str(WORKER), str(folder.path), *options]
        with folder.console.open("ab") as console:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, start_new_session=True
            )
        begun.append(process)
        folder.write_process(process.pid)
        return process

    return start


@pytest.fixture
def options(begun: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have runs launch the worker instead of a training; what is put into this list is given to it."""
    given: list[str] = []
    monkeypatch.setattr(RunFolder, "launch", launch_with(given, begun))
    return given


@pytest.fixture
def quick() -> Iterator[None]:
    """Have trainings and exports forked from a process that has imported what they need; all else is real."""
    with launched():
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cfg, a small data set and a checkpoint; only read."""
    from tests.gui.exported import make_checkpoint  # it imports torch, which few tests need

    return make_checkpoint(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def exportable(workplace: Path, trained: Path) -> RunFolder:
    """The run ``runs/done`` of the working directory: it has ended, with checkpoints."""
    from tests.gui.exported import ended_run

    return ended_run(trained, "done")


@pytest.fixture
def place(workplace: Path) -> Iterator[Path]:
    """A working directory with a cfg and a small data set; whatever still runs in it is ended afterwards."""
    write_what_is_trained(workplace)
    yield workplace
    for run in (workplace / "runs").glob("*"):
        RunFolder(run).kill()


@pytest.fixture
def window(place: Path, qapp: QApplication) -> MainWindow:
    """A window in that working directory."""
    return open_window(place)
