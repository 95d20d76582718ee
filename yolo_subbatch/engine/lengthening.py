"""A run that becomes longer, or shorter than was planned, when it goes on: its state, and what becomes of its schedule.

A new length is written into the state that the run goes on from, so that all that comes after is an ordinary resume:
several processes, an interruption, another length. The note ``longer`` in it tells the process that begins first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ultralytics.utils import RANK

from yolo_subbatch.darknet.sections import Net
from yolo_subbatch.engine import host
from yolo_subbatch.engine.base import TrainerBase
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.folder.events import Step, last_event
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.folder.run_length import LENGTH, check_length, is_finished, length_of, note_length, refuse_finished
from yolo_subbatch.settings.trust import shown

FITTED = ("steps", "step", "burn_in", "sgdr_cycle", "gamma")  # what is fitted to the length of a run


def lengthen(state: dict[str, Any], given: dict[str, Any], folder: RunFolder, place: Any) -> None:
    """Put the length that a user gives into the state of a run, and take it out of what he gives.

    Args:
        state: The state to go on from, which is changed.
        given: What the user gives; the complete arguments of a run, for its processes, hold its own length.
        folder: The run.
        place: The run, as the user gave it.

    Raises:
        SettingsError: If nothing is left to train.
    """
    if given.get("complete"):
        return
    length, first = length_of(given), RANK in {-1, 0}
    if first and not length and is_finished(folder):
        refuse_finished(place, kept=True)
    if not length:
        return
    darknet = "darknet" in state["yaml"]
    if first:  # the others may find its events cut back already
        check_length(folder, length, darknet)
    for key in LENGTH:
        given.pop(key, None)
    try:
        _write(state, length, folder, darknet)
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(
            f"resume={place}: its state has no length that can be changed ({shown(error)}); "
            "start a new run with weights="
        ) from error


def _write(state: dict[str, Any], length: Mapping[str, Any], folder: RunFolder, darknet: bool) -> None:
    """Write a new length into a state; one that is the old one changes nothing."""
    own = state["args"]
    before = _own_length(own, darknet)
    if length == before and not own.get("time") and not is_finished(folder):
        return
    state["longer"] = {"before": before, "time": own.get("time"), "anew": _forget_patience(state, folder)}
    state["optimizer_for"] = state.get("optimizer_for") or int(own["epochs"])
    own.update(length, time=None)
    if darknet:
        own["max_batches"] = length.get("max_batches")
        own["given"] = sorted({*own["given"]} - {*LENGTH} | {*length})


def _own_length(own: Mapping[str, Any], darknet: bool) -> dict[str, Any]:
    """Return the length that a run has so far, as far as it was given."""
    return length_of({key: own.get(key) for key in LENGTH if not darknet or key in own["given"]})


def _forget_patience(state: Mapping[str, Any], folder: RunFolder) -> bool:
    """Have early stopping wait anew where it has ended the run, which would end at once; return whether it has."""
    last, patience, stopper = last_event(folder.events, Step), state["args"].get("patience"), state["stopper"]
    if last is None or not patience or not is_finished(folder) or last.epoch - stopper["best_epoch"] < patience:
        return False
    stopper.update(best_epoch=last.epoch, possible_stop=False)
    return True


def is_longer(trainer: TrainerBase) -> bool:
    """Tell whether this training begins with another length than its run had."""
    return trainer.resumed is not None and "longer" in trainer.resumed


def keep_length(trainer: TrainerBase) -> None:
    """Have the files of a run say how long it is now, once nothing can be refused any more."""
    if RANK in {-1, 0}:
        length = _own_length(vars(trainer.args), trainer.trains_darknet())
        note_length(RunFolder(Path(trainer.save_dir)), length)
    trainer.save_state()


def epochs_for_optimizer(trainer: TrainerBase) -> int | None:
    """Return the epochs by which ``optimizer=auto`` has chosen, where a run has another length by now; else None."""
    found = (trainer.resumed or {}).get("optimizer_for")
    chooses = str(trainer.args.optimizer).lower() == "auto" and not trainer.trains_darknet()
    return int(found) if found and chooses else None


def line(trainer: TrainerBase, change: str, schedule: list[str], rate: float) -> str:
    """Say in a line what becomes of a run's schedule with its new length.

    Args:
        trainer: Whose state is in its place.
        change: The old length and the new one.
        schedule: What becomes of the schedule.
        rate: The learning rate of the next update.
    """
    assert trainer.resumed is not None
    note, done = trainer.resumed["longer"], trainer.progress.iteration
    said = [f"{change}, after iteration {done}", *schedule]
    if done:
        group = trainer.optimizer.param_groups[0]
        before = trainer.rates_before[0] / group.get("rate_factor", 1.0)
        said.append(f"the rate stays {rate:g}" if before == rate else f"the rate goes from {before:g} to {rate:g}")
    if note["time"]:
        said.append(f"time={note['time']:g} does not hold any more")
    if note["anew"]:
        said.append(f"early stopping waits anew, from epoch {trainer.resumed['stopper']['best_epoch']} on")
    return "; ".join(said)


def host_line(trainer: TrainerBase) -> str:
    """Say what becomes of the schedule that Ultralytics reckons from the length."""
    assert trainer.resumed is not None
    args, epochs = trainer.args, trainer.epochs
    schedule = [f"the learning rate follows the curve of {epochs} epochs from here on"]
    if args.close_mosaic and args.mosaic:
        schedule.append(f"mosaic is on until epoch {max(0, epochs - args.close_mosaic)}")
    change = f"another length: {trainer.resumed['longer']['before'].get('epochs')} -> {epochs} epochs"
    return line(trainer, change, schedule, _host_rate(trainer))


def _host_rate(trainer: TrainerBase) -> float:
    """Return the rate of the next update as Ultralytics plans it."""
    group, updates, done = trainer.optimizer.param_groups[0], trainer.updates_per_epoch, trainer.progress.iteration
    warmup = host.warmup_of(trainer, updates)
    epoch = trainer.start_epoch + (trainer.progress.window >= updates)
    target = float(group.get("initial_lr", group["lr"]) * trainer.lf(epoch))
    if warmup < 1 or done > warmup:
        return target
    start = trainer.args.warmup_bias_lr if group.get("param_group") == "bias" else 0.0
    return float(np.interp(done, [0, warmup], [start, target]))


def darknet_schedule(before: Net, now: Net, exact: bool) -> list[str]:
    """Say what becomes of the schedule in ``[net]``."""
    changed = [
        f"{name} {_shown(getattr(before, name))} -> {_shown(getattr(now, name))}"
        for name in FITTED
        if getattr(before, name) != getattr(now, name)
    ]
    if changed:
        return [f"{', '.join(changed)} in proportion to the new length"]
    numbers = f"steps {_shown(now.steps)}" if now.policy == "steps" else f"policy={now.policy}"
    return [f"{numbers} as before{' (schedule=exact)' if exact else ''}"]


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"
