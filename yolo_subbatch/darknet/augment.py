"""Darknet's augmentation of a training image, and the sizes of multi-scale training.

Everything random is drawn from a given generator.

Source: darknet ``load_data_detection`` and ``fill_truth_detection`` in src/data.c, ``random_distort_image`` in
src/image.c, ``train_detector`` in examples/detector.c; AlexeyAB's in src/data.c and src/detector.c.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

GREY = 127  # Darknet fills with .5
REDRAW = 10  # iterations between two sizes
LAST_STRETCH = {"pjreddie": 200, "alexeyab": 100}  # final iterations at the largest size


@dataclass(frozen=True)
class Augmentation:
    """What may be changed of a training image; the names are the cfg's keys."""

    jitter: float = 0.2
    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0
    flip: bool = True
    flavour: str = "pjreddie"
    maximum: int = 90  # boxes kept per image


class Fit(NamedTuple):
    """How an image was brought to another size: ``result = original * scale + pad``, in pixels."""

    scale_x: float
    scale_y: float
    pad_x: float
    pad_y: float


class Draws(NamedTuple):
    """The random numbers of one image, each uniform in [0, 1)."""

    left: float
    right: float
    top: float
    bottom: float
    hue: float
    saturation: float
    saturation_up: float
    exposure: float
    exposure_up: float
    flip: float


def augment(
    image: np.ndarray,
    boxes: np.ndarray,
    classes: np.ndarray,
    size: tuple[int, int],
    settings: Augmentation,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Change one training image as Darknet does.

    Args:
        image: ``(H, W, 3)``, BGR, uint8.
        boxes: ``(n, 4)``: centre x, centre y, width, height in [0, 1].
        classes: ``(n,)``.
        size: Width and height of the result in pixels.
        settings: How much may change.
        rng: The source of every random number.

    Returns:
        Image ``(height, width, 3)``, boxes ``(m, 4)`` and classes ``(m,)`` of what is still visible.
    """
    draws = Draws(*rng.random(len(Draws._fields)))
    place = _place_letterboxed if settings.flavour == "pjreddie" else _place_cropped
    fit = place(image.shape[1], image.shape[0], size, settings.jitter, draws)
    canvas = _paste(image, fit, size, settings)
    canvas = _distort(canvas, settings, draws)
    boxes, classes = np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(classes)
    if len(boxes) > settings.maximum:
        keep = np.sort(rng.permutation(len(boxes))[: settings.maximum])
        boxes, classes = boxes[keep], classes[keep]
    corners = _corners_px(boxes, image.shape[1], image.shape[0], fit)
    if settings.flip and draws.flip < 0.5:
        canvas = cv2.flip(canvas, 1)
        corners[:, [0, 2]] = size[0] - corners[:, [2, 0]]
    kept, moved = _visible(corners, size, settings.flavour)
    return canvas, moved, classes[kept]


def _place_letterboxed(width: int, height: int, size: tuple[int, int], jitter: float, draws: Draws) -> Fit:
    """Change the aspect ratio, fit the image into the canvas, put it anywhere: pjreddie's way."""
    across = width * (1 + jitter * (2 * draws.left - 1))
    down = height * (1 + jitter * (2 * draws.right - 1))
    ratio = across / down * size[1] / size[0] if size[0] != size[1] else across / down
    new_width, new_height = (size[0] * ratio, float(size[1])) if ratio < 1 else (float(size[0]), size[1] / ratio)
    pad_x, pad_y = (size[0] - new_width) * draws.top, (size[1] - new_height) * draws.bottom
    return Fit(new_width / width, new_height / height, pad_x, pad_y)


def _place_cropped(width: int, height: int, size: tuple[int, int], jitter: float, draws: Draws) -> Fit:
    """Cut or widen each side by up to ``jitter`` and squash the rest to the canvas: AlexeyAB's way."""
    left, right = (width * jitter * (2 * draw - 1) for draw in (draws.left, draws.right))
    top, bottom = (height * jitter * (2 * draw - 1) for draw in (draws.top, draws.bottom))
    across, down = max(width - left - right, width / 10), max(height - top - bottom, height / 10)
    scale_x, scale_y = size[0] / across, size[1] / down
    return Fit(scale_x, scale_y, -left * scale_x, -top * scale_y)


def _paste(image: np.ndarray, fit: Fit, size: tuple[int, int], settings: Augmentation) -> np.ndarray:
    """Draw the image at its place; what it does not cover is grey, or the image's mean colour with AlexeyAB."""
    fill = (GREY,) * 3 if settings.flavour == "pjreddie" else tuple(image.mean((0, 1)))
    # Shrinking far by bilinear sampling alone would skip pixels; averaging first keeps small objects.
    shrink = int(1 / max(fit.scale_x, fit.scale_y, 1e-6))
    if shrink >= 2:
        small = cv2.resize(image, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
        factor_x, factor_y = image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]
        image, fit = small, fit._replace(scale_x=fit.scale_x * factor_x, scale_y=fit.scale_y * factor_y)
    # cv2 counts from pixel centres; half a pixel moves the origin to the corner.
    offset_x = fit.pad_x + (fit.scale_x - 1) / 2
    offset_y = fit.pad_y + (fit.scale_y - 1) / 2
    matrix = np.array([[fit.scale_x, 0, offset_x], [0, fit.scale_y, offset_y]])
    result: np.ndarray = cv2.warpAffine(
        image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )
    return result


def _distort(image: np.ndarray, settings: Augmentation, draws: Draws) -> np.ndarray:
    """Shift hue by up to ``hue``, multiply or divide saturation and brightness by up to their factors."""
    hue = settings.hue * (2 * draws.hue - 1)
    saturation = _factor(settings.saturation, draws.saturation, draws.saturation_up)
    exposure = _factor(settings.exposure, draws.exposure, draws.exposure_up)
    if hue == 0 and saturation == exposure == 1:
        return image
    if settings.flavour == "pjreddie":
        return _scale_colours(_through_hsv(image, hue) if hue else image, saturation, exposure)
    return _through_hsv(image, hue, saturation, exposure)


def _through_hsv(image: np.ndarray, hue: float, saturation: float = 1.0, exposure: float = 1.0) -> np.ndarray:
    """Change hue, saturation and value in 8 bits, each held in its range: AlexeyAB's way."""
    steps = np.arange(256)
    shifted = np.rint(steps + 180 * hue) % 180
    scaled = (np.clip(np.rint(steps * factor), 0, 255) for factor in (saturation, exposure))
    planes = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    tables = (each.astype(np.uint8) for each in (shifted, *scaled))
    changed = cv2.merge([cv2.LUT(plane, table) for plane, table in zip(planes, tables, strict=True)])
    result: np.ndarray = cv2.cvtColor(changed, cv2.COLOR_HSV2BGR)
    return result


def _scale_colours(image: np.ndarray, saturation: float, exposure: float) -> np.ndarray:
    """Scale saturation and value, which may pass their range, and hold only the colours in theirs: pjreddie's way.

    In RGB a saturation ``s`` times as high is ``peak - s * (peak - colour)``, with the brightest channel as ``peak``.
    """
    blue, green, red = cv2.split(image)
    peak = cv2.merge([cv2.max(cv2.max(blue, green), red)] * 3)
    result: np.ndarray = cv2.addWeighted(image, saturation * exposure, peak, (1 - saturation) * exposure, 0)
    return result


def _factor(largest: float, draw: float, up: float) -> float:
    """Return a factor of at most ``largest``, or its inverse with even chances."""
    value = 1 + (largest - 1) * draw
    return value if up < 0.5 else 1 / value


def _corners_px(boxes: np.ndarray, width: int, height: int, fit: Fit) -> np.ndarray:
    """Return boxes as x1, y1, x2, y2 in pixels of the canvas, ``(n, 4)``."""
    centre, half = boxes[:, :2] * (width, height), boxes[:, 2:] * (width, height) / 2
    scale, pad = (fit.scale_x, fit.scale_y), (fit.pad_x, fit.pad_y)
    return np.concatenate(((centre - half) * scale + pad, (centre + half) * scale + pad), 1)


def _visible(corners: np.ndarray, size: tuple[int, int], flavour: str) -> tuple[np.ndarray, np.ndarray]:
    """Clip boxes to the canvas; return which of them are large enough, and those as ``(m, 4)`` fractions."""
    limit = np.array((*size, *size), np.float64)
    clipped = np.clip(corners, 0, limit) / limit
    sides = clipped[:, 2:] - clipped[:, :2]
    least = (0.001, 0.001) if flavour == "pjreddie" else (1 / size[0], 1 / size[1])
    kept = (sides >= least).all(1)
    centres = (clipped[:, 2:] + clipped[:, :2]) / 2
    return kept, np.concatenate((centres, sides), 1)[kept].astype(np.float32)


def random_size(
    iteration: int, base: tuple[int, int], stride: int, factor: float = 1.4, seed: int = 0
) -> tuple[int, int]:
    """Return the input size of one iteration: a new one every ten, one for all sub-batches of an update.

    Args:
        iteration: Number of the update, from 1.
        base: Width and height in pixels.
        stride: The result is a multiple of it.
        factor: The size is multiplied by at most this, or divided; ``random=1`` in a cfg means 1.4.
        seed: Of the run.
    """
    draw = _random_factor(factor, _generator(seed, iteration))
    width, height = (max(stride, round(side * draw / stride) * stride) for side in base)
    return width, height


def _generator(seed: int, iteration: int) -> random.Random:
    """Return the generator of the ten iterations to which this one belongs."""
    return random.Random(f"{seed} {_updates_before(iteration) // REDRAW}")


def _updates_before(iteration: int) -> int:
    """Return how many updates were done when the size of this iteration was drawn."""
    return (max(1, iteration) - 1) // REDRAW * REDRAW


def _random_factor(factor: float, draw: random.Random) -> float:
    """Multiply or divide with even chances by up to ``factor``; 1, which means "on", stands for 1.4."""
    return _factor(1.4 if factor == 1 else factor, draw.random(), draw.random())


def exact_random_size(
    iteration: int, max_batches: int, base: tuple[int, int], stride: int, factor: float = 1.4, seed: int = 0,
    flavour: str = "pjreddie",
) -> tuple[int, int]:  # fmt: skip
    """Return the input size of one iteration as the Darknets draw it.

    pjreddie: squares from 320 to 608, 608 in the last 200 iterations. AlexeyAB: the cfg's size times or divided by up
    to ``factor`` and one stride more, the largest at the start and in the last 100 iterations.
    """
    done, draw = _updates_before(iteration), _generator(seed, iteration)
    final = done + LAST_STRETCH[flavour] > max_batches
    if flavour == "pjreddie":
        side = 608 if final else (draw.randrange(10) + 10) * 32
        return side, side
    largest = 1.4 if factor == 1 else factor
    drawn = largest if done == 0 or final else _random_factor(largest, draw)
    width, height = (max(stride, int(drawn * side / stride + 1.5) * stride) for side in base)
    return base if drawn < 1 and (width > base[0] or height > base[1]) else (width, height)


def largest_random_size(
    base: tuple[int, int], stride: int, factor: float = 1.4, exact: bool = False, flavour: str = "pjreddie"
) -> tuple[int, int]:
    """Return the largest size that :func:`random_size` draws, or with ``exact`` :func:`exact_random_size`."""
    largest = 1.4 if factor == 1 else factor
    if exact and flavour == "pjreddie":
        return 608, 608
    more = 1.5 if exact else 0.5
    width, height = (max(stride, int(side * largest / stride + more) * stride) for side in base)
    return width, height


def letterbox(image: np.ndarray, size: tuple[int, int], fill: int = GREY) -> tuple[np.ndarray, Fit]:
    """Fit an image ``(H, W, 3)`` into the middle of a canvas of ``size`` (width, height), keeping its proportions."""
    height, width = image.shape[:2]
    wide = size[0] * height < size[1] * width
    new = (size[0], max(1, height * size[0] // width)) if wide else (max(1, width * size[1] // height), size[1])
    left, top = (size[0] - new[0]) // 2, (size[1] - new[1]) // 2
    canvas = np.full((size[1], size[0], 3), fill, np.uint8)
    canvas[top : top + new[1], left : left + new[0]] = cv2.resize(image, new, interpolation=cv2.INTER_LINEAR)
    return canvas, Fit(new[0] / width, new[1] / height, left, top)


def stretch(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Fit]:
    """Squash an image ``(H, W, 3)`` to ``size`` (width, height), whatever its proportions."""
    result: np.ndarray = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return result, Fit(size[0] / image.shape[1], size[1] / image.shape[0], 0.0, 0.0)
