"""One Darknet iteration, the executable definition of sub-batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from yolo_subbatch.darknet.loss import Losses
from yolo_subbatch.darknet.network import Network
from yolo_subbatch.errors import SettingsError


def train_batch(
    network: Network,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    truths: Sequence[Tensor],
    subdivisions: int = 1,
    max_norm: float | None = None,
) -> Losses:
    """Run one Darknet iteration: ``subdivisions`` backward passes, one clip, one update.

    The learning rate is the optimizer's: call ``set_rate(optimizer, learning_rate(net, iteration))`` before.

    Args:
        network: In training mode.
        optimizer: Usually from :func:`~yolo_subbatch.darknet.optimizer.darknet_sgd`.
        images: The whole batch, ``(B, C, H, W)``, RGB in [0, 1].
        truths: Per image ``(n, 5)``: class, centre x, centre y, width, height in [0, 1].
        subdivisions: Number of parts. A batch that does not divide is split into parts that differ by one image.
        max_norm: Clip the norm of the batch's mean gradient at this value; None or 0 for no clipping.

    Returns:
        The losses as means per image.

    Raises:
        SettingsError: If there are more parts than images, or not one list of truths an image.

    Source: darknet ``train_network`` and ``train_network_datum`` in src/network.c.
    """
    if not 1 <= subdivisions <= len(images):
        raise SettingsError(f"subdivisions={subdivisions}: the batch has {len(images)} images; use 1 to {len(images)}")
    if len(truths) != len(images):
        raise SettingsError(f"truths: {len(truths)} for {len(images)} images; give one tensor an image")
    optimizer.zero_grad(set_to_none=True)
    total = Losses.zero(images.device)
    for part in split(len(images), subdivisions):
        losses = network.loss(network(images[part]), truths[part])  # summed over the images of the part
        (losses.total / len(images)).backward()  # type: ignore[no-untyped-call]
        total = total + losses.detach()
    clip_grad_norm_(network.parameters(), max_norm or math.inf)  # once, on the whole batch's gradient
    optimizer.step()
    return total / len(images)


def split(count: int, parts: int) -> Iterator[slice]:
    """Cut ``count`` images into ``parts`` runs that differ by at most one image, the longer ones first."""
    size, longer = divmod(count, parts)
    start = 0
    for part in range(parts):
        stop = start + size + (part < longer)
        yield slice(start, stop)
        start = stop
