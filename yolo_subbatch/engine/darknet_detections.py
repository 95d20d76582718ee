"""A network as Darknet's own commands run it: full-size images, every class above a threshold, Darknet's suppression.

Source: darknet ``resize_image`` and ``letterbox_image`` in src/image.c, ``get_network_boxes`` in src/network.c,
``correct_yolo_boxes`` in src/yolo_layer.c, ``do_nms_sort`` and ``do_nms_obj`` in src/box.c.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert, nms
from ultralytics.utils.torch_utils import select_device

from yolo_subbatch.darknet.augment import Fit, letterboxed
from yolo_subbatch.darknet.boxes import GREEDY_BETA, box_metric
from yolo_subbatch.darknet.channels import network_planes
from yolo_subbatch.darknet.textfile import shorten
from yolo_subbatch.engine import use_all_cores
from yolo_subbatch.engine.evaluate import open_model
from yolo_subbatch.engine.image_channels import brought_to, read_image
from yolo_subbatch.engine.inference import size_of
from yolo_subbatch.engine.model import DarknetModel
from yolo_subbatch.errors import DataError, SettingsError
from yolo_subbatch.settings.commands import MapSettings, PredictSettings, ValSettings

PLAIN = frozenset({"default", "cornersnms"})  # kinds of suppression that compare the IoU
GREY_OF_DARKNET = 0.5
READERS = 4  # threads that read images, as many as Darknet has


@dataclass(frozen=True)
class Found:
    """What a network finds in one image, on the CPU, in Darknet's order.

    ``boxes`` ``(n, 4)``: centre x, centre y, width, height as fractions of the image; ``objectness`` ``(n,)``;
    ``scores`` ``(n, C)``: objectness times class score, 0 where it is not above the threshold or suppressed.
    """

    path: Path
    image: np.ndarray  # (H, W, C), blue first
    boxes: Tensor
    objectness: Tensor
    scores: Tensor


class Detector:
    """A Darknet network and how images get into it.

    Args:
        settings: Network, device and letterbox.

    Raises:
        YoloSubbatchError: If the network cannot be opened, or is not one of Darknet.
    """

    def __init__(self, settings: MapSettings | PredictSettings | ValSettings) -> None:
        model = open_model(settings).model
        if not isinstance(model, DarknetModel):
            raise SettingsError(f"model={settings.model}: not a Darknet network, which this needs; use val or predict")
        self.device = select_device(settings.device or "", verbose=False)
        use_all_cores(self.device)
        net = model.cfg.net
        imgsz = None if isinstance(settings, MapSettings) else settings.imgsz
        self.size = size_of(imgsz) if imgsz is not None else (net.width, net.height)
        self.classes, self.channels, self.flavour = model.nc, net.channels, model.network.flavour
        head = model.cfg.heads[-1]
        self.nms_kind, self.nms_beta = getattr(head, "nms_kind", "default"), getattr(head, "beta_nms", GREEDY_BETA)
        # Darknet letterboxes where the flag or the cfg says so, and squashes the image otherwise.
        self.fit = "darknet" if getattr(net, "letter_box", 0) else settings.letterbox
        self.model = model.float().eval().to(self.device).fuse()

    def find(self, paths: Sequence[Path], threshold: float, batch: int = 1) -> Iterator[Found]:
        """Yield what is found in each image, before suppression.

        Args:
            paths: The images.
            threshold: Objectness, and its product with a class score, must be above this.
            batch: Images at a time.

        Raises:
            DataError: If an image cannot be read.
        """
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(paths), batch):
                part = paths[start : start + batch]
                loaded = list(pool.map(self._load, part))
                rows = self._rows(torch.stack([pixels for _, pixels, _ in loaded]))  # (B, N, 5 + C)
                for path, (image, _, fit), one in zip(part, loaded, rows, strict=True):
                    yield self._found(path, image, fit, one, threshold)

    def look(self, image: np.ndarray, threshold: float) -> Found:
        """Return what is found in an image ``(H, W, 3)``, bytes, blue first, before suppression; see :meth:`find`."""
        image = brought_to(image, self.channels, "frame")
        pixels, fit = network_input(image, self.size, letter=self.fit == "darknet")
        (rows,) = self._rows(pixels[None])
        return self._found(Path("frame"), image, fit, rows, threshold)

    def suppress(self, found: Found, iou: float) -> Found:
        """Suppress in the way that the cfg asks for; see :func:`suppress`."""
        return suppress(found, iou, self.nms_kind, self.nms_beta)

    def _load(self, path: Path) -> tuple[np.ndarray, Tensor, Fit]:
        try:
            image = read_image(path, self.channels)
        except ValueError:  # no possible name of a file
            image = None
        if image is None:
            if not os.path.exists(str(path).partition("\0")[0]):
                raise DataError(f"{shorten(str(path), 300)}: no such file; check the path of the image")
            raise DataError(f"{shorten(str(path), 300)}: cannot be read as an image; give a picture file")
        return image, *network_input(image, self.size, letter=self.fit == "darknet")

    @torch.inference_mode()
    def _rows(self, pixels: Tensor) -> Tensor:
        network = self.model.network
        return network.detections(network(pixels.to(self.device))).float()

    def _found(self, path: Path, image: np.ndarray, fit: Fit, rows: Tensor, threshold: float) -> Found:
        rows = rows[rows[:, 4] > threshold].cpu()  # (n, 5 + C)
        height, width = image.shape[:2]
        pads = rows.new_tensor([fit.pad_x, fit.pad_y, 0, 0])
        sides = rows.new_tensor([fit.scale_x * width, fit.scale_y * height] * 2)
        scores = rows[:, 5:] * rows[:, 4:5]
        return Found(path, image, (rows[:, :4] - pads) / sides, rows[:, 4], torch.where(scores > threshold, scores, 0))


def network_input(image: np.ndarray, size: tuple[int, int], letter: bool) -> tuple[Tensor, Fit]:
    """Bring an image to the network's size as Darknet itself does: bilinear, its corner pixels on those of the result.

    OpenCV, and with it the training, lays the borders of the images upon one another instead, which is the better way:
    it moves nothing. Here the numbers shall be Darknet's.

    Args:
        image: ``(H, W, C)``, bytes, blue first.
        size: Width and height.
        letter: Keep the proportions, on grey; otherwise the image is squashed.

    Returns:
        ``(C, height, width)``, red first, in [0, 1]; and where the image lies in it, to half a pixel, as Darknet has it
        when it takes boxes back.
    """
    height, width = image.shape[:2]
    new_width, new_height = letterboxed(width, height, size) if letter else size
    pixels = torch.from_numpy(network_planes(image).copy()).permute(2, 0, 1)[None].float() / 255
    if (new_height, new_width) != (height, width):
        pixels = F.interpolate(pixels, (new_height, new_width), mode="bilinear", align_corners=True)
        pixels[:, :, -1] *= _last_row(height, new_height)
    left, top = size[0] - new_width, size[1] - new_height
    if left or top:
        sides = (left // 2, left - left // 2, top // 2, top - top // 2)
        pixels = F.pad(pixels, sides, value=GREY_OF_DARKNET)
    return pixels[0], Fit(new_width / width, new_height / height, left / 2, top / 2)


def _last_row(height: int, new_height: int) -> float:
    """Return what is left of the last row: next to nothing where Darknet's rounding puts it before the image's last.

    It leaves out the pixels after that place there, as if it were always at the image's last row. About one height in
    fifteen is met, 448 to 416 for one.
    """
    if new_height < 2:
        return 1.0
    place = np.float32(new_height - 1) * (np.float32(height - 1) / np.float32(new_height - 1))
    return 1.0 - float(place - np.floor(place)) if place < height - 1 else 1.0


def suppress(found: Found, iou: float, kind: str = "default", beta: float = GREEDY_BETA) -> Found:
    """Suppress per class, as ``do_nms_sort``: boxes that overlap a better one by more than ``iou`` lose that class.

    The same as :func:`yolo_subbatch.darknet.non_max_suppression`, in time for ten thousand boxes and eighty classes.

    Args:
        found: The boxes.
        iou: Overlap from which a box is suppressed.
        kind: How overlap is measured, ``nms_kind`` of the cfg.
        beta: ``beta_nms`` of the cfg.

    Returns:
        The same boxes, sorted as Darknet leaves them: by the last class first, then by the one before.
    """
    kept, order = found.scores.clone(), torch.arange(len(found.scores))
    for column in found.scores.any(0).nonzero()[:, 0].tolist():
        scores = found.scores[:, column]
        order = order[scores[order].argsort(descending=True, stable=True)]  # so ties stand as classes before left them
        candidates = order[scores[order] > 0]
        winners = candidates[_winners(found.boxes[candidates], scores[candidates], iou, kind, beta)]
        kept[:, column] = 0
        kept[winners, column] = scores[winners]
    return replace(found, boxes=found.boxes[order], objectness=found.objectness[order], scores=kept[order])


def _winners(boxes: Tensor, scores: Tensor, iou: float, kind: str, beta: float) -> Tensor:
    """Return the indices of the boxes ``(m, 4)`` that no better one suppresses."""
    if kind in PLAIN:
        return nms(box_convert(boxes, "cxcywh", "xyxy"), scores, iou)
    order = scores.argsort(descending=True, stable=True)
    boxes = boxes[order]
    alive = torch.ones(len(boxes), dtype=torch.bool)
    for index in range(len(boxes)):  # each depends on those before it
        if alive[index]:
            power = beta if kind == "diounms" else GREEDY_BETA
            alive[index + 1 :] &= box_metric("diou", boxes[index], boxes[index + 1 :], power) <= iou
    return order[alive]


def suppress_by_objectness(found: Found, iou: float) -> Found:
    """Keep the boxes that no box of more objectness overlaps by more than ``iou``, as ``do_nms_obj``."""
    kept = nms(box_convert(found.boxes, "cxcywh", "xyxy"), found.objectness, iou)
    return replace(found, boxes=found.boxes[kept], objectness=found.objectness[kept], scores=found.scores[kept])
