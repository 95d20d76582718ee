"""``yolo-subbatch predict``: what a trained network finds in images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.evaluate import open_model
from yolo_subbatch.engine.figures import WITHOUT_BOXES, entry
from yolo_subbatch.engine.sources import Sources, sources_of
from yolo_subbatch.errors import DataError
from yolo_subbatch.run.commands import PredictSettings
from yolo_subbatch.run.folder import RunFolder


def run_prediction(settings: PredictSettings) -> list[dict[str, Any]]:
    """Find objects, save pictures and boxes as asked.

    Returns:
        What ``json=`` writes: one entry an image; see :func:`.figures.entry`.
    """
    model = open_model(settings)
    keywords: dict[str, Any] = {"conf": settings.conf, "iou": settings.iou, "max_det": settings.max_det}
    if settings.letterbox != "ultralytics":
        keywords["letterbox"] = settings.letterbox
    for name in ("imgsz", "device", "classes"):
        value = getattr(settings, name)
        if value is not None:
            keywords[name] = list(value) if isinstance(value, tuple) else value
    folder = RunFolder.create(settings.project, settings.name) if settings.save else None
    if folder is not None:
        keywords.update(save=True, project=str(folder.path.parent), name=folder.path.name, exist_ok=True)
    try:
        entries = _entries(model, settings, keywords)
    except DataError:
        if folder is not None and not any(folder.path.iterdir()):
            folder.discard()
        raise
    count = sum(len(each["detections"]) for each in entries)
    said = f"{len(entries)} images" if model.task in WITHOUT_BOXES else f"{count} objects in {len(entries)} images"
    LOGGER.info(said + (f"; pictures in {folder.path}" if folder is not None else ""))
    if settings.json:
        Path(settings.json).write_text(json.dumps(entries, indent=1), encoding="utf-8")
        LOGGER.info(f"{'results' if model.task in WITHOUT_BOXES else 'boxes'} in {settings.json}")
    return entries


def _entries(model: Any, settings: PredictSettings, keywords: dict[str, Any]) -> list[dict[str, Any]]:
    """Go through all that is to be looked at.

    Raises:
        DataError: If there is nothing, or none of it can be read.
    """
    entries: list[dict[str, Any]] = []
    for source in sources_of(settings.source or "", channels=int(getattr(model.model, "yaml", {}).get("channels", 3))):
        try:
            entries += [entry(result) for result in model.predict(source, stream=True, verbose=False, **keywords)]
        except ConnectionError as error:  # Ultralytics' word for a camera too
            raise DataError(
                f"source={settings.source}: this camera or stream cannot be opened; "
                "check that it is there and not in use"
            ) from error
        if isinstance(source, Sources):
            entries = [{**each, "image": source.origin.get(each["image"], each["image"])} for each in entries]
            entries += [unread(path, reason) for path, reason in source.unread.items()]
    if all("error" in each for each in entries):
        raise DataError(f"source={settings.source}: none of its images can be read; check the files")
    return entries


def unread(path: str, reason: str) -> dict[str, Any]:
    """Return the entry in the form of ``json=`` of an image that cannot be read."""
    return {"image": path, "width": 0, "height": 0, "error": reason, "detections": []}
