"""Validation and prediction of Darknet networks: Ultralytics' own, plus Darknet's ways of fitting an image.

Networks whose width and height differ are validated at that shape, which Ultralytics would reduce to the larger side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from ultralytics.engine.results import Results
from ultralytics.models.yolo.detect import DetectionPredictor, DetectionValidator
from ultralytics.utils import DEFAULT_CFG, colorstr, ops

from yolo_subbatch.darknet.channels import COLOUR, network_order
from yolo_subbatch.engine import use_all_cores
from yolo_subbatch.engine.arguments import check_missing_labels
from yolo_subbatch.engine.darknet_data import DarknetDataset, FullFrame
from yolo_subbatch.engine.describe_data import measured_data
from yolo_subbatch.engine.host import fraction_of
from yolo_subbatch.engine.host_offline import offline, own_calls
from yolo_subbatch.engine.image_channels import of_data, own_source, upright
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
    ``darknet`` (grey .5, full size) or ``stretch``; ``missing_labels`` what an image without a label file is.
    """

    def __init__(
        self, dataloader: Any = None, save_dir: Any = None, args: Any = None, _callbacks: dict[str, Any] | None = None
    ) -> None:
        known, self.fit = _plain(args)
        self.missing_labels = known.pop("missing_labels", None)
        check_missing_labels(self.missing_labels)
        self.size = size_of(known.get("imgsz", DEFAULT_CFG.imgsz))
        self.channels: int | None = None  # of the network; None: those of the data
        self.network_file = ""
        super().__init__(dataloader, save_dir, known, _callbacks)

    @offline
    def __call__(self, trainer: Any = None, model: Any = None, **keywords: Any) -> Any:
        """Validate; images are read as the network takes them, and ``data`` is a Darknet ``.data`` too."""
        described, flavour = getattr(model, "yaml", None), None
        if isinstance(described, dict):
            self.channels, self.network_file = described.get("channels", COLOUR), str(described.get("yaml_file"))
            flavour = described.get("flavour")
        if trainer is None and self.args.data:
            self.args.data = measured_data(
                self.args.data, self.save_dir / "data", self.args.split, self.missing_labels, flavour
            )
        return super().__call__(trainer, model, **keywords)

    @property
    def data(self) -> dict[str, Any] | None:
        """Ultralytics' description of the data set, with the network's channels: a GPU is warmed up with as many."""
        return self._data

    @data.setter
    def data(self, found: dict[str, Any] | None) -> None:
        if found is not None and self.channels is not None and found.get("channels") != self.channels:
            found = of_data(found, self.channels, self.network_file)
        self._data = found

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
        super().plot_predictions(for_picture(batch), drawn, ni, max_det)

    def plot_val_samples(self, batch: dict[str, Any], ni: int) -> None:
        """Draw the truths of a batch."""
        super().plot_val_samples(for_picture(batch), ni)

    def build_dataset(self, img_path: str, mode: str = "val", batch: int | None = None) -> DarknetDataset:
        """Build the data set of a split."""
        assert self.data is not None
        return build_dataset(
            self.args, img_path, batch, self.data, size=self.size, fit=self.fit, stride=self.stride, training=False
        )


def for_picture(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch whose first three channels are colours as pictures have them, red first."""
    return {**batch, "img": network_order(batch["img"])}


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
        fraction=fraction_of(args.fraction, "train" if training else args.split), size=size, augmentation=augmentation,
        fit=fit,
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

    def stream_inference(self, *args: Any, **keywords: Any) -> Iterator[Results]:
        """Yield what is found; see :class:`.offline.OwnCalls`."""
        with own_calls():
            yield from super().stream_inference(*args, **keywords)

    def setup_source(self, source: Any, *args: Any, **keywords: Any) -> None:
        """Open what is to be looked at; files and addresses are chosen as on the command line.

        Raises:
            DataError: If there is nothing.
            SettingsError: If heatmaps are asked for, which Ultralytics computes from a head of its own.
        """
        if self.args.visualize:
            raise SettingsError("visualize=True: Ultralytics draws heatmaps of its own heads alone; leave it out")
        source = only_source(own_source(source, self._channels), self.args.batch, self.args.vid_stride, self._channels)
        super().setup_source(source, *args, **keywords)

    @property
    def _channels(self) -> int:
        """The network's; an exported file says its own too."""
        return int(getattr(self.model, "channels", COLOUR))

    def pre_transform(self, im: list[np.ndarray]) -> list[np.ndarray]:
        """Fit images ``(H, W, C)`` to the network."""
        for index, path in enumerate(self.batch[0] if self.batch else ()):  # in place: results are drawn on these
            im[index] = upright(im[index], path, self._channels)
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
