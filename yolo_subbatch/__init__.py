"""Darknet's exact ``batch`` and ``subdivisions`` inside Ultralytics.

One weight update per ``batch`` images, computed ``batch / subdivisions`` images at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolo_subbatch.late_imports import load
from yolo_subbatch.moved import keep_old_names

if TYPE_CHECKING:
    from yolo_subbatch.engine.api import Darknet as Darknet
    from yolo_subbatch.engine.darknet_trainer import DarknetTrainer as DarknetTrainer
    from yolo_subbatch.engine.making import SubbatchTrainer as SubbatchTrainer
    from yolo_subbatch.engine.making import subbatch as subbatch
    from yolo_subbatch.engine.subbatch import SubbatchMixin as SubbatchMixin

__version__ = "0.1.0"

_HOME = {
    "Darknet": "engine.api",
    "DarknetTrainer": "engine.darknet_trainer",
    "SubbatchMixin": "engine.subbatch",
    "SubbatchTrainer": "engine.making",
    "subbatch": "engine.making",
}
keep_old_names()
__all__ = ["Darknet", "DarknetTrainer", "SubbatchMixin", "SubbatchTrainer", "subbatch"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return load(f"{_HOME[name]}:{name}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
