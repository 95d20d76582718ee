"""``yolo-subbatch train``: one run from its settings to its exit status."""

from __future__ import annotations

import shlex
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ultralytics import YOLO
from ultralytics.engine.model import Model

from yolo_subbatch.engine import LOGGER
from yolo_subbatch.engine.callbacks import RunRecorder
from yolo_subbatch.engine.model import Darknet
from yolo_subbatch.engine.subbatch import subbatch
from yolo_subbatch.errors import WeightsError
from yolo_subbatch.run.checks import show
from yolo_subbatch.run.events import Event
from yolo_subbatch.run.folder import RunFolder
from yolo_subbatch.run.host import is_darknet_checkpoint
from yolo_subbatch.run.settings import TrainSettings

Listener = Callable[[Event], None]
INTERRUPTED = 130
#: Settings that the cfg of a run does not hold, so that whoever goes on has to give them again.
NOT_IN_CFG = (
    "flavour", "letterbox", "max_norm", "norm_type", "patience", "augmentation", "device", "workers", "amp", "seed",
    "project",
)  # fmt: skip


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
    if not settings.model:
        return Darknet(settings.cfg or "yolov3.cfg", settings.weights, settings.flavour), keywords
    model = open_file(settings.model)
    if not isinstance(model, Darknet):
        keywords["trainer"] = subbatch(model._smart_load("trainer"))
    return model, keywords


def open_file(path: str) -> Model:
    """Return the model of a checkpoint or a description: a Darknet network or one of Ultralytics.

    Raises:
        WeightsError: If it cannot be loaded.
    """
    if path.endswith(".pt") and Path(path).is_file() and is_darknet_checkpoint(path):
        return Darknet(path)
    try:
        return YOLO(path)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise WeightsError(f"{path}: cannot be loaded ({reason}); give a .pt of a training") from error


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
    if recorder is None or recorder.writer is None:
        return  # it never began
    status = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
    details = {"type": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
    recorder.finish(status, model.trainer.update_index, str(error), None if status == "stopped" else details)


def how_to_go_on(settings: TrainSettings, folder: RunFolder) -> str:
    """Return the command that continues an interrupted run from its weights."""
    weights = folder.path / "weights"
    again = {key: value for key, value in settings.changed().items() if key in NOT_IN_CFG} | dict(settings.extra)
    if (weights / "last.weights").exists():
        start = {"cfg": weights / "model.cfg", "weights": weights / "last.weights"}
        again.update(seen="keep", schedule="exact")
    else:
        start = {"model": weights / "last.pt"}
    pairs = {**start, **({"data": settings.data} if settings.data else {}), **again}
    typed = [
        f"{key}={','.join(map(show, value)) if isinstance(value, list) else show(value)}"
        for key, value in pairs.items()
    ]
    return f"stopped; the weights are in {weights}; go on with:\n  yolo-subbatch train {shlex.join(typed)}"
