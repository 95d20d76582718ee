"""What a validation of Ultralytics measures and what a prediction finds, for each of its tasks, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultralytics.engine.results import Results

DIGITS = 6
#: What is measured besides boxes: the metrics' attribute, and its name in a file.
BESIDES = {"segment": ("seg", "mask"), "pose": ("pose", "pose")}
#: What is measured where no boxes are found: Ultralytics' key, our name, and how it is said.
WITHOUT_BOXES = {
    "classify": (
        ("metrics/accuracy_top1", "top1", "top-1 accuracy"), ("metrics/accuracy_top5", "top5", "top-5 accuracy"),
    ),
    "semantic": (("metrics/mIoU", "miou", "mean IoU"), ("metrics/pixel_acc", "pixel_accuracy", "pixel accuracy")),
    "depth": (
        ("metrics/delta1", "delta1", "delta1"), ("metrics/abs_rel", "abs_rel", "relative error"),
        ("metrics/rmse", "rmse", "RMSE"), ("metrics/silog", "silog", "SILog"),
    ),
}  # fmt: skip


def figures_of(metrics: Any, task: str) -> dict[str, Any]:
    """Return what was measured over all classes.

    Args:
        metrics: What Ultralytics' ``val`` returns.
        task: What the network is for.

    Returns:
        ``map50``, ``map``, ``precision`` and ``recall`` of boxes, and below ``mask`` or ``pose`` those of masks or
        keypoints; for tasks without boxes the figures of ``WITHOUT_BOXES``.
    """
    if task in WITHOUT_BOXES:
        found = metrics.results_dict
        return {name: round(float(found[key]), DIGITS) for key, name, _ in WITHOUT_BOXES[task] if key in found}
    figures: dict[str, Any] = _of_boxes(metrics.box)
    if task in BESIDES:
        attribute, name = BESIDES[task]
        figures[name] = _of_boxes(getattr(metrics, attribute))
    return figures


def classes_of(metrics: Any, task: str) -> dict[str, Any]:
    """Return what was measured of each class that the images show, by its name."""
    if task == "semantic":
        return {row["Class"]: {"iou": row["IoU"]} for row in metrics.summary(decimals=DIGITS)}
    if task in WITHOUT_BOXES:
        return {}
    parts = {"": metrics.box}
    if task in BESIDES:
        attribute, name = BESIDES[task]
        parts[name] = getattr(metrics, attribute)
    found: dict[str, Any] = {}
    for part, metric in parts.items():
        for row, index in enumerate(metric.ap_class_index):
            values = {"map50": round(float(metric.ap50[row]), DIGITS), "map": round(float(metric.ap[row]), DIGITS)}
            of_class = found.setdefault(metrics.names[int(index)], {})
            of_class.update({part: values} if part else values)
    return found


def _of_boxes(metric: Any) -> dict[str, float]:
    found = {"map50": metric.map50, "map": metric.map, "precision": metric.mp, "recall": metric.mr}
    return {name: round(float(value), DIGITS) for name, value in found.items()}


def describe(figures: Mapping[str, Any], task: str) -> str:
    """Return figures as one line for people."""
    if task in WITHOUT_BOXES:
        return ", ".join(f"{words} {figures[name]:.3f}" for _, name, words in WITHOUT_BOXES[task] if name in figures)
    said = _boxes_line(figures)
    if task in BESIDES:
        said += f"; {'masks' if task == 'segment' else 'keypoints'}: {_boxes_line(figures[BESIDES[task][1]])}"
    return said


def _boxes_line(figures: Mapping[str, float]) -> str:
    return (
        f"mAP50 {figures['map50']:.3f}, mAP50-95 {figures['map']:.3f}, "
        f"precision {figures['precision']:.3f}, recall {figures['recall']:.3f}"
    )


def entry(result: Results) -> dict[str, Any]:
    """Return what was found in one image in the form of ``json=``, places in its own pixels.

    ``detections`` by falling confidence: ``xyxy``, and with it ``polygon`` (the mask's outline), ``keypoints`` (x, y,
    and how sure) or ``corners`` (of a rotated box). A classifier gives ``classes``, the most likely first; semantic
    segmentation ``classes`` with their share of the pixels; depth the least, mean and largest in metres.
    """
    height, width = result.orig_shape
    found = {"image": result.path, "width": width, "height": height, "detections": _detections(result)}
    if result.probs is not None:
        sure = zip(result.probs.top5, result.probs.top5conf.tolist(), strict=True)
        found["classes"] = [{**_named(result, index), "confidence": confidence} for index, confidence in sure]
    mask, depth = getattr(result, "semantic_mask", None), getattr(result, "depth", None)
    if mask is not None:
        kinds, counts = mask.data.unique(return_counts=True)
        shares = {int(kind): int(count) / mask.data.numel() for kind, count in zip(kinds, counts, strict=True)}
        order = sorted((kind for kind in shares if kind in result.names), key=lambda kind: -shares[kind])
        found["classes"] = [{**_named(result, kind), "share": round(shares[kind], DIGITS)} for kind in order]
    if depth is not None:
        values = depth.data.float()
        found["depth"] = {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}
    return found


def _named(result: Results, index: int) -> dict[str, Any]:
    return {"class": int(index), "name": result.names[int(index)]}


def _detections(result: Results) -> list[dict[str, Any]]:
    boxes = result.boxes if result.obb is None else result.obb
    if boxes is None:
        return []
    rows = [
        {**_named(result, index), "confidence": confidence, "xyxy": xyxy}
        for confidence, index, xyxy in zip(boxes.conf.tolist(), boxes.cls.tolist(), boxes.xyxy.tolist(), strict=True)
    ]
    for row, more in zip(rows, _shapes(result), strict=False):
        row.update(more)
    return sorted(rows, key=lambda row: -row["confidence"])


def _shapes(result: Results) -> list[dict[str, Any]]:
    """Return what a detection has besides its box, in the order of the boxes."""
    if result.obb is not None:
        return [{"corners": corners} for corners in result.obb.xyxyxyxy.tolist()]
    if result.masks is not None:
        return [{"polygon": outline.tolist()} for outline in result.masks.xy]
    if result.keypoints is not None:
        return [{"keypoints": points} for points in result.keypoints.data.tolist()]
    return []
