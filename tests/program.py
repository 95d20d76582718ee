"""Run the program in processes of its own that need not import torch and Ultralytics again.

``program()`` is what a test calls. Behind it stands one process per test process (this file, started as a script): it
imports what the commands use, and forks a child for each command. Such a child is a whole process with its own working
directory, environment, files and exit status; only its imports were done before. Tests of the start itself, of
signals and of kills start ``python -m yolo_subbatch``.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LONGEST = 300  # seconds of one command
QUIET = ("train", "detector", "demo", "export")  # commands that silence Ultralytics before it is imported


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


def _ask(request: dict[str, Any]) -> str:
    server = _server(request["arguments"][0] in QUIET)
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return server.stdout.readline().strip()


@cache
def _server(quiet: bool) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(
        [sys.executable, __file__, *["quiet"] * quiet],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    atexit.register(server.kill)
    return server


def serve() -> None:
    """Fork a child for each line of standard input, and write its exit status when it has ended."""
    from yolo_subbatch.training import prepare_host

    prepare_host(quiet="quiet" in sys.argv)
    import yolo_subbatch.engine.convert
    import yolo_subbatch.engine.detector
    import yolo_subbatch.engine.train  # noqa: F401

    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            become(request)
            return
        print(wait(child), flush=True)


def wait(child: int) -> str:
    import signal
    import time

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
        file = os.open(request[name], os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    sys.path[0] = ""  # as python -m does
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.argv = ["yolo-subbatch", *request["arguments"]]


if __name__ == "__main__":
    serve()
    if sys.argv[0] == "yolo-subbatch":
        from yolo_subbatch.cli import main

        sys.exit(main())
