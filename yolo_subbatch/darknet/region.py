"""The ``[region]`` layer, YOLOv2's detection head: its output, its boxes and its loss.

The loss is a sum over images whose gradient with respect to the raw map is minus the ``delta`` that Darknet hands to
the layer before: half a squared error for the centre, objectness (both after their logistic) and the logarithms of
width and height, a cross-entropy for the classes.

Source: darknet ``forward_region_layer``, ``backward_region_layer_gpu``, ``delta_region_box``, ``delta_region_class``
and ``get_region_detections`` in src/region_layer.c; Redmon and Farhadi 2017, section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yolo_subbatch.darknet.boxes import box_iou
from yolo_subbatch.darknet.decode import split_anchors
from yolo_subbatch.darknet.hierarchy import TREE_THRESH, Hierarchy, read_map, read_tree
from yolo_subbatch.darknet.loss import TABLE_LIMIT, Losses
from yolo_subbatch.darknet.loss_alexeyab import FOCAL_ALPHA, focal_slope
from yolo_subbatch.darknet.sections import Region, most_truths
from yolo_subbatch.darknet.transfer import row_like, to_device
from yolo_subbatch.errors import CfgError

WARM_UP = 12800  # images in which every box learns its own anchor, so that training starts steadily
WARM_UP_WEIGHT = 0.01


class Claims(NamedTuple):
    """The cells that answer for a truth, one row each, the last truth of every cell.

    ``cells`` is ``(U, 4)``: image, anchor, row, column; ``boxes`` ``(U, 4)``: centre x, centre y, width, height in
    [0, 1]; ``classes`` ``(U, C)``: 1 for each class that the cell learns.
    """

    cells: Tensor
    boxes: Tensor
    classes: Tensor


class RegionHead(nn.Module):
    """One ``[region]`` section.

    Args:
        section: The parsed section.
        cell: Input pixels per grid cell, across and down.
        flavour: Whose Darknet: pjreddie's weighs small boxes up to twice as much as one that fills the image.

    Raises:
        CfgError: If a file of the hierarchy cannot be read or does not fit the classes.
    """

    anchors: Tensor
    #: Images that the network was trained on before this batch. Darknet counts those of the batch's own sub-batches
    #: too, which would make the result depend on how a batch is divided.
    seen: int = WARM_UP
    #: How sure a class of a hierarchy must be for its subclasses to be asked.
    tree_threshold: float = TREE_THRESH

    def __init__(self, section: Region, cell: tuple[float, float], flavour: str) -> None:
        super().__init__()
        self.section, self.cell, self.stride, self.flavour = section, cell, max(cell), flavour
        self.classes = section.classes
        anchors = torch.tensor(section.anchor_pairs, dtype=torch.float32).reshape(-1, 2)
        # Not persistent: it is the cfg's, and a checkpoint must not override it.
        self.register_buffer("anchors", anchors, persistent=False)  # (A, 2), in cells
        self.hierarchy = Hierarchy(read_tree(section.tree)) if section.tree else None
        if self.hierarchy is not None and self.hierarchy.classes != section.classes:
            raise CfgError(
                f"{section.tree}: {self.hierarchy.classes} classes, but [region] has classes={section.classes}; "
                "give the tree that belongs to the cfg"
            )
        numbers = read_map(section.map) if section.map else []
        if any(not 0 <= number < section.classes for number in numbers):
            raise CfgError(f"{section.map}: a class outside 0 to {section.classes - 1}; give the map of this tree")
        self.mapped = torch.tensor(numbers) if numbers else None  # (labels,)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RegionHead:
        """Move to a device or type; anchors keep their float32 values where half precision would round them."""
        chosen = self.anchors
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.anchors = chosen.to(self.anchors.device)
        return self

    # --- output -----------------------------------------------------------------------------------------------------

    def forward(self, raw: Tensor) -> Tensor:
        """Return Darknet's ``l.output`` in the shape of ``raw``: width and height stay as they are."""
        x = split_anchors(raw, len(self.anchors))  # (B, A, 5 + C, H, W)
        return torch.cat((x[:, :, :2].sigmoid(), x[:, :, 2:4], self._scores(x)), 2).reshape(raw.shape)

    def _scores(self, x: Tensor) -> Tensor:
        """Return objectness (or the background's probability) and the classes, ``(B, A, 1 + C, H, W)``."""
        if self.section.background and self.section.softmax:
            return x[:, :, 4:].softmax(2)
        first = x[:, :, 4:5] if self.section.background else x[:, :, 4:5].sigmoid()
        return torch.cat((first, self._classes(x[:, :, 5:])), 2)

    def _classes(self, logits: Tensor) -> Tensor:
        """Return class probabilities ``(B, A, C, H, W)``; with a hierarchy each given its parent."""
        if self.hierarchy is not None:
            flat = logits.permute(0, 1, 3, 4, 2)  # (B, A, H, W, C)
            found = self.hierarchy.log_softmax(flat.reshape(-1, self.classes)).exp()
            return found.reshape(flat.shape).permute(0, 1, 4, 2, 3)
        return logits.softmax(2) if self.section.softmax else logits.sigmoid()

    def decode(self, raw: Tensor) -> Tensor:
        """Turn a raw map into boxes.

        Args:
            raw: ``(B, A * (5 + C), H, W)``.

        Returns:
            ``(B, A * H * W, 5 + C)``: centre x, centre y, width, height in input pixels, then objectness and class
            scores in [0, 1]. Anchors are the outer, cells the inner order, as Darknet lists them. With a hierarchy one
            class has the score 1 and all others 0: how deep to go is decided here.
        """
        x = split_anchors(raw.float(), len(self.anchors))
        boxes = self._boxes(x)  # (B, A, 4, H, W), in cells
        across, down = self.cell
        scale = boxes.new_tensor([across, down, across, down])[:, None, None]
        scores = self._scores(x)
        if self.section.background:
            scores = torch.cat((torch.ones_like(scores[:, :, :1]), scores[:, :, 1:]), 2)
        found = torch.cat((boxes * scale, scores), 2).permute(0, 1, 3, 4, 2).flatten(1, 3)  # (B, A * H * W, 5 + C)
        return found if self.hierarchy is None else self._decided(self.hierarchy, found)

    def _decided(self, hierarchy: Hierarchy, found: Tensor) -> Tensor:
        """Replace the probabilities of a hierarchy by 1 for the class that it decides on."""
        absolute = hierarchy.absolute(found[..., 5:].reshape(-1, self.classes))
        top = hierarchy.top(absolute, self.tree_threshold)[:, None]
        scores = torch.zeros_like(absolute).scatter(1, top, torch.ones_like(absolute[:, :1]))
        return torch.cat((found[..., :5], scores.reshape(found[..., 5:].shape)), -1)

    def _boxes(self, x: Tensor) -> Tensor:
        """Return the predicted boxes ``(B, A, 4, H, W)``: centre x, centre y, width, height, in cells."""
        height, width = x.shape[3:]
        columns = torch.arange(width, device=x.device, dtype=x.dtype)
        rows = torch.arange(height, device=x.device, dtype=x.dtype)[:, None]
        anchors = self.anchors.to(x.dtype)[:, :, None, None]
        return torch.stack(
            (
                x[:, :, 0].sigmoid() + columns,
                x[:, :, 1].sigmoid() + rows,
                x[:, :, 2].exp() * anchors[:, 0],
                x[:, :, 3].exp() * anchors[:, 1],
            ),
            2,
        )

    # --- loss -------------------------------------------------------------------------------------------------------

    def loss(self, raw: Tensor, truths: Tensor) -> Losses:
        """Compute the loss of this head.

        Args:
            raw: ``(B, A * (5 + C), H, W)`` of any floating type; computed in float32 at least.
            truths: ``(B, T, 5)`` from :func:`~yolo_subbatch.darknet.loss.pad_truths`; on the CPU nothing here waits
                for a GPU, but for ``bias_match=0`` and a hierarchy.

        Returns:
            Sums over the images.
        """
        raw = raw if raw.dtype == torch.float64 else raw.float()
        x = split_anchors(raw, len(self.anchors))  # (B, A, 5 + C, H, W)
        with torch.no_grad():
            usable = self._usable(truths.to(raw.dtype))
            there = to_device(usable, x.device)
            boxes = self._boxes(x)
            free = self._overlap(boxes, there) <= self.section.thresh
            on_cpu = self.section.bias_match and self.hierarchy is None  # nothing that was predicted is asked
            claims = self._claims(boxes, usable if on_cpu else there)
            overlap = self._claimed_overlap(boxes, claims)
        box, box_cost = self._box_loss(x, claims)
        objectness, objectness_cost = self._objectness(x, free, claims, overlap)
        classes, class_cost = self._class_loss(x, claims)
        return Losses(box, objectness, classes, box_cost + objectness_cost + class_cost)

    def _usable(self, truths: Tensor) -> Tensor:
        """Keep the truths that count, with the head's own classes."""
        truths = truths[:, : most_truths(self.section, self.flavour)]
        labels = truths[..., 0].long()
        if self.mapped is not None:
            known = (labels >= 0) & (labels < len(self.mapped))
            chosen = self.mapped.to(labels.device)[labels.clamp(0, len(self.mapped) - 1)]
            labels = torch.where(known, chosen, torch.full_like(labels, -1))
        labels = torch.where(labels < self.classes, labels, torch.full_like(labels, -1))
        return torch.cat((labels[..., None].to(truths.dtype), truths[..., 1:]), 2)

    def _overlap(self, boxes: Tensor, truths: Tensor) -> Tensor:
        """Return the largest IoU of every predicted box with a truth of its image, ``(B, A, H, W)``."""
        batch, _, _, height, width = boxes.shape
        grid = row_like(boxes, width, height, width, height)
        predicted = boxes.permute(0, 1, 3, 4, 2).flatten(1, 3) / grid  # (B, N, 4)
        wanted = truths[..., 1:] * (truths[..., :1] >= 0)
        best = predicted.new_zeros(predicted.shape[:2])
        step = max(1, TABLE_LIMIT // max(1, predicted.shape[1] * truths.shape[1]))
        for start in range(0, batch, step):
            part = slice(start, start + step)
            best[part] = box_iou(predicted[part, :, None], wanted[part, None]).amax(2)
        return best.reshape(batch, -1, height, width)

    def _claims(self, boxes: Tensor, truths: Tensor) -> Claims:
        """Give every truth its cell and anchor; where several meet, the last one's box stays."""
        anchors, height, width = boxes.shape[1], boxes.shape[3], boxes.shape[4]
        image, number = (truths[..., 0] >= 0).nonzero(as_tuple=True)  # (P,)
        rows = truths[image, number]
        grid = row_like(rows, width, height)
        column = (rows[:, 1] * width).long().clamp_(0, width - 1)
        row = (rows[:, 2] * height).long().clamp_(0, height - 1)
        if self.section.bias_match:
            pairs = torch.tensor(self.section.anchor_pairs, dtype=rows.dtype, device=rows.device)
            sizes = pairs.reshape(-1, 2).expand(len(rows), -1, -1)
        else:
            sizes = boxes[image, :, 2:, row, column]  # (P, A, 2)
        pair = (F.pad(sizes, (2, 0)), F.pad(rows[:, None, 3:] * grid, (2, 0)))
        anchor = box_iou(*pair).argmax(1)
        flat = ((image * anchors + anchor) * height + row) * width + column
        unique, group = torch.unique(flat, return_inverse=True)  # (U,), (P,)
        order = torch.arange(len(flat), device=flat.device)
        last = torch.zeros_like(unique).scatter_reduce_(0, group, order, "amax", include_self=False)
        cells = torch.stack((image, anchor, row, column), 1)[last]
        learned = self._class_targets(rows[:, 0].long(), group, last, rows)
        return Claims(*(to_device(each, boxes.device) for each in (cells, rows[last, 1:], learned)))

    def _class_targets(self, labels: Tensor, group: Tensor, last: Tensor, like: Tensor) -> Tensor:
        """Return the classes that cells learn, ``(U, C)``.

        Args:
            labels: The class of each truth, ``(P,)``.
            group: Its cell, ``(P,)``.
            last: The last truth of each cell, ``(U,)``.
            like: A tensor of the type that is wanted.
        """
        if self.hierarchy is not None:
            return self.hierarchy.targets(labels, group, len(last)).to(like.dtype)
        classes = like.new_zeros(len(last), self.classes)
        # A softmax has one class; logistics learn all the classes of the cell, in pjreddie's Darknet alone.
        if self.section.softmax or self.flavour == "alexeyab":
            classes[torch.arange(len(last), device=last.device), labels[last]] = 1
        else:
            classes[group, labels] = 1
        return classes

    def _claimed_overlap(self, boxes: Tensor, claims: Claims) -> Tensor:
        """Return the IoU of each claimed cell's prediction with its truth, ``(U,)``."""
        image, anchor, row, column = claims.cells.T
        grid = row_like(boxes, *[boxes.shape[4], boxes.shape[3]] * 2)
        return box_iou(boxes[image, anchor, :, row, column] / grid, claims.boxes)

    def _box_loss(self, x: Tensor, claims: Claims) -> tuple[Tensor, Tensor]:
        """Return the box loss and its share of Darknet's cost; before the end of the warm-up every cell has one."""
        image, anchor, row, column = claims.cells.T
        grid = row_like(x, x.shape[4], x.shape[3])
        corner = torch.stack((column, row), 1)
        size = (claims.boxes[:, 2:] * grid / self.anchors.to(x.dtype)[anchor]).log()
        target = torch.cat((claims.boxes[:, :2] * grid - corner, size), 1)  # (U, 4)
        weight = x.new_full((len(target), 1), self.section.coord_scale)
        if self.flavour == "pjreddie":
            weight = weight * (2 - claims.boxes[:, 2:].prod(1, keepdim=True))
        if self.seen >= WARM_UP:
            return self._squared(x[image, anchor, :4, row, column], target, weight.expand(-1, 4), 2)
        every = x[:, :, :4].permute(0, 1, 3, 4, 2)  # (B, A, H, W, 4)
        targets = row_like(x, 0.5, 0.5, 0.0, 0.0).expand(every.shape).clone()
        weights = torch.full_like(every, WARM_UP_WEIGHT)
        targets[image, anchor, row, column], weights[image, anchor, row, column] = target, weight.expand(-1, 4)
        return self._squared(every, targets, weights, 2)

    def _squared(self, raw: Tensor, target: Tensor, weight: Tensor, logistic: int) -> tuple[Tensor, Tensor]:
        """Return half the weighted squared error, summed, and the squared length of Darknet's delta.

        The first ``logistic`` of the last dimension go through the logistic. The number that pjreddie's Darknet prints
        is from before its slope is multiplied in, AlexeyAB's from after.
        """
        centre = raw[..., :logistic].sigmoid()
        error = target - torch.cat((centre, raw[..., logistic:]), -1)
        with torch.no_grad():
            delta = weight * error
            if self.flavour == "alexeyab":
                slope = centre * (1 - centre)
                delta = delta * torch.cat((slope, torch.ones_like(raw[..., logistic:])), -1)
            cost = delta.square().sum()
        return (weight * error.square()).sum() / 2, cost

    def _objectness(self, x: Tensor, free: Tensor, claims: Claims, overlap: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of objectness and its share of Darknet's cost."""
        section, place = self.section, tuple(claims.cells.T)
        target = torch.full_like(x[:, :, 4], float(bool(section.background)))
        weight = free.to(x.dtype) * section.noobject_scale
        weight[place] = section.object_scale
        target[place] = 0.0 if section.background else overlap if section.rescore else 1.0
        if not section.background:
            return self._squared(x[:, :, 4, ..., None], target[..., None], weight[..., None], 1)
        # No slope here: the background's delta is that of its softmax, in cells without a truth for itself alone.
        logits = x[:, :, 4]
        delta = (weight * (target - self._scores(x)[:, :, 0])).detach()
        value = delta.square().sum()
        return value / 2 - (delta * (logits - logits.detach())).sum(), value

    def _class_loss(self, x: Tensor, claims: Claims) -> tuple[Tensor, Tensor]:
        """Return the class loss and its share of Darknet's cost."""
        image, anchor, row, column = claims.cells.T
        scale = self.section.class_scale
        picked = x[image, anchor, :, row, column]
        logits = picked[:, 5:]  # (U, C)
        if self.hierarchy is not None:
            losses, delta = self.hierarchy.loss(logits, claims.classes)
            return scale * losses.sum(), (scale * delta).square().sum()
        if self.section.background and self.section.softmax:
            delta = scale * (claims.classes - picked[:, 4:].softmax(1)[:, 1:]).detach()
            value = delta.square().sum()
            return value / 2 - (delta * (logits - logits.detach())).sum(), value
        if self.section.softmax:
            losses = F.cross_entropy(logits, claims.classes, reduction="none")  # (U,)
            found = logits.detach().softmax(1)
        else:
            losses = F.binary_cross_entropy_with_logits(logits, claims.classes, reduction="none").sum(1)
            found = logits.detach().sigmoid()
        weight = scale * self._focal((found * claims.classes).sum(1))
        delta = weight[:, None] * (claims.classes - found)
        return (weight * losses).sum(), delta.square().sum()

    def _focal(self, probability: Tensor) -> Tensor:
        """Return the weight of each cell's class loss, given what the truth's class has now, both ``(U,)``."""
        if not self.section.focal_loss or self.flavour == "pjreddie":
            return torch.ones_like(probability)
        return FOCAL_ALPHA * focal_slope(probability)
