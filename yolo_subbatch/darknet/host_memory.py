"""What becomes of memory that a computation on the CPU no longer uses."""

from __future__ import annotations

import ctypes
from contextlib import suppress

MMAP_THRESHOLD = -3  # of glibc's mallopt
LARGE = 2**20  # bytes


def return_at_once() -> None:
    """Have whatever is large go back to the system when it is freed, where the C library is glibc.

    It keeps up to 32 MiB of each for later otherwise. Maps of many sizes, made and freed in turns, then leave holes
    that take more memory than all that is in use.
    """
    with suppress(AttributeError, OSError, TypeError):  # another library
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, LARGE)
