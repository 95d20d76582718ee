"""Trainer classes with sub-batches, made from any other: by :func:`subbatch`, or by what a model asks for."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from ultralytics.engine.trainer import BaseTrainer

from yolo_subbatch.engine.taken_names import refuse_taken_names
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
    from yolo_subbatch.engine.subbatch import SubbatchMixin

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


def made_for(trainer: type, made: type) -> None:
    """Note that a class which was written out is what :func:`subbatch` makes of another."""
    _made[trainer] = made


def host_of(trainer: type) -> type:
    """Return Ultralytics' class that a trainer class is, or is derived from.

    Raises:
        SettingsError: If it is derived from none.
    """
    found = [each for each in trainer.__mro__ if each.__module__.partition(".")[0] == "ultralytics"]
    if not found:
        raise SettingsError(
            f"trainer={trainer.__name__}: trains nothing by itself; give SubbatchTrainer, or subbatch(T) with your "
            "trainer class T"
        )
    return found[0]


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
