"""One process at a time trains in a run's folder, also where two begin in the same moment.

``run.json`` tells who trains; between a look at it and one's own entry another process may come. The lock is one of
the system's, on the folder itself: it leaves no file, and ends with its process whatever happens. Where the system has
none, as on Windows and on some network file systems, ``run.json`` alone decides.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from yolo_subbatch.errors import SettingsError

try:
    import fcntl
except ModuleNotFoundError:
    fcntl = None  # type: ignore[assignment]

_HELD: dict[str, int] = {}  # folders that this process holds, each with an open file


@contextmanager
def held(folder: Path, shown: str) -> Iterator[None]:
    """Hold the folder of a run; within it, the same process may hold it again.

    Args:
        folder: The run's folder.
        shown: What the user gave, for the message.

    Raises:
        SettingsError: If another process holds it.
    """
    name = os.path.realpath(folder)
    number = None if name in _HELD else _locked(name, shown)
    if number is None:
        yield
        return
    _HELD[name] = number
    try:
        yield
    finally:
        _HELD.pop(name, None)
        os.close(number)


def _locked(name: str, shown: str) -> int | None:
    """Lock a folder and return its open file; None where that cannot be done."""
    if fcntl is None:
        return None
    try:
        number = os.open(name, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(number)
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            raise SettingsError(f"{shown}: this run is still running; stop it first") from None
        return None
    return number


def _let_go() -> None:
    """Leave the locks to the parent: a loader that outlives it for a moment must not hold them."""
    for number in _HELD.values():
        with suppress(OSError):
            os.close(number)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
