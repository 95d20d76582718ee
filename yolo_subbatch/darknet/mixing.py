"""Training images made of several: AlexeyAB's mosaic and mixup.

Source: AlexeyAB's darknet ``load_data_detection``, ``blend_truth`` and ``blend_truth_mosaic`` in src/data.c.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from yolo_subbatch.darknet.augment import Augmentation, Sample
from yolo_subbatch.darknet.channels import with_planes

PARTNERS = {"": 0, "mixup": 1, "cutmix": 1, "mosaic": 3}  # other images that an image is mixed with
CHANCE = 0.5  # of an image to be mixed
LEAST_PART = 0.2  # of a side, that each part of a mosaic gets


def mixup(first: Sample, second: Sample, settings: Augmentation) -> Sample:
    """Lay two images over one another, half each, with the boxes of both."""
    image = with_planes(cv2.addWeighted(first.image, 0.5, second.image, 0.5, 0))
    boxes = np.concatenate((first.boxes, second.boxes))[: settings.maximum]
    classes = np.concatenate((first.classes, second.classes))[: settings.maximum]
    return Sample(image, boxes, classes, (0.0,) * 4)


def draw_cut(size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Draw the point in which the four parts of a mosaic of this size meet."""
    x, y = (int(rng.integers(int(side * LEAST_PART), int(side * (1 - LEAST_PART)) + 1)) for side in size)
    return x, y


def mosaic(samples: Sequence[Sample], cut: tuple[int, int], settings: Augmentation) -> Sample:
    """Put four images together: upper left, upper right, lower left, lower right.

    Each is cut, not shrunk: of the upper left one, the lower right is seen, and so on, but as little as may be of what
    the original leaves free of the canvas. A box may go beyond its part where that cannot be helped, except with
    ``mosaic_bound``.

    Args:
        samples: Four of equal size, made with ``part=0`` to ``part=3``.
        cut: The point x, y in which they meet, in pixels.
        settings: Gives ``maximum`` and ``mosaic_bound``.

    Returns:
        The mosaic, with at most ``maximum`` boxes.
    """
    height, width = samples[0].image.shape[:2]
    size = (width, height)
    canvas = np.empty_like(samples[0].image)
    boxes, classes, room = [], [], settings.maximum
    for part, each in enumerate(samples):
        place, source = _place(part, cut, size, each.free)
        x1, y1, x2, y2 = place
        canvas[y1:y2, x1:x2] = each.image[source[1] : source[1] + y2 - y1, source[0] : source[0] + x2 - x1]
        shift = np.array((x1 - source[0], y1 - source[1]) * 2, np.float64)
        limits = np.array(place if settings.mosaic_bound else (0, 0, *size), np.float64)
        kept, moved = _moved(each.boxes[:room], shift, limits, size)  # Darknet counts those that it then drops
        boxes.append(moved)
        classes.append(each.classes[:room][kept])
        room -= len(moved)
    return Sample(canvas, np.concatenate(boxes), np.concatenate(classes), (0.0,) * 4)


def _place(
    part: int, cut: tuple[int, int], size: tuple[int, int], free: tuple[float, float, float, float]
) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """Return where a part lies, x1, y1, x2, y2, and which pixel of its image comes to its upper left."""
    spans, starts = [], []
    for axis, second in enumerate((part % 2, part // 2)):
        before, after = int(free[axis]), int(free[axis + 2])
        spans.append((cut[axis], size[axis]) if second else (0, cut[axis]))
        rest = size[axis] - cut[axis]
        starts.append(min(cut[axis], before) if second else rest - min(rest, after))
    (x1, x2), (y1, y2) = spans
    return (x1, y1, x2, y2), (starts[0], starts[1])


def _moved(
    boxes: np.ndarray, shift: np.ndarray, limits: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Move boxes ``(n, 4)`` and clip them; return which are more than a pixel and less than all, and those."""
    scale = np.array((*size, *size), np.float64)
    centre, half = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64) / 2
    corners = np.concatenate((centre - half, centre + half), 1) * scale + shift
    clipped = np.clip(corners, np.tile(limits[:2], 2), np.tile(limits[2:], 2)) / scale
    sides, centres = clipped[:, 2:] - clipped[:, :2], (clipped[:, 2:] + clipped[:, :2]) / 2
    kept = ((sides > 1 / scale[:2]) & (sides < 1)).all(1)
    return kept, np.concatenate((centres, sides), 1)[kept].astype(np.float32)
