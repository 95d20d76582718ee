"""``yolo-subbatch val``: the figures of a trained network on one split."""

from __future__ import annotations

import tempfile
from typing import Any

from ultralytics.engine.model import Model

from yolo_subbatch.darknet.geometry import largest_stride
from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.api import Darknet
from yolo_subbatch.engine.describe_data import host_data, measured_data
from yolo_subbatch.engine.figures import classes_of, describe, figures_of
from yolo_subbatch.engine.image_channels import check_network_data
from yolo_subbatch.engine.inference import DarknetValidator, size_of
from yolo_subbatch.engine.model import DarknetModel, load_darknet_weights
from yolo_subbatch.engine.picture_files import taking_any_picture
from yolo_subbatch.engine.picture_reading import limit_pixels
from yolo_subbatch.engine.training_run import open_file
from yolo_subbatch.errors import SettingsError, YoloSubbatchError
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.checks import size_fault
from yolo_subbatch.settings.class_names import class_names, is_unnamed
from yolo_subbatch.settings.commands import ExportSettings, MapSettings, PredictSettings, ValSettings
from yolo_subbatch.settings.label_lists import MissingLabels
from yolo_subbatch.settings.output_checks import write_json


def open_model(settings: ValSettings | PredictSettings | ExportSettings | MapSettings) -> Model:
    """Return the network that a command works on: a checkpoint, or a cfg with all of its weights.

    Raises:
        WeightsError: If a file is no checkpoint or does not fit.
        SettingsError: If the network cannot take images of that size, or has no such classes.
    """
    limit_pixels(getattr(settings, "max_pixels", None))
    if settings.model:
        model = open_file(settings.model)
    else:
        model = Darknet(settings.cfg or "", flavour=settings.flavour)
        model.model = load_darknet_weights(model.model.cfg, settings.weights or "", settings.flavour)
    name_classes(model.model, getattr(settings, "data", None))
    classes, names = getattr(settings, "classes", None) or (), model.names
    missing = [str(each) for each in classes if each not in names]
    if missing:
        known = f"the network has {len(names)} classes (0 to {len(names) - 1})"
        raise SettingsError(f"classes={','.join(missing)}: {known}; give their numbers")
    imgsz = None if isinstance(settings, MapSettings) else settings.imgsz
    if imgsz is not None and isinstance(model.model, DarknetModel):
        fault = size_fault(*size_of(imgsz), largest_stride(model.model.cfg))
        if fault:
            raise SettingsError(fault)
    return model


def name_classes(network: Any, data: str | None) -> None:
    """Give a network of Darknet without class names, as its weights are, those of the data, or the well-known ones.

    Raises:
        SettingsError: If the data has another number of classes.
    """
    if not isinstance(network, DarknetModel) or not is_unnamed(network.names):
        return
    found = class_names(data, network.nc)
    network.names = dict(enumerate(found.names))
    if found.note:
        LOGGER.info(found.note)


def run_validation(settings: ValSettings) -> dict[str, Any]:
    """Measure a network and print the table.

    Returns:
        ``map50``, ``map``, ``precision`` and ``recall``, or what else is measured; see :mod:`.figures`.

    Raises:
        YoloSubbatchError: If something that the user gave turns out to be unusable.
    """
    model = open_model(settings)
    if isinstance(model.model, DarknetModel):
        net = model.model.cfg
        check_network_data(net.net.channels, settings.model or net.path, settings.data)
    made = RunFolder.create(settings.project, settings.name)
    folder = made.path
    try:
        data = measured_data(
            settings.data or "", folder / "data", settings.split, settings.missing_labels, flavour_of(model.model)
        )
    except YoloSubbatchError:
        made.discard()
        raise
    with taking_any_picture():
        metrics = model.val(
            data=data, project=str(folder.parent), name=folder.name, exist_ok=True, split=settings.split,
            batch=settings.batch, **host_keywords(settings),
        )  # fmt: skip
    task = str(model.task)
    figures = figures_of(metrics, task)
    LOGGER.info(f"{settings.split}: {describe(figures, task)}")
    if settings.json:
        about = {"task": task, "split": settings.split, "data": settings.data, "classes": classes_of(metrics, task)}
        write_json(settings.json, {**figures, **about}, "json", escaped=True)
    return figures


def measure_file(file: str, data: str, size: tuple[int, int], channels: int = 3) -> tuple[float, float]:
    """Measure an exported file on a data set's validation images, with Ultralytics' own validator.

    Args:
        file: The ONNX file.
        data: Darknet ``.data`` or Ultralytics ``.yaml``.
        size: Width and height of its input in pixels.
        channels: Of its input.

    Returns:
        mAP50 and mAP50-95.
    """
    with tempfile.TemporaryDirectory() as folder, host_data(data, "val", MissingLabels("background")) as path:
        imgsz = size[0] if size[0] == size[1] else list(size[::-1])
        validator = DarknetValidator(args={
            "model": file, "data": str(path), "imgsz": imgsz, "batch": 1, "rect": False, "plots": False,
            "verbose": False, "device": "cpu", "workers": 0, "project": folder, "name": "val", "task": "detect",
            "mode": "val", "conf": 0.001,
        })  # fmt: skip
        validator.channels, validator.network_file = channels, file
        figures = validator(model=file)
    return float(figures["metrics/mAP50(B)"]), float(figures["metrics/mAP50-95(B)"])


def host_keywords(settings: ValSettings | PredictSettings) -> dict[str, Any]:
    """Return what Ultralytics gets of the settings, for ``val`` and ``predict`` alike."""
    given: dict[str, Any] = {"conf": settings.conf, "iou": settings.iou}
    if settings.letterbox != "ultralytics":
        given["letterbox"] = settings.letterbox
    for name in ("imgsz", "device", "classes"):
        value = getattr(settings, name)
        if value is not None:
            given[name] = list(value) if isinstance(value, tuple) else value
    return given


def flavour_of(network: Any) -> str | None:
    """Return the flavour of a Darknet network, None of any other."""
    return network.network.flavour if isinstance(network, DarknetModel) else None
