"""From raw maps to boxes, and Darknet's non-max suppression.

Source: darknet ``get_yolo_box`` and ``get_yolo_detections`` in src/yolo_layer.c, ``do_nms_sort`` in src/box.c.
"""

from __future__ import annotations

import torch
from torch import Tensor

from yolo_subbatch.darknet.boxes import GREEDY_BETA, box_metric
from yolo_subbatch.darknet.boxes import box_iou as box_iou
from yolo_subbatch.darknet.sections import NMS_KINDS


def split_anchors(raw: Tensor, anchors: int) -> Tensor:
    """View ``(B, A * (5 + C), H, W)`` as ``(B, A, 5 + C, H, W)``, whatever the memory format.

    Raises:
        ValueError: If the channels are not a multiple of the number of anchors.
    """
    batch, channels, height, width = raw.shape
    if channels % anchors:
        raise ValueError(f"{channels} channels are not a multiple of {anchors} anchors")
    return raw.view(batch, anchors, channels // anchors, height, width)


def decode_map(
    raw: Tensor,
    anchors_px: Tensor,
    stride: float | tuple[float, float],
    scale_x_y: float = 1.0,
    new_coords: bool = False,
) -> Tensor:
    """Turn one raw detection map into boxes in pixels of the network input.

    Box width and height are ``anchor * exp(t)``; large ``t`` overflow float16, so call this in float32.

    Args:
        raw: Output of the convolution before a ``[yolo]`` section, ``(B, A * (5 + C), H, W)``, logits.
        anchors_px: The anchors selected by ``mask``, ``(A, 2)`` as width, height, in input pixels.
        stride: Input pixels per grid cell, for example 32; a pair where they differ across and down.
        scale_x_y: Stretches the centre about the middle of its cell.
        new_coords: The convolution has applied the logistic to all; width and height are ``anchor * (2 t)**2``.

    Returns:
        ``(B, H * W * A, 5 + C)``: centre x, centre y, width, height in input pixels, then objectness and class scores
        in [0, 1]. Cells are the outer, anchors the inner order, as Darknet lists them.

    Raises:
        ValueError: If the channels of ``raw`` are not a multiple of the number of anchors.

    Source: darknet ``get_yolo_box`` in src/yolo_layer.c; Redmon and Farhadi 2018, section 2.1.
    """
    height, width = raw.shape[2:]
    across, down = stride if isinstance(stride, tuple) else (stride, stride)
    x = split_anchors(raw, len(anchors_px)).permute(0, 2, 3, 4, 1)  # (B, 5 + C, H, W, A)
    rows = torch.arange(height, device=raw.device, dtype=raw.dtype).view(-1, 1, 1)
    columns = torch.arange(width, device=raw.device, dtype=raw.dtype).view(1, -1, 1)
    centre, size, scores = x[:, :2], x[:, 2:4], x[:, 4:]
    if not new_coords:
        centre, scores = centre.sigmoid(), scores.sigmoid()
    stretch = 4 * size.square() if new_coords else size.exp()
    centre = centre * scale_x_y - (scale_x_y - 1) / 2
    boxes = torch.stack(
        (
            (centre[:, 0] + columns) * across,
            (centre[:, 1] + rows) * down,
            stretch[:, 0] * anchors_px[:, 0],
            stretch[:, 1] * anchors_px[:, 1],
        ),
        1,
    )  # (B, 4, H, W, A)
    # The channels stay outside until the end: it is the layout that exported files give, without a copy between.
    return torch.cat((boxes, scores), 1).flatten(2).transpose(1, 2)


def non_max_suppression(
    detections: Tensor, iou: float = 0.45, kind: str = "default", beta: float = GREEDY_BETA
) -> Tensor:
    """Suppress boxes that overlap a better one of the same class, exactly as ``do_nms_sort`` does.

    Per class, in falling order of its score, every later box that overlaps by more than ``iou`` loses that class.

    Args:
        detections: ``(N, 5 + C)``: centre x, centre y, width, height, objectness, class scores.
        iou: Overlap from which a box is suppressed.
        kind: What is compared with ``iou``, as ``nms_kind`` in a cfg: ``default`` and ``cornersnms`` the IoU,
            ``greedynms`` and ``diounms`` the IoU less a power of the squared distance of the centres over the squared
            diagonal of the box around both. For ``greedynms`` the power is always 0.6.
        beta: The power for ``diounms``, as ``beta_nms`` in a cfg.

    Returns:
        ``(N, 5 + C)``: all the rows, suppressed scores set to 0, in the order in which Darknet leaves them: sorted by
        the last class, boxes without objectness at the end.

    Raises:
        ValueError: If the kind is unknown.

    Source: darknet ``do_nms_sort`` in src/box.c; AlexeyAB/darknet ``diounms_sort`` there.
    """
    if kind not in NMS_KINDS:
        raise ValueError(f"kind={kind}: unknown; use one of {', '.join(NMS_KINDS)}")
    rows = detections[_living_first(detections[:, 4])]
    total = int((rows[:, 4] != 0).sum())
    first, second = rows[:total, None, :4], rows[None, :total, :4]
    if kind in ("default", "cornersnms"):
        overlap = box_iou(first, second) > iou  # (n, n)
    else:
        overlap = box_metric("diou", first, second, beta if kind == "diounms" else GREEDY_BETA) > iou
    order = torch.arange(total, device=rows.device)
    for column in range(5, rows.shape[1]):
        scores = rows[:total, column]
        order = order[scores[order].argsort(descending=True, stable=True)]
        kept = _greedy(overlap[order][:, order], scores[order] != 0)
        rows[order[~kept], column] = 0
    rows[:total] = rows[order]
    return rows


def _greedy(overlap: Tensor, alive: Tensor) -> Tensor:
    """Return which boxes survive: each living one, best first, suppresses the later ones that it overlaps."""
    alive = alive.clone()
    for index in range(int(alive.sum())):  # scores are sorted: the living come first
        if alive[index]:
            alive[index + 1 :] &= ~overlap[index, index + 1 :]
    return alive


def _living_first(objectness: Tensor) -> Tensor:
    """Return the order after Darknet's swaps: a box without objectness changes places with the last unchecked one."""
    flags = (objectness != 0).tolist()
    order = list(range(len(flags)))
    first, last = 0, len(flags) - 1
    while first <= last:
        if flags[order[first]]:
            first += 1
        else:
            order[first], order[last] = order[last], order[first]
            last -= 1
    return torch.tensor(order, dtype=torch.long, device=objectness.device)
