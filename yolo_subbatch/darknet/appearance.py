"""What augmentation does to the look of an image: colours, blur, noise.

Source: darknet ``random_distort_image`` in src/image.c; AlexeyAB's ``image_data_augmentation`` in src/image_opencv.cpp.
"""

from __future__ import annotations

import cv2
import numpy as np

from yolo_subbatch.darknet.channels import COLOUR, OPACITY, with_planes

WIDE_BLUR = 17  # pixels of the kernel that blurs the background
MOST_NOISE = 127  # standard deviation


def distort(image: np.ndarray, hue: float, saturation: float, exposure: float, flavour: str) -> np.ndarray:
    """Shift the hue (1 is the whole circle) and multiply saturation and brightness of an image ``(H, W, C)``.

    Where there are no colours, the brightness is all that changes; opacity stays as it is.
    """
    if image.shape[2] == OPACITY:
        return np.concatenate((distort(image[..., :3], hue, saturation, exposure, flavour), image[..., 3:]), 2)
    if image.shape[2] != COLOUR:
        return with_planes(cv2.LUT(image, _scaled(exposure)))
    if hue == 0 and saturation == exposure == 1:
        return image
    if flavour == "pjreddie":
        return _scale_colours(_through_hsv(image, hue) if hue else image, saturation, exposure)
    return _through_hsv(image, hue, saturation, exposure)


def _through_hsv(image: np.ndarray, hue: float, saturation: float = 1.0, exposure: float = 1.0) -> np.ndarray:
    """Change hue, saturation and value in 8 bits, each held in its range: AlexeyAB's way."""
    steps = np.arange(256)
    shifted = np.rint(steps + 180 * hue) % 180
    planes = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    tables = (shifted.astype(np.uint8), _scaled(saturation), _scaled(exposure))
    changed = cv2.merge([cv2.LUT(plane, table) for plane, table in zip(planes, tables, strict=True)])
    result: np.ndarray = cv2.cvtColor(changed, cv2.COLOR_HSV2BGR)
    return result


def _scaled(factor: float) -> np.ndarray:
    """Return what each byte becomes, ``(256,)``."""
    found: np.ndarray = np.clip(np.rint(np.arange(256) * factor), 0, 255).astype(np.uint8)
    return found


def _scale_colours(image: np.ndarray, saturation: float, exposure: float) -> np.ndarray:
    """Scale saturation and value, which may pass their range, and hold only the colours in theirs: pjreddie's way.

    In RGB a saturation ``s`` times as high is ``peak - s * (peak - colour)``, with the brightest channel as ``peak``.
    """
    blue, green, red = cv2.split(image)
    peak = cv2.merge([cv2.max(cv2.max(blue, green), red)] * 3)
    result: np.ndarray = cv2.addWeighted(image, saturation * exposure, peak, (1 - saturation) * exposure, 0)
    return result


def blur(image: np.ndarray, corners: np.ndarray, strength: int) -> np.ndarray:
    """Blur an image, but not so far that its smallest object would vanish.

    Args:
        image: ``(H, W, C)``, uint8.
        corners: The objects ``(n, 4)``: x1, y1, x2, y2 in pixels.
        strength: 0 not, 1 all but the objects, else about the pixels of the kernel. At most an eighth of the smallest
            side of an object, which may leave 1 or nothing; an image without objects is blurred with 1 alone.
    """
    if strength > 1:
        strength = min(strength, int((corners[:, 2:] - corners[:, :2]).min(initial=np.inf)) // 8 if len(corners) else 0)
    if strength < 1:
        return image
    width = WIDE_BLUR if strength == 1 else strength // 2 * 2 + 1
    blurred = with_planes(cv2.GaussianBlur(image, (width, width), 0))
    return np.where(_covered(corners, image.shape)[..., None], image, blurred) if strength == 1 else blurred


def _covered(corners: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return which pixels lie in one of the boxes ``(n, 4)``, ``(H, W)``: the running sums of their corners."""
    x1, y1, x2, y2 = corners.astype(np.intp).T  # Darknet cuts off fractions
    counts = np.zeros((shape[0] + 1, shape[1] + 1), np.int32)
    for rows, columns, change in ((y1, x1, 1), (y2, x2, 1), (y1, x2, -1), (y2, x1, -1)):
        np.add.at(counts, (rows, columns), change)
    return counts.cumsum(0).cumsum(1)[:-1, :-1] > 0


def add_noise(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise as Darknet does, which brightens: it draws into 8 bits without a sign, where all below 0 is 0."""
    drawn = rng.standard_normal(image.shape, np.float32) * min(deviation, MOST_NOISE)
    return with_planes(cv2.add(image, np.clip(np.rint(drawn), 0, 255).astype(np.uint8)))
