"""``yolo-subbatch train``: one run from its settings to its exit status."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ultralytics import YOLO
from ultralytics.engine.model import Model

from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.callbacks import RunRecorder
from yolo_subbatch.engine.model import Darknet
from yolo_subbatch.engine.subbatch import subbatch
from yolo_subbatch.errors import YoloSubbatchError
from yolo_subbatch.run.events import Event
from yolo_subbatch.run.folder import RunFolder
from yolo_subbatch.run.settings import TrainSettings

Listener = Callable[[Event], None]
INTERRUPTED = 130


def run_training(settings: TrainSettings, folder: RunFolder, listeners: list[Listener]) -> int:
    """Train as the settings say, into a run folder that exists.

    The first Ctrl+C (or SIGTERM) ends the run after the current update and keeps its weights; a second one ends it at
    once.

    Returns:
        The exit status: 0 when done, 130 when interrupted.

    Raises:
        YoloSubbatchError: If something that the user gave turns out to be unusable.
    """
    model, keywords = prepare(settings)
    for listener in listeners:
        model.add_callback("on_event", listener)
    keywords.update(project=str(folder.path.parent.absolute()), name=folder.path.name, exist_ok=True)
    with stop_on_signal(model) as stop:
        try:
            model.train(**keywords)
        except BaseException as error:
            report_failure(model, error)
            raise
    if stop.is_set():
        LOGGER.info(how_to_go_on(settings, folder))
        return INTERRUPTED
    return 0


def prepare(settings: TrainSettings) -> tuple[Model, dict[str, Any]]:
    """Return the model and the keywords of its ``train``."""
    keywords = settings.keywords()
    if settings.model and not is_darknet(settings.model):
        model = YOLO(settings.model)
        keywords["trainer"] = subbatch(model._smart_load("trainer"))
        return model, keywords
    if settings.model:
        return Darknet(settings.model), keywords
    return Darknet(settings.cfg or "yolov3.cfg", settings.weights, settings.flavour), keywords


def is_darknet(path: str) -> bool:
    """Tell whether a checkpoint holds a Darknet network; what cannot be loaded is reported as such."""
    if not path.endswith(".pt"):
        return False
    try:
        Darknet(path)
    except YoloSubbatchError as error:
        if "use ultralytics.YOLO" in str(error):
            return False
        raise
    return True


@contextmanager
def stop_on_signal(model: Model) -> Iterator[threading.Event]:
    """Turn the first SIGINT or SIGTERM into a stop after the current update; the second one interrupts at once."""
    asked = threading.Event()

    def handler(number: int, frame: Any) -> None:
        recorder: RunRecorder | None = getattr(model.trainer, "recorder", None)
        if asked.is_set() or recorder is None or recorder.writer is None:
            raise KeyboardInterrupt
        asked.set()
        recorder.interrupted = True
        LOGGER.info("\nstopping after the current update; press Ctrl+C again to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def report_failure(model: Model, error: BaseException) -> None:
    """Leave the reason in the run folder before the error goes on."""
    recorder: RunRecorder | None = getattr(model.trainer, "recorder", None)
    if recorder is None:
        return
    status = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
    details = {"type": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
    recorder.finish(status, model.trainer.update_index, str(error), None if status == "stopped" else details)


def how_to_go_on(settings: TrainSettings, folder: RunFolder) -> str:
    """Return the command that continues an interrupted run from its weights."""
    weights = folder.path / "weights"
    data = f" data={settings.data}" if settings.data else ""
    if not (weights / "last.weights").exists():
        return (
            f"stopped; the weights are in {weights}; go on with: yolo-subbatch train model={weights / 'last.pt'}{data}"
        )
    return (
        f"stopped; the weights are in {weights}; go on with:\n  yolo-subbatch train cfg={weights / 'model.cfg'} "
        f"weights={weights / 'last.weights'}{data} seen=keep schedule=exact"
    )
