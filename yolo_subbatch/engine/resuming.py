"""With which arguments a trainer begins: those that were given, or those of the run that is to go on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psutil
import torch
from ultralytics.utils import RANK

from yolo_subbatch.engine import LOGGER, lengthening, processes, state, trainer_lookup
from yolo_subbatch.engine.arguments import check_arguments, read_keywords, sub_batch_size
from yolo_subbatch.engine.asking_again import with_args_file
from yolo_subbatch.engine.unused_keys import keys_without_effect
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.run_folder import RunFolder


def begin(
    kind: type[Any], overrides: dict[str, Any] | None, darknet: bool
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the arguments to begin with, and the state of the run that is taken up again, if one is.

    Args:
        kind: The trainer's class.
        overrides: What was given.
        darknet: It trains Darknet networks.

    Raises:
        SettingsError: If the run cannot go on, or not by this trainer.
    """
    given, resumed = with_args_file(overrides or {}), None
    if not darknet:
        given = read_keywords(given, darknet=False)
    place = given.pop("resume", None)
    if place:
        file = state.find_state(place)
        folder = file.parent.parent
        _refuse_running(RunFolder(folder))
        resumed = state.load(file)
        trainer_lookup.check_run(place, resumed, kind, given)
        text = trainer_lookup.tell_other_network(place, resumed, folder, given.get("model"))
        if text and RANK in {-1, 0}:
            LOGGER.warning(text)
        lengthening.lengthen(resumed, given, RunFolder(folder), place)
        given = state.merged(resumed, given, folder, kind.own_defaults)
        args = SimpleNamespace(**given)  # from here on, files of the run are written
        check_arguments(args)
        sub_batch_size(args, processes.launched() or 1)
    elif not given.get("complete") and "given" not in given:  # a Darknet trainer asks before it adds its own keys
        if not darknet:
            trainer_lookup.check_network(kind, given.get("model"))
        for text in keys_without_effect(given, darknet).values():
            if RANK in {-1, 0}:
                LOGGER.warning(text)
    if processes.launched() and not given.get("device") and torch.cuda.is_available():
        given["device"] = processes.local_devices()
    return given, resumed


def _refuse_running(folder: RunFolder) -> None:
    """Leave a run alone that another process goes on with; those that started this one are no other."""
    running, here = folder.process(), psutil.Process()
    if RANK in {-1, 0} and running is not None and running not in (here, *here.parents()):
        raise SettingsError(f"resume={folder.path}: this run is still running; stop it first")
