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
from typing import Any

import pytest

from yolo_subbatch.run.folder import RunFolder

WORKER = Path(__file__).with_name("worker.py")
Work = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def work() -> Iterator[Work]:
    """Start ``worker.py`` in a run's folder as a window starts a training; whatever lives at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(folder: RunFolder, *options: str) -> subprocess.Popen[bytes]:
        with folder.console.open("ab") as console:
            process = subprocess.Popen(
                [sys.executable, str(WORKER), str(folder.path), *options], stdin=subprocess.DEVNULL, stdout=console,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        started.append(process)
        folder.write_process(process.pid)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session: its own children go with it
        process.wait()


@pytest.fixture
def options(work: Work, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have runs launch the worker instead of a training; what is put into this list is given to it."""
    given: list[str] = []

    def launch(folder: RunFolder, resume: bool = False, **others: Any) -> subprocess.Popen[bytes]:
        return work(folder, *given, *(["--resume"] if resume else []))

    monkeypatch.setattr(RunFolder, "launch", launch)
    return given
