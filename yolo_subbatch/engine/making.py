"""Trainer classes with sub-batches, made from any other: by :func:`subbatch`, or by what a model asks for."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from ultralytics.engine.trainer import BaseTrainer
from ultralytics.utils import RANK

from yolo_subbatch.engine import LOGGER, state
from yolo_subbatch.engine.host_trainer import DetectionTrainer
from yolo_subbatch.engine.subbatch import SubbatchMixin
from yolo_subbatch.engine.taken_names import refuse_taken_names
from yolo_subbatch.engine.tasks import MODELS, asked_for, host_of, needed_trainer, tasks_of
from yolo_subbatch.errors import SettingsError

#: Where the classes that are made can be found again by their names.
HOME = "yolo_subbatch.engine.making"
#: By the class itself: two of one name are two.
_made: dict[type, type] = {}


def subbatch(trainer: type[BaseTrainer]) -> type[BaseTrainer]:
    """Return ``trainer`` with sub-batches, for example ``subbatch(SegmentationTrainer)``; always the same for a class.

    A user's own class stands before the sub-batches, these before Ultralytics' class: ``super()`` in the user's methods
    comes to both. It can be pickled by name where ``trainer`` can be imported, elsewhere by value (cloudpickle).

    Raises:
        SettingsError: If the class calls something as the sub-batches do, or is no trainer.
    """
    if not (isinstance(trainer, type) and issubclass(trainer, BaseTrainer)):
        shown = trainer.__name__ if isinstance(trainer, type) else repr(trainer)
        raise SettingsError(
            f"subbatch({shown}): no class of trainers; give one of Ultralytics', such as DetectionTrainer, or one "
            "derived from it"
        )

    if issubclass(trainer, SubbatchMixin):
        return trainer
    if trainer not in _made:
        host = host_of(trainer)
        refuse_taken_names(trainer, SubbatchMixin)
        bases = (SubbatchMixin, trainer) if host is trainer else (trainer, subbatch(host))
        name = f"Subbatch{trainer.__name__}"
        names = {
            "__module__": HOME, "__doc__": trainer.__doc__, "made_from": trainer,
            "__qualname__": f"of.{trainer.__module__}.{trainer.__qualname__}",
        }  # fmt: skip
        kind: Any = type(trainer)
        _made[trainer] = kind(name if "Trainer" in name else f"{name}Trainer", bases, names)
    return _made[trainer]


def other_trainer(kind: type, *args: Any, **keywords: Any) -> Any:
    """Return the class that takes the place of ``SubbatchTrainer`` with these arguments; None if it is right itself.

    Raises:
        SettingsError: If the model is for another task than the user says.
    """
    given = dict(zip(("cfg", "overrides", "_callbacks"), args, strict=False)) | keywords
    overrides = given.get("overrides") or {}
    if overrides.get("resume"):
        return trainer_of_run(kind, overrides["resume"])
    model, task = asked_for(given.get("cfg"), overrides)
    needed = needed_trainer(model, task)
    if needed is None:
        return None
    made = subbatch(needed[0])
    if made is kind:
        return None
    if RANK in {-1, 0}:
        LOGGER.info(
            f"{model or f'task={needed[1]}'}: trained by Ultralytics' {needed[0].__name__} in sub-batches "
            f"(task {needed[1]}); {kind.__name__} itself is for detection"
        )
    return made


def trainer_of_run(kind: type, place: Any) -> Any:
    """Return the class that a run was begun with, if it is Ultralytics' own for some task; else None."""
    host = state.load(state.find_state(place), peek=True)["host"]
    for model in MODELS:
        for classes in tasks_of(model).values():
            trainer = classes["trainer"]
            if host == f"{trainer.__module__}:{trainer.__qualname__}" and subbatch(trainer) is not kind:
                return subbatch(trainer)
    return None


class SubbatchTrainer(SubbatchMixin, DetectionTrainer):
    """Ultralytics' detection trainer with sub-batches.

    Given a model of another task, it is that of the task: ``subbatch(PoseTrainer)`` and so on.

    >>> YOLO("yolo26n.yaml").train(trainer=SubbatchTrainer, data="coco8.yaml", batch=64, subdivisions=16)
    """

    made_from = DetectionTrainer

    def __new__(cls, *args: Any, **keywords: Any) -> Any:
        """Return a trainer of the task that the model is for."""
        other = other_trainer(cls, *args, **keywords) if cls is SubbatchTrainer else None
        return super().__new__(cls) if other is None else other(*args, **keywords)


_made[DetectionTrainer] = SubbatchTrainer


class _Place:
    """A dotted name below which trainer classes are found, each with sub-batches: ``of.package.module.Trainer``.

    What lives in the main module has none: that is another module in every process.
    """

    def __init__(self, path: str = "") -> None:
        self._path = path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        path = f"{self._path}.{name}" if self._path else name
        if _module(path) is not None:
            return _Place(path)
        owner = _module(self._path)
        found = getattr(owner, name, None) if owner is not None else None
        if not (isinstance(found, type) and issubclass(found, BaseTrainer)):
            raise AttributeError(path)
        return subbatch(found)


def _module(path: str) -> ModuleType | None:
    """Import a module, or return None."""
    if not path:
        return None
    try:
        return sys.modules.get(path) or import_module(path)
    except ImportError:
        return None


of = _Place()
