"""What a checkpoint says of its network, and a state of its run, checked before anybody goes by it.

Ultralytics takes the description, the names and the data set that stand in a checkpoint as they are: it opens a
description that is a text as a file or an address, and measures on the data set where none is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from yolo_subbatch.errors import WeightsError
from yolo_subbatch.settings.trust import shown

NETWORKS = ("model", "ema")
#: What the parts of a state are that others go by before it is restored.
KINDS: Mapping[str, type | tuple[type, ...]] = {
    "args": dict, "host": str, "yaml": dict, "images": (list, tuple), "model": dict, "optimizer": dict, "scaler": dict,
    "losses": dict, "loss_names": list, "stopper": dict, "extra": dict, "csv": str,
}  # fmt: skip
#: What a state may have besides, and what stands in its note of another length.
OPTIONAL: Mapping[str, type | tuple[type, ...]] = {"longer": dict, "optimizer_for": (int, type(None))}
NOTE: Mapping[str, type | tuple[type, ...]] = {"before": dict, "time": (int, float, type(None)), "anew": bool}
COUNTS = ("iteration", "seen", "epoch", "window", "events")


def check_claims(checkpoint: Any, where: object) -> None:
    """Refuse a checkpoint that describes its network as nobody does; names become ``{index: name}``.

    An address of a data set is taken out: only the user says what is fetched.

    Args:
        checkpoint: What the file holds, which is changed.
        where: The file.

    Raises:
        WeightsError: If the description or the names of classes are none.
    """
    if not isinstance(checkpoint, dict):
        return
    given = checkpoint.get("train_args")
    if isinstance(given, dict) and "://" in str(given.get("data")):
        checkpoint["train_args"] = {key: value for key, value in given.items() if key != "data"}
    for network in (checkpoint.get(key) for key in NETWORKS):
        if isinstance(network, nn.Module):
            _check_network(network, where)


def _check_network(network: nn.Module, where: object) -> None:
    held = vars(network)
    if not isinstance(held.get("yaml", {}), Mapping):
        raise WeightsError(f"{where}: its description is none ({shown(held['yaml'])}); give a .pt of a training")
    if "names" in held:
        names = _names(held["names"])
        if names is None:
            text = f"its names of classes are no list of names ({shown(held['names'])})"
            raise WeightsError(f"{where}: {text}; give a .pt of a training")
        held["names"] = names


def _names(found: Any) -> dict[int, str] | None:
    """Return names of classes by their index; None if they are none."""
    if isinstance(found, (list, tuple)):
        found = dict(enumerate(found))
    if not isinstance(found, Mapping) or not all(isinstance(each, (str, int)) for each in found.values()):
        return None
    try:
        names = {int(index): str(name) for index, name in found.items()}
    except (TypeError, ValueError):
        return None
    return names if sorted(names) == list(range(len(names))) else None


def _is_note(note: Mapping[str, Any]) -> bool:
    kinds = all(isinstance(note.get(key), kind) for key, kind in NOTE.items())
    return kinds and all(type(each) is int and each > 0 for each in note["before"].values())


def check_state(state: Mapping[str, Any]) -> None:
    """Look at what a state consists of.

    Raises:
        ValueError: If a part is missing, or of another kind than in any state that was written.
    """
    wrong = [key for key, kind in KINDS.items() if not isinstance(state.get(key), kind)]
    wrong += [key for key, kind in OPTIONAL.items() if key in state and not isinstance(state[key], kind)]
    note = state.get("longer")
    if isinstance(note, dict) and not _is_note(note):
        wrong.append("longer")
    wrong += [key for key in COUNTS if type(state.get(key)) is not int or state[key] < 0]
    if wrong:
        raise ValueError(f"its {wrong[0]} is none: {shown(state.get(wrong[0]))}")
