"""Blur and noise, in Darknet's strengths and on its share of the images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from yolo_subbatch.darknet.appearance import add_noise, blur
from yolo_subbatch.darknet.augment import Augmentation, augment

SIZE = (96, 64)
STILL = {"jitter": 0.0, "flip": False, "flavour": "alexeyab", "maximum": 200}
BOX = [[0.5, 0.5, 0.5, 0.5]]  # 48 x 32 pixels


def noise() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 200, (SIZE[1], SIZE[0], 3), dtype=np.uint8)


def inside(boxes) -> np.ndarray:
    mask = np.zeros((SIZE[1], SIZE[0]), bool)
    for x1, y1, x2, y2 in boxes:
        mask[int(y1) : int(y2), int(x1) : int(x2)] = True
    return mask


def test_with_strength_one_the_objects_stay_sharp():
    image, boxes = noise(), np.array([[10, 5, 40, 30], [30.6, 20.2, 60.9, 50], [80, 40, 96, 64]], np.float64)
    result, sharp = blur(image, boxes, 1), inside(boxes)
    assert np.array_equal(result[sharp], image[sharp])
    assert np.array_equal(result[~sharp], cv2.GaussianBlur(image, (17, 17), 0)[~sharp])


@pytest.mark.parametrize(("strength", "kernel"), [(2, 3), (3, 3), (4, 5), (9, 9)])
def test_more_strength_blurs_everything(strength, kernel):
    image, boxes = noise(), np.array([[0, 0, 90, 64]], np.float64)
    if strength <= 8:
        assert np.array_equal(blur(image, boxes, strength), cv2.GaussianBlur(image, (kernel, kernel), 0))
    else:
        assert np.array_equal(blur(image, boxes, strength), cv2.GaussianBlur(image, (9, 9), 0)), "64 / 8"


@pytest.mark.parametrize(("side", "kernel"), [(40, 5), (31.9, 3), (16, 3), (15, 1), (8, 1), (7.9, 0)])
def test_the_smallest_object_bounds_the_blur(side, kernel):
    """An eighth of its smaller side: 1 means that the background alone is blurred, 0 nothing."""
    image, boxes = noise(), np.array([[0, 0, 90, 60], [5, 5, 5 + side, 60]], np.float64)
    result = blur(image, boxes, 10)
    if kernel > 1:
        assert np.array_equal(result, cv2.GaussianBlur(image, (kernel, kernel), 0))
    elif kernel == 1:
        assert np.array_equal(result[inside(boxes)], image[inside(boxes)])
        assert not np.array_equal(result, image)
    else:
        assert np.array_equal(result, image)


def test_an_image_without_objects():
    image, none = noise(), np.zeros((0, 4))
    assert np.array_equal(blur(image, none, 5), image)
    assert np.array_equal(blur(image, none, 1), cv2.GaussianBlur(image, (17, 17), 0))
    assert np.array_equal(blur(image, none, 0), image)


def results(count: int = 240, **given) -> list[np.ndarray]:
    chosen = Augmentation(**{**STILL, **given})
    return [augment(noise(), BOX, np.array([0]), SIZE, chosen, np.random.default_rng(seed))[0] for seed in range(count)]


def test_a_third_is_blurred_and_a_third_behind_the_objects():
    image, sharp = noise(), inside([[24, 16, 72, 48]])
    kinds = {"none": 0, "background": 0, "all": 0}
    for result in results(blur=3):
        same = np.array_equal(result[sharp], image[sharp])
        kinds["none" if np.array_equal(result, image) else "background" if same else "all"] += 1
    assert min(kinds.values()) > 55


def test_half_of_the_images_get_noise_that_brightens():
    """Darknet draws it into bytes without a sign: what is below 0 becomes 0."""
    image, noisy = noise(), 0
    for result in results(gaussian_noise=20):
        change = result.astype(int) - image
        assert change.min() >= 0
        noisy += bool(change.any())
        if change.any():
            assert (change == 0).mean() == pytest.approx(0.5, abs=0.03)
            assert change[change > 0].std() == pytest.approx(20 * np.sqrt(1 - 2 / np.pi), rel=0.1)
    assert 90 < noisy < 150


def test_noise_is_bounded_and_stays_in_a_byte():
    image, rng = np.full((64, 64, 3), 250, np.uint8), np.random.default_rng(0)
    assert add_noise(image, 50, rng).min() >= 250
    dark = np.zeros((200, 200, 3), np.uint8)
    assert add_noise(dark, 1000, rng)[..., 0].astype(float).mean() < 127 * 0.41, "no more than 127"


def test_pjreddies_flavour_has_neither():
    image = noise()
    assert all(np.array_equal(each, image) for each in results(30, flavour="pjreddie", blur=3, gaussian_noise=9))
