"""The gate that every exported file has to pass: does onnxruntime compute what the network computes?

The reference is always the network in float32: torch's own half precision on a CPU is further from it than an exported
half-precision file. A deep network that was never trained may magnify every rounding until two correct ways to compute
it differ by more than is allowed; then the network in double precision tells how far its own float32 is off, and the
file may be as far off.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import cv2
import numpy as np
import torch
from onnx import ModelProto

from yolo_subbatch.darknet.channels import COLOUR, network_order
from yolo_subbatch.errors import ExportError, ParityError

from .candidate import Array, Candidate, open_session, rgb
from .graph import INPUT, OUTPUT
from .nms import DECODED
from .suppression import check_suppression, check_tail, corners, overlaps

#: Takes images ``(B, H, W, C)``, bytes, blue first; returns ``(B, 4 + C, N)``.
Reference = Callable[[Array], Array]

BOX_PX, BOX_RELATIVE, SCORE = 0.05, 1e-3, 1e-4  # of float32
HALF_IOU, HALF_MEAN_IOU, HALF_SCORE = 0.90, 0.98, 0.05
COUNTED_SCORE, COUNTED = 0.05, 100  # half precision is measured on the boxes that matter
ENDLESS = 1e6  # pixels; a box of that size is no box
ROUNDINGS = 4.0  # the tolerance may grow to so many times the network's own rounding


@dataclass
class Figures:
    """What was measured; written into the file's metadata."""

    box_px: float = 0.0
    score: float = 0.0
    iou: float = 1.0
    boxes: int = 0
    rounded: bool = False  # compared within the network's own rounding, because it is that large
    shapes: list[tuple[int, int, int]] = field(default_factory=list)

    def __str__(self) -> str:
        """Return one line for people."""
        shapes = ", ".join(f"{batch}x{height}x{width}" for batch, height, width in self.shapes)
        kept = f", {self.boxes} boxes after suppression" if self.boxes else ""
        text = f"boxes within {self.box_px:.2g} px, confidences within {self.score:.2g}{kept} (images {shapes})"
        return f"{text}; its own float32 is off by as much, as if it were not trained" if self.rounded else text


def shapes_to_try(batch: int, width: int, height: int, stride: int, dynamic: bool) -> list[tuple[int, int, int]]:
    """Return batch, height, width to compare: a dynamic file with another batch, another shape, another size."""
    if not dynamic:
        return [(batch, height, width)]
    less = max(stride, (max(height, width) // 2) // stride * stride)
    return [(1, height, width), (3, less, less + stride), (2, less + stride, less), (1, stride, stride)]


def sample_images(batch: int, height: int, width: int, channels: int = COLOUR) -> Array:
    """Draw images ``(B, H, W, C)``, bytes, that all differ: shades, shapes and noise, always the same ones."""
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
    # Channels beyond the third repeat the first ones, moved to the right.
    planes = [np.roll(images[..., each % COLOUR], each // COLOUR, axis=2) for each in range(channels)]
    return images if channels == COLOUR else np.stack(planes, 3)


def check(
    candidate: Candidate,
    reference: Reference,
    shapes: list[tuple[int, int, int]],
    precision: str,
    exact: Reference | None = None,
) -> Figures:
    """Compare a file with its reference.

    Args:
        candidate: The file.
        reference: Computes the boxes before suppression.
        shapes: Batch, height, width to try.
        precision: ``fp32``; ``fp16``, which may differ more; ``exact``, which may not differ at all.
        exact: The reference in double precision; asked only where float32 differs by too much.

    Raises:
        ParityError: If they differ, or the suppression is not torchvision's, or depends on the batch.
    """
    figures = Figures(shapes=shapes)
    for shape in shapes:
        images = sample_images(*shape, candidate.channels)
        found, wanted = candidate.run(images)[DECODED], reference(images)
        place = f"{shape[0]} image{'' if shape[0] == 1 else 's'} of {shape[2]}x{shape[1]}"
        _compare(found, wanted, precision, place, figures, exact and partial(exact, images))
        candidate.boxes = found.shape[2]
        if candidate.suppresses:
            figures.boxes += check_suppression(candidate, images, found, place)
    if candidate.suppresses:
        check_tail(candidate, wanted.shape[1] - 4)
    if precision != "exact":  # an 8-bit graph differs by the order of its sums
        images = sample_images(*shapes[0], candidate.channels)
        place, found, wanted = "without optimisations", candidate.as_written(images), reference(images)
        _compare(found, wanted, precision, place, figures, exact and partial(exact, images))
    return figures


def _compare(
    found: Array, wanted: Array, precision: str, place: str, figures: Figures, exact: Callable[[], Array] | None
) -> None:
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
        return
    figures.box_px = max(figures.box_px, float(np.abs(found - wanted)[:, :4].max()))
    figures.score = max(figures.score, float(np.abs(found - wanted)[:, 4:].max()))
    off = _tolerances(found, wanted)
    allowed = np.zeros(2) if precision == "exact" else np.ones(2)
    if exact is not None and not (off <= allowed).all():
        # Boxes and confidences come from the same maps, whichever of them shows the rounding more.
        rounding = _tolerances(np.where(sensible, exact(), 0), wanted).max()
        allowed = np.full(2, max(ROUNDINGS * rounding, 1))
        figures.rounded = True
    if not off[0] <= allowed[0]:
        raise ParityError(f"{place}: boxes differ from the network's by up to {figures.box_px:.3g} px")
    if not off[1] <= allowed[1]:
        raise ParityError(f"{place}: confidences differ from the network's by up to {figures.score:.3g}")


def _tolerances(found: Array, wanted: Array) -> Array:
    """Return how many tolerances boxes and confidences differ by at most, ``(2,)``."""
    apart = np.abs(found - wanted)
    boxes = apart[:, :4] / (BOX_PX + BOX_RELATIVE * np.maximum(1, np.abs(wanted[:, :4])))
    return np.array([boxes.max(), apart[:, 4:].max() / SCORE])


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


def torch_reference(network: Any, dtype: torch.dtype = torch.float32) -> Reference:
    """Return the reference that a torch network of a type of numbers is, in evaluation mode, on the CPU."""

    def boxes(images: Array) -> Array:
        with torch.inference_mode():
            maps = network(network_order(torch.from_numpy(rgb(images)).to(dtype)))
            return np.asarray(network.predictions(maps))

    return boxes


def double_reference(network: Any) -> Reference:
    """Return the network in double precision as a reference; it is copied when it is first asked."""

    @cache
    def reference() -> Reference:
        return torch_reference(copy.deepcopy(network).double(), torch.float64)

    return lambda images: reference()(images)


def file_reference(model: ModelProto) -> Reference:
    """Return the reference that a graph without pre-processing and suppression is."""
    session = open_session(model)

    def boxes(images: Array) -> Array:
        return np.asarray(session.run([OUTPUT], {INPUT: rgb(images)})[0])

    return boxes
