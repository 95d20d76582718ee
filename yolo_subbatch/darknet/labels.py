"""What label files hold, as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from yolo_subbatch.darknet.textfile import columns_of, lines_of, read_text


def read_boxes(label: Path) -> np.ndarray:
    """Read one label file; what is in it was checked before, see ``datafile.check_labels``.

    Args:
        label: The file; one that is missing holds no box.

    Returns:
        ``(n, 5)`` float64: class, centre x, centre y, width, height, as fractions of the image. An outline of more
        points counts as the box around it.

    Source: darknet ``read_boxes`` in src/data.c.
    """
    if not label.is_file():
        return np.zeros((0, 5))
    rows = [columns for line in lines_of(read_text(label, "the labels")) if (columns := columns_of(line))]
    return np.array([row if len(row) == 5 else _around(row) for row in rows], np.float64).reshape(-1, 5)


def _around(row: list[str]) -> tuple[float, ...]:
    """Return the box around an outline: class, then x and y of each point."""
    points = np.array(row[1:], np.float64).reshape(-1, 2)
    low, high = points.min(0), points.max(0)
    return (float(row[0]), *(low + high) / 2, *(high - low))


def read_all_boxes(labels: Iterable[Path]) -> np.ndarray:
    """Read the boxes of many label files as one array ``(n, 5)``; see :func:`read_boxes`."""
    return np.concatenate([np.zeros((0, 5)), *map(read_boxes, labels)])
