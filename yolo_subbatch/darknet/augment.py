"""Darknet's augmentation of a training image.

Everything random is drawn from a given generator. How images are mixed is in ``mixing``, the sizes of multi-scale
training are in ``random_sizes``.

Source: darknet ``load_data_detection`` and ``fill_truth_detection`` in src/data.c; AlexeyAB's in src/data.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from yolo_subbatch.darknet.appearance import add_noise, blur, distort
from yolo_subbatch.darknet.channels import with_planes
from yolo_subbatch.darknet.random_sizes import factor_or_inverse

GREY = 127  # Darknet fills with .5
MOST_FILLS = 4  # channels for which OpenCV takes a border's value


@dataclass(frozen=True)
class Augmentation:
    """What may be changed of a training image; the names are the cfg's keys.

    Those after ``maximum`` are AlexeyAB's alone, and without effect with the other flavour.
    """

    jitter: float = 0.2
    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0
    flip: bool = True
    flavour: str = "pjreddie"
    maximum: int = 90  # boxes kept per image
    resize: float = 1.0  # the image gets up to so many times larger or smaller; below 1: only smaller
    letter_box: bool = False  # keep the proportions
    blur: int = 0  # a third of the images is blurred with this, another third behind the objects
    gaussian_noise: int = 0  # standard deviation, on half of the images
    mixing: str = ""  # mosaic, mixup or cutmix: half of the images is made of several
    mosaic_bound: bool = False  # boxes end where their part of a mosaic does


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
    # AlexeyAB's alone
    resize_first: float = 0.0  # of the left and the upper side
    resize_second: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    into_corner: float = 1.0


DRAWS_OF_BOTH = 10


class Sample(NamedTuple):
    """A training image as it comes out of the augmentation.

    ``image`` ``(height, width, C)``, ``boxes`` ``(n, 4)`` in [0, 1], ``classes`` ``(n,)``; ``free`` is what the
    original leaves free at the left, upper, right and lower side, in Darknet's measure: pixels of the original, times
    the size of the canvas over that of the original.
    """

    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    free: tuple[float, float, float, float]


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
        image: ``(H, W, C)``, blue first, uint8.
        boxes: ``(n, 4)``: centre x, centre y, width, height in [0, 1].
        classes: ``(n,)``.
        size: Width and height of the result in pixels.
        settings: How much may change.
        rng: The source of every random number.

    Returns:
        Image ``(height, width, C)``, boxes ``(m, 4)`` and classes ``(m,)`` of what is still visible.
    """
    return sample(image, boxes, classes, size, settings, rng)[:3]


def sample(
    image: np.ndarray,
    boxes: np.ndarray,
    classes: np.ndarray,
    size: tuple[int, int],
    settings: Augmentation,
    rng: np.random.Generator,
    part: int | None = None,
) -> Sample:
    """Do what :func:`augment` does, for one of the four parts of a mosaic if ``part`` is given, from 0."""
    alexeyab = settings.flavour != "pjreddie"
    draws = Draws(*rng.random(len(Draws._fields) if alexeyab else DRAWS_OF_BOTH))
    mirrored = settings.flip and draws.flip < 0.5
    width, height = image.shape[1], image.shape[0]
    if alexeyab:
        fit = _place_cropped(width, height, size, settings, draws)
        if part is not None and draws.into_corner < 0.5:
            fit = _into_corner(fit, width, height, size, (part % 2 == 1) != mirrored, part // 2 == 1)
    else:
        fit = _place_letterboxed(width, height, size, settings.jitter, draws)
    canvas = _paste(image, fit, size, settings)
    canvas = _distort(canvas, settings, draws)
    boxes, classes = np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(classes)
    if len(boxes) > settings.maximum:
        keep = np.sort(rng.permutation(len(boxes))[: settings.maximum])
        boxes, classes = boxes[keep], classes[keep]
    corners = _corners_px(boxes, width, height, fit)
    if mirrored:
        canvas = with_planes(cv2.flip(canvas, 1))
        corners[:, [0, 2]] = size[0] - corners[:, [2, 0]]
    kept, moved = _visible(corners, size, settings.flavour)
    if alexeyab:
        canvas = _spoil(canvas, np.clip(corners[kept], 0, (*size, *size)), settings, draws, rng)
    return Sample(canvas, moved, classes[kept], _free_sides(fit, width, height, size, mirrored))


def _place_letterboxed(width: int, height: int, size: tuple[int, int], jitter: float, draws: Draws) -> Fit:
    """Change the aspect ratio, fit the image into the canvas, put it anywhere: pjreddie's way."""
    across = width * (1 + jitter * (2 * draws.left - 1))
    down = height * (1 + jitter * (2 * draws.right - 1))
    ratio = across / down * size[1] / size[0] if size[0] != size[1] else across / down
    new_width, new_height = (size[0] * ratio, float(size[1])) if ratio < 1 else (float(size[0]), size[1] / ratio)
    pad_x, pad_y = (size[0] - new_width) * draws.top, (size[1] - new_height) * draws.bottom
    return Fit(new_width / width, new_height / height, pad_x, pad_y)


def _place_cropped(width: int, height: int, size: tuple[int, int], settings: Augmentation, draws: Draws) -> Fit:
    """Cut or widen each side by up to ``jitter`` and ``resize``, squash the rest to the canvas: AlexeyAB's way."""
    jitter = settings.jitter
    left, right = (width * jitter * (2 * draw - 1) for draw in (draws.left, draws.right))
    top, bottom = (height * jitter * (2 * draw - 1) for draw in (draws.top, draws.bottom))
    if settings.resize != 1:
        first, second = (_resized(settings.resize, draw) for draw in (draws.resize_first, draws.resize_second))
        left, right = left + width * first, right + width * second
        top, bottom = top + height * first, bottom + height * second
    if settings.letter_box:
        higher = (width * size[1] / size[0] - height) / 2  # what is missing above and below; negative: at the sides
        wider = (height * size[0] / size[1] - width) / 2
        left, right = left - max(0.0, wider), right - max(0.0, wider)
        top, bottom = top - max(0.0, higher), bottom - max(0.0, higher)
    across, down = max(width - left - right, width / 10), max(height - top - bottom, height / 10)
    scale_x, scale_y = size[0] / across, size[1] / down
    return Fit(scale_x, scale_y, -left * scale_x, -top * scale_y)


def _resized(resize: float, draw: float) -> float:
    """Return the share of a side that ``resize`` cuts off; a negative one is added."""
    largest, smallest = max(resize, 1 / resize), min(resize, 1 / resize)
    least, most = (1 - 1 / smallest) / 2, 0.0 if resize < 1 else (1 - 1 / largest) / 2
    return least + (most - least) * draw


def _into_corner(fit: Fit, width: int, height: int, size: tuple[int, int], right: bool, bottom: bool) -> Fit:
    """Move the view, without changing its size, until it ends with the image at two sides."""
    return fit._replace(
        pad_x=size[0] - width * fit.scale_x if right else 0.0, pad_y=size[1] - height * fit.scale_y if bottom else 0.0
    )


def _free_sides(
    fit: Fit, width: int, height: int, size: tuple[int, int], mirrored: bool
) -> tuple[float, float, float, float]:
    across, down = size[0] / width, size[1] / height  # canvas pixels per pixel of the original, were it all there
    left, top = fit.pad_x / fit.scale_x * across, fit.pad_y / fit.scale_y * down
    right = (size[0] - fit.pad_x) / fit.scale_x * across - size[0]
    bottom = (size[1] - fit.pad_y) / fit.scale_y * down - size[1]
    sides = (right, top, left, bottom) if mirrored else (left, top, right, bottom)
    left, top, right, bottom = (max(0.0, side) for side in sides)
    return left, top, right, bottom


def _paste(image: np.ndarray, fit: Fit, size: tuple[int, int], settings: Augmentation) -> np.ndarray:
    """Draw the image at its place; what it does not cover is grey, or the image's mean colour with AlexeyAB."""
    channels = image.shape[2]
    fill = (GREY,) * channels if settings.flavour == "pjreddie" else tuple(image.mean((0, 1)))
    # Shrinking far by bilinear sampling alone would skip pixels; averaging first keeps small objects.
    shrink = int(1 / max(fit.scale_x, fit.scale_y, 1e-6))
    if shrink >= 2:
        small = with_planes(cv2.resize(image, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA))
        factor_x, factor_y = image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]
        image, fit = small, fit._replace(scale_x=fit.scale_x * factor_x, scale_y=fit.scale_y * factor_y)
    # cv2 counts from pixel centres; half a pixel moves the origin to the corner.
    offset_x = fit.pad_x + (fit.scale_x - 1) / 2
    offset_y = fit.pad_y + (fit.scale_y - 1) / 2
    matrix = np.array([[fit.scale_x, 0, offset_x], [0, fit.scale_y, offset_y]])
    groups = [slice(first, first + MOST_FILLS) for first in range(0, channels, MOST_FILLS)]
    return np.dstack([_warp(image[..., group], matrix, size, fill[group]) for group in groups])


def _warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], fill: tuple[float, ...]) -> np.ndarray:
    result: np.ndarray = cv2.warpAffine(
        image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )
    return result


def _distort(image: np.ndarray, settings: Augmentation, draws: Draws) -> np.ndarray:
    """Shift hue by up to ``hue``, multiply or divide saturation and brightness by up to their factors."""
    saturation = factor_or_inverse(settings.saturation, draws.saturation, draws.saturation_up)
    exposure = factor_or_inverse(settings.exposure, draws.exposure, draws.exposure_up)
    return distort(image, settings.hue * (2 * draws.hue - 1), saturation, exposure, settings.flavour)


def _spoil(
    image: np.ndarray, corners: np.ndarray, settings: Augmentation, draws: Draws, rng: np.random.Generator
) -> np.ndarray:
    """Blur the image or its background, a third of all each, and add noise to half of them."""
    strength = (0, 1, settings.blur)[int(3 * draws.blur)] if settings.blur else 0
    image = blur(image, corners, strength)
    noisy = settings.gaussian_noise > 0 and draws.noise < 0.5
    return add_noise(image, settings.gaussian_noise, rng) if noisy else image


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


def letterboxed(width: int, height: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height of an image that fills one side of ``size`` (width, height), keeping its proportions."""
    if size[0] * height < size[1] * width:
        return size[0], max(1, height * size[0] // width)
    return max(1, width * size[1] // height), size[1]


def letterbox(image: np.ndarray, size: tuple[int, int], fill: int = GREY) -> tuple[np.ndarray, Fit]:
    """Fit an image ``(H, W, C)`` into the middle of a canvas of ``size`` (width, height), keeping its proportions."""
    height, width = image.shape[:2]
    new = letterboxed(width, height, size)
    left, top = (size[0] - new[0]) // 2, (size[1] - new[1]) // 2
    canvas = np.full((size[1], size[0], image.shape[2]), fill, np.uint8)
    resized = with_planes(cv2.resize(image, new, interpolation=cv2.INTER_LINEAR))
    canvas[top : top + new[1], left : left + new[0]] = resized
    return canvas, Fit(new[0] / width, new[1] / height, left, top)


def stretch(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Fit]:
    """Squash an image ``(H, W, C)`` to ``size`` (width, height), whatever its proportions."""
    result = with_planes(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))
    return result, Fit(size[0] / image.shape[1], size[1] / image.shape[0], 0.0, 0.0)
