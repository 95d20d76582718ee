"""``yolo-subbatch demo``: the main job on the built-in data set, from nothing to a picture with boxes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from yolo_subbatch.built_in_data import shapes_data
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.folder.terminal import TerminalProgress, route_messages
from yolo_subbatch.settings.commands import DemoSettings, ValSettings
from yolo_subbatch.settings.train_settings import TrainSettings

CFG = "shapes.cfg"
PICTURES = 12  # validation images on the contact sheet
COLUMNS = 4
ZOOM = 2  # the images are small


def run_demo(settings: DemoSettings) -> int:
    """Train on ``shapes``, measure on images that training never saw, and draw what is found.

    Returns:
        The exit status: 0 when done, 130 when interrupted.
    """
    data = shapes_data()
    print(f"data set shapes: {data.parent}")
    folder = RunFolder.create(settings.project, settings.name)
    training = TrainSettings(
        cfg=CFG, data=str(data), epochs=settings.epochs, device=settings.device, project=settings.project,
        name=folder.path.name, extra={"plots": False},
    )  # fmt: skip
    folder.write_settings(training)
    folder.write_process()
    from yolo_subbatch.engine.training_run import run_training

    progress = TerminalProgress(sys.stdout)
    route_messages(progress)
    try:
        status = run_training(training, folder, [progress])
    finally:
        progress.close()
    if status:
        return status
    best = folder.weights / "best.pt"
    figures = _measure(best, data, folder, settings)
    picture = draw_predictions(best, data, folder.path / "predictions.png", settings.device)
    shown = os.path.relpath(best)
    print(f"shapes val: mAP50 {figures['map50']:.3f}, mAP50-95 {figures['map']:.3f}")
    print(f"picture: {picture}")
    print("next:")
    print(f"  yolo-subbatch predict model={shown} source={data.parent / 'images' / 'val'}")
    print(f"  yolo-subbatch convert model={shown} to=shapes.weights")
    print("  yolo-subbatch train cfg=yolov3-tiny.cfg data=obj.data batch=64 subdivisions=16")
    return 0


def _measure(best: Path, data: Path, folder: RunFolder, settings: DemoSettings) -> dict[str, float]:
    """Measure the best weights on the validation images."""
    from yolo_subbatch.engine.evaluate import run_validation

    return run_validation(
        ValSettings(model=str(best), data=str(data), device=settings.device, project=str(folder.path), name="val")
    )


def _enlarged(result: Any) -> Any:
    """Return an Ultralytics result with picture and boxes ``ZOOM`` times as large."""
    height, width = result.orig_shape
    large = cv2.resize(result.orig_img, (width * ZOOM, height * ZOOM), interpolation=cv2.INTER_CUBIC)
    boxes = result.boxes.data.clone()
    boxes[:, :4] *= ZOOM
    return type(result)(large, result.path, result.names, boxes)


def draw_predictions(best: Path, data: Path, target: Path, device: str | None = None) -> Path:
    """Draw what the network finds in the first validation images as one picture."""
    from yolo_subbatch.engine.api import Darknet

    images = sorted((data.parent / "images" / "val").glob("*.jpg"))[:PICTURES]
    keywords: dict[str, Any] = {} if device is None else {"device": device}
    results = Darknet(best).predict([str(image) for image in images], conf=0.4, verbose=False, **keywords)
    tiles = [_enlarged(result).plot(line_width=2, font_size=9) for result in results]
    rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    cv2.imwrite(str(target), np.vstack(rows))
    return target
