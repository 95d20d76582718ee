"""``yolo-subbatch predict``: what a trained network finds in images."""

from __future__ import annotations

from typing import Any

from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.evaluate import host_keywords, open_model
from yolo_subbatch.engine.figures import WITHOUT_BOXES, entry
from yolo_subbatch.engine.sources import Sources, infer, sources_of
from yolo_subbatch.errors import DataError
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.commands import PredictSettings
from yolo_subbatch.settings.output_checks import write_json


def run_prediction(settings: PredictSettings) -> list[dict[str, Any]]:
    """Find objects, save pictures and boxes as asked.

    Ctrl+C keeps what was found until then, and is the usual end of a camera.

    Raises:
        YoloSubbatchError: If something that the user gave is not usable, or none of the images can be read; what is
            wrong with each is in the JSON file all the same.

    Returns:
        What ``json=`` writes: one entry an image; see :func:`.figures.entry`.
    """
    model = open_model(settings)
    keywords = {**host_keywords(settings), "max_det": settings.max_det}
    folder = RunFolder.create(settings.project, settings.name) if settings.save else None
    if folder is not None:
        keywords.update(save=True, project=str(folder.path.parent), name=folder.path.name, exist_ok=True)
    entries: list[dict[str, Any]] = []
    interrupted = False
    try:
        _look(model, settings, keywords, entries)
    except KeyboardInterrupt:
        interrupted = True  # a camera ends in no other way: what was found is kept
    except DataError:
        if folder is not None and not any(folder.path.iterdir()):
            folder.discard()
        raise
    count = sum(len(each["detections"]) for each in entries)
    if folder is not None and not any(folder.path.iterdir()):  # not one picture could be read
        folder.discard()
        folder = None
    said = f"{len(entries)} images" if model.task in WITHOUT_BOXES else f"{count} objects in {len(entries)} images"
    LOGGER.info(said + (f"; pictures in {folder.path}" if folder is not None else ""))
    if settings.json:
        write_json(settings.json, entries, "json", escaped=True)
        LOGGER.info(f"{'results' if model.task in WITHOUT_BOXES else 'boxes'} in {settings.json}")
    if entries and all("error" in each for each in entries):
        raise DataError(f"source={settings.source}: none of its images can be read; check the files")
    if interrupted and not infer.is_live(settings.source or ""):
        raise KeyboardInterrupt
    return entries


def _look(model: Any, settings: PredictSettings, keywords: dict[str, Any], entries: list[dict[str, Any]]) -> None:
    """Go through all that is to be looked at, and add what is found to the entries as it comes.

    Raises:
        DataError: If there is nothing.
    """
    for source in sources_of(settings.source or "", channels=int(getattr(model.model, "yaml", {}).get("channels", 3))):
        try:
            for result in model.predict(source, stream=True, verbose=False, **keywords):
                found = entry(result)
                if isinstance(source, Sources):
                    found["image"] = source.origin.get(found["image"], found["image"])
                entries.append(found)
        except ConnectionError as error:  # Ultralytics' word for a camera too
            raise DataError(
                f"source={settings.source}: this camera or stream cannot be opened; "
                "check that it is there and not in use"
            ) from error
        if isinstance(source, Sources):
            entries += [unread(path, reason) for path, reason in source.unread.items()]
    if not entries:
        raise DataError(f"source={settings.source}: none of its images can be read; check the files")


def unread(path: str, reason: str) -> dict[str, Any]:
    """Return the entry in the form of ``json=`` of an image that cannot be read."""
    return {"image": path, "width": 0, "height": 0, "error": reason, "detections": []}
