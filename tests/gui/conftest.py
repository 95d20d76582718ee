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

from tests.gui.worker import launch_with
from tests.program import launched
from yolo_subbatch.run.folder import RunFolder

WORKER = Path(__file__).with_name("worker.py")
Work = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(autouse=True)
def _no_old_windows() -> Iterator[None]:
    """Remove what a test has given up, which happens in an event loop otherwise: the next window would restyle it."""
    yield
    if QCoreApplication.instance() is not None:
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that lead sessions; whatever lives at the end is killed."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session: its own children go with it
        process.kill()
        process.wait()


@pytest.fixture
def work(started: list[subprocess.Popen[bytes]]) -> Work:
    """Start ``worker.py`` in a run's folder as a window starts a training."""

    def start(folder: RunFolder, *options: str) -> subprocess.Popen[bytes]:
        folder.clear_request()
        with folder.console.open("ab") as console:
            process = subprocess.Popen(
                [sys.executable, str(WORKER), str(folder.path), *options], stdin=subprocess.DEVNULL, stdout=console,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        started.append(process)
        folder.write_process(process.pid)
        return process

    return start


@pytest.fixture
def options(started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have runs launch the worker instead of a training; what is put into this list is given to it."""
    given: list[str] = []
    monkeypatch.setattr(RunFolder, "launch", launch_with(given, started))
    return given


@pytest.fixture
def quick() -> Iterator[None]:
    """Have trainings and exports forked from a process that has imported what they need; all else is real."""
    with launched():
        yield
