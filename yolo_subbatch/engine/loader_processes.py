"""The processes that load images leave signals to the training: a request to end reaches all of a group at once.

systemd, schedulers and a terminal that is closed signal every process. A loader that obeyed would take away the images
of the update that the training is still to complete; it ends with the training, and by itself where that is gone.
Who owns a loader ends its processes by SIGTERM too: here, another signal takes its place.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

_STARTED: list[Any] = []  # the processes of loaders
LEFT_ALONE = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]
THE_END = getattr(signal, "SIGUSR2", None)  # Windows ends a process without a signal


class LeftAlone:
    """The first thing that a loading process does, and what the loader's owner wants it to do after.

    Args:
        theirs: The ``worker_init_fn`` that the loader had.
    """

    def __init__(self, theirs: Callable[[int], Any] | None) -> None:
        self.theirs = theirs

    def __call__(self, number: int) -> None:
        """Leave signals alone; torch has set handlers of its own by now."""
        for each in LEFT_ALONE:
            signal.signal(each, signal.SIG_IGN)
        if THE_END is not None:
            signal.signal(THE_END, _leave)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [*LEFT_ALONE, THE_END])
        if self.theirs is not None:
            self.theirs(number)


def _leave(*_: Any) -> None:
    os._exit(0)  # as torch's own handler of SIGTERM


@atexit.register  # before Python asks its children to end by a signal that these leave alone, and waits for them
def end_left() -> None:
    """End the processes of loaders that nobody has ended, as where one of them was killed and the training failed."""
    left = list(filter(_is_alive, _STARTED))
    if left and hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch calls the end of a loader an error
    for process in left:
        with suppress(ValueError, OSError):  # it was closed, or has ended
            process.kill()
    _STARTED.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_STARTED.clear)  # they are the parent's to end


def _is_alive(process: Any) -> bool:
    try:
        return bool(process.is_alive())
    except ValueError:  # it was closed
        return False


@contextmanager
def held_back() -> Iterator[None]:
    """Hold signals back while processes are started: until they leave them alone, they inherit that."""
    if THE_END is None:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [*LEFT_ALONE, THE_END])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_alone(loader: Any) -> Any:
    """Have the processes of a loader, whoever made it, leave signals to the training."""
    if not getattr(loader, "num_workers", 0) or isinstance(loader.worker_init_fn, LeftAlone):
        return loader
    begin = loader._get_iterator

    def begun() -> Any:
        with held_back():
            iterator = begin()
        if THE_END is not None:
            for each in getattr(iterator, "_workers", ()):
                each.terminate = partial(os.kill, each.pid, THE_END)
        _STARTED[:] = [*filter(_is_alive, _STARTED), *getattr(iterator, "_workers", ())]
        return iterator

    loader.worker_init_fn, loader._get_iterator = LeftAlone(loader.worker_init_fn), begun
    if getattr(loader, "iterator", None) is not None:  # older releases have begun to load
        loader.reset()
    return loader
