"""What trainers are called in files, and whether one may go on with a run: asked before anything is changed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.yolo.model import YOLO

from yolo_subbatch.engine.base import TrainerBase
from yolo_subbatch.engine.tuning import tune_yolo
from yolo_subbatch.errors import SettingsError, TrustError
from yolo_subbatch.settings.host_files import is_darknet_checkpoint
from yolo_subbatch.settings.trust import guarded, is_guarded, shown

#: What files say, wherever the class is today.
DARKNET = "yolo_subbatch.engine.trainer:DarknetTrainer"
SUBBATCH = "yolo_subbatch.engine.subbatch:SubbatchTrainer"
DETECTION = "ultralytics.models.yolo.detect.train:DetectionTrainer"  # what SubbatchTrainer is made of
MOVED_TO = {
    DARKNET: "yolo_subbatch.engine.darknet_trainer:DarknetTrainer",
    SUBBATCH: "yolo_subbatch.engine.making:SubbatchTrainer",
}
SCRIPT = "__main__"  # the module of classes of a script or a notebook, which no other program can import

YOLO.tune = tune_yolo  # whoever can give our trainers to train() will give them to tune() too


def host_class(kind: type) -> str:
    """Return ``module:name`` of the trainer class that a run can be taken up with."""
    shown = vars(kind).get("made_from", kind)  # what subbatch() was given
    place = f"{shown.__module__}:{shown.__qualname__}"
    return next((name for name, today in MOVED_TO.items() if today == place), place)


def find_trainer(place: str, run: object = "") -> Any:
    """Return a trainer class; a module that nobody has imported yet is not imported for it, but for trust."""
    module, _, name = MOVED_TO.get(place, place).partition(":")
    known = place in {DARKNET, SUBBATCH} or module.startswith("ultralytics.models.")
    if not known and module not in sys.modules and is_guarded():
        raise TrustError(
            f"resume={run}",
            f"its trainer is {shown(place)}, a module that would be imported",
            "go on from where it is defined, by train(trainer=..., resume=FOLDER)",
        )
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not (isinstance(found, type) and issubclass(found, BaseTrainer)):
        raise AttributeError(place)
    return found


def check_network(kind: type, model: Any) -> None:
    """Refuse a Darknet network for a trainer of Ultralytics' own models.

    Args:
        kind: The trainer.
        model: ``model=`` as it was given: the name of a file.

    Raises:
        SettingsError: If it is one.
    """
    path = Path(str(model))
    if path.suffix == ".cfg" or (path.suffix == ".pt" and path.is_file() and is_darknet_checkpoint(path)):
        raise SettingsError(
            f"model={model}: a Darknet network, which {kind.__name__} does not train; leave trainer= out, or use "
            "yolo_subbatch.Darknet: its own trainer takes batch and subdivisions too"
        )


def check_run(place: str | Path, state: Mapping[str, Any], kind: type, given: Mapping[str, Any]) -> None:
    """Refuse to go on with a run by another trainer, or for another task: it would save another model.

    Args:
        place: ``resume=`` as it was given.
        state: What the run kept.
        kind: The trainer that is to go on.
        given: What the user gives besides.

    Raises:
        SettingsError: If they differ.
    """
    there, here = state["host"], host_class(kind)
    task, asked = state["args"].get("task"), given.get("task")
    if not _same(there, here):
        raise SettingsError(
            f"resume={place}: a run of {_name(there)}, and this is {_name(here)}; {_cure(place, there)}"
        )
    if asked and task and asked != task:
        raise SettingsError(f"resume={place}: a run of task={task}, and this is task={asked}; {_cure(place, there)}")


def _same(there: str, here: str) -> bool:
    there, here = (DETECTION if each == SUBBATCH else each for each in (there, here))
    modules, names = zip(*(each.split(":", 1) for each in (there, here)), strict=True)
    return there == here or (SCRIPT in modules and names[0] == names[1])


def _name(place: str) -> str:
    return "SubbatchTrainer" if place == DETECTION else place.partition(":")[2]


def how_to_give(place: str) -> str:
    """Return what a user writes to give the trainer ``module:name``: ``SubbatchTrainer``, ``subbatch(PoseTrainer)``."""
    name = _name(place)
    try:
        with guarded():
            found = find_trainer(SUBBATCH if place == DETECTION else place)
    except (TrustError, ImportError, AttributeError):
        return name
    return name if issubclass(found, TrainerBase) else f"subbatch({name})"


def _cure(place: str | Path, there: str) -> str:
    typed = f"yolo-subbatch train resume={place}"
    if there == DARKNET:
        return f"go on with yolo_subbatch.Darknet(...).train(resume={str(place)!r}), or type {typed}"
    how = f"go on with trainer={how_to_give(there)}"
    return how if there.startswith(f"{SCRIPT}:") else f"{how}, or type {typed}"


def note_for_stock(kind: type, folder: Path) -> str:
    """Return what a user reads who goes on with a run of sub-batches without saying ``trainer=``.

    Ultralytics alone would go on in whole batches, from averages of half precision, and say nothing. It refuses
    arguments whose names it does not know, and shows the name.
    """
    own = host_class(kind)
    how = how_to_give(own)
    where = "" if own.startswith(f"{SCRIPT}:") else f", or type yolo-subbatch train resume={folder}"
    return f"this run has sub-batches: go on with trainer={how}{_import_of(how, own)}{where}"


def _import_of(how: str, place: str) -> str:
    """Return in brackets what is to be imported for it; nothing where a script or a notebook defines it."""
    module, _, name = place.partition(":")
    first = how.partition("(")[0]
    if first in {"subbatch", "SubbatchTrainer"}:
        return f" (from yolo_subbatch import {first})"
    return "" if module == SCRIPT else f" (from {module} import {name.partition('.')[0]})"


def tell_other_network(place: str | Path, state: Mapping[str, Any], folder: Path, model: Any) -> str:
    """Return what a user has to know who gives another network than the run's beside ``resume=``; else nothing."""
    own = str(state["args"].get("model"))
    path = Path(str(model))
    if model is None or path.name == Path(own).name or path.absolute().is_relative_to(folder.absolute()):
        return ""
    return f"resume={place}: goes on with the run's own network, {own}; {model} is not used"
