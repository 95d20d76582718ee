"""``yolo-subbatch val``: the figures of a trained network on one split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ultralytics import YOLO
from ultralytics.engine.model import Model

from yolo_subbatch.darknet.datafile import read_data
from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.data import ultralytics_yaml
from yolo_subbatch.engine.model import Darknet, load_darknet_weights
from yolo_subbatch.engine.train import is_darknet
from yolo_subbatch.errors import DataError
from yolo_subbatch.run.commands import Source, ValSettings
from yolo_subbatch.run.folder import RunFolder


def open_model(settings: Source) -> Model:
    """Return the network that a command works on: a checkpoint, or a cfg with all of its weights.

    Raises:
        WeightsError: If a file is no checkpoint or does not fit.
    """
    if settings.model:
        return Darknet(settings.model) if is_darknet(settings.model) else YOLO(settings.model)
    model = Darknet(settings.cfg or "", flavour=settings.flavour)
    model.model = load_darknet_weights(model.model.cfg, settings.weights or "", settings.flavour)
    return model


def run_validation(settings: ValSettings) -> dict[str, float]:
    """Measure a network and print the table.

    Returns:
        ``map50``, ``map``, ``precision`` and ``recall``.

    Raises:
        YoloSubbatchError: If something that the user gave turns out to be unusable.
    """
    model = open_model(settings)
    folder = RunFolder.create(settings.project, settings.name).path
    data = _host_data(settings, folder)
    metrics = model.val(
        data=str(data), project=str(folder.parent), name=folder.name, exist_ok=True, **_keywords(settings)
    )
    box = metrics.box
    figures = {"map50": box.map50, "map": box.map, "precision": box.mp, "recall": box.mr}
    figures = {name: round(float(value), 6) for name, value in figures.items()}
    LOGGER.info(
        f"{settings.split}: mAP50 {figures['map50']:.3f}, mAP50-95 {figures['map']:.3f}, "
        f"precision {figures['precision']:.3f}, recall {figures['recall']:.3f}"
    )
    if settings.json:
        classes = {
            metrics.names[int(index)]: {"map50": round(float(box.ap50[row]), 6), "map": round(float(box.ap[row]), 6)}
            for row, index in enumerate(box.ap_class_index)
        }
        document = {**figures, "split": settings.split, "data": settings.data, "classes": classes}
        Path(settings.json).write_text(json.dumps(document, indent=1), encoding="utf-8")
    return figures


def _keywords(settings: ValSettings) -> dict[str, Any]:
    given = {"split": settings.split, "batch": settings.batch, "conf": settings.conf, "iou": settings.iou}
    if settings.letterbox != "ultralytics":
        given["letterbox"] = settings.letterbox
    for name in ("imgsz", "device"):
        if getattr(settings, name) is not None:
            given[name] = getattr(settings, name)
    return given


def _host_data(settings: ValSettings, folder: Path) -> Path:
    """Return the data description that Ultralytics reads."""
    path = Path(settings.data or "")
    if path.suffix != ".data":
        return path
    wanted = {"train": "train", "val": "valid", "test": "test"}[settings.split]
    if getattr(read_data(path), wanted) is None:
        raise DataError(f"{path}: no '{wanted}' list for split={settings.split}; add a line {wanted} = {wanted}.txt")
    return ultralytics_yaml(path, folder / "data")
