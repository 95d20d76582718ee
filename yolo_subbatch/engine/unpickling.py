"""Checkpoints are pickles, and a pickle can call anything: here it can build networks, and nothing else.

What a pickle names is looked up in a list of what checkpoints of Ultralytics, torch and this package consist of:
layers, the plain objects in them, tensors, numbers and texts. Classes are made without calling their ``__init__``
(Ultralytics' networks would read a file, or evaluate a text, there); of functions, those that put tensors together
are called. A layer cannot bring hooks, nor hide a method of its class behind something of its own.
"""

from __future__ import annotations

import inspect
import io
import os
import pickle
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import nullcontext
from enum import Enum
from types import FunctionType, MethodType, SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np
import torch

from yolo_subbatch.darknet.regular_files import open_regular
from yolo_subbatch.engine.checkpoint_parts import CALLED, METHODS, holds_code, named, open_file, opening
from yolo_subbatch.errors import WeightsError
from yolo_subbatch.settings.trust import shown

ARCHIVE = b"PK\x03\x04"  # how the files begin that torch writes today

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
            raise holds_code(f"a call of {shown(getattr(function, '__qualname__', function))}")
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
        raise holds_code("a call in a form of very old pickles")


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
        raise holds_code(f"a call of {shown(getattr(kind, '__qualname__', kind))}")
    if (arguments or keywords) and not issubclass(kind, (tuple, Enum)):
        raise holds_code(f"a call of {kind.__module__}.{kind.__qualname__} with values")
    return kind.__new__(kind, *arguments)


def _fill(made: Any, state: Any) -> None:
    kind: Any = type(made)
    if kind.__module__.startswith("numpy") and isinstance(made, (np.ndarray, np.dtype)):
        kind.__setstate__(made, state)
        return
    if isinstance(made, (type, FunctionType, MethodType, torch.Tensor)) or not hasattr(made, "__dict__"):
        raise holds_code(f"a change of {shown(getattr(made, '__qualname__', kind.__qualname__))}")
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
                raise holds_code(f"hooks of a {kind.__qualname__}")
            # A new one: the pickle could fill the other afterwards.
            checked[name] = OrderedDict()
            continue
        usual = inspect.getattr_static(kind, str(name), None)
        method = isinstance(usual, (FunctionType, classmethod, staticmethod))
        if method and callable(value) and not _is_forward(name, value):
            raise holds_code(f"another {kind.__qualname__}.{shown(name)}")
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
        OSError: If it cannot be read, or is no regular file.
    """
    with opening(getattr(file, "name", file) if hasattr(file, "read") else file, data):
        return torch.load(_checked_file(file), pickle_module=MODULE, weights_only=False, **keywords)


def read(file: Any, name: object) -> Any:
    """Return the next pickle of a file that is open, if it holds nothing but data.

    Raises:
        TrustError: If it holds something else.
    """
    with opening(name):
        return Unpickler(file).load()


def is_archive(file: BinaryIO) -> bool:
    """Tell whether an open file is of the kind whose numbers can be left in it."""
    place = file.tell()
    begin = file.read(len(ARCHIVE))
    file.seek(place)
    return begin == ARCHIVE


def _checked_file(file: Any) -> Any:
    """Return what torch may open: an archive of tensors, or an old pickle, but no program and no archive of tar.

    It would run the first, and of the last it unpacks what it is given into a folder.
    """
    with open_regular(file) if isinstance(file, (str, os.PathLike)) else nullcontext(file) as opened:
        if not is_archive(opened):
            return io.BytesIO(opened.read())
        place = opened.tell()
        records = torch._C.PyTorchFileReader(opened).get_all_records()
        opened.seek(place)
    if "constants.pkl" in records:
        raise WeightsError(f"{open_file()}: a program of TorchScript, not a checkpoint; give the .pt of a training")
    return file
