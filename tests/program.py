"""Run the program in processes of its own that need not import torch and Ultralytics again.

``program()`` is what a test calls. Behind it stands one process per test process (this file, started as a script). It
imports what the commands use, and forks one process for commands that silence Ultralytics and one for the others;
these fork a child for each command. Such a child is a whole process with its own working
directory, environment, files and exit status; only its imports were done before. Tests of the start itself, and
of ends before the first update, start ``python -m yolo_subbatch``.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any
from unittest import mock

ROOT = Path(__file__).parents[1]
LONGEST = 300  # seconds of one command
QUIET = ("train", "detector", "demo", "export")  # commands that silence Ultralytics before it is imported
#: What torch and Ultralytics import in a training. Ultralytics itself reads the environment when it is imported.
SLOW_TO_IMPORT = ("torch", "torch._inductor", "torch.utils.serialization", "torchvision", "polars", "matplotlib.pyplot")


def program(
    folder: Path, *arguments: str, text: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``yolo-subbatch`` with arguments in a folder, ``text`` on its standard input."""
    with tempfile.TemporaryDirectory() as place:
        files = {name: os.path.join(place, name) for name in ("stdin", "stdout", "stderr")}
        Path(files["stdin"]).write_text(text)
        environment = {**os.environ, "COLUMNS": "100", **(environment or {})}
        status = _ask({"folder": str(folder), "arguments": arguments, "environment": environment, **files})
        output, errors = (Path(files[name]).read_text(errors="replace") for name in ("stdout", "stderr"))
    if status == "late":
        raise subprocess.TimeoutExpired(arguments, LONGEST, output, errors)
    return subprocess.CompletedProcess(["yolo-subbatch", *arguments], int(status), output, errors)


class Launched:
    """A command in the background that leads a session, with what ``Popen`` tells of one."""

    def __init__(self, command: Sequence[str], **how: Any) -> None:
        assert how["start_new_session"]
        self.args, self.returncode = command, None
        self._place = tempfile.TemporaryDirectory()
        self._ended = Path(self._place.name) / "ended"
        arguments = command[command.index("yolo_subbatch") + 1 :]
        self.console = os.path.abspath(how["stdout"].name)
        files = {"stdin": os.devnull, "stdout": self.console, "stderr": self.console, "ended": str(self._ended)}
        folder = how.get("cwd") or os.getcwd()
        self.pid = int(_ask({"folder": folder, "arguments": arguments, "environment": dict(how["env"]), **files}))

    def poll(self) -> int | None:
        if self.returncode is None and self._ended.exists():
            self.returncode = int(self._ended.read_text())
        return self.returncode

    def wait(self, timeout: float = LONGEST) -> int:
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float = LONGEST) -> tuple[str, str]:
        """Wait for the end and return all that was said, and nothing more."""
        self.wait(timeout)
        return Path(self.console).read_text(errors="replace"), ""


def background(folder: Path, *arguments: str) -> Launched:
    """Start ``yolo-subbatch`` with arguments in a folder."""
    with tempfile.NamedTemporaryFile(delete=False) as console:
        atexit.register(os.unlink, console.name)
        return Launched(
            ["yolo_subbatch", *arguments], cwd=str(folder), env={**os.environ, "COLUMNS": "100"}, stdout=console,
            start_new_session=True,
        )  # fmt: skip


@contextmanager
def launched() -> Iterator[None]:
    """Have commands that are started in the background forked too, with all that their launcher asks for."""
    real = subprocess.Popen

    def begin(command: Sequence[str], **how: Any) -> Any:
        is_ours = "yolo_subbatch" in command and how.get("start_new_session")
        return Launched(command, **how) if is_ours else real(command, **how)

    _server()
    with mock.patch("subprocess.Popen", begin):
        yield


def _ask(request: dict[str, Any]) -> str:
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return server.stdout.readline().strip()


@cache
def _server() -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    atexit.register(server.kill)
    return server


def serve() -> None:
    """Pass each line of standard input on to a process that has imported Ultralytics as this command does."""
    for name in SLOW_TO_IMPORT:
        importlib.import_module(name)
    helpers: dict[bool, tuple[IO[str], IO[str]]] = {}
    ends: list[int] = []  # of pipes
    for line in iter(sys.stdin.readline, ""):
        quiet = json.loads(line)["arguments"][0] in QUIET
        if quiet not in helpers:
            (questions, ask), (answers, tell) = os.pipe(), os.pipe()
            ends += [ask, answers]
            if os.fork() == 0:
                os.dup2(questions, 0)
                os.dup2(tell, 1)
                for each in (questions, tell, *ends):
                    os.close(each)  # else the other helper would not see the end of this process
                answer(quiet)
                return
            os.close(questions)
            os.close(tell)
            helpers[quiet] = os.fdopen(ask, "w"), os.fdopen(answers)
        asked, answered = helpers[quiet]
        print(line, end="", file=asked, flush=True)
        print(answered.readline(), end="", flush=True)


def answer(quiet: bool) -> None:
    """Fork a child for each line of standard input, and write its exit status when it has ended."""
    from yolo_subbatch.train_command import prepare_host

    prepare_host(quiet)
    import yolo_subbatch.engine.convert
    import yolo_subbatch.engine.darknet_trainer
    import yolo_subbatch.engine.detector_commands
    import yolo_subbatch.engine.training_run
    import yolo_subbatch.folder.terminal  # noqa: F401

    inspect.getmodule(inspect.currentframe())  # looks at every module once, as Ultralytics has it done
    gc.collect()
    gc.freeze()  # what was imported need not be looked through in every child
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            if "ended" in request:
                keep(request)
            become(request)
            return
        if "ended" not in request:
            print(wait(child), flush=True)


def keep(request: dict[str, Any]) -> None:
    """Return in a child that leads a session; stay with it, say its number, and write its exit status when it ends."""
    ready, said = os.pipe()
    os.chdir(request["folder"])
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(ready)
        os.close(said)
        return
    os.close(said)
    os.read(ready, 1)  # until its end is closed
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    part = Path(f"{request['ended']}.part")
    part.write_text(str(os.waitstatus_to_exitcode(status)))
    part.replace(request["ended"])
    os._exit(0)


def wait(child: int) -> str:
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return str(os.waitstatus_to_exitcode(status))
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "late"


def become(request: dict[str, Any]) -> None:
    """Turn this process into the program, as if it had been started so."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        file = os.open(request[name], os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    sys.path[0] = ""  # as python -m does
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if "ended" in request:
        sys.stdout.reconfigure(encoding="utf-8", write_through=True)
    sys.argv = ["yolo-subbatch", *request["arguments"]]


if __name__ == "__main__":
    serve()
    if sys.argv[0] == "yolo-subbatch":
        from yolo_subbatch.cli import main

        sys.exit(main())
