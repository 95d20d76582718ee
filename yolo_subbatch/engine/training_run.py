"""``yolo-subbatch train``: one run from its settings to its exit status."""

from __future__ import annotations

import math
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ultralytics import YOLO
from ultralytics.engine.model import Model
from ultralytics.utils import RANK
from ultralytics.utils.callbacks import get_default_callbacks

from yolo_subbatch.engine import LOGGER, state
from yolo_subbatch.engine.api import Darknet
from yolo_subbatch.engine.backup_callbacks import KeepsBackup
from yolo_subbatch.engine.callbacks import RunRecorder
from yolo_subbatch.engine.darknet_trainer import DarknetTrainer
from yolo_subbatch.engine.keys import prepare_keywords
from yolo_subbatch.engine.making import subbatch
from yolo_subbatch.engine.opening import names_left_alone, open_as_host, told
from yolo_subbatch.engine.trainer_choice import trainer_class
from yolo_subbatch.engine.unused_keys import checked_already
from yolo_subbatch.folder.backup_folder import Backup
from yolo_subbatch.folder.events import Event
from yolo_subbatch.folder.resume import STATE
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.folder.signals import HANGUP, EndedBySystem, endings, note_hangup
from yolo_subbatch.settings.find import find_cfg, is_checkpoint
from yolo_subbatch.settings.host_files import is_darknet_checkpoint
from yolo_subbatch.settings.train_settings import TrainSettings
from yolo_subbatch.settings.trust import guarded

Listener = Callable[[Event], None]
INTERRUPTED = 130
SAME_REQUEST = 0.1  # seconds within which signals are one request


def run_training(
    settings: TrainSettings, folder: RunFolder, listeners: list[Listener], backup: Backup | None = None
) -> int:
    """Train as the settings say, into a run folder that exists.

    With ``backup``, weights are left where Darknet leaves them too.

    The first Ctrl+C (or SIGTERM) ends the run after the current update and keeps its weights; a second one ends it at
    once.

    Returns:
        The exit status: 0 when done, 130 when interrupted.

    Raises:
        YoloSubbatchError: If something that the user gave turns out to be unusable.
    """
    keywords = settings.keywords()
    keywords.update(project=str(folder.path.parent.absolute()), name=folder.path.name, exist_ok=True)
    callbacks = _callbacks(listeners, backup)
    if not settings.model:
        trainers: list[DarknetTrainer] = []

        def train() -> None:
            trainers.append(_trainer(settings, keywords, callbacks))
            trainers[0].train()

        with checked_already(), guarded(settings.trust):
            return _train(train, lambda: trainers[0] if trainers else None, folder)
    model = open_file(settings.model)
    model.callbacks = callbacks
    if not isinstance(model, Darknet):
        keywords["trainer"] = subbatch(model._smart_load("trainer"))
    with checked_already():
        return _train(lambda: model.train(**keywords), lambda: model.trainer, folder)


def _trainer(settings: TrainSettings, keywords: dict[str, Any], callbacks: dict[str, list[Any]]) -> DarknetTrainer:
    """Return the trainer of a cfg, which builds the network once: with the data's classes, and the weights in it."""
    given = {**keywords, "model": str(find_cfg(settings.cfg or "yolov3.cfg")), "task": "detect", "mode": "train"}
    if settings.weights is not None:
        given["weights"] = str(Path(settings.weights).absolute())
    return DarknetTrainer(overrides=prepare_keywords(given), _callbacks=callbacks)


def _callbacks(listeners: list[Listener], backup: Backup | None) -> dict[str, list[Any]]:
    """Return Ultralytics' callbacks, and ours behind them."""
    callbacks: dict[str, list[Any]] = get_default_callbacks()
    callbacks["on_event"] = list(listeners)
    if backup is not None:
        KeepsBackup(backup).register(lambda event, function: callbacks[event].append(function))
    return callbacks


def continue_training(
    changes: dict[str, Any], folder: RunFolder, listeners: list[Listener], backup: Backup | None = None
) -> int:
    """Go on with a run from its exact state, in the same folder; old requests to stop are gone from it.

    Args:
        changes: Arguments that change, such as ``subdivisions``.
        folder: The run.
        listeners: Get every event.
        backup: Where weights go besides.

    Returns:
        The exit status: 0 when done, 130 when interrupted.

    Raises:
        YoloSubbatchError: If the state cannot be used.
    """
    kind = trainer_class(state.load(state.find_state(folder.path), peek=True)["host"], folder.path)
    trainer = kind(overrides={"resume": str(folder.path), **changes}, _callbacks=_callbacks(listeners, backup))
    trainer.requests_are_new = True
    return _train(trainer.train, lambda: trainer, folder)


def _train(work: Callable[[], Any], trainer: Callable[[], Any], folder: RunFolder) -> int:
    """Train until the end, or until someone asks for a stop."""
    try:
        with names_left_alone(), stop_on_signal(trainer, folder) as stop:
            work()
    except KeyboardInterrupt:
        if (folder.weights / STATE).is_file():
            _say_how_to_resume("stopped at once", folder)
        raise
    if stop.is_set():
        _say_how_to_resume("stopped", folder)
        return INTERRUPTED
    return 0


def _say_how_to_resume(happened: str, folder: RunFolder) -> None:
    if RANK in {-1, 0}:
        LOGGER.info(f"{happened}; go on with:\n  yolo-subbatch train {shlex.join([f'resume={folder.path}'])}")


def open_file(path: str) -> Model:
    """Return the model of a checkpoint or a description: a Darknet network or one of Ultralytics.

    Raises:
        WeightsError: If it cannot be loaded.
    """
    if is_checkpoint(path) and Path(path).is_file():
        return Darknet(path) if is_darknet_checkpoint(path) else open_as_host(Path(path))
    with told(path, "model"):
        return YOLO(path)  # a description, or a network that Ultralytics downloads


@contextmanager
def stop_on_signal(trainer: Callable[[], Any], folder: RunFolder) -> Iterator[threading.Event]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into a stop after the current update; a second one interrupts at once.

    Processes on several devices read the request from the run's folder. One request may come as several signals: a
    terminal that is closed signals twice, and systemd and ``timeout`` signal a process and then its group.
    """
    asked, last = threading.Event(), [-math.inf]

    def handler(number: int, frame: Any) -> None:
        note_hangup(number)
        again, last[0] = time.monotonic() - last[0] < SAME_REQUEST or number == HANGUP, time.monotonic()
        recorder: RunRecorder | None = getattr(trainer(), "recorder", None)
        launching = getattr(trainer(), "ddp", False)
        if RANK > 0 and not asked.is_set():
            asked.set()
            if trainer() is not None:
                trainer().stop_asked = True  # all learn of it with the next update
            return
        if asked.is_set() and again:
            return
        if asked.is_set() or not (launching or (recorder is not None and recorder.writer is not None)):
            raise KeyboardInterrupt if number == signal.SIGINT else EndedBySystem
        asked.set()
        if recorder is not None:
            recorder.interrupted = True
        elif launching:
            folder.request_stop()
        LOGGER.info("\nstopping after the current update; press Ctrl+C again to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, *endings())}
    try:
        yield asked
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)  # None: not one of Python's
