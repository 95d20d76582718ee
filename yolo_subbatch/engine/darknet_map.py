"""``yolo-subbatch map``: mean average precision in Darknet's method, and in COCO's beside it.

Source: darknet ``validate_detector_map`` in src/detector.c (AlexeyAB).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from yolo_subbatch.darknet.boxes import box_iou
from yolo_subbatch.darknet.labels import read_boxes
from yolo_subbatch.engine.darknet_detections import Detector, Found
from yolo_subbatch.engine.describe_data import labelled_to_measure
from yolo_subbatch.engine.evaluate import run_validation
from yolo_subbatch.engine.image_channels import check_network_data
from yolo_subbatch.errors import DataError
from yolo_subbatch.settings.class_names import class_names
from yolo_subbatch.settings.commands import MapSettings, ValSettings
from yolo_subbatch.settings.data_checks import split_images
from yolo_subbatch.settings.output_checks import write_json

THRESHOLD = 0.005  # of objectness and of a class's score, as in Darknet
SUPPRESS = 0.45  # overlap


class Pairs(NamedTuple):
    """Every box of every image with every class that it has a score for, ``(M,)`` each, in Darknet's order.

    ``truth`` is the number of the best truth of that class that the box overlaps enough, counted over all images,
    or -1; ``iou`` the overlap with it.
    """

    classes: np.ndarray
    scores: np.ndarray
    truth: np.ndarray
    iou: np.ndarray


@dataclass(frozen=True)
class DarknetMap:
    """Darknet's figures: per class ``(C,)``, and over all classes."""

    precisions: np.ndarray  # average precision
    truths: np.ndarray
    hits: np.ndarray  # at the confidence threshold
    misses: np.ndarray  # false positives there
    iou: float  # mean overlap of the hits there, misses counting as 0
    detections: int

    @property
    def mean(self) -> float:
        """The mean average precision over all classes; one without truths counts as 0."""
        return float(self.precisions.mean()) if len(self.precisions) else 0.0

    @property
    def precision(self) -> float:
        """The share of hits among the detections at the confidence threshold."""
        return _share(self.hits.sum(), self.hits.sum() + self.misses.sum())

    @property
    def recall(self) -> float:
        """The share of truths that are hit at the confidence threshold."""
        return _share(self.hits.sum(), self.truths.sum())

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return _share(2 * self.precision * self.recall, self.precision + self.recall)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def match(found: Found, truths: np.ndarray, first: int, iou_thresh: float) -> Pairs:
    """Pair the detections of one image with the truths of the same class that they overlap best.

    Args:
        found: What is left after suppression.
        truths: ``(T, 5)``: class, centre x, centre y, width, height, as fractions of the image.
        first: Number of the first of them, counted over all images.
        iou_thresh: The overlap must be above this.
    """
    boxes, classes = found.scores.nonzero(as_tuple=True)  # boxes outer, classes inner
    scores = found.scores[boxes, classes].numpy()
    if not len(truths):
        none = np.full(len(scores), -1)
        return Pairs(classes.numpy(), scores, none, np.zeros(len(scores)))
    there = torch.from_numpy(truths)
    overlap = box_iou(found.boxes[:, None].double(), there[None, :, 1:])[boxes]  # (M, T)
    same = classes[:, None] == there[None, :, 0].long()
    best, which = torch.where(same & (overlap > iou_thresh), overlap, 0).max(1)
    truth = torch.where(best > 0, which + first, -1)
    return Pairs(classes.numpy(), scores, truth.numpy(), best.numpy())


def summarise(pairs: Iterable[Pairs], truths: np.ndarray, thresh: float = 0.25, points: int = 0) -> DarknetMap:
    """Compute Darknet's figures from the pairs of every image.

    Args:
        pairs: As :func:`match` returns them, image after image.
        truths: How many truths each class has, ``(C,)``.
        thresh: Confidence above which hits, misses and their overlap are counted.
        points: Recalls at which precision is averaged; 0 for the area under the curve.
    """
    empty = Pairs(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0))
    every = Pairs(*(np.concatenate(parts) for parts in zip(empty, *pairs, strict=True)))
    counted = every.scores > thresh
    # Only the first that takes a truth hits it: first in the image for these counts, first by score for the curve.
    hits = counted & _first_takers(every.truth)
    hit, missed = (np.bincount(every.classes[which], minlength=len(truths)) for which in (hits, counted & ~hits))
    order = (-every.scores).argsort(kind="stable")
    takes, ranked = _first_takers(every.truth[order]), every.classes[order]
    precisions = [average_precision(takes[ranked == index], int(count), points) for index, count in enumerate(truths)]
    iou = _share(every.iou[hits].sum(), counted.sum())
    return DarknetMap(np.array(precisions), np.asarray(truths), hit, missed, iou, len(every.scores))


def _first_takers(truth: np.ndarray) -> np.ndarray:
    """Return which entries ``(M,)`` are the first with their truth; -1 is no truth."""
    first = np.zeros(len(truth), bool)
    first[np.unique(truth, return_index=True)[1]] = True
    return first & (truth >= 0)


def average_precision(takes: np.ndarray, truths: int, points: int = 0) -> float:
    """Return the average precision of one class.

    Args:
        takes: Of its detections by falling score, ``(M,)``: whether it is the first to take a truth.
        truths: How many truths there are.
        points: Recalls from 0 to 1 at which precision is averaged; 0 for the area under the curve, whose precision is
            the best at that recall or a higher one.
    """
    if not truths or not len(takes):
        return 0.0
    hits = takes.cumsum()
    recall, precision = hits / truths, hits / np.arange(1, len(takes) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # from this rank on
    if not points:
        return float((np.diff(recall, prepend=0.0) * best).sum())
    # As Darknet writes it: numpy's linspace rounds some of these otherwise, and a recall is compared with them.
    wanted = np.array([point * 1.0 / (points - 1) for point in range(points)])
    rank = recall.searchsorted(wanted)
    return float(np.append(best, 0.0)[rank].sum() / points)


def measure(detector: Detector, images: Sequence[Path], labels: Sequence[Path], settings: MapSettings) -> DarknetMap:
    """Run a network over labelled images and compute Darknet's figures."""
    counts = np.zeros(detector.classes, np.int64)
    pairs: list[Pairs] = []
    for found, label in zip(detector.find(images, THRESHOLD, settings.batch), labels, strict=True):
        truths = read_boxes(label)
        pairs.append(match(detector.suppress(found, SUPPRESS), truths, int(counts.sum()), settings.iou_thresh))
        counts += np.bincount(truths[:, 0].astype(np.int64), minlength=detector.classes)
    return summarise(pairs, counts, settings.thresh, settings.points)


def run_map(settings: MapSettings) -> dict[str, Any]:
    """Measure a network in both methods, print the figures and write them as asked.

    Raises:
        YoloSubbatchError: If something that the user gave turns out to be unusable.
    """
    data = settings.data or ""
    detector = Detector(settings)
    names = class_names(data, detector.classes).names
    check_network_data(detector.channels, str(settings.model or settings.cfg), data)
    images: Sequence[Path] = split_images(Path(data), settings.split)
    if not images:
        raise DataError(f"{data}: its images are where only Ultralytics looks; give a Darknet .data")
    found = labelled_to_measure(images, data, settings.missing_labels, detector.flavour)
    images, labels = found.images, found.labels
    print("\n calculation mAP (mean average precision)...", flush=True)
    begin = time.monotonic()
    figures = measure(detector, images, labels, settings)
    print(report(figures, names, settings))
    print(f"Total Detection Time: {time.monotonic() - begin:.0f} Seconds", flush=True)
    document = as_json(figures, names, settings)
    if settings.coco:
        document["coco"] = _coco(settings, detector.fit)
        mean, strict = document["coco"]["map50"], document["coco"]["map"]
        print(f"\n COCO's method (Ultralytics): mAP50 = {mean:.6f}, mAP50-95 = {strict:.6f}")
    if settings.json:
        write_json(settings.json, document, "json")
    return document


def _coco(settings: MapSettings, fit: str) -> dict[str, float]:
    return run_validation(
        ValSettings(
            model=settings.model, cfg=settings.cfg, weights=settings.weights, flavour=settings.flavour,
            data=settings.data, split=settings.split, letterbox=fit, batch=settings.batch,
            device=settings.device, project=settings.project, name=settings.name,
            missing_labels=settings.missing_labels,
        )
    )  # fmt: skip


def report(figures: DarknetMap, names: Sequence[str], settings: MapSettings) -> str:
    """Return the figures as Darknet prints them."""
    hits, misses = int(figures.hits.sum()), int(figures.misses.sum())
    truths, at = int(figures.truths.sum()), f" for conf_thresh = {settings.thresh:1.2f}"
    classes = [
        f"class_id = {index}, name = {name}, ap = {figures.precisions[index] * 100:2.2f}%   \t "
        f"(TP = {figures.hits[index]}, FP = {figures.misses[index]}) "
        for index, name in enumerate(names)
    ]
    used = f"{settings.points} Recall-points" if settings.points else "Area-Under-Curve for each unique Recall"
    return "\n".join([
        f"\n detections_count = {figures.detections}, unique_truth_count = {truths}  ",
        *classes,
        f"\n{at}, precision = {figures.precision:1.2f}, recall = {figures.recall:1.2f}, "
        f"F1-score = {figures.f1:1.2f} ",
        f"{at}, TP = {hits}, FP = {misses}, FN = {truths - hits}, average IoU = {figures.iou * 100:2.2f} % ",
        f"\n IoU threshold = {settings.iou_thresh * 100:2.0f} %, used {used} ",
        f" mean average precision (mAP@{settings.iou_thresh:0.2f}) = {figures.mean:f}, or {figures.mean * 100:2.2f} % ",
    ])  # fmt: skip


def as_json(figures: DarknetMap, names: Sequence[str], settings: MapSettings) -> dict[str, Any]:
    """Return the figures as ``json=`` writes them."""
    rows = zip(names, figures.precisions, figures.truths, figures.hits, figures.misses, strict=True)
    return {
        "map": round(figures.mean, 6), "precision": round(figures.precision, 6), "recall": round(figures.recall, 6),
        "f1": round(figures.f1, 6), "iou": round(figures.iou, 6), "detections": figures.detections,
        "data": settings.data, "split": settings.split, "thresh": settings.thresh, "iou_thresh": settings.iou_thresh,
        "points": settings.points,
        "classes": {
            name: {"ap": round(float(ap), 6), "truths": int(count), "tp": int(hit), "fp": int(miss)}
            for name, ap, count, hit, miss in rows
        },
    }  # fmt: skip
