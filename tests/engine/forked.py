"""Processes as torchrun starts them, forked from one that has imported torch: ``python -m tests.engine.forked``.

It reads requests, one a line, and answers each with the exit statuses of the processes when they have ended. None of
them has imported Ultralytics before, which reads ``RANK`` and the like when it is imported.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from tests.program import SLOW_TO_IMPORT


def several_times(environments: list[dict[str, str]], run: Callable[[], Any]) -> list[int]:
    """Run something in a process for each environment, and return their exit statuses; one that fails ends all."""
    children = {}
    for each in environments:
        child = os.fork()
        if child == 0:
            os.environ.update(each)
            leave_with(run)
        children[child] = 0
    waiting = set(children)
    while waiting:
        child, status = os.wait()
        waiting -= {child}
        children[child] = os.waitstatus_to_exitcode(status)
        if children[child]:
            for other in waiting:
                os.kill(other, signal.SIGTERM)
    return list(children.values())


def leave_with(run: Callable[[], Any]) -> None:
    """Run something and end this process."""
    try:
        run()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    finally:
        sys.stdout.flush()
    os._exit(0)


class Spare:
    """A process that waits until it is needed, and then does what Ultralytics' launcher has torchrun do."""

    def __init__(self) -> None:
        asked, self._ask = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._ask)
            with os.fdopen(asked) as request:
                text = request.read()
            if text:
                leave_with(lambda: launch(json.loads(text)))
            os._exit(0)
        os.close(asked)

    def begin(self, command: list[str], **_: Any) -> Spare:
        """Do what ``Popen`` does with a command of the launcher."""
        with os.fdopen(self._ask, "w") as request:
            request.write(json.dumps({"command": command, "environment": dict(os.environ)}))
        return self

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("torchrun", timeout)
            else:
                time.sleep(0.01)
        return self.returncode


def launch(request: dict[str, Any]) -> None:
    """Run a file in as many processes as a command of torchrun says."""
    *options, file = request["command"][request["command"].index("torch.distributed.run") + 1 :]
    given = dict(zip(options[::2], options[1::2], strict=True))
    environment = {**request["environment"], "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": given["--master_port"]}
    environments = [{**environment, **each} for each in ranks(int(given["--nproc_per_node"]))]
    if any(several_times(environments, lambda: runpy.run_path(file, run_name="__main__"))):
        raise SystemExit(1)


def ranks(*processes: int) -> list[dict[str, str]]:
    """Return what torchrun puts into the environment of so many processes on each machine."""
    places = [(index, count) for count in processes for index in range(count)]
    return [
        {"RANK": str(rank), "WORLD_SIZE": str(sum(processes)), "LOCAL_RANK": str(index), "LOCAL_WORLD_SIZE": str(count)}
        for rank, (index, count) in enumerate(places)
    ]


def work(request: dict[str, Any]) -> None:
    """Do the trainings of a plan, with all that they say in a file."""
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    spare = Spare() if "RANK" not in os.environ else None
    from tests.engine import several

    several.main(request["plan"], spare)


def main() -> None:
    for name in SLOW_TO_IMPORT:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        print(json.dumps(several_times(request["environments"], lambda: work(request))), flush=True)  # noqa: B023


if __name__ == "__main__":
    main()
