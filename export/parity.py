"""The gate that every exported file has to pass: does onnxruntime compute what the network computes?

The reference is always the network in float32: torch's own half precision on a CPU is further from it than an exported
half-precision file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torchvision.ops import nms as torch_nms

from yolo_subbatch.errors import ExportError, ParityError

from .graph import INPUT, OUTPUT
from .nms import APART, COUNT, DECODED, THRESHOLDS

Array = NDArray[Any]
#: Takes images ``(B, H, W, 3)``, bytes, blue first; returns ``(B, 4 + C, N)``.
Reference = Callable[[Array], Array]

BOX_PX, BOX_RELATIVE, SCORE = 0.05, 1e-3, 1e-4  # of float32
HALF_IOU, HALF_MEAN_IOU, HALF_SCORE = 0.90, 0.98, 0.05
COUNTED_SCORE, COUNTED = 0.05, 100  # half precision is measured on the boxes that matter
ENDLESS = 1e6  # pixels; a box of that size is no box
CANDIDATES = 60  # boxes an image that compete when the suppression is checked


@dataclass
class Figures:
    """What was measured; written into the file's metadata."""

    box_px: float = 0.0
    score: float = 0.0
    iou: float = 1.0
    boxes: int = 0
    shapes: list[tuple[int, int, int]] = field(default_factory=list)

    def __str__(self) -> str:
        """Return one line for people."""
        shapes = ", ".join(f"{batch}x{height}x{width}" for batch, height, width in self.shapes)
        kept = f", {self.boxes} boxes after suppression" if self.boxes else ""
        return f"boxes within {self.box_px:.2g} px, confidences within {self.score:.2g}{kept} (images {shapes})"


def shapes_to_try(batch: int, width: int, height: int, stride: int, dynamic: bool) -> list[tuple[int, int, int]]:
    """Return batch, height, width to compare: a dynamic file with another batch, another shape, another size."""
    if not dynamic:
        return [(batch, height, width)]
    less = max(stride, (max(height, width) // 2) // stride * stride)
    return [(1, height, width), (3, less, less + stride), (2, less + stride, less), (1, stride, stride)]


def sample_images(batch: int, height: int, width: int) -> Array:
    """Draw images ``(B, H, W, 3)``, bytes, that all differ: shades, shapes and noise, always the same ones."""
    images = np.empty((batch, height, width, 3), np.uint8)
    for index in range(batch):
        rng = np.random.default_rng([index, height, width])
        corners = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
        image = np.ascontiguousarray(cv2.resize(corners, (width, height)))
        for _ in range(12):
            colour = tuple(int(each) for each in rng.integers(0, 256, 3))
            centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
            radius = int(rng.integers(2, max(3, min(width, height) // 4)))
            if rng.random() < 0.5:
                cv2.circle(image, centre, radius, colour, -1)
            else:
                cv2.rectangle(image, centre, (centre[0] + 2 * radius, centre[1] + radius), colour, -1)
        images[index] = cv2.add(image, rng.integers(0, 24, image.shape).astype(np.uint8))
    return images


def rgb(images: Array) -> Array:
    """Return what a graph without pre-processing takes: ``(B, 3, H, W)``, float32, red first, in [0, 1]."""
    return np.ascontiguousarray(images[..., ::-1].transpose(0, 3, 1, 2)).astype(np.float32) / 255


class Candidate:
    """A written file, run by onnxruntime on the CPU.

    Args:
        path: The file.
        heads: Turns raw maps into boxes, for a file whose outputs are raw.
    """

    def __init__(self, path: Path, heads: Callable[[list[Array]], Array] | None = None) -> None:
        self.path, self.heads = path, heads
        self.boxes = 0  # that an image has before suppression, known after the first run
        self.model = onnx.load(path)
        self.suppresses = any(output.name == COUNT for output in self.model.graph.output)
        self.takes_bytes = self.model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
        if self.suppresses:
            self.model.graph.output.append(helper.make_tensor_value_info(DECODED, TensorProto.FLOAT, None))
        self.session = _session(self.model)

    def run(self, images: Array, session: Any = None) -> dict[str, Array]:
        """Return every output, and as ``decoded`` the boxes before suppression."""
        session = session or self.session
        names = [each.name for each in session.get_outputs()]
        found = session.run(names, {INPUT: images if self.takes_bytes else rgb(images)})
        outputs: dict[str, Array] = dict(zip(names, found, strict=True))
        if not self.suppresses:
            outputs[DECODED] = self.heads(list(found)) if self.heads else outputs[OUTPUT]
        return outputs

    def as_written(self, images: Array) -> Array:
        """Return the boxes before suppression, node by node as other runtimes read the graph.

        onnxruntime's optimisations can hide a fault: it takes a padding with zeros before a max-pool for the right one.
        """
        return self.run(images, _session(self.model, optimised=False))[DECODED]

    def with_thresholds(self, conf: float, iou: float) -> Candidate:
        """Return the same graph with other thresholds."""
        other = Candidate.__new__(Candidate)
        other.path, other.heads, other.suppresses, other.takes_bytes = self.path, None, True, self.takes_bytes
        other.model = ModelProto()
        other.model.CopyFrom(self.model)
        for tensor in other.model.graph.initializer:
            if tensor.name in {"conf_thres", "iou_thres"}:
                value = np.array([conf if tensor.name == "conf_thres" else iou], np.float32)
                tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
        other.session = _session(other.model)
        return other


def _session(model: ModelProto, optimised: bool = True) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3  # its notes on shapes that it cannot know beforehand are no news
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def check(candidate: Candidate, reference: Reference, shapes: list[tuple[int, int, int]], precision: str) -> Figures:
    """Compare a file with its reference.

    Args:
        candidate: The file.
        reference: Computes the boxes before suppression.
        shapes: Batch, height, width to try.
        precision: ``fp32``; ``fp16``, which may differ more; ``exact``, which may not differ at all.

    Raises:
        ParityError: If they differ, or the suppression is not torchvision's, or depends on the batch.
    """
    figures = Figures(shapes=shapes)
    for shape in shapes:
        images = sample_images(*shape)
        found, wanted = candidate.run(images)[DECODED], reference(images)
        place = f"{shape[0]} images of {shape[2]}x{shape[1]}"
        _compare(found, wanted, precision, place, figures)
        candidate.boxes = found.shape[2]
        if candidate.suppresses:
            figures.boxes += _check_suppression(candidate, images, found, place)
    if candidate.suppresses:
        _check_tail(candidate, wanted.shape[1] - 4)
    if precision != "exact":  # an 8-bit graph differs by the order of its sums
        images = sample_images(*shapes[0])
        _compare(candidate.as_written(images), reference(images), precision, "without optimisations", figures)
    return figures


def _compare(found: Array, wanted: Array, precision: str, place: str, figures: Figures) -> None:
    if found.shape != wanted.shape:
        raise ParityError(f"{place}: boxes of shape {found.shape}, the network gives {wanted.shape}")
    if np.isnan(wanted).any():
        raise ExportError("the network itself computes numbers that are none (NaN); take an earlier checkpoint")
    # An untrained network's boxes may be endless, or nearly so: there is nothing to compare then.
    sensible = np.abs(wanted) < ENDLESS
    if not np.isfinite(found[sensible]).all():
        raise ParityError(f"{place}: some numbers are not finite where the network's are")
    if not (np.abs(found[~sensible]) >= ENDLESS / 2).all():
        raise ParityError(f"{place}: some boxes end where the network's do not")
    found, wanted = np.where(sensible, found, 0), np.where(sensible, wanted, 0)
    if precision == "fp16":
        _compare_half(found, wanted, place, figures)
    else:
        _compare_full(found, wanted, place, figures, 0.0 if precision == "exact" else 1.0)


def _compare_full(found: Array, wanted: Array, place: str, figures: Figures, share: float) -> None:
    """Compare float32 numbers; ``share`` of the tolerance is allowed."""
    boxes, scores = np.abs(found[:, :4] - wanted[:, :4]), np.abs(found[:, 4:] - wanted[:, 4:])
    allowed = BOX_PX + BOX_RELATIVE * np.maximum(1, np.abs(wanted[:, :4]))
    figures.box_px = max(figures.box_px, float(boxes.max()))
    figures.score = max(figures.score, float(scores.max()))
    if not (boxes <= share * allowed).all():
        raise ParityError(f"{place}: boxes differ from the network's by up to {boxes.max():.3g} px")
    if not (scores <= share * SCORE).all():
        raise ParityError(f"{place}: confidences differ from the network's by up to {scores.max():.3g}")


def _compare_half(found: Array, wanted: Array, place: str, figures: Figures) -> None:
    """Compare half precision where it matters: the most confident boxes of each image."""
    for ours, theirs in zip(found, wanted, strict=True):
        best = theirs[4:].max(0)
        count = max(min(COUNTED, len(best)), int((best > COUNTED_SCORE).sum()))
        chosen = np.argsort(-best, kind="stable")[:count]
        iou = overlaps(corners(ours[:4, chosen].T), corners(theirs[:4, chosen].T))
        score = float(np.abs(ours[4:, chosen] - theirs[4:, chosen]).max())
        figures.box_px = max(figures.box_px, float(np.abs(ours[:4, chosen] - theirs[:4, chosen]).max()))
        figures.score, figures.iou = max(figures.score, score), min(figures.iou, float(iou.min()))
        if iou.min() < HALF_IOU or iou.mean() < HALF_MEAN_IOU:
            raise ParityError(
                f"{place}: boxes overlap the network's by {iou.min():.3f} at least, {iou.mean():.3f} on average; "
                f"half precision needs {HALF_IOU} and {HALF_MEAN_IOU}"
            )
        if score > HALF_SCORE:
            raise ParityError(f"{place}: confidences differ by up to {score:.3f}; half precision may by {HALF_SCORE}")


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


# --- non-max suppression ----------------------------------------------------------------------------------------------


def _check_suppression(candidate: Candidate, images: Array, decoded: Array, place: str) -> int:
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


def _check_tail(candidate: Candidate, classes: int) -> None:
    """Let the last nodes of the file suppress boxes drawn at random: the network may have given none to try it on."""
    tail = onnx.utils.Extractor(candidate.model).extract_model([DECODED], [OUTPUT, COUNT])
    session = _session(tail)
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


def torch_reference(network: Any) -> Reference:
    """Return the reference that a torch network is; it computes in float32, in evaluation mode, on the CPU."""

    def boxes(images: Array) -> Array:
        with torch.inference_mode():
            maps = network(torch.from_numpy(rgb(images)))
            return np.asarray(network.predictions(maps))

    return boxes


def file_reference(model: ModelProto) -> Reference:
    """Return the reference that a graph without pre-processing and suppression is."""
    session = _session(model)

    def boxes(images: Array) -> Array:
        return np.asarray(session.run([OUTPUT], {INPUT: rgb(images)})[0])

    return boxes
