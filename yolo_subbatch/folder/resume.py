"""Which run is to go on, and whether it can: checked before anything of it is touched."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.events import Step, last_event
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.folder.run_length import LENGTH, asked_of, check_length, length_of, refuse_finished
from yolo_subbatch.settings.checks import check_memory, check_place, check_ranges, raise_errors
from yolo_subbatch.settings.conversion import is_nothing
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.trust import TRUST

STATE = "state.pt"  # in the run's weights folder
#: Keys that say where and how a run is computed, not what: they may change when it goes on.
MAY_CHANGE = ("subdivisions", "memory", "recompute", "device", "workers", "save_iterations", "keep_state")
FILES = ("run.json", "settings.json", "events.jsonl", f"weights/{STATE}")  # one of them tells the folder of a run
MAY_CHANGE_TOO = ("cache", "plots", "save_period", "verbose")  # of Ultralytics


def run_of(place: str | Path, key: str = "resume") -> RunFolder:
    """Return the run that a folder, its weights folder or one of its checkpoints belongs to.

    Args:
        place: The folder or file.
        key: The setting that it was given with, for the message.

    Raises:
        SettingsError: If there is none.
    """
    path = Path(place).absolute()
    if not path.exists():
        raise SettingsError(f"{key}={place}: no such folder or file; give the folder of a run")
    for folder in (path, path.parent, path.parent.parent):
        if any((folder / name).is_file() for name in FILES):
            return RunFolder(folder)
    raise SettingsError(f"{key}={place}: not the folder of a run; give the folder that holds its events.jsonl")


def check_resume(settings: TrainSettings, first: bool = True) -> tuple[RunFolder, dict[str, Any]]:
    """Return the run that is to go on, and the arguments that change.

    Args:
        settings: What the user gives.
        first: This is the run's only process, or the first of several: another one finds it running already.

    Raises:
        SettingsError: If it is running, or finished and not to become longer, or if something is asked for that would
            make it another training.
    """
    folder = run_of(settings.resume or "")
    asked = {key: value for key, value in settings.changed().items() if key not in {"resume", "extra"}}
    asked |= dict(settings.extra)
    refuse_given(asked)
    raise_errors([*check_ranges(settings), *check_place(settings), *check_memory(settings)])
    if first and folder.alive() and not folder.is_own():
        raise SettingsError(f"resume={settings.resume}: this run is still running; stop it first")
    folder.refuse_links(f"resume={settings.resume}")
    length = length_of(asked)
    if folder.status() == "completed" and not (length and has_state(folder)):
        if first:
            with suppress(OSError):
                folder.clear_finished(state=asked_of(folder).get("keep_state") is False)
        refuse_finished(settings.resume, has_state(folder))
    if not has_state(folder):
        _check_beginning(folder, settings)
    elif length and first:  # another process of this run may have begun already
        check_length(folder, length, darknet="flavour" in asked_of(folder))
    return folder, asked


def refuse_given(keys: Mapping[str, Any]) -> None:
    """Refuse keys that were given beside resume=, be it with their default values.

    Raises:
        SettingsError: If one may not change.
    """
    for key, value in keys.items():
        if key not in (*MAY_CHANGE, *MAY_CHANGE_TOO, *LENGTH, "resume", TRUST) and not is_nothing(value):
            raise SettingsError(
                f"{key}={value}: cannot be given with resume=, the training would be another one; leave it out "
                f"({', '.join(MAY_CHANGE)} may change, {' and '.join(LENGTH)} make it longer), or start a new run with "
                "weights="
            )


def with_changes(settings: TrainSettings, changes: Mapping[str, Any]) -> TrainSettings:
    """Return the settings of a run that begins again, with what changes."""
    own = {each.name for each in dataclasses.fields(settings)}
    if length_of(changes):
        changes = {**dict.fromkeys(LENGTH), **changes}
    extra = {**settings.extra, **{key: value for key, value in changes.items() if key not in own}}
    return dataclasses.replace(settings, **{key: value for key, value in changes.items() if key in own}, extra=extra)


def _check_beginning(folder: RunFolder, settings: TrainSettings) -> None:
    """Make sure that a run without a state may begin again: it has settings, and nothing to lose."""
    if not folder.settings.is_file():
        raise SettingsError(f"resume={settings.resume}: neither a state nor settings in it; start a new run")
    trained = last_event(folder.events, Step) is not None
    if trained or any(not each.name.startswith(".") for each in folder.weights.glob("*")):
        raise SettingsError(
            f"resume={settings.resume}: it has been trained, but no {STATE} is in its weights folder; start a new run "
            "with weights= or model= from the weights that are there"
        )


def has_state(folder: RunFolder) -> bool:
    """Tell whether a run has kept a state; one that was ended while it got ready has not, and begins again."""
    return (folder.weights / STATE).is_file()
