"""What checkpoints consist of, by the names under which it is pickled.

Layers, the plain objects in them, tensors, numbers and texts of Ultralytics, torch and this package; of functions,
those that put tensors together.
"""

from __future__ import annotations

import importlib
import inspect
import pathlib
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import nn

from yolo_subbatch.errors import TrustError
from yolo_subbatch.settings.trust import shown

#: Modules of which every kind of layer may be in a checkpoint; with a dot, also those below.
LAYERS = (
    "torch.nn.modules.", "ultralytics.nn.modules.", "ultralytics.nn.tasks", "ultralytics.nn.distill_model",
    "torchvision.models.", "torchvision.ops.", "torchvision.transforms.transforms", "yolo_subbatch.darknet.",
    "yolo_subbatch.engine.",
)  # fmt: skip
#: Modules of whose own classes every one may be: losses that were left in a network, and the sections of a cfg.
PLAIN = ("ultralytics.utils.loss", "ultralytics.utils.tal", "yolo_subbatch.darknet")
#: Other classes whose objects hold data alone.
CLASSES = frozenset({
    ("torchvision.transforms.transforms", "Compose"), ("torchvision.transforms.transforms", "ToTensor"),
    ("ultralytics.data.augment", "ClassifyLetterBox"), ("ultralytics.data.augment", "CenterCrop"),
    ("ultralytics.data.augment", "ToTensor"), ("yolo_subbatch.engine.stock", "DarknetDescription"),
})  # fmt: skip
#: Where releases of before kept what they pickled.
MOVED = {
    "ultralytics.yolo.utils": "ultralytics.utils", "ultralytics.yolo.v8": "ultralytics.models.yolo",
    "ultralytics.yolo.data": "ultralytics.data",
}  # fmt: skip
PARTS: Any = torch._utils
OF_ARRAYS: tuple[Any, ...] = tuple(each.__reduce__()[0] for each in (np.float64(0), np.empty(0)))
BUILT_IN = {each.__name__: each for each in (set, frozenset, slice, complex, bytearray, range, list, dict, tuple)}
METHODS = "forward"  # how the methods begin that a layer may hold: Ultralytics keeps Detect.forward in some

_file: ContextVar[str] = ContextVar("file", default="checkpoint")
_data: ContextVar[bool] = ContextVar("data", default=False)  # no networks
_own: ContextVar[dict[tuple[str, str], type]] = ContextVar("own", default={})  # noqa: B039


@contextmanager
def also(classes: set[type]) -> Iterator[None]:
    """Let checkpoints hold these classes too, in this block: those of a network that is here already."""
    token = _own.set({(each.__module__, each.__qualname__): each for each in classes})
    try:
        yield
    finally:
        _own.reset(token)


def _tensor(storage: Any, offset: int, size: Any, stride: Any, grad: bool = False, _: Any = None, *more: Any) -> Any:
    """Put a tensor together, without hooks."""
    return PARTS._rebuild_tensor_v2(storage, offset, size, stride, grad, OrderedDict(), *more)


def _parameter(data: Any, grad: bool, _: Any = None) -> Any:
    return PARTS._rebuild_parameter(data, grad, OrderedDict())


def _member(owner: Any, name: str) -> Any:
    """Take the place of ``getattr``, by which methods and the members of enumerations are pickled."""
    kind = owner if isinstance(owner, type) else type(owner)
    if issubclass(kind, Enum) and name in kind.__members__:
        return kind[name]
    if issubclass(kind, nn.Module) and str(name).startswith(METHODS):
        found = inspect.getattr_static(kind, name)
        return found if owner is kind else MethodType(found, owner)
    raise holds_code(f"builtins.getattr of {kind.__name__}.{shown(name)}")


def _namespace() -> Any:
    from ultralytics.utils import IterableSimpleNamespace

    return IterableSimpleNamespace()


def _mode(value: str) -> Any:
    from torchvision.transforms.functional import InterpolationMode

    return InterpolationMode(value)


#: What may be called, by the names under which it is pickled.
CALLED: dict[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "getattr"): _member,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "Counter"): Counter,
    ("collections", "deque"): deque,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("ultralytics.utils", "IterableSimpleNamespace"): _namespace,
    ("torchvision.transforms.functional", "InterpolationMode"): _mode,
    ("numpy", "dtype"): np.dtype,
    **{("builtins", name): kind for name, kind in BUILT_IN.items()},
    **{(f"numpy.{core}.multiarray", made.__name__): made for core in ("core", "_core") for made in OF_ARRAYS},
    **{(module, name): pathlib.Path for module in ("pathlib", "pathlib._local")
       for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")},
}  # fmt: skip


def open_file() -> str:
    """Return the file that is being opened, for messages."""
    return _file.get()


def holds_code(found: str) -> TrustError:
    """Return the error for the file that is being opened."""
    return TrustError(open_file(), f"holds code ({found})")


@contextmanager
def opening(file: object, data: bool = False) -> Iterator[None]:
    """Open a file in this block; it may hold no networks where it is to be ``data``."""
    tokens = _file.set(str(file)), _data.set(data)
    try:
        yield
    finally:
        _file.reset(tokens[0])
        _data.reset(tokens[1])


def named(module: str, name: str) -> Any:
    """Return what a pickle names.

    Raises:
        TrustError: If checkpoints do not consist of such things.
    """
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    module = MOVED.get(module, module)
    place = (module, name)
    if place in CALLED:
        return CALLED[place]
    if place in _own.get():
        return _own.get()[place]
    if place == ("numpy", "ndarray"):
        return np.ndarray
    found = _within(module, name) if name.isidentifier() else None
    if found is None:
        raise holds_code(f"{shown(f'{module}.{name}')}, which is no part of a network known here")
    return found


def _within(module: str, name: str) -> Any:
    """Return a kind of data of torch, or a class of the packages whose networks are known."""
    if module == "torch":
        found = getattr(torch, name, None)
        return found if isinstance(found, (torch.dtype, torch.layout, torch.memory_format)) else None
    if _data.get():
        return None
    layers = any(module == each or (f"{module}.".startswith(each) and each.endswith(".")) for each in LAYERS)
    if not layers and not _is_plain(module) and (module, name) not in CLASSES:
        return None
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    if not isinstance(found, type):
        return None
    plain = (module, name) in CLASSES or (_is_plain(module) and _is_plain(found.__module__))
    return found if plain or issubclass(found, nn.Module) else None


def _is_plain(module: str) -> bool:
    return any(f"{module}.".startswith(f"{each}.") for each in PLAIN)
