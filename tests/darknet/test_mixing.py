"""Images made of several: every part shows its image, boxes stay on their objects, places are Darknet's."""

from __future__ import annotations

import numpy as np
import pytest

from yolo_subbatch.darknet.augment import Augmentation, Draws, Sample, sample
from yolo_subbatch.darknet.mixing import draw_cut, mixup, mosaic

STILL = {"jitter": 0.0, "flip": False, "flavour": "alexeyab", "maximum": 200}
COLOURS = ((0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255))  # BGR, one an image
SIZE = (128, 96)


def settings(**given) -> Augmentation:
    return Augmentation(**{**STILL, **given})


def coloured(colour, shape=(120, 90), corners=(30, 20, 80, 70)) -> tuple[np.ndarray, np.ndarray]:
    """Draw a rectangle in one colour on black; return the image and its box."""
    image = np.zeros((shape[1], shape[0], 3), np.uint8)
    x1, y1, x2, y2 = corners
    image[y1:y2, x1:x2] = colour
    return image, np.array(
        [[(x1 + x2) / 2 / shape[0], (y1 + y2) / 2 / shape[1], (x2 - x1) / shape[0], (y2 - y1) / shape[1]]]
    )


def found(image: np.ndarray, colour) -> np.ndarray | None:
    """Return x1, y1, x2, y2 of the pixels that are more of this colour than of any other."""
    apart = np.abs(image.astype(int) - colour).max(2)
    rows, columns = np.nonzero(apart < 100)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) if len(rows) else None


def four(seed: int, **given) -> tuple[list[Sample], tuple[int, int], Sample]:
    rng, chosen = np.random.default_rng(seed), settings(**given)
    cut = draw_cut(SIZE, rng)
    parts = [
        sample(*coloured(colour), np.array([index]), SIZE, chosen, rng, index) for index, colour in enumerate(COLOURS)
    ]
    return parts, cut, mosaic(parts, cut, chosen)


def corners_of(box: np.ndarray) -> np.ndarray:
    return np.concatenate((box[:2] - box[2:] / 2, box[:2] + box[2:] / 2)) * (*SIZE, *SIZE)


def tiles(cut: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    (x, y), (width, height) = cut, SIZE
    return [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]


def test_the_parts_meet_between_a_fifth_and_four_fifths():
    cuts = np.array([draw_cut((100, 50), np.random.default_rng(seed)) for seed in range(800)])
    assert (cuts.min(0).tolist(), cuts.max(0).tolist()) == ([20, 10], [80, 40])
    assert abs(np.corrcoef(cuts.T)[0, 1]) < 0.1


def test_without_any_change_each_part_shows_the_far_corner_of_its_image():
    """Of the upper left image the lower right is seen: its corner is where the parts meet."""
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8) for _ in range(4)]
    parts = [sample(image, np.zeros((0, 4)), np.zeros(0), SIZE, settings(), rng, k) for k, image in enumerate(images)]
    result = mosaic(parts, (50, 40), settings()).image
    assert np.array_equal(result[:40, :50], images[0][-40:, -50:])
    assert np.array_equal(result[:40, 50:], images[1][-40:, :78])
    assert np.array_equal(result[40:, :50], images[2][:56, -50:])
    assert np.array_equal(result[40:, 50:], images[3][:56, :78])


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("given", [{}, {"resize": 1.5}, {"resize": 0.6, "letter_box": True}], ids=str)
def test_boxes_stay_on_their_objects(bound, given):
    seen = 0
    for seed in range(60):
        _, cut, made = four(seed, jitter=0.3, flip=True, mosaic_bound=bound, **given)
        assert made.image.shape == (SIZE[1], SIZE[0], 3)
        assert len(set(made.classes.tolist())) == len(made.classes) == len(made.boxes)
        for index, colour in enumerate(COLOURS):
            place, boxes = found(made.image, colour), made.boxes[made.classes == index]
            if place is None or (place[2:] - place[:2]).min() <= 3:
                continue
            assert len(boxes) == 1, (seed, index)
            box = corners_of(boxes[0])
            assert box.min() >= -1e-3
            assert (box[2:] <= np.array(SIZE) + 1e-3).all()
            assert (box[:2] <= place[:2] + 2).all()
            assert (box[2:] >= place[2:] - 2).all(), (seed, index, box, place)
            tile = np.array(tiles(cut)[index])
            assert (place >= np.tile(tile[:2], 2)).all()
            assert (place <= np.tile(tile[2:], 2)).all()
            if bound:
                assert np.abs(box - place).max() <= 2, (seed, index)
            seen += 1
    assert seen > 100


def test_boxes_pass_the_middle_only_without_the_bound():
    beyond = {False: 0, True: 0}
    for bound in beyond:
        for seed in range(150):
            _, cut, made = four(seed, jitter=0.3, resize=1.5, mosaic_bound=bound)
            for box, index in zip(made.boxes, made.classes, strict=True):
                tile, corners = np.array(tiles(cut)[int(index)]), corners_of(box)
                beyond[bound] += bool((corners[:2] < tile[:2] - 1e-2).any() or (corners[2:] > tile[2:] + 1e-2).any())
    assert beyond[True] == 0
    assert beyond[False] > 5


def darknets_place(part, draws, given, cut, shape):
    """Compute where a part's image begins as Darknet does, from what it cuts off at each side of the original."""
    (width, height), (wide, high) = shape, SIZE
    left, right = (width * given.jitter * (2 * each - 1) for each in (draws.left, draws.right))
    top, bottom = (height * given.jitter * (2 * each - 1) for each in (draws.top, draws.bottom))
    down, up = 1 / given.resize, given.resize
    least, most = (1 - 1 / down) / 2, (1 - 1 / up) / 2
    first, second = (least + (most - least) * each for each in (draws.resize_first, draws.resize_second))
    left, right, top, bottom = (
        left + width * first,
        right + width * second,
        top + height * first,
        bottom + height * second,
    )
    flip = draws.flip < 0.5
    if draws.into_corner < 0.5:
        if (part % 2 == 0) != flip:
            left, right = 0, right + left
        else:
            left, right = left + right, 0
        top, bottom = (0, bottom + top) if part < 2 else (top + bottom, 0)
    if flip:
        left, right = right, left
    shifts = [
        min(cut[0], max(0, int(-left * wide / width))), min(cut[1], max(0, int(-top * high / height))),
        min(wide - cut[0], max(0, int(-right * wide / width))), min(high - cut[1], max(0, int(-bottom * high / height))),
    ]  # fmt: skip
    x = shifts[0] if part % 2 else wide - cut[0] - shifts[2]
    y = shifts[1] if part >= 2 else high - cut[1] - shifts[3]
    return x, y


def test_parts_begin_where_darknet_has_them_begin():
    """The fill of an image that got smaller is left out, as far as Darknet's reckoning goes."""
    moved = 0
    for seed in range(80):
        given, rng = settings(jitter=0.3, resize=1.5, flip=True), np.random.default_rng(seed)
        cut = draw_cut(SIZE, rng)
        parts, wanted = [], []
        for index, colour in enumerate(COLOURS):
            again = np.random.Generator(np.random.PCG64())
            again.bit_generator.state = rng.bit_generator.state
            draws = Draws(*again.random(len(Draws._fields)))
            parts.append(sample(*coloured(colour), np.array([index]), SIZE, given, rng, index))
            wanted.append(darknets_place(index, draws, given, cut, (120, 90)))
        made = mosaic(parts, cut, given)
        for index, (x1, y1, x2, y2) in enumerate(tiles(cut)):
            x, y = wanted[index]
            assert np.array_equal(made.image[y1:y2, x1:x2], parts[index].image[y : y + y2 - y1, x : x + x2 - x1]), seed
            moved += (x, y) != (0 if index % 2 else SIZE[0] - cut[0], 0 if index >= 2 else SIZE[1] - cut[1])
    assert moved > 80


def test_a_mosaic_has_no_more_boxes_than_the_cfg_allows():
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    boxes = np.array([[0.1 + 0.1 * x, 0.1 + 0.1 * y, 0.05, 0.05] for x in range(9) for y in range(9)])
    parts = [Sample(image, boxes.astype(np.float32), np.full(81, part), (0.0,) * 4) for part in range(4)]
    whole = mosaic(parts, (64, 48), settings())
    assert {int((whole.classes == part).sum()) for part in range(4)} <= set(range(16, 26)), "a quarter of each is seen"
    few = mosaic(parts, (64, 48), settings(maximum=30))
    assert len(few.boxes) == len(few.classes) <= 30
    assert few.classes.tolist() == sorted(few.classes.tolist()), "in the order of the parts"
    seen = Sample(image, np.tile(np.float32([[0.5, 0.5, 0.3, 0.3]]), (20, 1)), np.arange(20), (0.0,) * 4)
    full = mosaic([seen] * 4, (64, 48), settings(maximum=30))
    assert full.classes.tolist() == [*range(20), *range(10)]


def test_a_box_of_less_than_a_pixel_is_dropped():
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    boxes = np.array([[100.5, 80, 3, 3], [77.2, 80, 2, 4], [90, 55.9, 4, 2], [125, 90, 0.9, 3]]) / (*SIZE, *SIZE)
    nothing = Sample(image, np.zeros((0, 4), np.float32), np.zeros(0), (0.0,) * 4)
    parts = [Sample(image, boxes.astype(np.float32), np.arange(4), (0.0,) * 4), nothing, nothing, nothing]
    assert mosaic(parts, (50, 40), settings()).classes.tolist() == [0]


def test_mixup_is_the_mean_of_two_with_the_boxes_of_both():
    rng = np.random.default_rng(0)
    first, second = (
        sample(*coloured(COLOURS[index]), np.array([index]), SIZE, settings(jitter=0.2, flip=True), rng)
        for index in range(2)
    )
    made = mixup(first, second, settings())
    assert np.abs(made.image - (first.image.astype(float) + second.image) / 2).max() <= 0.5
    assert np.array_equal(made.boxes, np.concatenate((first.boxes, second.boxes)))
    assert made.classes.tolist() == [0, 1]
    assert mixup(first, second, settings(maximum=1)).classes.tolist() == [0]


def test_the_arguments_do_not_change():
    parts, cut, _ = four(1, jitter=0.3)
    before = [each.image.copy() for each in parts]
    mosaic(parts, cut, settings())
    mixup(parts[0], parts[1], settings())
    assert all(np.array_equal(each.image, image) for each, image in zip(parts, before, strict=True))
