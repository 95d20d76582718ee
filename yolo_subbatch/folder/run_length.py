"""The length of a run that goes on: what is asked of it, and whether that is more than what is done."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.events import RunFinished, Step, last_event, newest_start
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.args_file import ARGS, read_args
from yolo_subbatch.settings.conversion import is_nothing

LENGTH = ("epochs", "max_batches")  # the keys that say how long a run is


@dataclass(frozen=True)
class Reached:
    """How far a run has come: ``iterations`` of ``planned``, and ``epochs``, of which the last may not be whole."""

    iterations: int
    planned: int
    epochs: int
    per_epoch: int
    finished: bool

    def of(self, length: Mapping[str, int]) -> int:
        """Return the iterations of a length, which is the shorter one where two are given."""
        wanted = {"max_batches": length.get("max_batches"), "epochs": length.get("epochs", 0) * self.per_epoch}
        return min(each for each in wanted.values() if each)

    def __str__(self) -> str:
        return f"{self.iterations} iterations ({self.iterations / self.per_epoch:.6g} epochs)"


def length_of(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the keys that say how long a run is to be."""
    return {key: keys[key] for key in LENGTH if not is_nothing(keys.get(key))}


def is_finished(folder: RunFolder) -> bool:
    """Tell whether a run has come to its end, whichever process looks at it now."""
    last = last_event(folder.events)
    return isinstance(last, RunFinished) and last.ending == "completed"


def reached(folder: RunFolder) -> Reached | None:
    """Return how far a run has come; None for one without an update."""
    started, step = newest_start(folder.events), last_event(folder.events, Step)
    if started is None or step is None or started.updates_per_epoch < 1:
        return None
    return Reached(step.step, started.steps_total, step.epoch, started.updates_per_epoch, is_finished(folder))


def refuse_finished(place: Any, kept: bool) -> None:
    """Refuse to go on with a run that has come to its end.

    Args:
        place: The run, as the user gave it.
        kept: Its exact state was kept.

    Raises:
        SettingsError: Always.
    """
    longer = f"train it longer with resume={place} epochs=N, or " if kept else ""
    gone = "" if kept else ", and its exact state was not kept to train it longer"
    raise SettingsError(
        f"resume={place}: this run is finished, nothing is left to train{gone}; {longer}"
        "start a new one with weights= or model="
    )


def check_length(folder: RunFolder, length: Mapping[str, int], darknet: bool | None) -> None:
    """Make sure that a run of this length has something left to train.

    Args:
        folder: The run.
        length: The new length, in the keys of ``LENGTH``.
        darknet: Its network is one of Darknet, whose length may be said in iterations; None if nobody knows.

    Raises:
        SettingsError: If it has not.
    """
    asked = ", ".join(f"{key}={value}" for key, value in length.items())
    if "max_batches" in length and darknet is False:
        raise SettingsError(
            f"max_batches={length['max_batches']}: the length of a Darknet network, and this run is one of "
            "Ultralytics'; give epochs="
        )
    so_far = reached(folder)
    if so_far is None:
        return
    iterations = so_far.of(length)
    if iterations < so_far.iterations:
        raise SettingsError(f"{asked}: shorter than what is done, {so_far}; give more than that")
    if iterations == so_far.iterations and (so_far.finished or iterations != so_far.planned):
        raise SettingsError(f"{asked}: {so_far} are done, nothing is left to train; give more than that")


def asked_of(folder: RunFolder) -> dict[str, Any]:
    """Return the keys of a run's ``args.yaml``; none of a folder without."""
    with suppress(SettingsError):
        return read_args(folder.path / ARGS)
    return {}


def note_length(folder: RunFolder, length: Mapping[str, Any]) -> None:
    """Have the ``settings.json`` of a run say how long it is now; a run that was begun in Python has none."""
    with suppress(SettingsError):
        settings = folder.read_settings()
        extra = {key: value for key, value in settings.extra.items() if key != "time"}
        epochs, iterations = (length.get(key) for key in LENGTH)
        folder.write_settings(replace(settings, epochs=epochs, max_batches=iterations, extra=extra))
