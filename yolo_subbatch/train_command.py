"""What ``yolo-subbatch train`` does until the engine takes over, and after: which run, whose folder, which process.

Everything that can be refused is refused before torch is imported, and before anything of the user's is touched.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from yolo_subbatch.errors import SettingsError, YoloSubbatchError
from yolo_subbatch.folder.backup_folder import Backup
from yolo_subbatch.folder.faults import again_with, explained
from yolo_subbatch.folder.lock import held
from yolo_subbatch.folder.process import LAUNCHED
from yolo_subbatch.folder.resume import check_resume, has_state, run_of, with_changes
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.folder.signals import EndedBySystem, ended_like_an_interrupt, lasting_output
from yolo_subbatch.folder.terminal import TerminalProgress, route_messages
from yolo_subbatch.late_imports import load
from yolo_subbatch.settings.checks import raise_errors
from yolo_subbatch.settings.find import is_built_in, short_path
from yolo_subbatch.settings.offline import stay_offline
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.training_checks import validate
from yolo_subbatch.settings.trust import TRUST

Work = Callable[[RunFolder, list[Any]], int]
DONE = 0
FIRST_LOOK = 10  # epochs on the built-in data set


@dataclass(frozen=True)
class Task:
    """What is to be trained: settings from the beginning, or a run whose state goes on with ``changes``.

    ``folder`` is None for a run that has none yet.
    """

    folder: RunFolder | None
    settings: TrainSettings | None = None
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def work(self, ready: TrainSettings | None, backup: Backup | None = None) -> Work:
        """Import the engine, and return what trains in a folder and tells some listeners.

        Args:
            ready: The settings, checked and filled in; None where a state goes on.
            backup: Where weights go besides.
        """
        prepare_host(quiet=True)
        entry = load("engine.training_run:continue_training" if ready is None else "engine.training_run:run_training")
        what = dict(self.changes) if ready is None else ready
        return partial(entry, what) if backup is None else partial(entry, what, backup=backup)


def train(settings: TrainSettings, backup: Backup | None = None) -> int:
    """Train as the user asks, and return the exit status.

    Args:
        settings: What the user asks.
        backup: Where the weights of a new run go besides.
    """
    if int(os.environ.get("RANK", -1)) > 0:
        return _train_beside(settings)
    with lasting_output(), ended_like_an_interrupt():
        if settings.resume is None:
            return _train_first(settings, backup)
        with held(run_of(settings.resume).path, f"resume={settings.resume}"):
            return _train_first(settings, backup)


def _train_first(settings: TrainSettings, backup: Backup | None) -> int:
    """Train in the run's only process, or in the first of several."""
    progress = TerminalProgress(sys.stdout)
    task = task_of(settings)
    if task.settings is None:
        check_device(task.changes.get("device"))
    # The launcher of a prepared folder wants to read there what was wrong; a new one is not made for what is refused.
    if task.folder is not None and settings.resume is None:
        folder, given = task.folder, task.settings
        return _in_folder(folder, lambda: _train_in(task, folder, _checked(given, progress), progress), keep=True)
    ready = _checked(task.settings, progress)
    if task.folder is None:
        folder = _new_folder(settings)
        if backup is not None:
            backup.note(folder)
    else:
        folder = task.folder
        backup = Backup.noted(folder)
        if LAUNCHED not in os.environ:
            folder.clear_request()  # of before; one that comes while torch is loaded is obeyed
        if ready is not None:
            folder.begin_again(0, clear=False)
    keep = task.folder is not None
    status = _in_folder(folder, lambda: _train_in(task, folder, ready, progress, backup), keep)
    if backup is not None:
        backup.finish(folder)
    return status


def task_of(settings: TrainSettings, first: bool = True) -> Task:
    """Find out which run is meant.

    Args:
        settings: What the user gives.
        first: This is the run's only process, or the first of several.

    Raises:
        SettingsError: If that run cannot be trained.
    """
    if settings.resume is not None:
        folder, changes = check_resume(settings, first)
        if has_state(folder):
            return Task(folder, changes=changes)
        return Task(folder, with_changes(folder.read_settings(), changes))  # it was ended before its first state
    if settings.run_dir is None:
        return Task(None, settings)
    others = [key for key in settings.changed() if key not in {"run_dir", TRUST}]
    if others:
        found = f"run_dir={settings.run_dir}: {others[0]} is given too"
        raise SettingsError(f"{found}; the settings are in its settings.json, leave the other keys out")
    # The first process uses the folder by now.
    folder = RunFolder.prepared(settings.run_dir) if first else RunFolder(Path(settings.run_dir))
    return Task(folder, dataclasses.replace(folder.read_settings(), trust=settings.trust))


def _train_beside(settings: TrainSettings) -> int:
    """Train in one of several processes that torchrun started; the first one keeps the folder and tells the user."""
    task = task_of(settings, first=False)
    ready = task.settings
    if ready is not None:
        raise_errors(validate(ready))
        ready = with_built_in_data(ready)
    work = task.work(ready)
    if ready is None and task.folder is not None:
        return work(task.folder, [])
    with tempfile.TemporaryDirectory() as place:
        return work(RunFolder(Path(place) / "run"), [])


def _checked(settings: TrainSettings | None, progress: TerminalProgress) -> TrainSettings | None:
    """Report everything that is wrong at once; return the settings with the built-in data set filled in."""
    if settings is None:
        return None
    for text in raise_errors(validate(settings)):
        progress.say(f"warning: {text}")
    check_device(settings.device)
    ready: TrainSettings = with_built_in_data(settings)
    return ready


def _new_folder(settings: TrainSettings) -> RunFolder:
    folder = RunFolder.create(settings.project, settings.name)
    folder.write_settings(settings)
    if folder.path.name != settings.name:
        print(f"{settings.name} exists already; this run goes to {short_path(folder.path)}")
    return folder


def _in_folder(folder: RunFolder, work: Callable[[], int], keep: bool) -> int:
    """Run a training; one that never began leaves no trace, unless a launcher owns the folder (``keep``)."""
    with held(folder.path, f"run_dir={folder.path}"):  # who finds it held leaves no word in it
        return _in_held_folder(folder, work, keep)


def _in_held_folder(folder: RunFolder, work: Callable[[], int], keep: bool) -> int:
    try:
        folder.write_process()
        return work()
    except BaseException as error:
        found = explained(error, folder.path)
        shown = error if found is None else found
        if keep or folder.events.exists():
            folder.record_failure(shown)
        elif isinstance(shown, EndedBySystem):
            print(f"ended before the training began; begin again with: {again_with(folder.path)}")
        elif isinstance(shown, (YoloSubbatchError, KeyboardInterrupt)):
            folder.discard()
        if found is not None:
            raise found from error
        raise


def _train_in(
    task: Task, folder: RunFolder, ready: TrainSettings | None, progress: TerminalProgress, backup: Backup | None = None
) -> int:
    """Train in a folder, with the progress in the terminal."""
    work = task.work(ready, backup)
    route_messages(progress)  # after the import, in which Ultralytics sets its own handlers
    try:
        status = work(folder, [progress])
    finally:
        progress.close()
    if status == DONE:
        print(f"results are in {short_path(folder.path)}")
    return status


def prepare_host(quiet: bool) -> None:
    """Keep Ultralytics from telling others what is trained and from installing packages, unless the user wants it to.

    It reads these variables when it is imported; ``quiet`` turns its progress bars off, where our own are shown.
    """
    stay_offline()
    if quiet:
        os.environ.setdefault("YOLO_VERBOSE", "false")


def with_built_in_data(settings: Any) -> Any:
    """Fill in the built-in data set where it is asked for, and say so where nothing was."""
    if not is_built_in(settings.data):
        return settings
    path = load("built_in_data:shapes_data")()
    if settings.data is None:
        print(f"no data= given: using the built-in data set shapes ({path})")
        if getattr(settings, "epochs", 1) is None and settings.max_batches is None:
            print(f"neither epochs= nor max_batches= given: the run is {FIRST_LOOK} epochs")
            settings = dataclasses.replace(settings, epochs=FIRST_LOOK)
    return dataclasses.replace(settings, data=str(path))


def check_device(device: str | None) -> None:
    """Refuse a device that is not there; only torch knows, so this comes last of the checks.

    Raises:
        SettingsError: If the device does not exist on this machine.
    """
    if device is None or device == "cpu":
        return
    import torch

    if device == "mps":
        if not torch.backends.mps.is_available():
            raise SettingsError("device=mps: not on this machine; use device=cpu")
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = [int(each.removeprefix("cuda:")) for each in device.split(",") if each != "cuda"]
    if not count or any(each >= count for each in wanted):
        have = f"this machine has {count} (0 to {count - 1})" if count else "torch sees no CUDA device here"
        raise SettingsError(f"device={device}: {have}; use device={'0' if count else 'cpu'}")
