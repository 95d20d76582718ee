"""Which cell of a ``[yolo]`` head learns which truth, in rounds that each hold one truth a cell.

Source: AlexeyAB/darknet ``process_batch`` in src/yolo_layer.c, ``get_classes_multipliers`` in src/parser.c.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from yolo_subbatch.darknet.sections import Yolo
from yolo_subbatch.darknet.transfer import to_device


class Events(NamedTuple):
    """Which cell learns which truth, in the order of Darknet's loops within each cell.

    ``cells`` is ``(U, 4)``, every cell once: image, anchor, row, column. Of the others the first dimension is ``P``,
    one an event: ``place`` is the index of its cell, ``truths`` class, centre x, centre y, width, height in [0, 1],
    ``factor`` the weight of its class. Round ``i`` is the events from ``ends[i - 1]`` to ``ends[i]``; no cell occurs
    twice in it. The first ``confident`` events, a round of their own, come from predictions above ``truth_thresh``.
    """

    cells: Tensor
    place: Tensor
    truths: Tensor
    factor: Tensor
    ends: list[int]
    confident: int

    @property
    def rounds(self) -> list[slice]:
        """The rounds in their order."""
        return [slice(start, end) for start, end in zip([0, *self.ends], self.ends, strict=False)]


def in_rounds(cells: Tensor, truths: Tensor, multipliers: Tensor, confident: int, x: Tensor) -> Events:
    """Sort events into rounds.

    Args:
        cells: ``(P, 4)``: image, anchor, row, column, in the order of Darknet's loops; on the CPU nothing here waits
            for a GPU.
        truths: ``(P, 5)``: class, centre x, centre y, width, height.
        multipliers: The weight of every class, ``(C,)``.
        confident: So many events lead that come from predictions above ``truth_thresh``, one a cell.
        x: The raw map, ``(B, A, 5 + C, H, W)``, where the events go to.
    """
    anchors, height, width = x.shape[1], x.shape[3], x.shape[4]
    flat = ((cells[:, 0] * anchors + cells[:, 1]) * height + cells[:, 2]) * width + cells[:, 3]
    unique, place = torch.unique(flat, return_inverse=True)  # (U,), (P,)
    number = torch.arange(len(flat), device=flat.device)
    turn = torch.cat((torch.zeros_like(number[:confident]), _earlier(place[confident:]) + (confident > 0)))
    order = turn.argsort(stable=True)
    ends: list[int] = torch.bincount(turn).cumsum(0).tolist()
    some = torch.empty_like(unique).scatter_(0, place, number)  # any event of a cell knows where the cell is
    factor = multipliers.to(truths)[truths[:, 0].long()]
    tensors = (cells[some], place[order], truths[order], factor[order])
    on_cells, at, learned, weight = (to_device(each, x.device) for each in tensors)
    return Events(on_cells, at, learned, weight, ends, confident)


def _earlier(place: Tensor) -> Tensor:
    """Return for each entry how many before it are equal to it."""
    order = place.argsort(stable=True)
    grouped, number = place[order], torch.arange(len(place), device=place.device)
    begins = torch.cat((torch.ones_like(grouped[:1], dtype=torch.bool), grouped[1:] != grouped[:-1]))
    first = torch.where(begins, number, torch.zeros_like(number)).cummax(0).values
    return torch.empty_like(place).scatter_(0, order, number - first)


def class_multipliers(section: Yolo) -> Tensor:
    """Return the weight of every class, ``(C,)``: rare ones weigh more, up to ``max_delta``; 1 without counters.

    Source: AlexeyAB/darknet ``get_classes_multipliers`` in src/parser.c.
    """
    if not section.counters_per_class:
        return torch.ones(section.classes)
    counters = torch.tensor(section.counters_per_class, dtype=torch.float32).clamp_(min=1)
    most = math.inf if section.max_delta is None else section.max_delta
    return (counters.max() / counters).clamp_(max=most)
