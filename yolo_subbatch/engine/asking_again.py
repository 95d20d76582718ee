"""The ``args.yaml`` of a run: written so that stock Ultralytics reads it too, and given again with ``cfg=``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ultralytics.utils import YAML

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.args_file import ARGS, lines_of, overridden, read_args, split
from yolo_subbatch.settings.find import YAML as ENDINGS
from yolo_subbatch.settings.trust import TRUST

KEPT = frozenset({"model", "data", "task", "mode", "project", "name"})  # that Ultralytics takes from elsewhere already
FILES = ("model", "data", "weights")


def rewrite_arguments(folder: Path, defaults: Mapping[str, Any], derived: Mapping[str, Any]) -> None:
    """Move our keys in the ``args.yaml`` that Ultralytics wrote into lines that it does not read.

    Given with ``cfg=``, its ``save_dir`` would lead into the folder of this very run.

    Args:
        folder: The run's folder.
        defaults: Our keys with their defaults, which are left out.
        derived: What follows from the cfg and is told all the same.
    """
    values = {key: value for key, value in YAML.load(folder / ARGS).items() if key != "save_dir"}
    for key in FILES:
        if values.get(key) and Path(str(values[key])).is_file():
            values[key] = str(Path(str(values[key])).absolute())
    if values.get("complete"):
        values.pop("batch_per_gpu", None)  # the batch is that of all devices by now
    theirs, own = split({**values, "resume": False, "exist_ok": False})
    own = {key: value for key, value in own.items() if value != defaults.get(key) or key == "flavour"}
    own |= {key: value for key, value in derived.items() if own.get(key) is None}
    own.pop("complete", None)
    own.pop(TRUST, None)
    YAML.save(folder / ARGS, theirs, header=lines_of(own) if own else "")


def with_args_file(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a trainer without ``cfg=``, a file whose keys Ultralytics has put among them.

    Raises:
        SettingsError: If it is no such file.
    """
    path = given.get("cfg")
    if not path:
        return dict(given)
    asked = keys_of(path)
    file = YAML.load(path)
    own = {
        key: value
        for key, value in given.items()
        if key != "cfg" and (key in KEPT or key in asked or key not in file or file[key] != value)
    }
    return overridden({key: value for key, value in asked.items() if key not in KEPT}, own)


def keys_of(path: str | Path) -> dict[str, Any]:
    """Return the keys of a file that was given with ``cfg=`` to ``train()``.

    Raises:
        SettingsError: If it is a Darknet cfg, or cannot be read.
    """
    if Path(path).suffix not in ENDINGS:
        raise SettingsError(
            f"cfg={path}: a file of keys in YAML is meant here, such as the args.yaml of a run; "
            f"a network is given by Darknet({str(path)!r})"
        )
    return read_args(path)
