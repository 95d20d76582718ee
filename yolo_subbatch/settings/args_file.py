"""``args.yaml``: what a training was asked to do, in a form that it can be asked again.

Ultralytics writes its keys there and reads them with ``cfg=``. Ours stand in lines that are comments to it, so that
either program takes the file. Other YAML files of keys are read too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings import host_files
from yolo_subbatch.settings.find import YAML
from yolo_subbatch.settings.safe_reading import parse_json, read_small
from yolo_subbatch.settings.trust import refuse_own_trust
from yolo_subbatch.settings.values import ALIASES

ARGS = "args.yaml"
OURS = "#: "  # begins a line with one of our keys
HEADING = "# The lines that begin with '#:' hold the keys of yolo-subbatch, which Ultralytics does not know."
#: Keys of one run, or of the program itself: they are not asked again.
OF_THE_RUN = frozenset({"save_dir", "resume", "exist_ok", "mode", "task", "nbs", "cfg", "session", "complete", "given"})
#: What differs from Ultralytics' defaults for a Darknet network, unless the user says otherwise.
DARKNET_HOST_DEFAULTS = {
    "mosaic": 0.0, "close_mosaic": 0, "patience": 0, "amp": False, "optimizer": "SGD", "warmup_epochs": 0.0,
}  # fmt: skip


@cache
def host_keys() -> dict[str, Any]:
    """Return every key of Ultralytics, also those that have no part in training, with its default."""
    found: dict[str, Any] = yaml.safe_load((host_files.folder() / "cfg" / "default.yaml").read_text(encoding="utf-8"))
    return found


def lines_of(own: Mapping[str, Any]) -> str:
    """Return our keys as lines that are comments to Ultralytics."""
    flow: dict[str, Any] = {"default_flow_style": True, "allow_unicode": True, "width": 10**6}
    lines = [f"{OURS}{key}: {yaml.safe_dump([value], **flow).strip()[1:-1]}" for key, value in own.items()]
    return "".join(f"{line}\n" for line in (HEADING, *lines))


def split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split arguments into Ultralytics' keys and the others."""
    known = {*host_keys(), "save_dir", "augmentations"}
    theirs = {key: value for key, value in values.items() if key in known}
    return theirs, {key: value for key, value in values.items() if key not in known}


def read_args(path: str | Path) -> dict[str, Any]:
    """Return the keys of a YAML file; of the ``args.yaml`` of a run, those that have to be given for the same again.

    Raises:
        SettingsError: If it cannot be read, or holds no keys.
    """
    values, commented = _read(Path(path))
    refuse_own_trust(path, {**values, **commented})
    if not commented and "save_dir" not in values:
        return values  # somebody's own file: what stands in it counts
    theirs, own = split({**values, **commented})
    given = set(own.get("given") or ())
    if own.pop("bf16_on_cpu", False):
        theirs["amp"] = "bf16"
    usual = host_keys()
    if "flavour" in own:
        usual = {**usual, **DARKNET_HOST_DEFAULTS}
        _drop_derived(theirs, own)
    if theirs.get("pretrained") is True:  # Ultralytics' own default, which it gives itself
        del theirs["pretrained"]
    asked = {key: value for key, value in theirs.items() if key in given or value != usual.get(key)}
    return {key: value for key, value in {**asked, **own}.items() if key not in OF_THE_RUN and value is not None}


def _drop_derived(theirs: dict[str, Any], own: dict[str, Any]) -> None:
    """Leave out Ultralytics' names of what has a Darknet name, unless somebody has changed them in the file."""
    for name in ("scale", "angle"):
        theirs.pop(name, None)
    rate, decay = own.get("learning_rate"), own.get("decay")
    if rate is not None and theirs.get("lr0") == min(1.0, rate):
        del theirs["lr0"]
    if decay is not None and theirs.get("weight_decay") == decay:
        del theirs["weight_decay"]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the keys of a file, and those in our comments."""
    try:
        text = read_small(path).decode("utf-8-sig")
        values = yaml.safe_load(text) or {}
        ours = [line.removeprefix(OURS) for line in text.split("\n") if line.startswith(OURS)]
        commented = yaml.safe_load("\n".join(ours)) or {}
    except OSError as error:
        raise SettingsError(f"cfg={path}: cannot be read ({error.strerror}); check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = "" if line is None else f" in line {line + 1}"
        raise SettingsError(f"cfg={path}: not valid YAML{place}; correct the file") from error
    if not isinstance(values, dict) or not isinstance(commented, dict):
        raise SettingsError(f"cfg={path}: no keys in it; write key: value, one a line")
    return values, commented


def overridden(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a file with those that were given beside it, which go first under either of their names."""
    names = {**ALIASES, **{ours: theirs for theirs, ours in ALIASES.items()}}
    left = {key: value for key, value in values.items() if names.get(key) not in given}
    return {**left, **given}


def expanded(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a command line with those of the file that ``cfg=`` names, if it is none of Darknet's.

    That is the ``args.yaml`` of a run, another YAML file of keys, or the ``settings.json`` of a run.

    Raises:
        SettingsError: If it cannot be read.
    """
    path = Path(str(given.get("cfg") or ""))
    if path.suffix not in {*YAML, ".json"} or not path.is_file():
        return dict(given)
    others = {key: value for key, value in given.items() if key != "cfg"}
    values = _read_settings(path) if path.suffix == ".json" else read_args(path)
    model = values.pop("model", None)
    if model is not None and "model" not in given:
        values["cfg" if str(model).endswith(".cfg") else "model"] = model
    if "model" in given:
        for name in ("cfg", "weights"):
            values.pop(name, None)
    if "step_scale" in values:
        values["scale"] = values.pop("step_scale")
    return overridden(values, others)


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        values = parse_json(read_small(path))
        values = {**values.pop("extra", {}), **values}
    except OSError as error:
        raise SettingsError(f"cfg={path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise SettingsError(f"cfg={path}: not the settings.json of a run; give a cfg, or the file of a run") from error
    refuse_own_trust(path, values)
    return values
