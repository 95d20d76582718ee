"""Anchors for a data set: k-means on the sizes of its boxes, with ``1 - IoU`` as the distance.

Source: darknet ``calc_anchors`` in src/detector.c and ``do_kmeans`` in src/kmeansiou.c (AlexeyAB).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from yolo_subbatch.errors import DataError

ROUNDS = 1000  # as Darknet; far fewer are needed
STARTS = 10  # tries of k-means++, of which the best is taken
CELLS = 32  # a width up to this is one of cells, not of pixels, and anchors get decimals
PICTURE = 700  # pixels of a side


@dataclass(frozen=True)
class Anchors:
    """What clustering found: ``sizes`` ``(K, 2)`` as width and height, by rising area; ``nearest`` ``(N,)``.

    ``mean_iou`` is the mean overlap of a box with its best anchor, both centred on one point.
    """

    sizes: np.ndarray
    nearest: np.ndarray
    mean_iou: float

    def text(self, width: int) -> str:
        """Return the numbers as a cfg and Darknet's anchors.txt have them, for a network of that width in pixels."""
        form = "{:3.0f},{:3.0f}" if width > CELLS else "{:2.4f},{:2.4f}"
        return ", ".join(form.format(*size) for size in self.sizes)


def size_iou(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return the overlap ``(N, K)`` of boxes ``(N, 2)`` and anchors ``(K, 2)`` that are centred on one point."""
    shared = np.minimum(sizes[:, None, 0], anchors[None, :, 0])  # (N, K)
    shared *= np.minimum(sizes[:, None, 1], anchors[None, :, 1])
    return np.asarray(shared / (sizes.prod(1)[:, None] + anchors.prod(1)[None] - shared))


def find_anchors(sizes: np.ndarray, count: int, seed: int = 0) -> Anchors:
    """Cluster the sizes of boxes.

    OpenCV's k-means++ finds the start, on the logarithms of the sizes, where a distance is a ratio as it is for IoU.
    No library that is at hand takes IoU itself as the distance: the rounds after it, Darknet's own rule of "nearest by
    IoU, then the mean", are four lines of numpy. The mean does not minimise ``1 - IoU``, so the best round is kept.

    Args:
        sizes: Widths and heights, ``(N, 2)``, in pixels of the network's input.
        count: How many anchors.
        seed: Of k-means++.

    Raises:
        DataError: If there are fewer different sizes than anchors.
    """
    different = len(np.unique(sizes, axis=0))
    if different < count:
        known = "one size" if different == 1 else f"{different} different sizes"
        raise DataError(f"num={count}: the boxes have {known}; give at most {different}")
    anchors = _start(sizes, count, seed)
    best, before = Anchors(anchors, np.zeros(len(sizes), np.intp), -1.0), np.full(len(sizes), -1)
    for _ in range(ROUNDS):
        overlap = size_iou(sizes, anchors)
        nearest = overlap.argmax(1)
        mean = float(overlap.max(1).mean())
        if mean > best.mean_iou:
            best = Anchors(anchors, nearest, mean)
        if (nearest == before).all():
            break
        before = nearest
        members = np.bincount(nearest, minlength=count)[:, None]  # (K, 1)
        sums = np.stack([np.bincount(nearest, sizes[:, side], count) for side in (0, 1)], 1)
        anchors = np.where(members > 0, sums / np.maximum(members, 1), anchors)
    order = best.sizes.prod(1).argsort(kind="stable")
    return Anchors(best.sizes[order], order.argsort()[best.nearest], best.mean_iou)


def _start(sizes: np.ndarray, count: int, seed: int) -> np.ndarray:
    cv2.setRNGSeed(seed)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-5)
    logarithms = np.log(sizes).astype(np.float32)
    _, _, centres = cv2.kmeans(logarithms, count, None, stop, STARTS, cv2.KMEANS_PP_CENTERS)
    return np.exp(np.asarray(centres, np.float64))


def draw_anchors(sizes: np.ndarray, anchors: Anchors, size: tuple[int, int], file: Path) -> None:
    """Draw every box as a point at its width and height, coloured by its anchor, and the anchors as rectangles.

    Args:
        sizes: Widths and heights, ``(N, 2)``, in pixels of the network's input.
        anchors: What :func:`find_anchors` found for them.
        size: Width and height of that input.
        file: The picture to write.

    Raises:
        DataError: If it cannot be written.
    """
    scale = (PICTURE - 1) / np.array(size)
    hues = np.linspace(0, 179, len(anchors.sizes), endpoint=False).astype(np.uint8)
    colours = cv2.cvtColor(np.stack([hues, *[np.full_like(hues, 230)] * 2], 1)[None], cv2.COLOR_HSV2BGR)[0]  # (K, 3)
    canvas = np.full((PICTURE, PICTURE, 3), 255, np.uint8)
    columns, rows = np.clip(sizes * scale, 0, PICTURE - 1).astype(int).T
    canvas[rows, columns] = colours[anchors.nearest]
    for anchor, colour in zip(anchors.sizes * scale, colours.tolist(), strict=True):
        cv2.rectangle(canvas, (0, 0), (round(anchor[0]), round(anchor[1])), colour, 2)
    if not cv2.imwrite(str(file), canvas):
        raise DataError(f"{file}: the picture cannot be written; check the folder")
