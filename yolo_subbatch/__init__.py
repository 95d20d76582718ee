"""Darknet's exact ``batch`` and ``subdivisions`` inside Ultralytics.

One weight update per ``batch`` images, computed ``batch / subdivisions`` images at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolo_subbatch.lazy import load

if TYPE_CHECKING:
    from yolo_subbatch.engine.darknet import Darknet as Darknet
    from yolo_subbatch.engine.subbatch import SubbatchMixin as SubbatchMixin
    from yolo_subbatch.engine.subbatch import SubbatchTrainer as SubbatchTrainer
    from yolo_subbatch.engine.subbatch import subbatch as subbatch
    from yolo_subbatch.engine.trainer import DarknetTrainer as DarknetTrainer

__version__ = "0.1.0"

_HOME = {
    "Darknet": "engine.darknet",
    "DarknetTrainer": "engine.trainer",
    "SubbatchMixin": "engine.subbatch",
    "SubbatchTrainer": "engine.subbatch",
    "subbatch": "engine.subbatch",
}
__all__ = ["Darknet", "DarknetTrainer", "SubbatchMixin", "SubbatchTrainer", "subbatch"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return load(f"{_HOME[name]}:{name}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
