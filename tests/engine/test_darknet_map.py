"""Darknet's mean average precision: by hand, against a slow reading of the method, and on a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import golden
from yolo_subbatch.darknet import non_max_suppression
from yolo_subbatch.darknet.decode import _living_first
from yolo_subbatch.engine.darknet_detections import Found, suppress, suppress_by_objectness
from yolo_subbatch.engine.darknet_map import average_precision, match, summarise


def found_in(rows: Any, classes: int) -> Found:
    """Return detections ``(n, 5 + C)``: box, objectness, scores."""
    rows = torch.as_tensor(rows, dtype=torch.float32).reshape(-1, 5 + classes)
    return Found(Path("x.jpg"), np.zeros((10, 10, 3), np.uint8), rows[:, :4], rows[:, 4], rows[:, 5:])


# --- the method, read slowly ------------------------------------------------------------------------------------------


class Slow(NamedTuple):
    mean: float
    precisions: list[float]
    hits: list[int]
    misses: list[int]
    iou: float


def overlap(a: Any, b: Any) -> float:
    across = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
    down = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
    shared = max(across, 0) * max(down, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def slow_map(images: list[tuple[np.ndarray, np.ndarray]], classes: int, iou_thresh: float, thresh: float, points: int):
    """Compute what ``validate_detector_map`` does, one box, one rank, one class at a time."""
    entries: list[list[Any]] = []  # score, class, truth
    hits, misses, total, first = [0] * classes, [0] * classes, 0.0, 0
    truths = [0] * classes
    for rows, labels in images:
        for label in labels:
            truths[int(label[0])] += 1
        before = len(entries)
        for row in rows:
            for index in range(classes):
                score = row[5 + index]
                if score <= 0:
                    continue
                best, truth = 0.0, -1
                for number, label in enumerate(labels):
                    iou = overlap(row[:4].astype(float), label[1:])
                    if iou > iou_thresh and int(label[0]) == index and iou > best:
                        best, truth = iou, first + number
                if score > thresh:
                    if truth > -1 and all(entry[2] != truth for entry in entries[before:]):
                        hits[index], total = hits[index] + 1, total + best
                    else:
                        misses[index] += 1
                entries.append([score, index, truth])
        first += len(labels)
    entries.sort(key=lambda entry: -entry[0])
    taken: set[int] = set()
    curves: list[list[tuple[float, float]]] = [[] for _ in range(classes)]
    right, wrong = [0] * classes, [0] * classes
    for _, index, truth in entries:
        if truth > -1 and truth not in taken:
            taken.add(truth)
            right[index] += 1
        else:
            wrong[index] += 1
        for each in range(classes):  # every class at every rank
            count = right[each] + wrong[each]
            recall = right[each] / truths[each] if truths[each] else 0.0
            curves[each].append((right[each] / count if count else 0.0, recall))
    precisions = [slow_precision(curve, points) for curve in curves]
    counted = sum(hits) + sum(misses)
    return Slow(sum(precisions) / classes, precisions, hits, misses, total / counted if counted else 0.0)


def slow_precision(curve: list[tuple[float, float]], points: int) -> float:
    if not curve:
        return 0.0
    if points:
        wanted = [point * 1.0 / (points - 1) for point in range(points)]
        return sum(max((p for p, r in curve if r >= recall), default=0.0) for recall in wanted) / points
    best, recall = curve[-1]
    area = 0.0
    for precision, lower in reversed(curve[:-1]):
        drop, recall = recall - lower, lower
        best = max(best, precision)
        area += drop * best
    return area + recall * best


def random_images(rng: np.random.Generator, count: int, classes: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return images whose detections lie around their truths, some of them double, some nowhere."""
    images = []
    for _ in range(count):
        labels = np.column_stack([
            rng.integers(0, classes, size := int(rng.integers(0, 5))), rng.uniform(0.2, 0.8, (size, 2)),
            rng.uniform(0.1, 0.5, (size, 2)),
        ])  # fmt: skip
        near = labels[rng.integers(0, size, int(rng.integers(0, 9))), 1:] if size else np.zeros((0, 4))
        boxes = np.concatenate((near * rng.normal(1, 0.08, near.shape), rng.uniform(0.1, 0.6, (2, 4))))
        scores = rng.choice([0, 0.01, 0.2, 0.25, 0.3, 0.5, 0.9], (len(boxes), classes))
        images.append((np.concatenate((boxes, np.ones((len(boxes), 1)), scores), 1).astype(np.float32), labels))
    return images


def fast_map(images: list[tuple[np.ndarray, np.ndarray]], classes: int, iou_thresh: float, thresh: float, points: int):
    counts, pairs = np.zeros(classes, int), []
    for rows, labels in images:
        pairs.append(match(found_in(rows, classes), labels, int(counts.sum()), iou_thresh))
        counts += np.bincount(labels[:, 0].astype(int), minlength=classes)
    return summarise(pairs, counts, thresh, points)


@given(
    seed=st.integers(0, 2**32), count=st.integers(0, 4), classes=st.integers(1, 4),
    iou_thresh=st.sampled_from([0.3, 0.5, 0.75]), thresh=st.sampled_from([0.0, 0.22, 0.25, 0.6]),
    points=st.sampled_from([0, 11, 101]),
)  # fmt: skip
@settings(max_examples=150)
def test_the_same_as_the_method_read_slowly(
    seed: int, count: int, classes: int, iou_thresh: float, thresh: float, points: int
) -> None:
    images = random_images(np.random.default_rng(seed), count, classes)
    slow = slow_map(images, classes, iou_thresh, thresh, points)
    fast = fast_map(images, classes, iou_thresh, thresh, points)
    assert fast.precisions == pytest.approx(slow.precisions, abs=1e-12)
    assert fast.mean == pytest.approx(slow.mean, abs=1e-12)
    assert (list(fast.hits), list(fast.misses)) == (slow.hits, slow.misses)
    assert fast.iou == pytest.approx(slow.iou, abs=1e-9)


# --- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("takes", "truths", "points", "wanted"),
    [
        ([1], 1, 0, 1.0),
        ([1], 2, 0, 0.5),
        ([0, 1], 1, 0, 0.5),
        ([1, 0, 1], 2, 0, 0.5 * 1 + 0.5 * 2 / 3),
        ([0, 1, 1, 1], 3, 0, 0.75),  # the best precision at a higher recall counts
        ([1, 0, 0], 1, 0, 1.0),
        ([], 3, 0, 0.0),
        ([0, 0], 0, 0, 0.0),
        ([1, 0, 1], 2, 11, (6 * 1 + 5 * 2 / 3) / 11),  # recalls 0 to .5, then .6 to 1
        ([1], 2, 11, 6 / 11),
        ([0], 0, 11, 0.0),
        ([1, 1], 2, 101, 1.0),
    ],
)  # fmt: skip
def test_average_precision_by_hand(takes: list[int], truths: int, points: int, wanted: float) -> None:
    assert average_precision(np.array(takes, bool), truths, points) == pytest.approx(wanted)


def test_figures_by_hand() -> None:
    """Two images, three classes, of which one has no truth and one no detection."""
    first = np.array([(0, 0.3, 0.3, 0.2, 0.2), (1, 0.7, 0.7, 0.2, 0.2)])
    second = np.array([(0, 0.5, 0.5, 0.4, 0.4)])
    in_first = [
        (0.3, 0.3, 0.2, 0.2, 1, 0.9, 0, 0.3),  # a hit of class 0, and a miss of class 2
        (0.3, 0.31, 0.2, 0.2, 1, 0.8, 0, 0),  # the second taker of that truth
        (0.7, 0.7, 0.2, 0.2, 1, 0.6, 0, 0),  # there is a truth, but of class 1
    ]
    in_second = [(0.5, 0.5, 0.4, 0.3, 1, 0.2, 0, 0)]  # a hit with an overlap of .75, below the threshold
    figures = fast_map([(np.array(in_first), first), (np.array(in_second), second)], 3, 0.5, 0.25, 0)
    # Class 0 by score: hit .9, miss .8, miss .6, hit .2 of 2 truths.
    assert figures.precisions == pytest.approx([0.5 * 1 + 0.5 * 2 / 4, 0, 0])
    assert figures.mean == pytest.approx(0.75 / 3), "classes without a truth or a detection count as 0"
    assert list(figures.truths) == [2, 1, 0]
    assert (list(figures.hits), list(figures.misses)) == ([1, 0, 0], [2, 0, 1])
    assert figures.precision == pytest.approx(1 / 4)
    assert figures.recall == pytest.approx(1 / 3)
    assert figures.f1 == pytest.approx(2 / 7)
    assert figures.iou == pytest.approx(1 / 4), "misses count as no overlap"
    assert figures.detections == 5


def test_nothing_found_is_no_accident() -> None:
    figures = summarise([], np.array([3, 0]))
    assert (figures.mean, figures.precision, figures.recall, figures.f1, figures.iou) == (0, 0, 0, 0, 0)


# --- suppression ------------------------------------------------------------------------------------------------------


def rows_after(found: Found) -> np.ndarray:
    return torch.cat((found.boxes, found.objectness[:, None], found.scores), 1).numpy()


@pytest.mark.parametrize("case", range(20))
def test_suppression_is_darknets_own(case: int) -> None:
    """In values and in order. Boxes without objectness, which Darknet swaps to the end first, never come here."""
    file = {key[4:]: value for key, value in golden("post_nms.npz").items() if key.startswith(f"c{case:02d}_")}
    rows = file["in"][_living_first(torch.from_numpy(file["in"][:, 4])).numpy()]
    rows, wanted = (each[each[:, 4] != 0] for each in (rows, file["out"]))
    found, threshold = found_in(rows, rows.shape[1] - 5), float(file["thresh"])
    if str(file["mode"]) == "obj":
        kept = rows_after(suppress_by_objectness(found, threshold))
        assert np.array_equal(kept[:, :5], wanted[:, :5])
    else:
        assert np.array_equal(rows_after(suppress(found, threshold)), wanted)


@pytest.mark.parametrize("kind", ["default", "greedynms", "diounms", "cornersnms"])
@pytest.mark.parametrize("seed", range(4))
def test_suppression_is_the_exact_one_in_less_time(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0.2, 0.8, (6, 4))[rng.integers(0, 6, 80)] * rng.normal(1, 0.1, (80, 4))
    scores = np.where(rng.random((80, 3)) < 0.6, rng.random((80, 3)), 0)
    rows = torch.from_numpy(np.concatenate((centres, rng.uniform(0.1, 1, (80, 1)), scores), 1).astype(np.float32))
    wanted = non_max_suppression(rows, 0.45, kind, 0.8)
    assert torch.equal(torch.from_numpy(rows_after(suppress(found_in(rows, 3), 0.45, kind, 0.8))), wanted)
    assert int((wanted[:, 5:] > 0).sum()) < int((rows[:, 5:] > 0).sum())


def test_suppression_of_nothing() -> None:
    assert len(suppress(found_in(np.zeros((0, 7)), 2), 0.45).boxes) == 0


def test_suppression_by_objectness_knows_no_classes() -> None:
    rows = [(0.5, 0.5, 0.2, 0.2, 0.4, 0.4, 0), (0.5, 0.5, 0.2, 0.21, 0.9, 0, 0.9), (0.2, 0.2, 0.1, 0.1, 0.1, 0.1, 0)]
    kept = suppress_by_objectness(found_in(rows, 2), 0.4)
    assert kept.objectness.tolist() == pytest.approx([0.9, 0.1])
