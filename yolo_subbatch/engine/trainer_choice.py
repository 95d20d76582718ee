"""The trainer class of a run that goes on, and whether a given one trains a network."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from yolo_subbatch.engine import state
from yolo_subbatch.engine.darknet_trainer import DarknetTrainer
from yolo_subbatch.engine.making import subbatch
from yolo_subbatch.engine.trainer_lookup import SCRIPT, find_trainer
from yolo_subbatch.errors import SettingsError


def trainer_class(place: str, run: object = "") -> Any:
    """Return the class ``module:name``, with sub-batches.

    Args:
        place: As the state of a run has it.
        run: The run, for messages.

    Raises:
        SettingsError: If it is not there any more.
        TrustError: If it is neither Ultralytics' nor ours, and the user does not trust the run: it would be imported.
    """
    try:
        return subbatch(find_trainer(place, run))
    except (ImportError, AttributeError) as error:
        module, _, name = place.partition(":")
        advice = (
            f"go on with it from where {name} is defined, by train(trainer=..., resume=FOLDER)"
            if module == SCRIPT
            else "install it, or go on from where it is defined, by train(trainer=..., resume=FOLDER)"
        )
        raise SettingsError(f"resume: the trainer {place} of this run cannot be imported here; {advice}") from error


def own_trainer(folder: Path) -> Any:
    """Return the trainer of a run that goes on, where it is one of Darknet networks."""
    kept = state.load(state.find_state(folder), peek=True)
    return trainer_class(kept["host"], folder) if "darknet" in kept["yaml"] else None


def check_trainer(trainer: Any) -> None:
    """Refuse a trainer of Ultralytics' own models for a Darknet network.

    Raises:
        SettingsError: If it is one, or no class at all.
    """
    while isinstance(trainer, partial):
        trainer = trainer.func
    if trainer is not None and not callable(trainer):
        raise SettingsError(
            f"trainer={trainer!r}: no class; leave it out, or give a subclass of yolo_subbatch.DarknetTrainer"
        )
    if isinstance(trainer, type) and not issubclass(trainer, DarknetTrainer):
        raise SettingsError(
            f"trainer={trainer.__name__}: trains Ultralytics' own models, not Darknet networks; leave trainer= out, or "
            "give a subclass of yolo_subbatch.DarknetTrainer"
        )
