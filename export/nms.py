"""Non-max suppression as the last nodes of a graph, for any batch and any number of boxes, without a loop.

All classes are suppressed in one pass: boxes are moved apart by class, as Ultralytics does it, so that the result is
that of ``ultralytics.utils.nms.non_max_suppression``. One ``NonMaxSuppression`` over a single class also is what suits
CUDA, whose kernel goes through the classes one after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from .graph import OUTPUT

#: Pixels by which the boxes of neighbouring classes are moved apart; Ultralytics' number.
APART = 7680.0
#: The boxes and confidences that go in; not an output of the finished file.
DECODED = "decoded"
COUNT = "num_dets"
THRESHOLDS = ("conf_thres", "iou_thres")


class Tail:
    """Nodes under construction.

    Args:
        model: The graph that they are added to.
    """

    def __init__(self, model: ModelProto) -> None:
        self.graph = model.graph
        self.nodes: list[NodeProto] = []

    def constant(self, name: str, value: object, dtype: type = np.int64) -> str:
        """Add a constant and return its name."""
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        node = helper.make_node(kind, list(inputs), [name], name=f"nms/{name}", **attributes)
        self.nodes.append(node)
        return name

    def slice(self, name: str, source: str, axis: int, start: int, stop: int) -> str:
        """Add a slice along one axis."""
        bounds = [
            self.constant(f"{name}_{part}", [value]) for part, value in zip("abc", (start, stop, axis), strict=True)
        ]
        return self.node("Slice", name, source, *bounds)


def append_nms(model: ModelProto, conf: float, iou: float, max_det: int, agnostic: bool = False) -> None:
    """Replace the output ``(B, 4 + C, N)`` by ``output0`` and ``num_dets``.

    ``output0`` is ``(B, max_det, 6)``: x1, y1, x2, y2 in input pixels, confidence, class, by falling confidence,
    filled up with zeros; ``num_dets`` is ``(B, 1)``, int32. The thresholds are the constants ``conf_thres`` and
    ``iou_thres``.

    Args:
        model: A decoded graph; it is changed.
        conf: Least confidence.
        iou: Overlap above which the weaker box is dropped.
        max_det: Boxes an image at most.
        agnostic: Boxes of different classes suppress each other too.
    """
    batch = model.graph.output[0].type.tensor_type.shape.dim[0]
    batch = batch.dim_param or batch.dim_value
    for node in model.graph.node:
        node.output[:] = [DECODED if name == OUTPUT else name for name in node.output]
        node.input[:] = [DECODED if name == OUTPUT else name for name in node.input]
    tail = Tail(model)
    boxes, scores, classes = _candidates(tail)
    selected = _select(tail, boxes, scores, classes, conf, iou, max_det, agnostic)
    _pad(tail, selected, boxes, scores, classes, max_det)
    model.graph.node.extend(tail.nodes)
    del model.graph.output[:]
    model.graph.output.extend([
        helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [batch, max_det, 6]),
        helper.make_tensor_value_info(COUNT, TensorProto.INT32, [batch, 1]),
    ])  # fmt: skip


def _candidates(tail: Tail) -> tuple[str, str, str]:
    """Return corners ``(B, N, 4)``, best confidence ``(B, 1, N)`` and its class ``(B, 1, N)``, float32."""
    centre = tail.slice("centre", DECODED, 1, 0, 2)
    half = tail.node("Mul", "half_size", tail.slice("size", DECODED, 1, 2, 4), tail.constant("half", 0.5, np.float32))
    low, high = tail.node("Sub", "low", centre, half), tail.node("Add", "high", centre, half)
    corners = tail.node("Concat", "corners", low, high, axis=1)
    boxes = tail.node("Transpose", "boxes_xyxy", corners, perm=[0, 2, 1])
    scores = tail.slice("class_scores", DECODED, 1, 4, np.iinfo(np.int64).max)
    best = tail.node("ArgMax", "best_class", scores, axis=1, keepdims=1)
    # The maximum by its place: ReduceMax is written differently from opset 18 on.
    confidence = tail.node("GatherElements", "confidence", scores, best, axis=1)
    return boxes, confidence, tail.node("Cast", "class", best, to=TensorProto.FLOAT)


def _select(
    tail: Tail, boxes: str, scores: str, classes: str, conf: float, iou: float, max_det: int, agnostic: bool
) -> str:
    """Return the confidences ``(B, N)`` with 0 for every box that is dropped."""
    if not agnostic:
        shift = tail.node("Mul", "shift", classes, tail.constant("apart", APART, np.float32))
        boxes = tail.node("Add", "boxes_apart", boxes, tail.node("Transpose", "shift_rows", shift, perm=[0, 2, 1]))
    chosen = tail.node(
        "NonMaxSuppression", "chosen", boxes, scores, tail.constant("max_output_boxes", [max_det]),
        tail.constant("iou_thres", [iou], np.float32), tail.constant("conf_thres", [conf], np.float32),
    )  # fmt: skip
    places = tail.node("Gather", "places", chosen, tail.constant("image_and_box", [0, 2]), axis=1)  # (K, 2)
    flat = tail.node("Squeeze", "flat_confidence", scores, tail.constant("class_axis", [1]))  # (B, N)
    kept = tail.node("GatherND", "kept", flat, places)  # (K,)
    nothing = tail.node("Mul", "nothing", flat, tail.constant("zero", 0.0, np.float32))
    return tail.node("ScatterND", "kept_confidence", nothing, places, kept)


def _pad(tail: Tail, selected: str, boxes: str, scores: str, classes: str, max_det: int) -> None:
    """Bring the kept boxes to the front, and fill up to ``max_det`` with zeros."""
    rows = tail.node("Concat", "score_and_class", scores, classes, axis=1)  # (B, 2, N)
    rows = tail.node("Concat", "rows", boxes, tail.node("Transpose", "columns", rows, perm=[0, 2, 1]), axis=2)
    # There may be fewer boxes than max_det, of which TopK has no idea.
    zero = tail.constant("filling", 0.0, np.float32)
    more = tail.node("Pad", "long_enough", selected, tail.constant("pads_2d", [0, 0, 0, max_det]), zero)
    all_rows = tail.node("Pad", "rows_enough", rows, tail.constant("pads_3d", [0, 0, 0, 0, max_det, 0]), zero)
    top, place = "top", "top_place"
    most = tail.constant("max_det", [max_det])
    tail.nodes.append(helper.make_node("TopK", [more, most], [top, place], name="nms/top", axis=1))
    last = tail.constant("last_axis", [2])
    where = tail.node("Unsqueeze", "top_rows", place, last)  # (B, max_det, 1)
    found = tail.node("GatherND", "found", all_rows, where, batch_dims=1)  # (B, max_det, 6)
    real = tail.node("Greater", "real", top, zero)
    # Chosen, not multiplied: a box without end times nothing is no number.
    tail.node("Where", OUTPUT, tail.node("Unsqueeze", "real_rows", real, last), found, zero)
    count = tail.node("Cast", "real_number", real, to=TensorProto.INT32)
    tail.node("ReduceSum", COUNT, count, tail.constant("box_axis", [1]), keepdims=1)
