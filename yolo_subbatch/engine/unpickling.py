"""Checkpoints are pickles, and a pickle can call anything: here it can build networks, and nothing else.

What a pickle names is looked up in a list of what checkpoints of Ultralytics, torch and this package consist of:
layers, the plain objects in them, tensors, numbers and texts. Classes are made without calling their ``__init__``
(Ultralytics' networks would read a file, or evaluate a text, there); of functions, those that put tensors together
are called. A layer cannot bring hooks, nor hide a method of its class behind something of its own.
"""

from __future__ import annotations

import importlib
import inspect
import io
import os
import pathlib
import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from types import FunctionType, MethodType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn

from yolo_subbatch.errors import WeightsError
from yolo_subbatch.run.trust import refuse, shown

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

if TYPE_CHECKING:

    class Steps:
        """Python's own way through a pickle, of which each step can be replaced."""

        dispatch: ClassVar[dict[int, Callable[..., None]]]
        stack: list[Any]

        def __init__(self, file: Any, **keywords: Any) -> None: ...

        def pop_mark(self) -> list[Any]:
            """Return what was put on the stack since the last mark."""

        def load(self) -> Any:
            """Go through the pickle."""
else:
    Steps = pickle._Unpickler

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
    raise refuse(current(), f"holds code (builtins.getattr of {kind.__name__}.{shown(name)})")


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

_file: ContextVar[str] = ContextVar("file", default="checkpoint")
_data: ContextVar[bool] = ContextVar("data", default=False)  # no networks


def current() -> str:
    """Return the file that is being opened, for messages."""
    return _file.get()


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
        raise refuse(current(), f"holds code ({shown(f'{module}.{name}')}, which is no part of a network known here)")
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


class Unpickler(Steps):
    """Builds what :func:`named` knows."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(Steps.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """Return what is named."""
        return named(module, name)

    def load_reduce(self) -> None:
        """Call a function."""
        arguments = self.stack.pop()
        function = self.stack[-1]
        if not any(function is each for each in CALLED.values()):
            raise refuse(current(), f"holds code (a call of {shown(getattr(function, '__qualname__', function))})")
        self.stack[-1] = function(*arguments)

    def load_newobj(self) -> None:
        """Make an object of a class, without its ``__init__``."""
        arguments = self.stack.pop()
        self.stack.append(_made(self.stack.pop(), arguments, {}))

    def load_newobj_ex(self) -> None:
        """Do the same, as later protocols write it."""
        keywords, arguments = self.stack.pop(), self.stack.pop()
        self.stack.append(_made(self.stack.pop(), arguments, keywords))

    def load_build(self) -> None:
        """Give an object what it holds."""
        state = self.stack.pop()
        _fill(self.stack[-1], state)

    def load_append(self) -> None:
        """Add to a list."""
        value = self.stack.pop()
        _as(self.stack[-1], (list, deque)).append(value)

    def load_appends(self) -> None:
        """Add several to a list."""
        values = self.pop_mark()
        _as(self.stack[-1], (list, deque)).extend(values)

    def load_additems(self) -> None:
        """Add to a set."""
        values = self.pop_mark()
        _as(self.stack[-1], (set,)).update(values)

    def load_setitem(self) -> None:
        """Add to a dictionary."""
        value, key = self.stack.pop(), self.stack.pop()
        _as(self.stack[-1], (dict,))[key] = value

    def load_setitems(self) -> None:
        """Add several to a dictionary."""
        values = self.pop_mark()
        _as(self.stack[-1], (dict,)).update(zip(values[::2], values[1::2], strict=True))

    def load_never(self) -> None:
        """Refuse what no checkpoint has been written with for twenty years."""
        raise refuse(current(), "holds code (a call in a form of very old pickles)")


Unpickler.dispatch.update(
    {
        pickle.REDUCE[0]: Unpickler.load_reduce,
        pickle.NEWOBJ[0]: Unpickler.load_newobj,
        pickle.NEWOBJ_EX[0]: Unpickler.load_newobj_ex,
        pickle.BUILD[0]: Unpickler.load_build,
        pickle.APPEND[0]: Unpickler.load_append,
        pickle.APPENDS[0]: Unpickler.load_appends,
        pickle.ADDITEMS[0]: Unpickler.load_additems,
        pickle.SETITEM[0]: Unpickler.load_setitem,
        pickle.SETITEMS[0]: Unpickler.load_setitems,
        **{each[0]: Unpickler.load_never for each in (pickle.INST, pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4)},
    }
)


def _as(found: Any, kinds: tuple[type, ...]) -> Any:
    if not isinstance(found, kinds):
        raise pickle.UnpicklingError(f"values for a {type(found).__name__}")
    return found


def _made(kind: Any, arguments: Any, keywords: Any) -> Any:
    if not isinstance(kind, type) or any(kind is each for each in CALLED.values()):
        raise refuse(current(), f"holds code (a call of {shown(getattr(kind, '__qualname__', kind))})")
    if (arguments or keywords) and not issubclass(kind, (tuple, Enum)):
        raise refuse(current(), f"holds code (a call of {kind.__module__}.{kind.__qualname__} with values)")
    return kind.__new__(kind, *arguments)


def _fill(made: Any, state: Any) -> None:
    kind: Any = type(made)
    if kind.__module__.startswith("numpy") and isinstance(made, (np.ndarray, np.dtype)):
        kind.__setstate__(made, state)
        return
    if isinstance(made, (type, FunctionType, MethodType, torch.Tensor)) or not hasattr(made, "__dict__"):
        raise refuse(current(), f"holds code (a change of {shown(getattr(made, '__qualname__', kind.__qualname__))})")
    slots: Any = None
    if isinstance(state, tuple) and len(state) == 2 and kind.__module__.startswith("yolo_subbatch."):
        state, slots = state
    state = {**_checked(kind, state or {}), **_checked(kind, slots or {})}
    if hasattr(kind, "__setstate__"):
        made.__setstate__(state)
    else:
        made.__dict__.update(state)


def _checked(kind: type, state: Any) -> dict[str, Any]:
    """Return what an object holds, without hooks, and with nothing in the place of a method."""
    checked: dict[str, Any] = {}
    for name, value in _as(state, (dict,)).items():
        if str(name).endswith("_hooks") or "_hooks_" in str(name):
            if value:
                raise refuse(current(), f"holds code (hooks of a {kind.__qualname__})")
            # A new one: the pickle could fill the other afterwards.
            checked[name] = OrderedDict()
            continue
        usual = inspect.getattr_static(kind, str(name), None)
        method = isinstance(usual, (FunctionType, classmethod, staticmethod))
        if method and callable(value) and not _is_forward(name, value):
            raise refuse(current(), f"holds code (another {kind.__qualname__}.{shown(name)})")
        checked[name] = value
    return checked


def _is_forward(name: str, value: Any) -> bool:
    """Tell whether a method is replaced by a way to compute the same that its class has, as by fusing."""
    known = isinstance(value, (FunctionType, MethodType)) and value.__name__.startswith(METHODS)
    return str(name).startswith(METHODS) and known


def _load(file: Any, **keywords: Any) -> Any:
    return Unpickler(file, **keywords).load()


#: What torch takes for ``pickle``.
MODULE = SimpleNamespace(
    __name__="pickle", Unpickler=Unpickler, load=_load, UnpicklingError=pickle.UnpicklingError,
)  # fmt: skip


def load(file: Any, data: bool = False, **keywords: Any) -> Any:
    """Return what ``torch.save`` wrote, if it holds nothing but networks and data.

    Args:
        file: A path, or a file that is open.
        data: It may not hold networks either.
        **keywords: As those of ``torch.load``.

    Raises:
        TrustError: If it holds something else, which would run.
        WeightsError: If it is a program of TorchScript.
    """
    tokens = _file.set(str(getattr(file, "name", file) if hasattr(file, "read") else file)), _data.set(data)
    try:
        return torch.load(_checked_file(file), pickle_module=MODULE, weights_only=False, **keywords)
    finally:
        _file.reset(tokens[0])
        _data.reset(tokens[1])


def read(file: Any, name: object) -> Any:
    """Return the next pickle of a file that is open, if it holds nothing but data.

    Raises:
        TrustError: If it holds something else.
    """
    token = _file.set(str(name))
    try:
        return Unpickler(file).load()
    finally:
        _file.reset(token)


def _checked_file(file: Any) -> Any:
    """Return what torch may open: an archive of tensors, or an old pickle, but no program and no archive of tar.

    It would run the first, and of the last it unpacks what it is given into a folder.
    """
    if isinstance(file, (str, os.PathLike)):
        with open(file, "rb") as opened:
            archive = opened.read(4) == b"PK\x03\x04"
            if not archive:
                opened.seek(0)
                return io.BytesIO(opened.read())
    else:
        place = file.tell()
        archive = file.read(4) == b"PK\x03\x04"
        file.seek(place)
        if not archive:
            return io.BytesIO(file.read())
    records = torch._C.PyTorchFileReader(str(file) if isinstance(file, os.PathLike) else file).get_all_records()
    if not isinstance(file, (str, os.PathLike)):
        file.seek(place)
    if "constants.pkl" in records:
        raise WeightsError(f"{current()}: a program of TorchScript, not a checkpoint; give the .pt of a training")
    return file
