"""The ``[yolo]`` loss of AlexeyAB's Darknet, and of hank-ai's, its heir.

The numbers that Darknet writes into ``delta`` are worked out as it does, event by event: a truth that a cell learns is
one event, and what it writes depends on what earlier ones wrote into that cell. The events are taken in rounds, each
holding the next event of every cell, so that a round is one vectorised step and there are as many rounds as truths meet
in the fullest cell.

Objectness and classes are then cross-entropies (half a squared error with ``new_coords``) whose weights and targets the
events set. The deltas of boxes are the gradient of no function: there the loss has a value of its own and the wanted
gradient, see :func:`with_gradient`.

Source: AlexeyAB/darknet ``process_batch``, ``forward_yolo_layer``, ``delta_yolo_box`` and ``delta_yolo_class`` in
src/yolo_layer.c, ``parse_yolo`` in src/parser.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from yolo_subbatch.darknet.assignment import Events, class_multipliers, in_rounds
from yolo_subbatch.darknet.boxes import box_metric, iou_ascent
from yolo_subbatch.darknet.decode import split_anchors
from yolo_subbatch.darknet.loss import Losses, YoloHead, scaled_centre, scaled_centre_loss
from yolo_subbatch.darknet.sections import Yolo
from yolo_subbatch.darknet.transfer import to_device

SURE = 0.25  # score that some class must exceed for a cell to be ignored
MOST_TRUTHS = 200  # of an image, where the cfg has no `max`
FOCAL_ALPHA = 0.5


@dataclass
class Goals:
    """Per cell that learns, what it shall learn: ``delta = weight * (target - output)``; changed in place.

    ``objectness`` and its weight are ``(U,)``, ``classes`` and theirs ``(U, C)``, ``box`` is the delta itself,
    ``(U, 4)``.
    """

    objectness: Tensor
    objectness_weight: Tensor
    classes: Tensor
    classes_weight: Tensor
    box: Tensor


class AlexeyabHead(YoloHead):
    """One ``[yolo]`` section with the loss of AlexeyAB's Darknet."""

    def __init__(self, section: Yolo, cell: tuple[float, float]) -> None:
        super().__init__(section, cell)
        self.multipliers = class_multipliers(section)  # (C,), on the CPU where the truths are

    def loss(self, raw: Tensor, truths: Tensor) -> Losses:
        """Compute the loss of this head: see :meth:`YoloHead.loss`."""
        raw = raw if raw.dtype == torch.float64 else raw.float()
        x = split_anchors(raw, len(self.anchors))  # (B, A, 5 + C, H, W)
        truths = self._usable(truths.to(raw.dtype))
        with torch.no_grad():
            target, weight, near = self._background(x, to_device(truths, x.device))
            events = self._events(x, truths, near)
        image, anchor, row, column = events.cells.T
        picked = x[image, anchor, :, row, column]  # (U, 5 + C)
        with torch.no_grad():
            place = (image, anchor, row, column)
            goals, agreement, value = self._goals(x, picked, events, (target[place], weight[place]))
            target[place], weight[place] = goals.objectness, goals.objectness_weight
            cost = self._cost(x, picked, goals, (target, weight), agreement)
        box = with_gradient(picked[:, :4], -goals.box, value)
        objectness = self._distance(x[:, :, 4], target, weight)
        classes = self._distance(picked[:, 5:], goals.classes, goals.classes_weight)
        factor = self.section.delta_normalizer
        return Losses(box * factor, objectness * factor, classes * factor, cost)

    def _usable(self, truths: Tensor) -> Tensor:
        """Drop truths beyond ``max`` and those of a class that the head has not."""
        truths = truths[:, : self.section.max or MOST_TRUTHS]
        known = (truths[..., 0] >= 0) & (truths[..., 0] < self.classes)
        return torch.where(known[..., None], truths, truths.new_tensor([-1.0, 0, 0, 0, 0]))

    def _background(self, x: Tensor, truths: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Work out objectness as it is before any truth claims its cell.

        Returns:
            Target and weight of objectness, ``(B, A, H, W)``, and the predictions so close to a truth that they learn
            it (only with ``truth_thresh`` below 1), ``(P, 9)``: image, anchor, row, column and the truth.
        """
        section = self.section
        best, which = self._best_truths(x, truths)
        sure = self._logistic(x[:, :, 5:].amax(2)) > SURE
        ignored = (best > section.ignore_thresh) & sure
        target, weight = torch.zeros_like(best), torch.full_like(best, section.obj_normalizer)
        if section.objectness_smooth:
            target = torch.where(ignored, best, target)
        else:
            weight = torch.where(ignored, torch.zeros_like(weight), weight)
        if section.truth_thresh >= 1:
            return target, weight, None
        confident = best > section.truth_thresh
        target = torch.where(confident, best.square() if section.objectness_smooth else torch.ones_like(best), target)
        weight = torch.where(confident, torch.full_like(weight, section.obj_normalizer), weight)
        cells = confident.nonzero()
        near = torch.cat((cells.to(truths.dtype), truths[cells[:, 0], which[tuple(cells.T)]]), 1)
        return target, weight, near

    def _events(self, x: Tensor, truths: Tensor, near: Tensor | None) -> Events:
        """Give every truth its cells: that of the anchor that fits best, and with ``iou_thresh`` those that fit well.

        The anchors are all, not only this head's; a truth whose anchor belongs to another head is that head's.
        """
        if near is not None:
            truths = truths.to(x.device)
        image, number = (truths[..., 0] >= 0).nonzero(as_tuple=True)  # (T,)
        rows = truths[image, number]
        height, width = x.shape[3:]
        anchors = F.pad(self._sizes_norm(self.all_anchors.to(rows.device), x), (2, 0))  # (num, 4), centres 0
        sizes = F.pad(rows[:, 3:], (2, 0))[:, None]  # (T, 1, 4)
        position = self.position.to(rows.device)
        best = box_metric("iou", anchors, sizes).argmax(1, keepdim=True)  # (T, 1)
        learns = best == torch.arange(len(position), device=rows.device)  # (T, num)
        if self.section.iou_thresh < 1:
            learns |= box_metric(self.section.iou_thresh_kind, anchors, sizes) > self.section.iou_thresh
        event, anchor = (learns & (position >= 0)).nonzero(as_tuple=True)  # (P,)
        rows, image, anchor = rows[event], image[event], position[anchor]
        # Darknet writes a truth on the right or lower border of the image into a cell beside the map.
        column = (rows[:, 1] * width).long().clamp_(0, width - 1)
        row = (rows[:, 2] * height).long().clamp_(0, height - 1)
        cells = torch.stack((image, anchor, row, column), 1)
        if near is not None:
            cells, rows = torch.cat((near[:, :4].long(), cells)), torch.cat((near[:, 4:], rows))
        return in_rounds(cells, rows, self.multipliers, len(rows) - len(event), x)

    def _goals(
        self, x: Tensor, picked: Tensor, events: Events, objectness: tuple[Tensor, Tensor]
    ) -> tuple[Goals, Tensor, Tensor]:
        """Play the events.

        Args:
            x: The raw map, ``(B, A, 5 + C, H, W)``.
            picked: Its values at the cells that learn, ``(U, 5 + C)``.
            events: The events.
            objectness: Target and weight of objectness at these cells before any event, ``(U,)``.

        Returns:
            What the cells learn, the agreement of box and truth for each event that is no confident one, and the value
            of the box loss.
        """
        section = self.section
        deltas, agreement, values = self._box_deltas(x, picked, events)
        scores, own = self._logistic(picked[:, 5:]), self._logistic(picked[:, 4])
        goals = Goals(*objectness, torch.zeros_like(scores), torch.zeros_like(scores), torch.zeros_like(picked[:, :4]))
        for number, part in enumerate(events.rounds):
            place, factor = events.place[part], events.factor[part]
            goals.box[place] += deltas[part]
            first = events.confident > 0 and number == 0
            if not first:
                self._claim(goals, place, factor, own)
            self._teach(goals, place, events.truths[part, 0].long(), factor, scores, first)
        if section.iou_thresh < 1:
            claimed = goals.objectness_weight * (goals.objectness - own) != 0
            count = (goals.classes_weight * (goals.classes - scores) > 0).sum(1)
            share = torch.where(claimed & (count > 0), count, torch.ones_like(count)).to(picked.dtype)
            goals.box /= share[:, None]
            values = values / share[events.place]
        return goals, agreement[events.confident :], values.sum()

    def _claim(self, goals: Goals, place: Tensor, factor: Tensor, own: Tensor) -> None:
        """Let truths claim the objectness of cells; with ``objectness_smooth`` only where there is no delta yet."""
        target, weight = goals.objectness[place], goals.objectness_weight[place]
        free = torch.ones_like(target, dtype=torch.bool)
        if self.section.objectness_smooth:
            free = weight * (target - own[place]) == 0
        goals.objectness[place] = torch.where(free, torch.ones_like(target), target)
        goals.objectness_weight[place] = torch.where(free, factor * self.section.obj_normalizer, weight)

    def _teach(
        self, goals: Goals, place: Tensor, label: Tensor, factor: Tensor, scores: Tensor, confident: bool
    ) -> None:
        """Let one event a cell set its classes: all of them in a new cell, its own in one that others use already.

        Args:
            goals: Changed in place.
            place: Indices of different cells, ``(R,)``.
            label: The class of each, ``(R,)``.
            factor: The weight of that class.
            scores: Class scores of all cells, ``(U, C)``.
            confident: The events come from predictions above ``truth_thresh``.
        """
        section, score = self.section, scores[place]
        target, weight = goals.classes[place], goals.classes_weight[place]  # (R, C)
        chosen = label[:, None] == torch.arange(self.classes, device=label.device)
        own = score.gather(1, label[:, None])
        fresh = (weight * (target - score)).gather(1, label[:, None]) == 0
        smooth, factor = section.label_smooth_eps, factor[:, None]
        new_target, new_weight = chosen.to(score.dtype), torch.ones_like(score)
        if section.focal_loss:
            new_weight = new_weight * (FOCAL_ALPHA * focal_slope(own))
        else:
            new_target = new_target * (1 - smooth) + smooth / 2
            if section.counters_per_class:
                new_weight = torch.where(chosen, factor * section.cls_normalizer, new_weight)
        only_target = torch.where(chosen, torch.full_like(target, 1 - smooth / 2), target)
        only_weight = torch.where(chosen, factor, weight)
        target, weight = torch.where(fresh, new_target, only_target), torch.where(fresh, new_weight, only_weight)
        if confident and section.objectness_smooth:
            target = torch.where(chosen, goals.objectness[place][:, None], target)
            weight = torch.where(chosen, factor, weight)
        goals.classes[place], goals.classes_weight[place] = target, weight

    def _box_deltas(self, x: Tensor, picked: Tensor, events: Events) -> tuple[Tensor, Tensor, Tensor]:
        """Return each event's box delta, ``(P, 4)``, the agreement that Darknet prints and its share of the loss."""
        section, place, truth = self.section, events.place, events.truths[:, 1:]
        _, anchor, row, column = events.cells[place].T
        raw = picked[place, :4]
        centre, size = scaled_centre(self._logistic(raw[:, :2]), section.scale_x_y), self._stretch(raw[:, 2:])
        grid = torch.cat([picked.new_full((1,), side) for side in (x.shape[4], x.shape[3])])
        corner = torch.stack((column, row), 1)
        anchors = self._sizes_norm(self.anchors, x)[anchor]
        pred = torch.cat(((centre + corner) / grid, size * anchors), 1)
        factor = section.iou_normalizer * events.factor
        agreement = box_metric("giou" if section.iou_loss == "giou" else "iou", pred, truth).nan_to_num(0.0)
        if section.iou_loss == "mse":
            wanted = truth[:, 2:] / anchors
            wanted = (wanted / 4).sqrt() if section.new_coords else wanted.log()
            target = torch.cat((truth[:, :2] * grid - corner, wanted), 1)
            weight = factor[:, None] * (2 - truth[:, 2:].prod(1, keepdim=True))
            delta = finite(weight * (target - torch.cat((centre, raw[:, 2:]), 1)))
            return delta, agreement, self._box_value(raw, target, weight)
        ascent = iou_ascent(section.iou_loss, pred, truth)
        if not section.new_coords:  # without the anchor, and without the slope of the logistic in the centre
            ascent = torch.cat((ascent[:, :2], ascent[:, 2:] * size), 1)
        delta = finite(ascent * factor[:, None])
        if section.max_delta is not None:
            delta = delta.clamp(-section.max_delta, section.max_delta)
        metric = box_metric(section.iou_loss, pred, truth, beta=1)
        return delta, agreement, finite(factor * (1 - metric))

    def _box_value(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss, ``(P,)``, of which the mse deltas of single events are the gradient."""
        factor = self.section.scale_x_y
        size = weight * (target[:, 2:] - raw[:, 2:]).square() / 2
        if self.section.new_coords:
            centre = weight * (target[:, :2] - scaled_centre(raw[:, :2], factor)).square() / (2 * factor)
        else:
            centre = scaled_centre_loss(raw[:, :2], target[:, :2], weight, factor)
        return finite(torch.cat((centre, size), 1)).sum(1)

    def _distance(self, raw: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss whose gradient is ``weight * (output - target)``, summed."""
        if self.section.new_coords:
            return (weight * (raw - target).square()).sum() / 2
        return F.binary_cross_entropy_with_logits(raw, target, weight, reduction="sum")

    def _cost(
        self, x: Tensor, picked: Tensor, goals: Goals, objectness: tuple[Tensor, Tensor], agreement: Tensor
    ) -> Tensor:
        """Return the number that Darknet prints, which for an IoU loss is not the squared length of ``delta``."""
        section, (target, weight) = self.section, objectness
        others = (weight * (target - self._logistic(x[:, :, 4]))).square().sum()
        others = others + (goals.classes_weight * (goals.classes - self._logistic(picked[:, 5:]))).square().sum()
        if section.iou_loss == "mse" or not section.show_details:
            return others + goals.box.square().sum()
        missing = (1 - agreement).sum() / max(1, len(agreement))
        return section.iou_normalizer * missing + section.obj_normalizer * others


class _WithGradient(torch.autograd.Function):
    """A given value with a given gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None, None


def with_gradient(x: Tensor, gradient: Tensor, value: Tensor) -> Tensor:
    """Return ``value``, a scalar, as if its gradient with respect to ``x`` were ``gradient``."""
    result: Tensor = _WithGradient.apply(x, gradient, value)
    return result


def focal_slope(score: Tensor) -> Tensor:
    """Return the factor of the focal loss for the true class's score, with the exponent 2.

    Source: Lin et al. 2017; AlexeyAB/darknet ``delta_yolo_class`` in src/yolo_layer.c.
    """
    score = score + 1e-15
    return -(1 - score) * (2 * score * score.log() + score - 1)


def finite(x: Tensor) -> Tensor:
    """Return ``x`` with 0 for what is infinite or no number."""
    return torch.where(x.isfinite(), x, torch.zeros_like(x))
