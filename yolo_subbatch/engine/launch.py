"""Start a process for each device, as Ultralytics does, and follow the run in its events."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ultralytics.utils.dist import ddp_cleanup, generate_ddp_command
from ultralytics.utils.torch_utils import unset_deterministic

from yolo_subbatch.engine import state
from yolo_subbatch.engine.base import TrainerBase
from yolo_subbatch.errors import TrainingError
from yolo_subbatch.folder.events import Event, EventTail, RunFinished, last_event
from yolo_subbatch.folder.process import module_command
from yolo_subbatch.folder.run_folder import RunFolder

POLL = 0.2  # seconds between two looks at the events
GRACE = 60.0  # seconds that processes get to end after they were asked to; torchrun gives its own 30


def run_processes(trainer: TrainerBase) -> None:
    """Train in one process a device and wait for the end.

    They run in a session of their own: an interrupt from the keyboard reaches this process alone, which asks for a stop
    after the current update through the run's folder.

    Args:
        trainer: Holds the arguments and the listeners; it does not train itself.

    Raises:
        TrainingError: If the processes fail.
    """
    folder = RunFolder(Path(trainer.save_dir))
    listeners: list[Callable[[Event], None]] = list(trainer.callbacks.get("on_event", []))
    with _pickled(trainer) as command:
        if trainer.resumed is not None:
            if "longer" in trainer.resumed:
                state.save(trainer.state_file, trainer.resumed)  # from which the processes begin
            # As the first process does: all that follows is new.
            folder.begin_again(trainer.resumed["events"], clear=not trainer.requests_are_new)
        tail = EventTail(folder.events)
        tail.read()  # a run that goes on has been told before
        group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows' way
        process = subprocess.Popen(command, start_new_session=True, creationflags=group)
        try:
            _follow(process, tail, listeners)
        except BaseException:
            _end(process)
            raise
        finally:
            unset_deterministic()
    if process.returncode:
        last = last_event(folder.events)
        reason = last.reason if isinstance(last, RunFinished) else f"exit status {process.returncode}"
        raise TrainingError(f"{folder.path}: the processes of this run failed ({reason}); see what they printed above")


def _follow(process: subprocess.Popen[bytes], tail: EventTail, listeners: list[Callable[[Event], None]]) -> None:
    running = True
    while running:
        try:
            process.wait(POLL)
            running = False
        except subprocess.TimeoutExpired:
            pass
        for event in tail.read():
            for listener in listeners:
                listener(event)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _pickled(trainer: Any) -> Iterator[list[str]]:
    """Write what the processes need into Ultralytics' file, and return the command that starts them.

    Listeners stay here: what a terminal or a window hangs on cannot be pickled. Ultralytics would remove the run's
    folder, in which the settings lie already, if this were not called a run that goes on.
    """
    kept, resume = trainer.callbacks, trainer.resume
    trainer.callbacks = type(kept)(kept.default_factory) if hasattr(kept, "default_factory") else {}
    trainer.callbacks.update({name: calls for name, calls in kept.items() if name != "on_event"})
    trainer.resume = True
    file = None
    try:
        command, file = generate_ddp_command(trainer)
        trainer.callbacks, trainer.resume = kept, resume
        yield module_command(*command[command.index("-m") + 1 :])  # Python's own -m imports from the working directory
    finally:
        trainer.callbacks, trainer.resume = kept, resume
        if file is not None:
            ddp_cleanup(trainer, str(file))
