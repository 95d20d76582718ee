"""Darknet's formats and mathematics, on torch and numpy alone.

The names load on first use, so that reading a cfg costs no import of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolo_subbatch.darknet.decode import non_max_suppression as non_max_suppression
    from yolo_subbatch.darknet.iteration import train_batch as train_batch
    from yolo_subbatch.darknet.loss import Losses as Losses
    from yolo_subbatch.darknet.network import Network as Network
    from yolo_subbatch.darknet.optimizer import darknet_sgd as darknet_sgd
    from yolo_subbatch.darknet.optimizer import set_rate as set_rate
    from yolo_subbatch.darknet.parser import parse_cfg as parse_cfg
    from yolo_subbatch.darknet.parser import read_cfg as read_cfg
    from yolo_subbatch.darknet.schedule import learning_rate as learning_rate
    from yolo_subbatch.darknet.sections import Cfg as Cfg
    from yolo_subbatch.darknet.weights import Header as Header
    from yolo_subbatch.darknet.weights import load_weights as load_weights
    from yolo_subbatch.darknet.weights import save_weights as save_weights

_HOME = {
    "Cfg": "sections",
    "Header": "weights",
    "Losses": "loss",
    "Network": "network",
    "darknet_sgd": "optimizer",
    "learning_rate": "schedule",
    "load_weights": "weights",
    "non_max_suppression": "decode",
    "parse_cfg": "parser",
    "read_cfg": "parser",
    "save_weights": "weights",
    "set_rate": "optimizer",
    "train_batch": "iteration",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
