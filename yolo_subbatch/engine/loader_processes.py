"""The processes that load images leave signals to the training: a request to end reaches all of a group at once.

systemd, schedulers and a terminal that is closed signal every process. A loader that obeyed would take away the images
of the update that the training is still to complete; it ends with the training, and by itself where that is gone.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LEFT_ALONE = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]


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
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, LEFT_ALONE)
        if self.theirs is not None:
            self.theirs(number)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold signals back while processes are started: until they leave them alone, they inherit that."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_ALONE)
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
            return begin()

    loader.worker_init_fn, loader._get_iterator = LeftAlone(loader.worker_init_fn), begun
    if getattr(loader, "iterator", None) is not None:  # older releases have begun to load
        loader.reset()
    return loader
