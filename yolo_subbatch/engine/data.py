"""Darknet's data files and augmentation for Ultralytics' data set.

Ultralytics reads the images, caches the labels and feeds the loader; this module says where the labels are and which
transformation a training image gets.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor
from ultralytics.data.augment import Compose, CutMix, Format, LetterBox
from ultralytics.utils.instance import Instances
from ultralytics.utils.patches import imread

from yolo_subbatch.darknet.augment import Augmentation, Sample, letterbox, sample, stretch
from yolo_subbatch.darknet.datafile import check_labels, find_labels, read_data, read_image_list
from yolo_subbatch.darknet.mixing import CHANCE, PARTNERS, draw_cut, mixup, mosaic
from yolo_subbatch.darknet.pictures import check_pictures
from yolo_subbatch.engine.pictures import FROM_DATA, AnyPicture
from yolo_subbatch.errors import DataError


def ultralytics_yaml(data: str | Path, folder: Path, only: str | None = None) -> Path:
    """Write a Darknet ``.data`` file as the YAML that Ultralytics reads.

    The image lists are written beside it with every path resolved as Darknet resolves them.

    Args:
        data: The ``.data`` file.
        folder: Where the YAML and the lists go.
        only: ``train``, ``val`` or ``test`` if nothing else is needed, or need be there.

    Returns:
        The path of the YAML.

    Raises:
        DataError: If a list, a label or the names are missing, or a class id is out of range.
    """
    file = read_data(data)
    folder.mkdir(parents=True, exist_ok=True)
    # Without a path, Ultralytics looks beside the YAML: the folder can be moved.
    document: dict[str, Any] = {"names": dict(enumerate(file.names)), FROM_DATA: str(data)}
    lists = {"train": file.train, "val": file.valid or file.test, "test": file.test}
    if only == "val":
        lists["val"] = file.valid
    for split in [only] if only else ["train", "val"]:
        if lists[split] is None:
            missing = "valid" if split == "val" else split
            raise DataError(f"{data}: no '{missing}' list; add a line {missing} = {missing}.txt")
    for split, source in lists.items():
        if source is None or only not in {None, split}:
            continue
        images = read_image_list(source)
        check_pictures(images, source)
        check_labels(find_labels(images, "error"), len(file.names), str(data))
        target = folder / f"{split}.txt"
        target.write_bytes(b"".join(os.fsencode(image.absolute()) + b"\n" for image in images))
        document[split] = target.name
    if only:  # Ultralytics wants these two keys, used or not
        document = {"train": document[only], "val": document[only], **document}
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


class DarknetTransform:
    """Darknet's augmentation of one training image, in the form of an Ultralytics transform.

    Args:
        size: Width and height of the result in pixels.
        settings: What may change.
        images: Ultralytics' data set, from all of whose images the others of a mosaic or a mixup are drawn.
    """

    def __init__(self, size: tuple[int, int], settings: Augmentation, images: Any = None) -> None:
        self.size, self.settings, self.images = size, settings, images

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Replace image, classes and boxes of a label dictionary."""
        # Ultralytics seeds `random` in the main process and in every worker.
        rng = np.random.default_rng(random.getrandbits(64))
        made = self._mixed(labels, rng) if self._mixes(rng) else self._sample(labels, rng)
        labels["img"], labels["cls"] = made.image, made.classes.reshape(-1, 1).astype(np.float32)
        labels["instances"] = boxes_only(made.boxes)
        labels["resized_shape"] = made.image.shape[:2]
        return labels

    def _mixes(self, rng: np.random.Generator) -> bool:
        """Tell whether this image is mixed; ``cutmix`` is a transform of its own."""
        return self.images is not None and self.settings.mixing in {"mosaic", "mixup"} and rng.random() < CHANCE

    def _mixed(self, labels: dict[str, Any], rng: np.random.Generator) -> Sample:
        kind = self.settings.mixing
        others = rng.integers(len(self.images), size=PARTNERS[kind]).tolist()
        every = [labels, *(self.images.get_image_and_label(index) for index in others)]
        if kind == "mixup":
            first, second = (self._sample(each, rng) for each in every)
            return mixup(first, second, self.settings)
        cut = draw_cut(self.size, rng)
        return mosaic([self._sample(each, rng, part) for part, each in enumerate(every)], cut, self.settings)

    def _sample(self, labels: dict[str, Any], rng: np.random.Generator, part: int | None = None) -> Sample:
        instances: Instances = labels["instances"]
        instances.convert_bbox("xywh")
        if not instances.normalized:
            instances.normalize(*labels["img"].shape[1::-1])
        return sample(labels["img"], instances.bboxes, labels["cls"].reshape(-1), self.size, self.settings, rng, part)


class InPixels:
    """Gives boxes as Ultralytics' own transforms expect them: corners in pixels."""

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Change the boxes of a label dictionary."""
        labels["instances"].convert_bbox("xyxy")
        labels["instances"].denormalize(*labels["img"].shape[1::-1])
        return labels


def boxes_only(boxes: np.ndarray) -> Instances:
    """Return Ultralytics' container for boxes ``(n, 4)``: centre x, centre y, width, height in [0, 1]."""
    empty = np.zeros((0, 1000, 2), np.float32)
    return Instances(boxes.astype(np.float32).reshape(-1, 4), empty, bbox_format="xywh", normalized=True)


class FullFrame:
    """Bring an image to the network's full size as Darknet does at inference: letterboxed in grey, or stretched.

    Args:
        size: Width and height in pixels.
        mode: ``darknet`` (pjreddie's letterbox, filled with .5) or ``stretch`` (AlexeyAB's).
    """

    def __init__(self, size: tuple[int, int], mode: str) -> None:
        self.size, self.mode = size, mode

    def image(self, image: np.ndarray) -> tuple[np.ndarray, tuple[float, float], tuple[float, float]]:
        """Return the image ``(height, width, 3)``, the scales and the pads, each as x, y."""
        fit = letterbox(image, self.size, 127) if self.mode == "darknet" else stretch(image, self.size)
        result, (scale_x, scale_y, pad_x, pad_y) = fit
        return result, (scale_x, scale_y), (pad_x, pad_y)

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Replace image and boxes of a label dictionary."""
        height, width = labels["img"].shape[:2]
        instances: Instances = labels["instances"]
        instances.convert_bbox("xywh")
        if not instances.normalized:
            instances.normalize(width, height)
        image, (scale_x, scale_y), (pad_x, pad_y) = self.image(labels["img"])
        boxes = instances.bboxes.reshape(-1, 4).copy()
        boxes *= (width * scale_x, height * scale_y, width * scale_x, height * scale_y)
        boxes[:, :2] += (pad_x, pad_y)
        boxes /= (self.size[0], self.size[1]) * 2
        labels["img"], labels["instances"] = image, boxes_only(boxes)
        labels["resized_shape"] = image.shape[:2]
        # Ultralytics maps boxes back with ((gain y, gain x), (pad x, pad y)) relative to the original image.
        first = labels["ratio_pad"]
        labels["ratio_pad"] = ((first[0] * scale_y, first[1] * scale_x), (pad_x, pad_y))
        return labels


class DarknetDataset(AnyPicture):
    """Ultralytics' data set with Darknet's label places and, in training, Darknet's augmentation.

    Args:
        size: Width and height of the network's input in pixels.
        augmentation: Darknet's augmentation; None leaves Ultralytics' transforms.
        fit: How validation images are brought to size: ``ultralytics``, ``darknet`` or ``stretch``.
    """

    def __init__(
        self,
        *args: Any,
        size: tuple[int, int],
        augmentation: Augmentation | None,
        fit: str = "ultralytics",
        **kwargs: Any,
    ) -> None:
        self.size, self.augmentation, self.fit = size, augmentation, fit
        super().__init__(*args, **kwargs)

    def load_image(self, i: int, *args: Any, **kwargs: Any) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
        """Read image ``i``, ``(H, W, 3)``: unreduced for Darknet's augmentation, which crops and scales in one go."""
        if not self.augment or self.augmentation is None or self.cache:
            loaded: tuple[np.ndarray, tuple[int, int], tuple[int, int]] = super().load_image(i, *args, **kwargs)
            return loaded
        image = imread(self.im_files[i], flags=self.cv2_flag)
        if image is None:
            raise FileNotFoundError(self.im_files[i])
        return image, image.shape[:2], image.shape[:2]

    def build_transforms(self, hyp: Any) -> Compose:
        """Build the transforms; without a Darknet augmentation they are Ultralytics' own."""
        if self.augment and self.augmentation is not None:
            return Compose([*self._darknet(self.augmentation), self._format()])
        if not self.augment and self.fit != "ultralytics":
            return Compose([FullFrame(self.size, self.fit), self._format()])
        if not self.augment and self.size[0] != self.size[1]:
            fill = LetterBox(new_shape=self.size[::-1], scaleup=False)
            return Compose([fill, self._format()])
        return super().build_transforms(hyp)

    def _darknet(self, settings: Augmentation) -> list[Any]:
        """Return Darknet's augmentation; its detector has no ``cutmix``, that is Ultralytics' own."""
        own = DarknetTransform(self.size, settings, self)
        if settings.mixing != "cutmix":
            return [own]
        parts = [own, InPixels()]
        return [*parts, CutMix(self, pre_transform=Compose(parts), p=CHANCE)]

    def close_mosaic(self, hyp: Any) -> None:
        """Mix no images from now on, in the last ``close_mosaic`` epochs."""
        if self.augmentation is not None:
            self.augmentation = replace(self.augmentation, mixing="")
        super().close_mosaic(hyp)

    def _format(self) -> Format:
        return Format(bbox_format="xywh", normalize=True, batch_idx=True)


def padded_truths(batch: dict[str, Any]) -> Tensor:
    """Return the boxes of an Ultralytics batch as ``(B, T, 5)``: class, centre x, centre y, width, height.

    ``T`` is the largest number of boxes of an image, at least 1; missing rows have class -1. On the CPU, where the
    loader leaves the batch, this waits for nothing.
    """
    image = batch["batch_idx"].long()
    count = len(batch["img"])
    counts = torch.bincount(image, minlength=count)
    first = counts.cumsum(0) - counts
    truths = torch.zeros(count, max(1, int(counts.max()) if count else 1), 5, device=image.device)
    truths[..., 0] = -1
    place = torch.arange(len(image), device=image.device) - first[image]
    truths[image, place] = torch.cat((batch["cls"].reshape(-1, 1), batch["bboxes"]), 1).float()
    return truths
