"""Darknet's data files and augmentation for Ultralytics' data set.

Ultralytics reads the images, caches the labels and feeds the loader; this module says where the labels are and which
transformation a training image gets.
"""

from __future__ import annotations

import random
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from ultralytics.data.augment import Compose, CutMix, Format, LetterBox
from ultralytics.utils.instance import Instances

from yolo_subbatch.darknet.augment import Augmentation, Sample, letterbox, sample, stretch
from yolo_subbatch.darknet.channels import OPACITY
from yolo_subbatch.darknet.mixing import CHANCE, PARTNERS, draw_cut, mixup, mosaic
from yolo_subbatch.darknet.sections import Cfg, most_truths
from yolo_subbatch.engine.image_channels import brought_to, check_bands, flag_of, read_image
from yolo_subbatch.engine.picture_files import AnyPicture


def augmentation_of(cfg: Cfg, flavour: str) -> Augmentation:
    """Return the augmentation that a cfg asks for; jitter and max are the last head's."""
    net, head = cfg.net, cfg.heads[-1]
    made = Augmentation(
        jitter=head.jitter, hue=net.hue, saturation=net.saturation, exposure=net.exposure, flip=bool(net.flip),
        flavour=flavour, maximum=most_truths(head, flavour),
    )  # fmt: skip
    if flavour == "pjreddie":
        return made
    return replace(
        made, resize=head.resize, letter_box=bool(net.letter_box), blur=net.blur, mixing=net.mixing,
        gaussian_noise=net.gaussian_noise, mosaic_bound=bool(net.mosaic_bound),
    )  # fmt: skip


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
        """Return the image ``(height, width, C)``, the scales and the pads, each as x, y."""
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
        """Read image ``i``, ``(H, W, C)``: unreduced for Darknet's augmentation, which crops and scales in one go."""
        if not self.augment or self.augmentation is None or self.cache:
            reader = self
            flag = flag_of(self.im_files[i], self.channels)
            if flag != self.cv2_flag:
                reader = copy(self)  # other threads read other files
                reader.cv2_flag = flag
            image, *sizes = super(DarknetDataset, reader).load_image(i, *args, **kwargs)
            return brought_to(image, self.channels, self.im_files[i]), *sizes
        image = read_image(self.im_files[i], self.channels)
        if image is None:
            raise FileNotFoundError(self.im_files[i])
        return image, image.shape[:2], image.shape[:2]

    def cache_images_to_disk(self, i: int) -> None:
        """Keep image ``i`` beside its file, with the network's channels."""
        if self.channels != OPACITY:
            super().cache_images_to_disk(i)
            return
        image = read_image(self.im_files[i], self.channels)
        if image is not None and not self.npy_files[i].exists():
            np.save(self.npy_files[i], image, allow_pickle=False)

    def get_labels(self) -> list[dict[str, Any]]:
        """Read the labels of the images, which must have the network's channels."""
        labels = super().get_labels()
        check_bands(self.im_files, self.channels, str(self.img_path))
        return labels

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
