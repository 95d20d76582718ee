"""How far a box is from its truth: the IoU family, and what AlexeyAB's Darknet uses as its derivative.

Boxes are ``(..., 4)``: centre x, centre y, width, height, in one unit; leading dimensions broadcast.

Source: AlexeyAB/darknet ``box_iou_kind`` and ``dx_box_iou`` in src/box.c; Rezatofighi et al. 2019 (GIoU), Zheng et al.
2020 (DIoU, CIoU).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

GREEDY_BETA = 0.6  # Darknet raises the distance term of DIoU to this power, in greedynms too
ASPECT = 4 / math.pi**2


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return intersection over union of boxes ``(..., 4)``: centre x, centre y, width, height, one unit.

    The leading dimensions broadcast. Two boxes without area give 0, where Darknet divides zero by zero.
    """
    ax, ay, aw, ah = a.unbind(-1)
    bx, by, bw, bh = b.unbind(-1)
    shared_x = torch.minimum(ax + aw / 2, bx + bw / 2) - torch.maximum(ax - aw / 2, bx - bw / 2)
    shared_y = torch.minimum(ay + ah / 2, by + bh / 2) - torch.maximum(ay - ah / 2, by - bh / 2)
    shared = shared_x.clamp_(min=0) * shared_y.clamp_(min=0)
    union = aw * ah + bw * bh - shared
    return torch.where(union > 0, shared / union, torch.zeros_like(shared))


def box_metric(kind: str, a: Tensor, b: Tensor, beta: float = GREEDY_BETA) -> Tensor:
    """Return how well boxes agree, ``(...)``; 1 where they are equal.

    Args:
        kind: ``iou``, ``giou``, ``diou`` or ``ciou``; anything else counts as ``iou``, as in Darknet.
        a: Boxes.
        b: Boxes; the second of a pair has its aspect ratio as the wanted one.
        beta: Power of the distance term of ``diou``. The published metric has 1.

    Returns:
        The metric. Boxes without any extent have their IoU, which is 0.

    Source: AlexeyAB/darknet ``box_giou``, ``box_diou``, ``box_diounms`` and ``box_ciou`` in src/box.c.
    """
    iou = box_iou(a, b)
    if kind not in ("giou", "diou", "ciou"):
        return iou
    width, height = _enclosing(a, b)
    if kind == "giou":
        area = width * height
        shared = _sides_shared(a, b).clamp_(min=0).prod(-1)
        union = a[..., 2] * a[..., 3] + b[..., 2] * b[..., 3] - shared
        penalty, exists = (area - union) / area, area != 0
    else:
        diagonal = width.square() + height.square()
        penalty, exists = (a[..., :2] - b[..., :2]).square().sum(-1) / diagonal, diagonal != 0
        if kind == "diou":
            penalty = penalty.pow(beta)
        else:
            aspect = ASPECT * _aspect_difference(a, b).square()
            penalty = penalty + aspect.square() / (1 - iou + aspect + 1e-6)
    return torch.where(exists, iou - penalty, iou)


def _enclosing(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return width and height of the smallest box around two."""
    low = torch.minimum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    high = torch.maximum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    width, height = (high - low).unbind(-1)
    return width, height


def _sides_shared(a: Tensor, b: Tensor) -> Tensor:
    """Return by how much two boxes overlap across and down, ``(..., 2)``; negative where they are apart."""
    low = torch.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    return torch.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2) - low


def _aspect_difference(a: Tensor, b: Tensor) -> Tensor:
    return (b[..., 2] / b[..., 3]).atan() - (a[..., 2] / a[..., 3]).atan()


def iou_ascent(kind: str, pred: Tensor, truth: Tensor) -> Tensor:
    """Return the direction in which AlexeyAB's Darknet moves a box under an IoU loss.

    It is meant as the derivative of the metric and is not quite that: the entries of width and height are twice the
    derivative, the distance term of ``diou`` and ``ciou`` has the sign of its enclosing box wrong in x and y, and the
    aspect term of ``ciou`` lacks its denominator. Networks are tuned to these numbers, so they are kept.

    Args:
        kind: ``iou``, ``giou``, ``diou`` or ``ciou``.
        pred: ``(P, 4)``; a width or height of 0 counts as 1.
        truth: ``(P, 4)``.

    Returns:
        ``(P, 4)``: for centre x, centre y, width, height. Not finite where a box is: the caller decides.

    Source: AlexeyAB/darknet ``dx_box_iou`` in src/box.c.
    """
    size = torch.where(pred[:, 2:] == 0, torch.ones_like(pred[:, 2:]), pred[:, 2:])
    pair = _Pair.of(torch.cat((pred[:, :2], size), 1), truth)
    low, high = pair.overlap_ascent()
    if kind == "giou":
        low, high = pair.with_enclosing_area(low, high)
    centre, size = low + high, high - low
    if kind in ("diou", "ciou"):
        centre, size = pair.with_distance(centre, size, aspect=kind == "ciou")
    return torch.cat((centre, size), 1)


@dataclass(frozen=True)
class _Pair:
    """Predictions and truths with what all the derivatives need; every tensor is ``(P, 2)``: across and down.

    ``low`` is a left or upper border, ``high`` a right or lower one.
    """

    pred: Tensor  # centres
    truth: Tensor
    size: Tensor  # of the prediction
    truth_size: Tensor
    low: Tensor
    high: Tensor
    truth_low: Tensor
    truth_high: Tensor

    @classmethod
    def of(cls, pred: Tensor, truth: Tensor) -> _Pair:
        centre, size, truth_centre, truth_size = pred[:, :2], pred[:, 2:], truth[:, :2], truth[:, 2:]
        return cls(
            centre, truth_centre, size, truth_size, centre - size / 2, centre + size / 2,
            truth_centre - truth_size / 2, truth_centre + truth_size / 2,
        )  # fmt: skip

    @property
    def shared(self) -> Tensor:
        """Overlap across and down, negative where the boxes are apart."""
        return torch.minimum(self.high, self.truth_high) - torch.maximum(self.low, self.truth_low)

    @property
    def apart(self) -> Tensor:
        """``(P, 1)``: the boxes do not overlap."""
        return (self.shared <= 0).any(1, keepdim=True)

    @property
    def enclosing(self) -> Tensor:
        return torch.maximum(self.high, self.truth_high) - torch.minimum(self.low, self.truth_low)

    def areas(self) -> tuple[Tensor, Tensor]:
        """Return intersection (also of boxes apart, as Darknet multiplies it) and union, ``(P, 1)``."""
        intersection = self.shared.prod(1, keepdim=True)
        own = (self.high - self.low).prod(1, keepdim=True)
        wanted = (self.truth_high - self.truth_low).prod(1, keepdim=True)
        return intersection, own + wanted - intersection

    def border_derivatives(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return how the intersection and the union change with the low and the high borders."""
        shared, extent = self.shared.flip(1), (self.high - self.low).flip(1)  # a border moves along the other side
        zero = torch.zeros_like(shared)
        shared_low = torch.where(self.low > self.truth_low, -shared, zero)
        shared_high = torch.where(self.high < self.truth_high, shared, zero)
        return shared_low, shared_high, -extent - shared_low, extent - shared_high

    def overlap_ascent(self) -> tuple[Tensor, Tensor]:
        """Return the derivative of the IoU for the low and the high borders."""
        intersection, union = self.areas()
        shared_low, shared_high, union_low, union_high = self.border_derivatives()
        exists, zero = union > 0, torch.zeros_like(shared_low)
        square = union.square()
        low = torch.where(exists, (union * shared_low - intersection * union_low) / square, zero)
        high = torch.where(exists, (union * shared_high - intersection * union_high) / square, zero)
        # A box so small that its borders coincide takes both from one.
        return torch.where(self.low < self.high, low, high), high

    def with_enclosing_area(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Add the enclosing box of GIoU; it acts alone where the boxes are apart."""
        enclosing = self.enclosing
        area, other, zero = enclosing.prod(1, keepdim=True), enclosing.flip(1), torch.zeros_like(enclosing)
        _, union = self.areas()
        _, _, union_low, union_high = self.border_derivatives()
        area_low = torch.where(self.low < self.truth_low, -other, zero)
        area_high = torch.where(self.high > self.truth_high, other, zero)
        term_low = (area * union_low - union * area_low) / area.square()
        term_high = (area * union_high - union * area_high) / area.square()
        exists = area > 0
        low = torch.where(self.apart, term_low, low + torch.where(exists, term_low, zero))
        high = torch.where(self.apart, term_high, high + torch.where(exists, term_high, zero))
        return low, high

    def with_distance(self, centre: Tensor, size: Tensor, aspect: bool) -> tuple[Tensor, Tensor]:
        """Add the distance of the centres, and the aspect ratio of CIoU; alone where the boxes are apart."""
        enclosing = self.enclosing
        diagonal = enclosing.square().sum(1, keepdim=True)
        distance = (self.pred - self.truth).square().sum(1, keepdim=True)
        over_high = (self.high > self.truth_high).to(centre.dtype)
        over_low = (self.low < self.truth_low).to(centre.dtype)
        by_centre, by_size = 2 * enclosing * (over_high - over_low), enclosing * (over_high + over_low)
        square = diagonal.square()
        centre_term = (2 * (self.truth - self.pred) * diagonal - by_centre * distance) / square
        size_term = by_size * distance / square
        if aspect:
            size_term = size_term + self._aspect_ascent()
        exists, zero = diagonal > 0, torch.zeros_like(centre)
        centre = torch.where(self.apart, centre_term, centre + torch.where(exists, centre_term, zero))
        size = torch.where(self.apart, size_term, size + torch.where(exists, size_term, zero))
        return centre, size

    def _aspect_ascent(self) -> Tensor:
        boxes, wanted = torch.cat((self.pred, self.size), 1), torch.cat((self.truth, self.truth_size), 1)
        difference = _aspect_difference(boxes, wanted)[:, None]
        intersection, union = self.areas()
        loss = ASPECT * difference.square()
        alpha = loss / (1 - intersection / union + loss + 1e-6)
        return alpha * 2 * ASPECT * difference * torch.stack((self.size[:, 1], -self.size[:, 0]), 1)
