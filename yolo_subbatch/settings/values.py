"""From keys with values, whoever gives them, to settings."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar, get_type_hints

from yolo_subbatch.darknet.textfile import is_name, new_folder
from yolo_subbatch.errors import SettingsError
from yolo_subbatch.settings.conversion import FALSE, NONE, convert, convert_like, plain, range_fault, shown
from yolo_subbatch.settings.host_files import limits, nearest, training_keys

Settings = TypeVar("Settings")

#: Ultralytics' names of settings that Darknet has too.
ALIASES = {"lr0": "learning_rate", "weight_decay": "decay"}
#: Keys of Ultralytics or Darknet that cannot be set here, with what to do instead.
REFUSED = {
    "nbs": "batch= is the batch of one update, whatever fits into memory",
    "task": "the model knows its task",
    "mode": "the command says it",
    "save_dir": "use project= and name=",
    "exist_ok": "an existing run folder is never used again",
    "pretrained": "use weights= with cfg=, or model= with a .pt",
    "width": "use imgsz=HEIGHT,WIDTH",
    "height": "use imgsz=HEIGHT,WIDTH",
    "max_batch": "use max_batches=",
}
NOTHING_IF_FALSE = frozenset({"resume"})  # a folder here, True or False for Ultralytics


def parse_pairs(arguments: Iterable[str]) -> dict[str, str]:
    """Read ``key=value``, ``--key=value`` and ``--key value``; dashes in a key are underscores.

    Raises:
        SettingsError: If an argument has none of these forms, or a key comes twice with different values.
    """
    pairs: dict[str, str] = {}
    waiting: str | None = None
    for argument in arguments:
        if waiting is not None:
            _add(pairs, waiting, argument)
            waiting = None
        elif "=" in argument:
            _add(pairs, *argument.split("=", 1))
        elif argument.startswith("--") and len(argument) > 2:
            waiting = argument
        else:
            raise SettingsError(f"{argument}: no key=value; write for example batch=64, without blanks")
    if waiting is not None:
        raise SettingsError(f"{waiting}: has no value; write {waiting.lstrip('-')}=VALUE")
    return pairs


def _add(pairs: dict[str, str], name: str, value: str) -> None:
    key = name.strip().lstrip("-").replace("-", "_")
    if not key:
        raise SettingsError(f"{name}={value}: the key is empty; write for example batch=64")
    if pairs.get(key, value.strip()) != value.strip():
        raise SettingsError(f"{key}={value}: given twice, {key}={pairs[key]} too; give one value")
    pairs[key] = value.strip()


def make(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Make settings from keys and values as a user gives them.

    A dataclass with a field ``extra`` takes every other training key of Ultralytics there.

    Args:
        kind: The dataclass.
        values: Texts from a command line, values from JSON or of a Python caller; None is as good as not given.

    Raises:
        SettingsError: With everything that is wrong: unknown keys, naming their nearest neighbours, and values.
    """
    fields = _fields(kind)  # type: ignore[arg-type]  # a class is hashable
    extra = "extra" in {each.name for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    made: dict[str, Any] = {}
    others: dict[str, Any] = {}
    faults: list[str] = []
    for given, value in values.items():
        key = ALIASES.get(given, given)
        key = key if key in fields else given
        try:
            if key != given and key in values:
                raise SettingsError(f"{given}, {key}: one setting under two names; give one of them")
            if key in fields:
                made[key] = fields[key].read(given, value)
            else:
                others[given] = _other(given, value, [*fields, *(ALIASES if extra else ())], extra)
        except SettingsError as error:
            faults.append(str(error))
    if faults:  # the checks of a command, which come later, would tell the rest only then
        wrong = ((key, value, range_fault(value, fields[key].rule)) for key, value in made.items() if value is not None)
        faults += [f"{key}={shown(value)}: {fault}" for key, value, fault in wrong if fault]
        raise SettingsError("\n".join(faults))
    made = {key: value for key, value in made.items() if value is not None}  # None is the default
    if extra:
        made["extra"] = {key: value for key, value in others.items() if _is_given(key, value)}
    return kind(**made)


def _is_given(key: str, value: Any) -> bool:
    """Tell whether a key of Ultralytics asks for anything; None does where it is a value of its own."""
    return key not in REFUSED and (value is not None or training_keys()[key] is None)


@dataclasses.dataclass(frozen=True)
class Field:
    """A setting as a value for it is read: its type, and what it declares (see ``settings.setting``)."""

    name: str
    hint: Any
    rule: Mapping[str, Any]

    def read(self, given: str, value: Any) -> Any:
        """Return a value that was given under some name; None where the default is asked for.

        Raises:
            SettingsError: If it is of the wrong kind.
        """
        if self.name in NOTHING_IF_FALSE and str(value).strip().lower() in FALSE:
            return None
        found = convert(given, value, self.hint, self.rule)
        if self.rule.get("kind") and found is not None:
            check_path(given, found)
            found = from_home(found)
            found = new_folder(found) if self.rule["kind"] == "folder" else found
        return found


@cache  # evaluating the hints is slow
def _fields(kind: type) -> Mapping[str, Field]:
    hints = get_type_hints(kind)
    return {
        each.name: Field(each.name, hints[each.name], each.metadata)
        for each in dataclasses.fields(kind) if each.name != "extra"
    }  # fmt: skip


def read_setting(kind: type, name: str, value: Any) -> Any:
    """Return one setting of a dataclass from what a user gives; its default where None is given.

    Raises:
        SettingsError: If the value is of the wrong kind.
    """
    found = _fields(kind)[name].read(name, value)
    return defaults(kind)[name] if found is None else found


def from_home(path: str) -> str:
    """Return a path with the home folder in place of a ``~``, which no shell replaces behind ``key=``."""
    return os.path.expanduser(path) if path.startswith("~") and not os.path.exists(path) else path


def read_given(
    kind: type, values: Mapping[str, Any], own: Collection[str], bounded: Callable[[str], bool]
) -> dict[str, Any]:
    """Return the keywords of a Python caller as the command line reads them.

    Args:
        kind: The dataclass whose fields say of which kind a value is.
        values: The keywords. Those that the dataclass does not have are Ultralytics', or left as they are.
        own: Fields of the dataclass that have their meaning here; others may have another one for Ultralytics.
        bounded: Whether the bounds of a field hold too.

    Raises:
        SettingsError: With everything that is wrong.
    """
    fields = _fields(kind)
    made: dict[str, Any] = {}
    faults: list[str] = []
    for given, value in values.items():
        key = ALIASES.get(given, given)
        try:
            if key in own:
                found = fields[key].read(given, value)
                rule = fields[key].rule if bounded(key) else {}
            elif given in training_keys():
                found, rule = _read_like(given, value), limits(given) if bounded(given) else {}
            else:
                made[given] = value
                continue
            fault = None if found is None else range_fault(found, rule)
            if fault:
                faults.append(f"{given}={shown(plain(value))}: {fault}")
            elif found is not None or (value is None and key not in own):
                made[given] = list(found) if isinstance(found, tuple) else found
        except SettingsError as error:
            faults.append(str(error))
    if faults:
        raise SettingsError("\n".join(faults))
    return made


def _read_like(key: str, value: Any) -> Any:
    """Return the value of a key of Ultralytics, of which objects of its own are left alone."""
    value = plain(value)
    if not isinstance(value, (str, int, float, list)):
        return value
    return convert_like(key, value, training_keys()[key])


def check_path(key: str, value: Any) -> None:
    """Refuse what no file can be called, before every check of it would fail in its own way.

    Raises:
        SettingsError: If it or a part of it is too long, or it holds a zero byte.
    """
    if not is_name(value or ""):
        raise SettingsError(f"{key}={str(value)[:60]}...: not a path that a file can have; check what was pasted")


def _other(key: str, value: Any, known: list[str], extra: bool) -> Any:
    """Return the value of a key without a field, if Ultralytics knows it."""
    if extra and key in REFUSED:
        if str(value).strip().lower() in FALSE | NONE:
            return None  # it asks for nothing
        raise SettingsError(f"{key}={value}: cannot be set; {REFUSED[key]}")
    if extra and key in training_keys():
        return convert_like(key, value, training_keys()[key])
    near = nearest(key, [*known, *(training_keys() if extra else ())])
    raise SettingsError(f"{key}: unknown key; {f'did you mean {near}?' if near else 'see -h for the keys'}")


def memory_bytes(text: str) -> int:
    """Return the bytes of a size such as ``8GB``, ``512MB`` or ``1.5 GiB``; a thousand is 1024 here.

    Raises:
        SettingsError: If it is no such size.
    """
    found = re.fullmatch(r"([\d.]+)\s*([KMGT])i?B?", text.strip(), re.IGNORECASE | re.ASCII)
    with suppress(ValueError, OverflowError):
        if found and float(found[1]) > 0:
            return int(float(found[1]) * 2 ** (10 * (1 + "KMGT".index(found[2].upper()))))
    raise SettingsError(f"memory={text}: not a size; write for example memory=8GB")


def defaults(kind: type) -> dict[str, Any]:
    """Return the default of every field of a settings dataclass."""
    return {
        each.name: each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
        for each in dataclasses.fields(kind)
    }
