"""The ``[yolo]`` layer: its output, its boxes and its loss.

The loss is a scalar whose gradient with respect to the logits is exactly minus the ``delta`` that Darknet writes by
hand: binary cross-entropy for centre, objectness and classes, half a squared error for width and height. It is a sum
over images; dividing is the update's business, so that sub-batches of any size add up to the whole batch.

Source: darknet ``forward_yolo_layer``, ``delta_yolo_box`` and ``delta_yolo_class`` in src/yolo_layer.c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yolo_subbatch.darknet.boxes import box_iou
from yolo_subbatch.darknet.decode import decode_map, split_anchors
from yolo_subbatch.darknet.sections import Yolo
from yolo_subbatch.darknet.transfer import to_device

#: Values of one (images, cells, truths) table of overlaps computed at a time; bounds the memory, not the result.
TABLE_LIMIT = 2**22


@dataclass(frozen=True)
class Losses:
    """The parts of the loss, each a sum over images (after an update: a mean per image).

    ``cost`` is the number that Darknet prints: the mean over the heads of the squared length of ``delta``, or what
    AlexeyAB's prints for an IoU loss.
    """

    box: Tensor
    objectness: Tensor
    classes: Tensor
    cost: Tensor

    @classmethod
    def zero(cls, device: torch.device | None = None) -> Losses:
        """Return losses of nothing, to add to."""
        return cls(*(torch.zeros((), device=device) for _ in fields(cls)))

    @property
    def total(self) -> Tensor:
        """What is differentiated: box + objectness + classes."""
        return self.box + self.objectness + self.classes

    def __add__(self, other: Losses) -> Losses:
        return Losses(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __truediv__(self, divisor: float) -> Losses:
        return Losses(*(getattr(self, each.name) / divisor for each in fields(self)))

    def detach(self) -> Losses:
        """Return the same numbers without their graph."""
        return Losses(*(getattr(self, each.name).detach() for each in fields(self)))


class Positives(NamedTuple):
    """The cells that answer for a truth, one row each.

    ``cells`` is ``(P, 4)``: image, anchor, row, column; ``boxes`` ``(P, 4)``: centre x, centre y, width, height of the
    truth in [0, 1]; ``classes`` ``(P, C)``: 1 for each of its classes.
    """

    cells: Tensor
    boxes: Tensor
    classes: Tensor


def pad_truths(truths: Sequence[Tensor] | Tensor) -> Tensor:
    """Stack truths of different length.

    Args:
        truths: Per image ``(n, 5)``: class, centre x, centre y, width, height; or stacked already, ``(B, T, 5)``. As in
            Darknet, a list ends at the first box whose centre x is 0.

    Returns:
        ``(B, T, 5)`` with ``T`` the longest list, at least 1; rows without a truth have class -1. They stay on their
        device: which cell answers for which truth can be worked out on the CPU, without waiting for a GPU.
    """
    padded = truths if isinstance(truths, Tensor) else _stack(truths)
    ended = (padded[..., 1] == 0).cumsum(1) > 0
    return torch.where(ended[..., None], padded.new_tensor([-1.0, 0, 0, 0, 0]), padded)


def _stack(truths: Sequence[Tensor]) -> Tensor:
    longest = max([1, *(len(each) for each in truths)])
    padded = torch.zeros(len(truths), longest, 5, device=truths[0].device if len(truths) else None)
    for row, each in zip(padded, truths, strict=True):
        row[: len(each)] = each
    return padded


class YoloHead(nn.Module):
    """One ``[yolo]`` section.

    Args:
        section: The parsed section.
        cell: Input pixels per grid cell, across and down. Darknet divides by the cells of the grid; that is the
            stride, unless the convolutions leave out pixels at the borders.
    """

    anchors: Tensor
    all_anchors: Tensor
    position: Tensor

    def __init__(self, section: Yolo, cell: tuple[float, float]) -> None:
        super().__init__()
        self.section, self.cell, self.stride = section, cell, max(cell)
        self.classes = section.classes
        every = torch.tensor(section.anchor_pairs, dtype=torch.float32).reshape(-1, 2)
        mask = torch.tensor(section.selected)
        position = torch.full((section.num,), -1)
        position[mask] = torch.arange(len(mask))
        # Not persistent: it is the cfg's, and a checkpoint must not override it.
        self.register_buffer("anchors", every[mask], persistent=False)  # (A, 2)
        # Plain attributes, which stay on the CPU where the truths are: fetching them would wait for a GPU.
        self.all_anchors, self.position = every, position  # (num, 2), input pixels; (num,), index within mask or -1

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> YoloHead:
        """Move to a device or type; anchors keep their float32 values where half precision would round them."""
        chosen = self.anchors
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.anchors = chosen.to(self.anchors.device)
        return self

    def forward(self, raw: Tensor) -> Tensor:
        """Return Darknet's ``l.output``: the logistic of all but width and height, in the shape of ``raw``."""
        x = split_anchors(raw, len(self.anchors)).clone()  # (B, A, 5 + C, H, W)
        x[:, :, :2] = scaled_centre(self._logistic(x[:, :, :2]), self.section.scale_x_y)
        x[:, :, 4:] = self._logistic(x[:, :, 4:])
        return x.reshape(raw.shape)

    def _logistic(self, x: Tensor) -> Tensor:
        """Return the logistic of ``x``; with ``new_coords`` the convolution before the head has applied it."""
        return x if self.section.new_coords else x.sigmoid()

    def _stretch(self, size: Tensor) -> Tensor:
        """Return by what a width or height multiplies its anchor."""
        return 4 * size.square() if self.section.new_coords else size.exp()

    def decode(self, raw: Tensor) -> Tensor:
        """Return boxes in input pixels, ``(B, H * W * A, 5 + C)``: see ``decode_map``."""
        return decode_map(raw.float(), self.anchors, self.cell, self.section.scale_x_y, bool(self.section.new_coords))

    def loss(self, raw: Tensor, truths: Tensor) -> Losses:
        """Compute the loss of this head.

        Args:
            raw: ``(B, A * (5 + C), H, W)``, logits of any floating type; computed in float32 at least.
            truths: ``(B, T, 5)`` from :func:`pad_truths`; on the CPU nothing here waits for a GPU.

        Returns:
            Sums over the images.
        """
        raw = raw if raw.dtype == torch.float64 else raw.float()
        x = split_anchors(raw, len(self.anchors))  # (B, A, 5 + C, H, W)
        truths = truths.to(raw.dtype)
        with torch.no_grad():
            counted, confident = self._match(x, to_device(truths, x.device))
            positives = self._assign(x, truths, confident)
        objectness, objectness_cost = self._objectness(x[:, :, 4], counted, positives)
        box, classes, positive_cost = self._positive_losses(x, positives)
        return Losses(box, objectness, classes, objectness_cost + positive_cost)

    def _match(self, x: Tensor, truths: Tensor) -> tuple[Tensor, Positives | None]:
        """Compare every predicted box with every truth of its image.

        Returns:
            A mask ``(B, A, H, W)`` of the cells whose objectness counts as "no object" unless a truth claims them, and
            the cells so close to a truth that they learn it (only with ``truth_thresh`` below 1).
        """
        best, which = self._best_truths(x, truths)
        counted = best <= self.section.ignore_thresh
        if self.section.truth_thresh >= 1:
            return counted, None
        cells = (best > self.section.truth_thresh).nonzero()  # (P, 4)
        rows = truths[cells[:, 0], which[tuple(cells.T)]]  # (P, 5)
        return counted, Positives(cells, rows[:, 1:], rows[:, 0])

    def _best_truths(self, x: Tensor, truths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the IoU of every predicted box with the truth it overlaps most, and that truth's index.

        Both are ``(B, A, H, W)``; where nothing overlaps, 0 and any index.
        """
        batch, anchors, _, height, width = x.shape
        boxes = self._boxes_norm(x).reshape(batch, -1, 4)  # (B, N, 4) with N = A * H * W
        best = boxes.new_zeros(boxes.shape[:2])
        which = torch.zeros_like(best, dtype=torch.long)
        step = max(1, TABLE_LIMIT // max(1, boxes.shape[1] * truths.shape[1]))
        for start in range(0, batch, step):
            part = slice(start, start + step)
            overlap = box_iou(boxes[part, :, None], truths[part, None, :, 1:])  # (b, N, T); 0 without a truth
            best[part], which[part] = overlap.max(2)
        shape = (batch, anchors, height, width)
        return best.reshape(shape), which.reshape(shape)

    def _boxes_norm(self, x: Tensor) -> Tensor:
        """Return the predicted boxes as ``(B, A, H, W, 4)``: centre x, centre y, width, height in [0, 1]."""
        height, width = x.shape[3:]
        columns = torch.arange(width, device=x.device, dtype=x.dtype)
        rows = torch.arange(height, device=x.device, dtype=x.dtype)[:, None]
        sizes = self._sizes_norm(self.anchors, x)  # (A, 2)
        centre = scaled_centre(self._logistic(x[:, :, :2]), self.section.scale_x_y)
        return torch.stack(
            (
                (centre[:, :, 0] + columns) / width,
                (centre[:, :, 1] + rows) / height,
                self._stretch(x[:, :, 2]) * sizes[:, 0, None, None],
                self._stretch(x[:, :, 3]) * sizes[:, 1, None, None],
            ),
            -1,
        )

    def _sizes_norm(self, anchors: Tensor, x: Tensor) -> Tensor:
        """Return anchors ``(n, 2)`` in pixels as fractions of the network's input, in the type of ``x``."""
        width, height = x.shape[4] * self.cell[0], x.shape[3] * self.cell[1]
        return torch.stack((anchors[:, 0].to(x.dtype) / width, anchors[:, 1].to(x.dtype) / height), 1)

    def _assign(self, x: Tensor, truths: Tensor, confident: Positives | None) -> Positives:
        """Give every truth its cell, and resolve truths that meet in one cell.

        The anchor is the one of all, not only of this head's, whose size fits best; a truth whose anchor belongs to
        another head is that head's. In one cell the last box wins and the classes add up, as Darknet's loops have it.
        """
        if confident is not None:
            truths = truths.to(x.device)
        image, number = (truths[..., 0] >= 0).nonzero(as_tuple=True)  # (P,)
        rows = truths[image, number]
        height, width = x.shape[3:]
        sizes = self._sizes_norm(self.all_anchors.to(rows.device), x)  # (num, 2)
        shared = torch.minimum(rows[:, None, 3:], sizes).prod(2)  # (P, num)
        iou = shared / (rows[:, 3:].prod(1, keepdim=True) + sizes.prod(1) - shared)
        anchor = self.position.to(rows.device)[iou.argmax(1)]
        column = (rows[:, 1] * width).long().clamp_(max=width - 1)
        row = (rows[:, 2] * height).long().clamp_(0, height - 1)
        mine = anchor >= 0
        cells = torch.stack((image, anchor, row, column), 1)[mine]
        boxes, labels = rows[mine, 1:], rows[mine, 0]
        if confident is not None:
            cells = torch.cat((confident.cells, cells))
            boxes, labels = torch.cat((confident.boxes, boxes)), torch.cat((confident.classes, labels))
        merged = self._merge(cells, boxes, labels.long(), x)
        return Positives(*(to_device(each, x.device) for each in merged))

    def _merge(self, cells: Tensor, boxes: Tensor, labels: Tensor, x: Tensor) -> Positives:
        """Join the rows that share a cell: the last box, all the classes."""
        anchors, height, width = x.shape[1], x.shape[3], x.shape[4]
        flat = ((cells[:, 0] * anchors + cells[:, 1]) * height + cells[:, 2]) * width + cells[:, 3]
        unique, group = torch.unique(flat, return_inverse=True)  # (U,), (P,)
        last = torch.zeros_like(unique).scatter_reduce_(
            0, group, torch.arange(len(flat), device=flat.device), "amax", include_self=False
        )
        classes = torch.zeros(len(unique), self.classes, dtype=x.dtype, device=flat.device)
        inside = (labels >= 0) & (labels < self.classes)
        classes[group[inside], labels[inside]] = 1
        return Positives(cells[last], boxes[last], classes)

    def _objectness(self, logits: Tensor, counted: Tensor, positives: Positives) -> tuple[Tensor, Tensor]:
        """Return the objectness loss over ``(B, A, H, W)`` and its share of Darknet's cost."""
        target = torch.zeros_like(logits)
        place = tuple(positives.cells.T)
        target[place] = 1
        weight = counted.to(logits.dtype)
        weight[place] = 1
        loss = F.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
        with torch.no_grad():
            cost = ((target - logits.sigmoid()) * weight).square().sum()
        return loss, cost

    def _positive_losses(self, x: Tensor, positives: Positives) -> tuple[Tensor, Tensor, Tensor]:
        """Return box loss, class loss and their share of Darknet's cost."""
        image, anchor, row, column = positives.cells.T
        picked = x[image, anchor, :, row, column]  # (P, 5 + C)
        centre, size, classes = picked[:, :2], picked[:, 2:4], picked[:, 5:]
        centre_target = torch.stack(
            (positives.boxes[:, 0] * x.shape[4] - column, positives.boxes[:, 1] * x.shape[3] - row), 1
        )
        anchors = self._sizes_norm(self.anchors, x)[anchor]
        size_target = (positives.boxes[:, 2:] / anchors).log()
        # Small boxes weigh up to twice as much as one that fills the image.
        scale = (2 - positives.boxes[:, 2:].prod(1, keepdim=True)).expand(-1, 2)
        factor = self.section.scale_x_y
        centre_loss = scaled_centre_loss(centre, centre_target, scale, factor).sum()
        size_loss = (scale * (size_target - size).square()).sum() / 2
        class_loss = F.binary_cross_entropy_with_logits(classes, positives.classes, reduction="sum")
        with torch.no_grad():
            deltas = (
                scale * (centre_target - scaled_centre(centre.sigmoid(), factor)),
                scale * (size_target - size),
                positives.classes - classes.sigmoid(),
            )
            cost = sum((delta.square().sum() for delta in deltas), x.new_zeros(()))
        return centre_loss + size_loss, class_loss, cost


def scaled_centre(centre: Tensor, factor: float) -> Tensor:
    """Stretch a logistic centre about the middle of its cell (``scale_x_y``), so that borders can be reached."""
    return centre if factor == 1 else centre * factor - (factor - 1) / 2


def scaled_centre_loss(logits: Tensor, target: Tensor, weight: Tensor, factor: float) -> Tensor:
    """Return the loss whose gradient is ``weight * (scaled centre - target)``, the logistic's slope left out.

    That is the integral of ``factor * sigmoid(t) - (factor - 1) / 2 - target`` over the logit ``t``; for a factor of
    1 it is the binary cross-entropy.
    """
    shift = (factor - 1) / 2 + target
    return weight * (factor * F.softplus(logits) - shift * logits)
