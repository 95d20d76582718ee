"""A process that speaks a run's events as a training does, without training anything.

It keeps the place in its events after every tenth update in ``weights/state.pt``, and ``--resume`` continues from there.
``launch_with`` has a launcher start it in the place of a training.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.events import Checkpoint, EventWriter, Log, RunFinished, RunStarted, Step
from yolo_subbatch.folder.run_folder import RunFolder

KEEP_EVERY = 10
HELD = 3  # the update after which it waits for the file of --hold

Process = subprocess.Popen  # itself, also while launch_with has another one in its place


def launch_with(options: Sequence[str], begun: list[subprocess.Popen[bytes]]) -> Callable[..., subprocess.Popen[bytes]]:
    """Return what ``RunFolder.launch`` can be replaced with.

    It does all that the replaced one does (the record of the process, its session, its console), but for the command.

    Args:
        options: Given to the worker, as they are at the moment of the launch.
        begun: Takes every process.
    """
    launch, before = RunFolder.launch, subprocess.Popen

    def begin(command: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
        if "train" not in command:
            return Process(command, **how)  # of another thread
        way, folder = command[command.index("train") + 1 :][:2]
        resume = ["--resume"] if way == "--resume" else []
        begun.append(Process([sys.executable, __file__, folder, *options, *resume], **how))
        return begun[-1]

    def launch_worker(folder: RunFolder, *given: Any, **named: Any) -> subprocess.Popen[bytes]:
        subprocess.Popen = begin  # type: ignore[assignment,misc]
        try:
            return launch(folder, *given, **named)
        finally:
            subprocess.Popen = before  # type: ignore[misc]

    return launch_worker


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rate", type=float, default=500.0, help="updates a second")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds until the first event")
    parser.add_argument("--end", choices=("well", "abort", "kill", "error", "silent", "mistake"), default="well")
    parser.add_argument("--at", type=int, default=0, help="the update after which it ends as --end says")
    parser.add_argument("--deaf", action="store_true", help="ignores requests to stop, and hangs after the last update")
    parser.add_argument("--child", action="store_true", help="has a child of its own, whose number it writes to child")
    parser.add_argument("--hold", type=Path, help=f"a file for which it waits after update {HELD}")
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


def end_badly(folder: RunFolder, way: str) -> None:
    if way == "abort":
        os.abort()
    elif way == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif way == "silent":
        os._exit(0)
    elif way == "mistake":
        print("yolo-subbatch: cfg=none.cfg: no such file; give a file", flush=True)
        os._exit(2)
    elif way == "error":
        try:
            raise ValueError("something odd")
        except ValueError as error:
            folder.record_failure(error)
            raise


def resumed_step(folder: RunFolder, state: Path) -> int:
    """Cut the events to what the state knows, and return the number of the last update that it knows."""
    if not state.is_file():
        raise SettingsError("no state")
    kept = json.loads(state.read_text())
    folder.begin_again(kept["events"], clear=False)  # the launcher did so
    return int(kept["step"])


def main() -> None:
    given = parse()
    folder = RunFolder(given.folder)
    folder.write_process()
    if given.child:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        (folder.path / "child").write_text(str(child.pid))
    print("loading", flush=True)
    time.sleep(given.delay)
    if given.at == 0:
        end_badly(folder, given.end)
    state = folder.weights / "state.pt"
    first = resumed_step(folder, state) if given.resume else 0
    folder.weights.mkdir(exist_ok=True)
    writer = EventWriter(folder.events)
    writer.write(RunStarted(pid=os.getpid(), steps_total=given.steps, start_step=first, batch=8, subdivisions=2))
    writer.write(Log(level="info", text="begins"))
    for step in range(first + 1, given.steps + 1):
        writer.write(Step(step=step, epoch=1, loss={"total": 1 / step, "box": 0.5 / step}, lr=0.01, gnorm=1.0, ips=8.0))
        stops = folder.stop_requested() and not given.deaf
        if step % KEEP_EVERY == 0 or stops:
            state.write_text(json.dumps({"step": step, "events": writer.position()}))
            writer.write(Checkpoint(step=step, path="weights/state.pt", kind="resume"))
        if step == given.at:
            end_badly(folder, given.end)
        if stops:
            writer.write(RunFinished(status="stopped", step=step))
            return
        while step == HELD and given.hold and not (given.hold.exists() or folder.stop_requested()):
            time.sleep(0.01)
        time.sleep(1 / given.rate)
    while given.deaf:
        time.sleep(1)
    writer.write(RunFinished(status="completed", step=given.steps))


if __name__ == "__main__":
    main()
