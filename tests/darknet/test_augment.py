"""Augmentation: boxes stay on their objects, draws are as Darknet's formulas say, sizes of multi-scale training."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest

from yolo_subbatch.darknet.augment import (
    Augmentation,
    augment,
    letterbox,
    stretch,
)
from yolo_subbatch.darknet.random_sizes import exact_random_size, random_size, step_of

FLAVOURS = ("pjreddie", "alexeyab")
STILL = {"jitter": 0.0, "hue": 0.0, "saturation": 1.0, "exposure": 1.0, "flip": False}
BACKGROUND, OBJECT = (200, 60, 0), (0, 0, 255)  # BGR


def changed(image, boxes, size, seed=0, classes=None, **settings):
    """Augment one image with everything off that is not given."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    classes = np.arange(len(boxes)) if classes is None else np.asarray(classes)
    rng = np.random.default_rng(seed)
    return augment(image, boxes, classes, size, Augmentation(**{**STILL, **settings}), rng)


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def picture(width: int, height: int, corners: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw a rectangle in its own colour; return the image and its box."""
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    x1, y1, x2, y2 = corners
    image[y1:y2, x1:x2] = OBJECT
    return image, np.array([[(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]])


def found(image: np.ndarray) -> np.ndarray | None:
    """Return x1, y1, x2, y2 of the pixels that are more object than anything else."""
    redness = image[..., 2].astype(int) - image[..., 0]
    rows, columns = np.nonzero(redness > 64)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) if len(rows) else None


def corners_of(box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    centre, half = box[:2], box[2:] / 2
    return np.concatenate((centre - half, centre + half)) * (*size, *size)


# --- nothing changes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("size", [(64, 64), (96, 48), (33, 57)])
def test_without_augmentation_an_image_of_that_size_stays_as_it_is(flavour, size):
    image, boxes = noise(*size), [[0.5, 0.5, 0.2, 0.4], [0.1, 0.9, 0.2, 0.2]]
    before = image.copy()
    result, moved, classes = changed(image, boxes, size, classes=[4, 2], flavour=flavour)
    assert np.array_equal(result, image)
    assert np.allclose(moved, boxes, atol=1e-6)
    assert classes.tolist() == [4, 2]
    assert np.array_equal(image, before), "the argument must not change"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_image_without_boxes(flavour):
    result, boxes, classes = changed(noise(40, 30), [], (64, 32), flavour=flavour, jitter=0.3, flip=True)
    assert result.shape == (32, 64, 3)
    assert result.dtype == np.uint8
    assert boxes.shape == (0, 4)
    assert classes.shape == (0,)


# --- geometry -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("size", [(96, 96), (128, 64), (64, 160)])
@pytest.mark.parametrize(
    ("shape", "corners"),
    [((100, 100), (40, 30, 60, 70)), ((160, 90), (5, 50, 60, 80)), ((60, 130), (20, 10, 55, 40)), ((500, 400), (50, 220, 250, 390))],
    ids=["square", "wide", "tall", "large"],
)  # fmt: skip
def test_the_box_stays_on_its_object(flavour, size, shape, corners):
    image, boxes = picture(*shape, corners)
    seen = 0
    for seed in range(40):
        result, moved, classes = changed(image, boxes, size, seed, classes=[3], jitter=0.3, flip=True, flavour=flavour)
        place = found(result)
        if len(moved) == 0:
            assert place is None or (place[2:] - place[:2]).min() <= 2, seed
            continue
        assert classes.tolist() == [3]
        assert place is not None, seed
        assert np.abs(corners_of(moved[0], size) - place).max() <= 2, seed
        seen += 1
    assert seen > 30


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_enlarged_object_is_not_half_a_pixel_beside_its_box(flavour):
    image, boxes = picture(24, 24, (6, 9, 12, 18))
    result, moved, _ = changed(image, boxes, (96, 96), 0, classes=[0], flavour=flavour)
    weight = np.clip(result[..., 2].astype(float) - result[..., 0], 0, None)
    rows, columns = np.mgrid[:96, :96] + 0.5
    centre = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
    assert np.abs(centre - moved[0, :2] * 96).max() < 0.3


def test_a_rectangle_of_several_objects_keeps_their_classes_in_order():
    image, first = picture(100, 100, (10, 10, 30, 30))
    boxes = np.concatenate((first, [[0.7, 0.7, 0.1, 0.1], [0.7, 0.2, 0.2, 0.1]]))
    for seed in range(20):
        _, moved, classes = changed(image, boxes, (80, 80), seed, classes=[5, 1, 5], jitter=0.1, flip=True)
        assert classes.tolist() == [5, 1, 5]
        assert moved[0, 2] == pytest.approx(2 * moved[1, 2], rel=1e-4)
        assert moved[2, 2] == pytest.approx(2 * moved[1, 2], rel=1e-4)
        assert moved[2, 0] == pytest.approx(moved[1, 0], rel=1e-4)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_flip_mirrors_half_of_the_images(flavour):
    image, boxes = noise(64, 64), [[0.25, 0.5, 0.3, 0.2]]
    mirrored = 0
    for seed in range(200):
        result, moved, _ = changed(image, boxes, (64, 64), seed, flip=True, flavour=flavour)
        flipped = not np.array_equal(result, image)
        assert np.array_equal(result, image[:, ::-1] if flipped else image)
        assert np.allclose(moved, [[0.75 if flipped else 0.25, 0.5, 0.3, 0.2]], atol=1e-6)
        mirrored += flipped
    assert 70 < mirrored < 130


def test_flip_off_mirrors_none():
    image = noise(32, 32)
    assert all(np.array_equal(changed(image, [], (32, 32), seed)[0], image) for seed in range(30))


@pytest.mark.parametrize(("flavour", "wanted"), [("pjreddie", (127, 127, 127)), ("alexeyab", (100, 30, 60))])
def test_what_the_image_leaves_free_is_darknets_fill(flavour, wanted):
    image = np.full((50, 50, 3), (100, 30, 60), np.uint8)
    image[:, 25:] = (120, 10, 80)
    mean = (110, 20, 70) if flavour == "alexeyab" else wanted
    free = 0
    for seed in range(30):
        result = changed(image, [], (50, 50), seed, jitter=0.3, flavour=flavour)[0].astype(int)
        known = [(np.abs(result - colour).max(2) <= 2) for colour in ((100, 30, 60), (120, 10, 80), mean)]
        free += known[2].sum()
        # pixels between two colours stand on a border: no more than a few lines
        assert (~np.logical_or.reduce(known)).sum() <= 5 * 50
    assert free > 30 * 50


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_boxes_are_clipped_to_the_canvas(flavour):
    boxes = [[0.05, 0.5, 0.3, 0.2], [0.9, 0.95, 0.4, 0.3]]
    _, moved, _ = changed(noise(64, 64), boxes, (64, 64), flavour=flavour)
    assert np.allclose(moved, [[0.1, 0.5, 0.2, 0.2], [0.85, 0.9, 0.3, 0.2]], atol=1e-6)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_boxes_never_leave_the_canvas(flavour):
    rng = np.random.default_rng(1)
    boxes = np.concatenate((rng.uniform(0, 1, (30, 2)), rng.uniform(0.01, 0.9, (30, 2))), 1)
    dropped = 0
    for seed in range(40):
        _, moved, classes = changed(noise(50, 40), boxes, (64, 96), seed, jitter=0.4, flip=True, flavour=flavour)
        corners = np.concatenate((moved[:, :2] - moved[:, 2:] / 2, moved[:, :2] + moved[:, 2:] / 2), 1)
        assert corners.min() >= -1e-6
        assert corners.max() <= 1 + 1e-6
        assert moved[:, 2:].min() > 0
        assert len(classes) == len(moved)
        dropped += 30 - len(moved)
    assert dropped > 0 or flavour == "pjreddie", "AlexeyAB's crop loses boxes, pjreddie's letterbox none"


@pytest.mark.parametrize(("flavour", "least"), [("pjreddie", (0.001, 0.001)), ("alexeyab", (1 / 100, 1 / 50))])
def test_tiny_boxes_are_dropped(flavour, least):
    """Under a thousandth of the canvas with pjreddie, under a pixel with AlexeyAB."""
    above, below = [1.05 * each for each in least], [0.95 * each for each in least]
    boxes = [[0.5, 0.5, above[0], above[1]], [0.5, 0.5, below[0], 0.5], [0.5, 0.5, 0.5, below[1]], [0.5, 0.5, 0.5, 0.5]]
    _, moved, classes = changed(noise(100, 50), boxes, (100, 50), flavour=flavour)
    assert classes.tolist() == [0, 3]
    assert np.allclose(moved, [boxes[0], boxes[3]], atol=1e-6)


def test_a_box_outside_the_crop_is_dropped():
    boxes = [[0.01, 0.5, 0.02, 0.5], [0.5, 0.5, 0.2, 0.2]]
    kept = {
        len(changed(noise(100, 100), boxes, (100, 100), seed, jitter=0.4, flavour="alexeyab")[1]) for seed in range(30)
    }
    assert kept == {1, 2}


# --- number of boxes ------------------------------------------------------------------------------------------------


def test_at_most_the_maximum_of_boxes_is_kept():
    boxes = [[0.1 + 0.08 * index, 0.5, 0.05, 0.05 + 0.01 * index] for index in range(10)]
    chosen = set()
    for seed in range(60):
        _, moved, classes = changed(noise(64, 64), boxes, (64, 64), seed, maximum=4)
        assert len(set(classes.tolist())) == 4
        assert np.allclose(moved, np.array(boxes)[classes], atol=1e-6)
        chosen.add(tuple(classes.tolist()))
    assert len(chosen) > 20, "which ones are kept is drawn"
    assert set().union(*chosen) == set(range(10)), "every one is kept sometimes"
    assert len(changed(noise(64, 64), boxes, (64, 64), maximum=10)[1]) == 10


def test_the_maximum_counts_boxes_that_are_too_small_afterwards():
    """Darknet cuts the list first and drops the tiny ones then."""
    boxes = [[0.5, 0.5, 0.0001, 0.0001]] * 5 + [[0.5, 0.5, 0.5, 0.5]]
    assert {len(changed(noise(64, 64), boxes, (64, 64), seed, maximum=1)[1]) for seed in range(60)} == {0, 1}


# --- random numbers -------------------------------------------------------------------------------------------------


def test_the_same_generator_gives_the_same_result():
    everything = {"jitter": 0.3, "hue": 0.1, "saturation": 1.5, "exposure": 1.5, "flip": True}
    first, second, other = (
        changed(noise(40, 30), [[0.5, 0.5, 0.4, 0.4]], (32, 32), seed, **everything) for seed in (1, 1, 2)
    )
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


# --- jitter ---------------------------------------------------------------------------------------------------------


def placed(flavour: str, shape: tuple[int, int], size: tuple[int, int], jitter: float, count: int) -> np.ndarray:
    """Return where the whole image came to lie, from a box in its middle: x, y, width, height in pixels."""
    image, rows = np.zeros((shape[1], shape[0], 3), np.uint8), []
    for seed in range(count):
        _, moved, _ = changed(image, [[0.5, 0.5, 0.1, 0.1]], size, seed, jitter=jitter, flavour=flavour)
        rows.append(moved[0].astype(np.float64) * (*size, *size))
    centres, sides = np.array(rows)[:, :2], np.array(rows)[:, 2:] * 10
    return np.concatenate((centres - sides / 2, sides), 1)


def formula_ratios(shape: tuple[int, int], jitter: float) -> np.ndarray:
    """Draw Darknet's ``new_ar`` often."""
    across, down = np.random.default_rng(0).uniform(-jitter, jitter, (2, 100_000))
    return shape[0] * (1 + across) / (shape[1] * (1 + down))


@pytest.mark.parametrize("shape", [(60, 60), (90, 60), (40, 70)])
@pytest.mark.parametrize("jitter", [0.0, 0.2, 0.3])
def test_pjreddies_jitter_changes_the_aspect_ratio(shape, jitter):
    size = (100, 100)
    x, y, width, height = placed("pjreddie", shape, size, jitter, 300).T
    ratios, wanted = width / height, formula_ratios(shape, jitter)
    usual = shape[0] / shape[1]
    assert ratios.min() >= usual * (1 - jitter) / (1 + jitter) * (1 - 1e-4)
    assert ratios.max() <= usual * (1 + jitter) / (1 - jitter) * (1 + 1e-4)
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert np.quantile(ratios, share) == pytest.approx(np.quantile(wanted, share), rel=0.06 if jitter else 1e-4)
    assert np.allclose(np.maximum(width, height), 100, atol=0.02), "one side fills the canvas"
    assert np.allclose(np.where(ratios < 1, height, width), 100, atol=0.02)
    assert min(x.min(), y.min()) >= -0.02
    assert max((x + width).max(), (y + height).max()) <= 100.02


def test_pjreddies_place_is_drawn_evenly():
    x, _, width, _ = placed("pjreddie", (40, 80), (100, 100), 0.2, 400).T
    shares = x / (100 - width)  # the image is narrow: it can move sideways only
    assert shares.min() >= -1e-3
    assert shares.max() <= 1 + 1e-3
    for share in (0.1, 0.5, 0.9):
        assert np.quantile(shares, share) == pytest.approx(share, abs=0.08)


def test_pjreddies_image_fits_a_canvas_that_is_not_square():
    x, y, width, height = placed("pjreddie", (60, 60), (128, 64), 0.2, 200).T
    assert np.allclose(height, 64, atol=0.05), "a wide canvas is filled from top to bottom"
    assert width.max() < 128
    assert min(x.min(), y.min()) >= -0.05
    assert (x + width).max() <= 128.05


@pytest.mark.parametrize("jitter", [0.0, 0.2, 0.3])
def test_alexeyabs_jitter_moves_each_side_on_its_own(jitter):
    size = (100, 80)
    x, y, width, height = placed("alexeyab", (60, 90), size, jitter, 500).T
    cuts = np.array([-x / width, (x + width - 100) / width, -y / height, (y + height - 80) / height])
    assert np.abs(cuts).max() <= jitter + 1e-4
    if jitter:
        assert np.allclose(cuts.mean(1), 0, atol=jitter / 10)
        assert np.allclose(cuts.std(1), jitter / math.sqrt(3), rtol=0.1), "uniform between both limits"
        assert np.abs(np.corrcoef(cuts) - np.eye(4)).max() < 0.2


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("jitter", [0.5, 0.9])
def test_a_jitter_of_more_than_the_image_breaks_nothing(flavour, jitter):
    """With AlexeyAB both sides together may cut off more than there is."""
    for seed in range(300):
        result, moved, _ = changed(
            noise(60, 50), [[0.5, 0.5, 0.9, 0.9]], (32, 32), seed, jitter=jitter, flavour=flavour
        )
        assert result.shape == (32, 32, 3)
        assert np.abs(moved[:, :2] - 0.5).max(initial=0) <= 0.5


# --- colour ---------------------------------------------------------------------------------------------------------

COLOURS = [(100, 100, 100), (120, 60, 90), (30, 110, 70), (90, 50, 20)]  # BGR, dark enough to be doubled


def recoloured(colours, seed: int, **settings) -> np.ndarray:
    """Return what becomes of flat colours in one image, ``(n, 3)``, BGR."""
    patches = np.repeat(np.array(colours, np.uint8), 8, 0)[None].repeat(8, 0)  # each colour eight pixels wide
    result = changed(patches, [], (len(colours) * 8, 8), seed, **settings)[0]
    return result[4, 4::8].astype(np.float64)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_colours_stay_at_neutral_settings(flavour):
    for seed in range(20):
        assert np.array_equal(recoloured(COLOURS, seed, flavour=flavour), COLOURS)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_exposure_multiplies_or_divides_every_channel(flavour):
    factors = []
    for seed in range(120):
        after = recoloured(COLOURS, seed, exposure=2.0, flavour=flavour)
        factor = after[0, 0] / 100
        assert np.allclose(after, np.array(COLOURS) * factor, atol=2 + 4 * factor), seed
        factors.append(factor)
    factors = np.array(factors)
    assert factors.min() >= 0.5 - 0.02
    assert factors.max() <= 2 + 0.02
    assert 40 < (factors >= 1).sum() < 80, "half of the images become lighter"
    assert factors[factors >= 1].mean() == pytest.approx(1.5, abs=0.1)
    assert (1 / factors[factors < 1]).mean() == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize(("key", "colour"), [("exposure", (200, 150, 50)), ("saturation", (180, 100, 40))])
def test_colours_past_their_range_are_cut_off_channel_by_channel(key, colour):
    """pjreddie's saturation and value may pass 1; only the channels are cut off, at the end."""
    colours, checked = [(100, 100, 100), (120, 90, 90), colour], 0
    for seed in range(60):
        grey, pale, result = recoloured(colours, seed, **{key: 2.0}, flavour="pjreddie")
        factor = grey[0] / 100 if key == "exposure" else (120 - pale[1]) / 30
        if factor > 1.5:
            peak, own = max(colour), np.array(colour)
            wanted = own * factor if key == "exposure" else peak - (peak - own) * factor
            assert np.allclose(result, np.clip(wanted, 0, 255), atol=10), seed
            checked += 1
    assert checked > 5


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_saturation_multiplies_or_divides_the_distance_from_grey(flavour):
    before = np.array([(100, 100, 100), (120, 60, 90), (60, 110, 70), (90, 50, 40)], np.float64)
    factors = []
    for seed in range(120):
        after = recoloured(before, seed, saturation=1.5, flavour=flavour)
        assert np.allclose(after.max(1), before.max(1), atol=1), "the value stays"
        assert np.array_equal(after[0], before[0]), "grey stays"
        factor = (120 - after[1].min()) / 60  # no colour here passes full saturation
        peak = before.max(1, keepdims=True)
        assert np.allclose(after, np.clip(peak - (peak - before) * factor, 0, 255), atol=5), seed
        factors.append(factor)
    factors = np.array(factors)
    assert factors.min() >= 1 / 1.5 - 0.03
    assert factors.max() <= 1.5 + 0.03
    assert 40 < (factors >= 1).sum() < 80
    assert factors[factors >= 1].mean() == pytest.approx(1.25, abs=0.07)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_hue_turns_every_colour_by_the_same_angle(flavour):
    colours = [(0, 0, 240), (0, 240, 0), (240, 0, 0), (130, 130, 130)]
    turns = []
    for seed in range(120):
        after = recoloured(colours, seed, hue=0.1, flavour=flavour)
        assert np.array_equal(after[3], colours[3]), "grey stays"
        hues = np.array([colorsys.rgb_to_hsv(*(each[::-1] / 255))[0] for each in after[:3]])
        shifts = (hues - [0, 1 / 3, 2 / 3] + 0.5) % 1 - 0.5
        assert np.ptp(shifts) < 0.006, "a step of 8-bit hue is 1/180"
        assert np.allclose(after[:3].max(1), 240, atol=1)
        assert after[:3].min() <= 1
        turns.append(shifts.mean())
    turns = np.array(turns)
    assert np.abs(turns).max() <= 0.1 + 0.006
    assert turns.mean() == pytest.approx(0, abs=0.02)
    assert turns.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.2), "uniform in both directions"


# --- sizes of multi-scale training ----------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [(416, 416), (608, 352), (160, 96)])
@pytest.mark.parametrize(("factor", "largest"), [(1, 1.4), (1.2, 1.2), (2.0, 2.0)])
def test_random_sizes_stay_within_the_factor(base, factor, largest):
    stride, sizes = 32, set()
    for iteration in range(1, 1000, 10):
        size = random_size(iteration, base, stride, factor)
        for side, usual in zip(size, base, strict=True):
            assert side % stride == 0
            assert side >= stride
            assert usual / largest - stride / 2 <= side <= usual * largest + stride / 2
        assert abs(size[0] / base[0] - size[1] / base[1]) <= stride / 2 / base[0] + stride / 2 / base[1], (
            "one factor for both"
        )
        sizes.add(size)
    widths = {width for width, _ in sizes}
    assert min(widths) < base[0] < max(widths)
    assert max(widths) >= base[0] * largest - stride
    assert min(widths) <= base[0] / largest + stride


def test_a_random_size_is_drawn_every_ten_iterations():
    sizes = [random_size(iteration, (416, 416), 32) for iteration in range(1, 401)]
    for start in range(0, 400, 10):
        assert len(set(sizes[start : start + 10])) == 1
    changes = sum(first != second for first, second in zip(sizes[:-1], sizes[1:], strict=True))
    assert 20 < changes < 40


def test_random_sizes_depend_on_the_seed_alone():
    def run(seed):
        return [random_size(iteration, (416, 416), 32, 1.4, seed) for iteration in range(1, 300, 10)]

    assert run(3) == run(3)
    assert run(3) != run(4)
    assert random_size(151, (416, 416), 32, 1.4, 3) == run(3)[15], "whatever was drawn before"


def darknet_final(iteration: int, max_batches: int, stretch_length: int) -> bool:
    """Tell whether Darknet's loop, which draws at iterations 1, 11, 21 ..., drew the largest size last."""
    done = (iteration - 1) // 10 * 10  # updates done when the size was drawn
    return done + stretch_length > max_batches


@pytest.mark.parametrize("max_batches", [500, 505, 1000])
def test_pjreddies_exact_sizes(max_batches):
    sizes = [exact_random_size(iteration, max_batches, (416, 416), 32) for iteration in range(1, max_batches + 1)]
    assert all(width == height for width, height in sizes)
    assert {width for width, _ in sizes} <= set(range(320, 609, 32))
    for start in range(0, max_batches, 10):
        assert len(set(sizes[start : start + 10])) == 1, f"iterations {start + 1} to {start + 10} have one size"
    for iteration, size in enumerate(sizes, 1):
        if darknet_final(iteration, max_batches, 200):
            assert size == (608, 608), iteration
    early = {size for iteration, size in enumerate(sizes, 1) if not darknet_final(iteration, max_batches, 200)}
    assert len(early) > 5


def test_pjreddies_exact_sizes_are_all_drawn():
    sizes = {exact_random_size(iteration, 10_000, (96, 64), 32)[0] for iteration in range(1, 3000, 10)}
    assert sizes == set(range(320, 609, 32)), "whatever the cfg's own size"


def test_pjreddies_last_stretch_begins_where_darknets_does():
    """The size is drawn at iteration 301 when 300 updates are done, and 300 + 200 is not above 500."""
    sizes = {
        exact_random_size(iteration, 500, (416, 416), 32, seed=seed)[0]
        for seed in range(20)
        for iteration in range(301, 311)
    }
    assert len(sizes) > 3
    assert {
        exact_random_size(iteration, 500, (416, 416), 32, seed=seed)[0]
        for seed in range(20)
        for iteration in range(311, 321)
    } == {608}


def alexeyab_side(side: int, factor: float) -> int:
    """Compute ``roundl(factor * init_w / resize_step + 1) * resize_step``."""
    return math.floor(factor * side / 32 + 1 + 0.5) * 32


@pytest.mark.parametrize("base", [(416, 416), (608, 352)])
def test_alexeyabs_exact_size_is_largest_at_both_ends(base):
    largest = tuple(alexeyab_side(side, 1.4) for side in base)
    for iteration in (*range(1, 11), *range(911, 1001)):
        assert exact_random_size(iteration, 1000, base, 32, flavour="alexeyab") == largest, iteration


def test_alexeyabs_exact_sizes_lie_within_darknets_limits():
    base, sizes = (416, 352), []
    for iteration in range(11, 3000, 10):
        size = exact_random_size(iteration, 10_000, base, 32, flavour="alexeyab")
        assert exact_random_size(iteration + 9, 10_000, base, 32, flavour="alexeyab") == size
        for side, usual in zip(size, base, strict=True):
            assert side % 32 == 0
            assert alexeyab_side(usual, 1 / 1.4) <= side <= alexeyab_side(usual, 1.4)
        sizes.append(size)
    assert len(set(sizes)) > 5


# --- inference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "size", "inner"),
    [
        ((100, 50), (64, 64), (64, 32)),
        ((50, 100), (64, 64), (32, 64)),
        ((30, 30), (64, 64), (64, 64)),
        ((60, 60), (96, 64), (64, 64)),
        ((120, 30), (96, 64), (96, 24)),
        ((1000, 1), (64, 64), (64, 1)),
    ],
)
def test_letterbox_keeps_proportions_and_stays_in_the_middle(shape, size, inner):
    image = np.full((shape[1], shape[0], 3), (10, 200, 30), np.uint8)
    result, fit = letterbox(image, size)
    assert result.shape == (size[1], size[0], 3)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    wanted = np.full_like(result, 127)
    wanted[top : top + inner[1], left : left + inner[0]] = (10, 200, 30)
    assert np.array_equal(result, wanted)
    assert fit == pytest.approx((inner[0] / shape[0], inner[1] / shape[1], left, top))


@pytest.mark.parametrize("shape", [(97, 60), (60, 97), (640, 427)])
def test_letterbox_cuts_the_shorter_side_off_as_darknet_does(shape):
    """Darknet computes the shorter side in whole numbers: ``new_h = (im.h * w) / im.w``."""
    width, height = shape
    inner = (64, height * 64 // width) if width > height else (width * 64 // height, 64)
    result, _ = letterbox(np.zeros((height, width, 3), np.uint8), (64, 64))
    inside = (result == 0).all(2)
    assert (int(inside.any(0).sum()), int(inside.any(1).sum())) == inner


def test_letterbox_takes_another_fill():
    result, _ = letterbox(np.zeros((10, 20, 3), np.uint8), (40, 40), fill=114)
    assert set(result[0].flatten().tolist()) == {114}
    assert set(result[20].flatten().tolist()) == {0}


@pytest.mark.parametrize("bring", [letterbox, stretch])
@pytest.mark.parametrize(("shape", "corners"), [((200, 120), (50, 30, 110, 100)), ((80, 130), (10, 20, 60, 40))])
@pytest.mark.parametrize("size", [(96, 96), (160, 64)])
def test_fit_says_where_the_object_went(bring, shape, corners, size):
    image, _ = picture(*shape, corners)
    result, fit = bring(image, size)
    assert result.shape == (size[1], size[0], 3)
    wanted = (np.reshape(corners, (2, 2)) * (fit.scale_x, fit.scale_y) + (fit.pad_x, fit.pad_y)).flatten()
    assert np.abs(found(result) - wanted).max() <= 1


def test_stretch_fills_the_canvas():
    image = np.full((30, 50, 3), (9, 8, 7), np.uint8)
    result, fit = stretch(image, (64, 96))
    assert np.array_equal(result, np.full((96, 64, 3), (9, 8, 7), np.uint8))
    assert fit == pytest.approx((64 / 50, 96 / 30, 0, 0))


# --- AlexeyAB's options ---------------------------------------------------------------------------------------------


def cut_off(resize: float, count: int = 500, jitter: float = 0.0) -> np.ndarray:
    """Return the shares that are cut off at the left, right, upper and lower side, a negative one being added."""
    image, rows, size = np.zeros((90, 60, 3), np.uint8), [], (100, 80)
    for seed in range(count):
        _, moved, _ = changed(
            image, [[0.5, 0.5, 0.1, 0.1]], size, seed, jitter=jitter, resize=resize, flavour="alexeyab"
        )
        rows.append(moved[0].astype(np.float64) * (*size, *size))
    centres, sides = np.array(rows)[:, :2], np.array(rows)[:, 2:] * 10
    (x, y), (width, height) = (centres - sides / 2).T, sides.T
    return np.array([-x / width, (x + width - 100) / width, -y / height, (y + height - 80) / height])


@pytest.mark.parametrize(("resize", "least", "most"), [(1.5, -0.25, 1 / 6), (1.2, -0.1, 1 / 12), (0.5, -0.5, 0.0)])
def test_resize_cuts_off_or_adds_the_same_share_of_both_dimensions(resize, least, most):
    """Darknet draws one number for left and top, another for right and bottom; below 1, images only get smaller."""
    left, right, top, bottom = cut_off(resize)
    assert np.allclose(left, top, atol=2e-3)
    assert np.allclose(right, bottom, atol=2e-3)
    for side in (left, right):
        assert side.min() == pytest.approx(least, abs=0.01)
        assert side.max() == pytest.approx(most, abs=0.01)
        assert side.mean() == pytest.approx((least + most) / 2, abs=0.02)
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.15


def test_resize_comes_on_top_of_the_jitter():
    cuts = cut_off(1.5, jitter=0.2)
    assert cuts.min() >= -0.45 - 1e-3
    assert cuts.max() <= 1 / 6 + 0.2 + 1e-3
    assert np.ptp(cuts, 1).min() > 0.6


@pytest.mark.parametrize("size", [(96, 96), (128, 64), (64, 160)])
@pytest.mark.parametrize("shape", [(100, 100), (160, 90), (60, 130)])
def test_letter_box_keeps_the_proportions(size, shape):
    image, boxes = picture(*shape, (shape[0] // 4, shape[1] // 4, shape[0] // 2, shape[1] // 2))
    result, moved, _ = changed(image, boxes, size, letter_box=True, flavour="alexeyab")
    scale = min(size[0] / shape[0], size[1] / shape[1])
    assert moved[0, 2:] * size == pytest.approx(boxes[0, 2:] * shape * scale, abs=1e-3)
    place = np.array([(side - inner * scale) / 2 for side, inner in zip(size, shape, strict=True)])
    assert moved[0, :2] * size == pytest.approx(boxes[0, :2] * shape * scale + place, abs=1e-3)
    assert np.abs(corners_of(moved[0], size) - found(result)).max() <= 2
    squashed, _, _ = changed(image, boxes, size, flavour="alexeyab")
    same = abs(size[0] / shape[0] - size[1] / shape[1]) < 1e-9
    assert np.array_equal(squashed, result) == same


@pytest.mark.parametrize("given", [{"resize": 1.5}, {"resize": 0.5}, {"letter_box": True}, {"letter_box": True, "resize": 2.0}],
                         ids=str)  # fmt: skip
def test_the_box_stays_on_its_object_with_alexeyabs_options(given):
    image, boxes = picture(160, 90, (50, 30, 90, 60))
    seen = 0
    for seed in range(60):
        result, moved, _ = changed(image, boxes, (128, 96), seed, jitter=0.3, flip=True, flavour="alexeyab", **given)
        place = found(result)
        if len(moved) and place is not None:
            assert np.abs(corners_of(moved[0], (128, 96)) - place).max() <= 2, seed
            seen += 1
    assert seen > 40


def test_alexeyabs_options_change_nothing_of_pjreddies():
    everything = {"jitter": 0.3, "hue": 0.1, "saturation": 1.5, "exposure": 1.5, "flip": True}
    options = {"resize": 1.5, "letter_box": True, "blur": 5, "gaussian_noise": 9, "mixing": "mosaic"}
    boxes = [[0.1 + 0.08 * index, 0.5, 0.05, 0.05 + 0.01 * index] for index in range(10)]
    for seed in range(20):
        plain, other = (
            changed(noise(40, 30), boxes, (32, 32), seed, maximum=4, **everything, **more) for more in ({}, options)
        )
        assert all(np.array_equal(one, two) for one, two in zip(plain, other, strict=True))
        # What it draws is what it always drew: ten numbers, then which boxes are kept.
        rng = np.random.default_rng(seed)
        rng.random(10)
        assert plain[2].tolist() == sorted(rng.permutation(10)[:4].tolist())


@pytest.mark.parametrize(
    ("stride", "step", "wanted"), [(32, 32, 32), (32, 64, 64), (32, 48, 96), (8, 32, 32), (64, 32, 64)]
)
def test_sizes_are_multiples_of_resize_step_and_of_the_stride(stride, step, wanted):
    assert step_of(stride, step, "alexeyab") == wanted
    assert step_of(stride, step, "pjreddie") == stride
