"""The exact state of a training, written so that it can be taken up again after any kind of end.

Ultralytics' own checkpoints hold half-precision averages of the weights; going on from them is another training. This
file holds everything that the next update depends on, in full precision. What is drawn at random needs no place in it:
that depends on seed, epoch, image and iteration alone.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from ultralytics.utils import RANK

from yolo_subbatch.darknet.regular_files import write_atomically
from yolo_subbatch.engine import host, unpickling
from yolo_subbatch.engine.base import TrainerBase
from yolo_subbatch.engine.claims import check_state
from yolo_subbatch.engine.shortage import is_shortage
from yolo_subbatch.engine.trainer_lookup import host_class
from yolo_subbatch.errors import SettingsError, TrustError
from yolo_subbatch.folder.resume import MAY_CHANGE, MAY_CHANGE_TOO, STATE, run_of
from yolo_subbatch.folder.run_folder import RunFolder
from yolo_subbatch.settings.trust import TRUST, is_guarded, shown

VERSION = 1
PLAIN_PART = "/data.pkl"  # of the archive that torch writes: all but the tensors
CHUNK = 2**20  # bytes that are read at a time
AS_IT_WAS = "put the data set back as it was, or start a new run with weights="
STOPPER = ("best_fitness", "best_epoch", "possible_stop")  # what Ultralytics' early stopping remembers
#: Arguments that Ultralytics adds on its own, or that the run's folder decides.
NOT_ASKED = frozenset({
    "resume", "mode", "task", "model", "data", "pretrained", "project", "name", "exist_ok", "save_dir", "single_cls",
    "complete", "cfg", "weights", "given",
})  # fmt: skip


def capture(trainer: TrainerBase) -> dict[str, Any]:
    """Return everything that the next update of a training depends on."""
    model, criterion = trainer.plain_model, getattr(trainer.plain_model, "criterion", None)
    recorder, progress = trainer.recorder, trainer.progress
    return {
        "version": VERSION,
        # Memory may have been short: with batch normalisation, other sub-batches would be another training.
        "args": plain({**without_trust(trainer.asked), **in_use(trainer)}),
        "host": host_class(type(trainer)),
        "yaml": plain(getattr(model, "yaml", {})),
        "images": fingerprint(trainer.train_loader.dataset),
        "processes": trainer.processes,
        "iteration": progress.iteration,
        "seen": progress.seen,
        "epoch": trainer.epoch,
        "window": progress.window,
        "skipped": progress.skipped,
        "in_a_row": progress.in_a_row,
        "losses": progress.losses.state() if progress.window else {},
        "loss_names": list(trainer.loss_names),
        "model": model.state_dict(),
        "ema": trainer.ema.ema.state_dict() if trainer.ema else None,
        "ema_updates": trainer.ema.updates if trainer.ema else 0,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "criterion_updates": getattr(criterion, "updates", None),
        "best_fitness": number(trainer.best_fitness),
        "fitness": number(trainer.fitness),
        "metrics": plain(trainer.metrics),
        "stopper": {name: plain(getattr(trainer.stopper, name)) for name in STOPPER},
        "csv": trainer.csv.read_text(encoding="utf-8") if trainer.csv.is_file() else "",
        "events": recorder.position() if recorder else 0,
        "best": recorder.best if recorder else None,
        "extra": trainer.extra_state(),
        "optimizer_for": (trainer.resumed or {}).get("optimizer_for"),
    }


def in_use(trainer: TrainerBase) -> dict[str, Any]:
    """Return the arguments that may be other ones by now, because memory was short."""
    return {key: getattr(trainer.args, key) for key in ("subdivisions", "recompute")}


def without_trust(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a run that are kept: whom to trust is said anew, and never by a file."""
    return {key: value for key, value in arguments.items() if key != TRUST}


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state: the file is the old one or the new one, whole, whatever happens."""
    buffer = io.BytesIO()
    with _with_sums():
        torch.save(dict(state), buffer)
    write_atomically(path, buffer.getvalue())


@contextmanager
def _with_sums() -> Iterator[None]:
    """Have torch write the checksums of what it saves, also where its user has turned that off."""
    read = getattr(torch.serialization, "get_crc32_options", None)
    before = read() if read is not None else True
    if before:
        yield
        return
    torch.serialization.set_crc32_options(True)
    try:
        yield
    finally:
        torch.serialization.set_crc32_options(before)


def load(path: Path, peek: bool = False) -> dict[str, Any]:
    """Read a state, if it is as it was written.

    Args:
        path: The file.
        peek: Leave the tensors in the file, which costs next to nothing, and unchecked.

    Raises:
        SettingsError: If the file is missing, damaged or of a later version.
    """
    try:
        _check_sums(path, peek)
        state = unpickling.load(path, map_location="cpu", mmap=peek, data=True)
        version = state["version"]
        if version == VERSION:
            check_state(state)
    except TrustError as fault:
        raise SettingsError(
            f"{path}: no state to go on from, it {fault.found}; start a new run with weights="
        ) from None
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise SettingsError(f"{path}: not a state to go on from ({reason}); start a new run with weights=") from error
    if version != VERSION:
        raise SettingsError(f"{path}: written by another version of this program; go on with that one")
    found: dict[str, Any] = state
    return found


def _check_sums(path: Path, peek: bool) -> None:
    """Compare what a state holds with the checksums in it, which torch writes and does not look at.

    Raises:
        ValueError: If a part of it was changed since.
    """
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if peek and not name.endswith(PLAIN_PART):
                continue
            try:
                with archive.open(name) as part:
                    while part.read(CHUNK):
                        pass
            except (zipfile.BadZipFile, EOFError, zlib.error) as error:
                raise ValueError("it is damaged: its checksums do not fit what it holds") from error


def restore(trainer: TrainerBase, state: Mapping[str, Any]) -> None:
    """Put a training back to where its state was captured; everything of it exists already.

    Raises:
        SettingsError: If the data set or the optimizer is not the one that the run was begun with, or the state is not
            one of this network.
    """
    try:
        _restore(trainer, state)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        if is_shortage(error):
            raise
        raise SettingsError(
            f"{trainer.save_dir}: its {STATE} does not fit its network ({shown(error)}); start a new run with weights="
        ) from error


def _restore(trainer: TrainerBase, state: Mapping[str, Any]) -> None:
    if state["epoch"] > trainer.epochs:
        raise ValueError(f"epoch {state['epoch'] + 1} of {trainer.epochs}")
    check_images(state["images"], fingerprint(trainer.train_loader.dataset), str(trainer.args.data))
    check_groups(state["optimizer"]["param_groups"], trainer.optimizer)
    trainer.plain_model.load_state_dict(state["model"])
    for saved, group in zip(state["optimizer"]["param_groups"], trainer.optimizer.param_groups, strict=True):
        saved["fused"] = group.get("fused")  # the device of today decides about the kernel
    trainer.optimizer.load_state_dict(state["optimizer"])
    if trainer.scaler.is_enabled() and state["scaler"]:
        trainer.scaler.load_state_dict(state["scaler"])
    if trainer.ema and state["ema"] is not None:
        trainer.ema.ema.load_state_dict(state["ema"])
        trainer.ema.updates = state["ema_updates"]
    _restore_criterion(trainer.plain_model, state["criterion_updates"])
    progress = trainer.progress
    progress.iteration, progress.seen, progress.window = state["iteration"], state["seen"], state["window"]
    progress.skipped, progress.in_a_row = state["skipped"], state["in_a_row"]
    progress.losses.load(state["losses"])
    trainer.best_fitness, trainer.fitness = state["best_fitness"], state["fitness"]
    trainer.stopper.__dict__.update(state["stopper"])
    if state["metrics"]:
        trainer.metrics = state["metrics"] | {
            key: value for key, value in (trainer.metrics or {}).items() if key not in state["metrics"]
        }
    trainer.loss_names = tuple(state["loss_names"]) or trainer.loss_names  # before the first update, none are known
    # Ultralytics looks at the last sub-batch's losses when it validates, and an epoch may be taken up at its end.
    trainer.loss = torch.zeros((), device=trainer.device)
    trainer.loss_items = host.zeros(trainer.loss_names, trainer.device)
    if RANK in {-1, 0} and trainer.whole_best.is_file():
        os.replace(trainer.whole_best, trainer.best)
    trainer.load_extra_state(state["extra"])
    if RANK in {-1, 0} and state["csv"]:
        write_atomically(trainer.csv, state["csv"].encode())
    elif RANK in {-1, 0}:
        trainer.csv.unlink(missing_ok=True)  # Ultralytics writes the heading into a file that is not there yet


def check_groups(saved: list[dict[str, Any]], optimizer: torch.optim.Optimizer) -> None:
    """Refuse to go on with an optimizer that is cut into other groups of parameters than the run's.

    Raises:
        SettingsError: If it is.
    """
    there = [len(group["params"]) for group in saved]
    here = [len(group["params"]) for group in optimizer.param_groups]
    if there != here:
        raise SettingsError(
            f"resume: the optimizer of this run has {there} parameters in its groups, the one made now "
            f"({type(optimizer).__name__}) {here}; make the same one, in build_optimizer of your trainer class: one "
            "that is put on the trainer later comes after the state"
        )


def _restore_criterion(model: Any, updates: int | None) -> None:
    """Have a loss, and bring one whose weights change with every epoch to its place.

    Ultralytics makes it for the first sub-batch and asks for it after the last; an epoch may be taken up at its end.
    """
    if getattr(model, "criterion", None) is None:
        model.criterion = model.init_criterion()
    if updates:
        model.criterion.updates = updates - 1
        model.criterion.update()


def number(value: Any) -> float | None:
    """Return a plain number of what may be one of numpy's or torch's."""
    return None if value is None else float(value)


def plain(value: Any) -> Any:
    """Return a value made of what a restricted unpickler accepts: numbers, texts, lists, dictionaries."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    return float(value) if isinstance(value, Real) else str(value)  # numpy's numbers are of their own type


def fingerprint(dataset: Any) -> tuple[int, str]:
    """Return the number of images of a data set and a hash of their names, which does not know where they lie."""
    files = getattr(dataset, "im_files", None) or [str(sample[0]) for sample in getattr(dataset, "samples", [])]
    names = "\n".join(Path(file).name for file in files)
    return len(dataset), hashlib.sha256(names.encode("utf-8", "backslashreplace")).hexdigest()


def check_images(then: Any, now: tuple[int, str], data: str) -> None:
    """Refuse to go on with other images: every later update would hold other ones.

    Raises:
        SettingsError: If the two fingerprints differ.
    """
    if tuple(then) == now:
        return
    what = f"{now[0]} training images, {then[0]} when the run began" if then[0] != now[0] else "other training images"
    raise SettingsError(f"{data}: {what}; {AS_IT_WAS}")


def run_to_resume(place: Any) -> RunFolder:
    """Return the run that ``resume=`` names: by its folder, its weights folder or one of its checkpoints.

    Raises:
        SettingsError: If it names none, or one of somebody else that would be written elsewhere.
    """
    if not isinstance(place, (str, Path)):
        raise SettingsError(f"resume={place}: does not say which run; give its folder")
    run = run_of(place)
    run.refuse_links(f"resume={place}")
    return run


def find_state(place: Any) -> Path:
    """Return the state file of the run that ``resume=`` names.

    Raises:
        SettingsError: If there is none.
    """
    found = run_to_resume(place).weights / STATE
    if not found.is_file():
        raise SettingsError(
            f"resume={place}: no {STATE} in its weights folder: the run is finished and its state was not kept "
            "(keep_state=False, or an earlier version), or it never began; start a new one with weights= or model="
        )
    return found


def merged(
    state: Mapping[str, Any], asked: Mapping[str, Any], folder: Path, usual: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a run that goes on: its own, with what may change.

    Args:
        state: The state to go on from.
        asked: What the user gives now; None is as good as not given.
        folder: The run's folder, wherever it lies today.
        usual: The defaults of our own keys, some of which may be younger than the run.

    Raises:
        SettingsError: If something is asked for that would make it another training.
        TrustError: If its data set is an address, which nobody gives now.
    """
    own = {**usual, **without_trust(state["args"])}
    if is_guarded() and "://" in str(own.get("data")):
        found = f"its data set is an address that would be fetched ({shown(own['data'])})"
        raise TrustError(f"resume={folder}", found, "start a new run with weights= and data=")
    changes = {key: value for key, value in asked.items() if value is not None and key not in NOT_ASKED}
    for key, value in changes.items():
        if key not in (*MAY_CHANGE, *MAY_CHANGE_TOO, TRUST) and plain(value) != own.get(key):
            raise SettingsError(
                f"{key}={value}: cannot change when a run goes on ({key}={own.get(key)} so far), the training would be "
                "another one; leave it out, or start a new run with weights="
            )
    before, here = str(own.get("save_dir", "")), str(folder)
    data = Path(str(own.get("data")))
    if before and data.is_relative_to(before):
        own["data"] = str(folder / data.relative_to(before))
    own.update({key: value for key, value in changes.items() if key in (*MAY_CHANGE, *MAY_CHANGE_TOO, TRUST)})
    own.update(project=str(folder.parent), name=folder.name, exist_ok=True, save_dir=here, resume=here)
    return own
