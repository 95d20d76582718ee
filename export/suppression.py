"""The second half of the gate: suppression inside a file against torchvision's, on the same boxes."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import ModelProto, numpy_helper
from torchvision.ops import nms as torch_nms

from yolo_subbatch.errors import ParityError

from .candidate import Array, Candidate, open_session
from .graph import OUTPUT
from .nms import APART, COUNT, DECODED, THRESHOLDS

CANDIDATES = 60  # boxes an image that compete when the suppression is checked


def check_suppression(candidate: Candidate, images: Array, decoded: Array, place: str) -> int:
    """Compare the suppressed boxes with torchvision's on the same numbers, and with one image at a time."""
    conf, iou = clear_thresholds(decoded)
    agnostic = _is_agnostic(candidate.model)
    loose = candidate.with_thresholds(conf, iou)
    outputs = loose.run(images)
    rows, counts = outputs[OUTPUT], outputs[COUNT][:, 0]
    for index, (own, count) in enumerate(zip(rows, counts, strict=True)):
        wanted = suppressed(decoded[index], conf, iou, len(own), agnostic)
        if count != len(wanted) or own[count:].any():
            raise ParityError(f"{place}: image {index}: {count} boxes after suppression, torchvision has {len(wanted)}")
        if not _same(own[:count], wanted, 1e-3):
            raise ParityError(f"{place}: image {index}: other boxes after suppression than torchvision's")
    if _takes_any_batch(candidate.model):
        for index in range(len(images)):
            alone = loose.run(images[index : index + 1])[OUTPUT][0]
            if not _same(alone, rows[index], 1e-3 * np.maximum(1, np.abs(rows[index]))):
                raise ParityError(f"{place}: image {index} has other boxes alone than in the batch")
    return int(counts.sum())


def check_tail(candidate: Candidate, classes: int) -> None:
    """Let the last nodes of the file suppress boxes drawn at random: the network may have given none to try it on."""
    tail = onnx.utils.Extractor(candidate.model).extract_model([DECODED], [OUTPUT, COUNT])
    session = open_session(tail)
    conf, iou = (_constant(tail, name) for name in THRESHOLDS)
    agnostic = _is_agnostic(candidate.model)
    free = _takes_any_batch(candidate.model)
    batch = 2 if free else candidate.model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    count = 200 if free else candidate.boxes
    rng = np.random.default_rng(0)
    centre, size = rng.uniform(0, 300, (batch, 2, count)), rng.uniform(5, 120, (batch, 2, count))
    scores = rng.uniform(0, 1, (batch, classes, count)) ** 2
    decoded = np.concatenate((centre, size, scores), 1).astype(np.float32)
    rows, counts = session.run([OUTPUT, COUNT], {DECODED: decoded})
    for image, own, kept in zip(decoded, rows, counts[:, 0], strict=True):
        wanted = suppressed(image, conf, iou, len(own), agnostic)
        if kept != len(wanted) or own[kept:].any() or not _same(own[:kept], wanted, 1e-3):
            raise ParityError(
                f"boxes drawn at random: {kept} after suppression, torchvision has {len(wanted)} or others"
            )


def _constant(model: ModelProto, name: str) -> float:
    tensor = next(each for each in model.graph.initializer if each.name == name)
    return float(numpy_helper.to_array(tensor)[0])


def _is_agnostic(model: ModelProto) -> bool:
    return not any(node.name == "nms/shift" for node in model.graph.node)


def _same(a: Array, b: Array, allowed: Array | float) -> bool:
    """Compare rows; what has no end in one has none in the other."""
    with np.errstate(invalid="ignore"):
        return bool(((np.abs(a - b) <= allowed) | (a == b)).all())


def _takes_any_batch(model: ModelProto) -> bool:
    return bool(model.graph.input[0].type.tensor_type.shape.dim[0].dim_param)


def clear_thresholds(decoded: Array) -> tuple[float, float]:
    """Return thresholds of confidence and overlap that no rounding can decide, with boxes on both sides of each.

    An untrained network would pass every check at usual thresholds, since no box reaches them.

    Args:
        decoded: ``(B, 4 + C, N)``.
    """
    best = decoded[:, 4:].max(1)
    order = np.sort(best, axis=None)[::-1]
    wanted = min(len(order) - 1, CANDIDATES * len(best))
    conf = _widest_gap(order[max(0, wanted - 20) : wanted + 20][::-1].astype(np.float64), float(order[-1]))
    pairs = []
    for image, scores in zip(decoded, best, strict=True):
        chosen = np.flatnonzero(scores > conf)[: 4 * CANDIDATES]
        boxes = corners(image[:4, chosen].T)
        upper = np.triu_indices(len(chosen), 1)
        pairs.append(overlaps(boxes[:, None], boxes[None])[upper])
    between = np.sort(np.concatenate([*pairs, [0.4, 0.6]]))
    return conf, _widest_gap(between[(between >= 0.4) & (between <= 0.6)], 0.5)


def _widest_gap(values: Array, otherwise: float) -> float:
    """Return the middle of the widest gap between sorted numbers."""
    if len(values) < 2:
        return otherwise
    gaps = np.diff(values)
    place = int(gaps.argmax())
    return float(values[place] + gaps[place] / 2)


def suppressed(decoded: Array, conf: float, iou: float, max_det: int, agnostic: bool) -> Array:
    """Suppress with torchvision, as Ultralytics does: ``(4 + C, N)`` to ``(n, 6)``, best first."""
    scores, classes = decoded[4:].max(0), decoded[4:].argmax(0)
    kept = np.flatnonzero(scores > np.float32(conf))
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    half = decoded[2:4, kept] * np.float32(0.5)
    boxes = np.concatenate((decoded[:2, kept] - half, decoded[:2, kept] + half)).T
    shift = 0 if agnostic else classes[kept, None].astype(np.float32) * np.float32(APART)
    order = torch_nms(torch.from_numpy(boxes + shift), torch.from_numpy(scores[kept]), iou).numpy()[:max_det]
    rows = np.concatenate((boxes, scores[kept, None], classes[kept, None]), 1, dtype=np.float32)
    return np.asarray(rows[order])


def corners(boxes: Array) -> Array:
    """Turn ``(n, 4)`` centre x, centre y, width, height into x1, y1, x2, y2."""
    half = boxes[:, 2:] / 2
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), 1)


def overlaps(a: Array, b: Array) -> Array:
    """Return intersection over union of corner boxes ``(..., 4)``; equal boxes without area overlap fully."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    shared = np.maximum(0, np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    same = np.isclose(a, b, atol=1e-3).all(-1)
    return np.asarray(np.where(same, 1.0, shared / np.maximum(union, 1e-12)))
