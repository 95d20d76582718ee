"""Validation and prediction of Darknet networks: Ultralytics' own, plus Darknet's ways of fitting an image.

Networks whose width and height differ are validated at that shape, which Ultralytics would reduce to the larger side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from ultralytics.engine.results import Results
from ultralytics.models.yolo.detect import DetectionPredictor, DetectionValidator
from ultralytics.utils import DEFAULT_CFG, colorstr, ops

from yolo_subbatch.engine import use_all_cores
from yolo_subbatch.engine.data import DarknetDataset, FullFrame
from yolo_subbatch.engine.sources import only_source
from yolo_subbatch.errors import SettingsError

FITS = ("ultralytics", "darknet", "stretch")


def size_of(imgsz: Any) -> tuple[int, int]:
    """Return width and height in pixels of Ultralytics' ``imgsz``: one number, or height and width."""
    if isinstance(imgsz, (list, tuple)):
        height, width = (int(imgsz[0]), int(imgsz[-1]))
        return width, height
    return int(imgsz), int(imgsz)


def _plain(args: Any) -> tuple[dict[str, Any], str]:
    """Split arguments into Ultralytics' own and the value of ``letterbox``."""
    given = dict(args) if isinstance(args, Mapping) else dict(vars(args)) if args is not None else {}
    fit = given.pop("letterbox", None) or "ultralytics"
    if fit not in FITS:
        raise SettingsError(f"letterbox={fit}: unknown; use one of {', '.join(FITS)}")
    return given, fit


class DarknetValidator(DetectionValidator):
    """Ultralytics' detection validator for networks of any shape.

    ``letterbox`` says how images are fitted: ``ultralytics`` (grey 114, the smallest multiple of the stride),
    ``darknet`` (grey .5, full size) or ``stretch``.
    """

    def __init__(
        self, dataloader: Any = None, save_dir: Any = None, args: Any = None, _callbacks: dict[str, Any] | None = None
    ) -> None:
        known, self.fit = _plain(args)
        self.size = size_of(known.get("imgsz", DEFAULT_CFG.imgsz))
        super().__init__(dataloader, save_dir, known, _callbacks)

    def init_metrics(self, model: torch.nn.Module) -> None:
        """Prepare the counts; the device is known by now."""
        use_all_cores(self.device)
        super().init_metrics(model)

    def plot_predictions(
        self, batch: dict[str, Any], preds: list[dict[str, Tensor]], ni: int, max_det: int | None = None
    ) -> None:
        """Draw boxes as far as they lie in the image: drawing those of a diverged network would take for ever."""
        height, width = batch["img"].shape[2:]
        drawn = []
        for pred in preds:
            boxes = torch.nan_to_num(pred["bboxes"], 0.0, width + height, -width - height)
            drawn.append({**pred, "bboxes": ops.clip_boxes(boxes, (height, width))})
        super().plot_predictions(batch, drawn, ni, max_det)

    def build_dataset(self, img_path: str, mode: str = "val", batch: int | None = None) -> DarknetDataset:
        """Build the data set of a split."""
        return build_dataset(
            self.args, img_path, batch, self.data, size=self.size, fit=self.fit, stride=self.stride, training=False
        )


def build_dataset(
    args: Any, img_path: str, batch: int | None, data: dict[str, Any], *, size: tuple[int, int], fit: str, stride: int,
    training: bool, augmentation: Any = None,
) -> DarknetDataset:  # fmt: skip
    """Build Ultralytics' data set for a Darknet network; validation uses the smallest rectangles where it may."""
    rectangles = (
        not training and fit == "ultralytics" and size[0] == size[1] and bool(args.rect or args.mode == "train")
    )
    return DarknetDataset(
        img_path=img_path, imgsz=max(size), batch_size=batch, augment=training, hyp=args, rect=rectangles,
        cache=args.cache or None, single_cls=args.single_cls or False, stride=stride, pad=0.0 if training else 0.5,
        prefix=colorstr("train: " if training else "val: "), task="detect", classes=args.classes, data=data,
        fraction=args.fraction if training else 1.0, size=size, augmentation=augmentation, fit=fit,
    )  # fmt: skip


class DarknetPredictor(DetectionPredictor):
    """Ultralytics' detection predictor with Darknet's ways of fitting an image; see :class:`DarknetValidator`."""

    def __init__(
        self, cfg: Any = DEFAULT_CFG, overrides: dict[str, Any] | None = None, _callbacks: dict[str, Any] | None = None
    ) -> None:
        known, self.fit = _plain(overrides)
        super().__init__(cfg, known, _callbacks)

    def setup_model(self, model: Any, verbose: bool = True) -> None:
        """Load the network onto the device."""
        super().setup_model(model, verbose)
        use_all_cores(self.device)

    def setup_source(self, source: Any, stride: int | None = None) -> None:
        """Choose files and addresses as the command line does."""
        channels = int(getattr(self.model, "channels", 3))
        super().setup_source(only_source(source, self.args.batch, self.args.vid_stride, channels), stride)

    def pre_transform(self, im: list[np.ndarray]) -> list[np.ndarray]:
        """Fit images ``(H, W, 3)`` to the network."""
        if self.fit == "ultralytics":
            return super().pre_transform(im)
        frame = FullFrame(size_of(self.imgsz), self.fit)
        return [frame.image(each)[0] for each in im]

    def construct_result(self, pred: Tensor, img: Tensor, orig_img: np.ndarray, img_path: str) -> Results:
        """Map boxes ``(N, 6)`` from the network's input back to the original image."""
        if self.fit != "stretch":
            return super().construct_result(pred, img, orig_img, img_path)
        height, width = orig_img.shape[:2]
        pred[:, [0, 2]] *= width / img.shape[3]
        pred[:, [1, 3]] *= height / img.shape[2]
        pred[:, :4] = ops.clip_boxes(pred[:, :4], orig_img.shape)
        return Results(orig_img, path=img_path, names=self.model.names, boxes=pred[:, :6])
