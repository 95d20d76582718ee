"""How pictures are read: none that is too large, no pipe, and an answer instead of an error for what cannot be decoded.

Ultralytics decodes whatever a folder holds, and ends where OpenCV refuses a file.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import cv2
import numpy as np
from ultralytics.utils import patches

#: The script that reads pictures without torch; it stands outside this folder, where type checkers do not find it.
infer: Any = import_module("yolo_subbatch.export.infer")

LIMIT = "YOLO_SUBBATCH_MAX_PIXELS"  # a variable, which processes that load images inherit
#: Modules of Ultralytics that read pictures by a function under this name.
READERS = ("ultralytics.data.base", "ultralytics.data.loaders")


def max_pixels() -> int:
    """Return of how many pixels a picture may be."""
    given = os.environ.get(LIMIT, "")
    return int(given) if given.isascii() and given.isdecimal() else int(infer.MOST_PIXELS)


def limit_pixels(most: int | None) -> None:
    """Leave out pictures of more pixels from now on; None leaves the limit as it is."""
    if most is not None:
        os.environ[LIMIT] = str(most)


def fault_of(path: str) -> str | None:
    """Return why a picture is not decoded, by the beginning of its file; None where it may be."""
    fault: str | None = infer.picture_fault(path, max_pixels())
    return fault


def careful(read: Callable[..., np.ndarray | None]) -> Callable[..., np.ndarray | None]:
    """Return Ultralytics' function that reads a picture ``(H, W, C)``, which gives None for every one it cannot."""

    @functools.wraps(read)
    def imread(filename: Any, flags: int = cv2.IMREAD_COLOR) -> np.ndarray | None:
        if fault_of(str(filename)) is not None:
            return None
        try:
            image = read(filename, flags=flags)
        except (cv2.error, MemoryError):
            return None
        # Of other numbers than bytes, nobody knows what is black and what is white.
        return image if image is None or image.dtype == np.uint8 or flags & cv2.IMREAD_ANYDEPTH > 0 else None

    return imread


imread = careful(patches.imread)


def read_with_care() -> None:
    """Have Ultralytics' data sets and loaders read so."""
    for name in READERS:
        vars(import_module(name))["imread"] = imread
