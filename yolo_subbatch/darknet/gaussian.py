"""The ``[Gaussian_yolo]`` layer: a ``[yolo]`` head whose boxes come with an uncertainty for each of their four numbers.

Source: AlexeyAB/darknet ``forward_gaussian_yolo_layer``, ``delta_gaussian_yolo_box`` and
``get_gaussian_yolo_detections`` in src/gaussian_yolo_layer.c; Choi et al. 2019.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from yolo_subbatch.darknet.assignment import Events
from yolo_subbatch.darknet.boxes import box_metric, iou_ascent
from yolo_subbatch.darknet.decode import decode_map, split_anchors
from yolo_subbatch.darknet.loss import Losses, scaled_centre
from yolo_subbatch.darknet.loss_alexeyab import AlexeyabHead, Goals, finite, with_gradient
from yolo_subbatch.darknet.sections import GaussianYolo
from yolo_subbatch.darknet.transfer import row_like, to_device

MEANS, SIGMAS = slice(0, 8, 2), slice(1, 8, 2)  # of x, y, width, height, in turns
SIGMA_CONST = 0.3  # added to the standard deviation in the density's denominator
TINY = 1e-9


class BoxDeltas(NamedTuple):
    """What each event writes into its cell: for the means and the uncertainties, ``(P, 4)`` each, and its loss."""

    means: Tensor
    sigmas: Tensor
    values: Tensor


class GaussianHead(AlexeyabHead):
    """One ``[Gaussian_yolo]`` section."""

    section: GaussianYolo

    def forward(self, raw: Tensor) -> Tensor:
        """Return Darknet's ``l.output`` in the shape of ``raw``: all but the means of width and height are logistic."""
        x = split_anchors(raw, len(self.anchors)).clone()  # (B, A, 9 + C, H, W)
        for index in (0, 2):
            x[:, :, index] = scaled_centre(x[:, :, index].sigmoid(), self.section.scale_x_y)
        for part in (SIGMAS, slice(8, None)):
            x[:, :, part] = x[:, :, part].sigmoid()
        return x.reshape(raw.shape)

    def decode(self, raw: Tensor) -> Tensor:
        """Return boxes in input pixels, ``(B, H * W * A, 5 + C)``: see ``decode_map``.

        The class scores are lessened by the mean of the four uncertainties: they are multiplied by one minus it.
        """
        x = split_anchors(raw.float(), len(self.anchors))
        plain = self._plain(x)
        found = decode_map(plain.flatten(1, 2), self.anchors, self.cell, self.section.scale_x_y)
        sure = 1 - x[:, :, SIGMAS].sigmoid().mean(2)  # (B, A, H, W)
        sure = sure.permute(0, 2, 3, 1).flatten(1)[..., None]  # (B, H * W * A, 1)
        return torch.cat((found[..., :5], found[..., 5:] * sure), -1)

    @staticmethod
    def _plain(x: Tensor) -> Tensor:
        """Leave out the uncertainties: ``(B, A, 9 + C, H, W)`` to the ``(B, A, 5 + C, H, W)`` of a ``[yolo]`` head."""
        return torch.cat((x[:, :, MEANS], x[:, :, 8:]), 2)

    def loss(self, raw: Tensor, truths: Tensor) -> Losses:
        """Compute the loss of this head: see :meth:`YoloHead.loss`.

        Its gradient with respect to the map is minus Darknet's ``delta``, which leaves out the slope of the logistic
        also in the uncertainties. The value of the box part is what the deltas of one event are meant to descend: the
        negative logarithm of the density, or with an IoU loss the metric's distance from 1.
        """
        raw = raw if raw.dtype == torch.float64 else raw.float()
        full = split_anchors(raw, len(self.anchors))  # (B, A, 9 + C, H, W)
        x = self._plain(full)
        truths = self._usable(truths.to(raw.dtype))
        with torch.no_grad():
            target, weight, near = self._background(x, to_device(truths, x.device))
            events = self._events(x, truths, near)
        image, anchor, row, column = place = tuple(events.cells.T)
        picked = full[image, anchor, :, row, column]  # (U, 9 + C)
        with torch.no_grad():
            goals, gradient, value = self._learned(x, picked, events, (target[place], weight[place]))
            target[place], weight[place] = goals.objectness, goals.objectness_weight
            cost = gradient.square().sum() + (weight * (target - x[:, :, 4].sigmoid())).square().sum()
            cost = cost + (goals.classes_weight * (goals.classes - picked[:, 9:].sigmoid())).square().sum()
        box = with_gradient(picked[:, :8], gradient, value)
        objectness = self._distance(x[:, :, 4], target, weight)
        classes = self._distance(picked[:, 9:], goals.classes, goals.classes_weight)
        factor = self.section.delta_normalizer
        return Losses(box * factor, objectness * factor, classes * factor, cost)

    def _learned(
        self, x: Tensor, picked: Tensor, events: Events, objectness: tuple[Tensor, Tensor]
    ) -> tuple[Goals, Tensor, Tensor]:
        """Play the events.

        Args:
            x: The raw map without uncertainties, ``(B, A, 5 + C, H, W)``.
            picked: The raw values at the cells that learn, ``(U, 9 + C)``.
            events: The events.
            objectness: Target and weight of objectness at these cells before any event, ``(U,)``.

        Returns:
            What the cells learn, the gradient of their boxes, ``(U, 8)``, and the value of the box loss.
        """
        deltas = self._gaussian_deltas(x, picked, events)
        scores, own = picked[:, 9:].sigmoid(), picked[:, 8].sigmoid()
        goals = Goals(*objectness, torch.zeros_like(scores), torch.zeros_like(scores), torch.zeros_like(picked[:, :4]))
        box = torch.zeros_like(picked[:, :8])
        for number, part in enumerate(events.rounds):
            place, factor = events.place[part], events.factor[part]
            box[place, MEANS] += deltas.means[part]
            box[place, SIGMAS] += deltas.sigmas[part]
            first = events.confident > 0 and number == 0
            if not first:
                self._claim(goals, place, factor, own)
            self._teach(goals, place, events.truths[part, 0].long(), factor, scores, first)
        count = (goals.classes_weight * (goals.classes - scores) > 0).sum(1).clamp(min=1).to(picked.dtype)  # (U,)
        return goals, -box / count[:, None], (deltas.values / count[events.place]).sum()

    def _gaussian_deltas(self, x: Tensor, picked: Tensor, events: Events) -> BoxDeltas:
        section, place, truth = self.section, events.place, events.truths[:, 1:]
        _, anchor, row, column = events.cells[place].T
        raw, sigma = picked[place][:, MEANS], picked[place][:, SIGMAS].sigmoid()  # (P, 4)
        centre = scaled_centre(raw[:, :2].sigmoid(), section.scale_x_y)
        grid, corner = row_like(picked, x.shape[4], x.shape[3]), torch.stack((column, row), 1)
        anchors = self._sizes_norm(self.anchors, x)[anchor]
        target = torch.cat((truth[:, :2] * grid - corner, (truth[:, 2:] / anchors).log()), 1)
        scale = 2 - truth[:, 2:].prod(1, keepdim=True)
        distance = (target - torch.cat((centre, raw[:, 2:]), 1)) / sigma
        density = (-distance.square() / 2).exp() / (math.sqrt(2 * math.pi) * (sigma + SIGMA_CONST))
        share = scale * density / (density + TINY) / 2
        factor = section.iou_normalizer * events.factor[:, None]
        means, values = share * distance / sigma, -(scale * (density + TINY).log()).sum(1) / 2
        if section.iou_loss != "mse":
            pred = torch.cat(((centre + corner) / grid, raw[:, 2:].exp() * anchors), 1)
            ascent = iou_ascent(section.iou_loss, pred, truth)
            means = torch.cat((ascent[:, :2], ascent[:, 2:] * raw[:, 2:].exp()), 1)
            values = 1 - box_metric(section.iou_loss, pred, truth, beta=1)
        sigmas = share * (distance.square() / sigma - 1 / (sigma + SIGMA_CONST))
        means, sigmas = finite(means * factor), finite(sigmas * section.uc_normalizer)
        if section.max_delta is not None:
            means, sigmas = (each.clamp(-section.max_delta, section.max_delta) for each in (means, sigmas))
        return BoxDeltas(means, sigmas, finite(values * factor[:, 0]))
