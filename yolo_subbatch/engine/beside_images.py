"""What Ultralytics keeps beside a data set: decoded images and caches of labels, in place of nobody else's files.

``image.npy`` beside ``image.jpg`` may hold a user's features, depths or masks. Ultralytics takes whatever has that name
for the decoded image, and removes or replaces it where it is none; the same holds for ``labels.cache``.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as array_format
from ultralytics.data import utils as data_functions
from ultralytics.data.base import BaseDataset

from yolo_subbatch.darknet.regular_files import open_regular
from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.doors import watch


def is_decoded(file: Path, channels: int) -> bool:
    """Tell whether a file holds an array as decoded images have it: bytes, ``(H, W, channels)``."""
    try:
        with open_regular(file) as opened:
            version = array_format.read_magic(opened)
            read = array_format.read_array_header_1_0 if version == (1, 0) else array_format.read_array_header_2_0
            shape, _, kind = read(opened)
    except (OSError, ValueError):
        return False
    return kind == np.uint8 and len(shape) == 3 and shape[-1] == channels


def decoded_name(image: str, usual: Path, channels: int) -> Path:
    """Return the file for a decoded image: the usual one, or where that is something else the first name that is not.

    Args:
        image: The image.
        usual: Where Ultralytics would keep it decoded.
        channels: Of the data set.
    """
    others = (Path(f"{image}{number}.npy") for number in itertools.chain([""], itertools.count(2)))
    names = itertools.chain([usual], others)
    return next(each for each in names if not os.path.lexists(each) or is_decoded(each, channels))


def beside_others(method: Callable[..., Any]) -> Callable[..., Any]:
    """Have a method of a data set, which reads or writes image ``i`` decoded, leave files of others alone."""

    @functools.wraps(method)
    def careful(self: Any, i: int, *arguments: Any, **keywords: Any) -> Any:
        usual = self.npy_files[i]
        if os.path.lexists(usual):
            self.npy_files[i] = decoded_name(self.im_files[i], usual, self.channels)
        return method(self, i, *arguments, **keywords)

    return careful


def _save_dataset_cache_file(theirs: Callable[..., None], prefix: str, path: Path, x: Any, version: str) -> None:
    """Keep what was found out about labels, unless something else has that name."""
    x["version"] = version  # which the data set asks for afterwards, as for what it reads
    if os.path.lexists(path) and not _is_array(path):
        LOGGER.warning(f"{path}: not a cache of labels; it is left alone, and the labels are read anew every time")
        return
    theirs(prefix, path, x, version)


def _is_array(path: Path) -> bool:
    try:
        with open_regular(path) as opened:
            return not path.is_symlink() and opened.read(len(array_format.MAGIC_PREFIX)) == array_format.MAGIC_PREFIX
    except OSError:
        return False


def leave_others_alone() -> None:
    """Have Ultralytics' data sets do so."""
    for name in ("load_image", "cache_images_to_disk"):
        setattr(BaseDataset, name, beside_others(getattr(BaseDataset, name)))
    watch(data_functions, "save_dataset_cache_file", _save_dataset_cache_file)
