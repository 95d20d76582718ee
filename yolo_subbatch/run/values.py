"""From what a user types, or what a JSON file holds, to typed settings."""

from __future__ import annotations

import ast
import dataclasses
import math
import re
import types
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from yolo_subbatch.errors import SettingsError
from yolo_subbatch.run.host import nearest, training_keys

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
TEXT_TOO = frozenset({"cache", "compile"})  # keys of Ultralytics that are true, false or a word such as ram
LONGEST_NAME = 255  # bytes, on every usual file system
LONGEST_PATH = 4095  # bytes, on Linux
WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "True or False", tuple: "numbers with commas"}
TRUE, FALSE, NONE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}, {"none", "null", ""}


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
        values: Texts from a command line, or values from JSON.

    Raises:
        SettingsError: For an unknown key, naming its nearest neighbour, or a value of the wrong type.
    """
    hints = get_type_hints(kind)
    extra = hints.pop("extra", None) is not None
    paths = {each.name for each in dataclasses.fields(kind) if each.metadata.get("kind")}  # type: ignore[arg-type]
    made: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for given, value in values.items():
        key = ALIASES.get(given, given)
        if key not in hints:
            key = given
        if key != given and key in values:
            raise SettingsError(f"{given}, {key}: one setting under two names; give one of them")
        if key in NOTHING_IF_FALSE and str(value).lower() in FALSE:
            value = None
        if key in hints:
            made[key] = convert(given, value, hints[key])
            if key in paths:
                check_path(given, made[key])
        else:
            others[given] = _other(given, value, [*hints, *(ALIASES if extra else ())], extra)
    if extra:
        made["extra"] = {key: value for key, value in others.items() if key not in REFUSED}
    return kind(**made)


def check_path(key: str, value: Any) -> None:
    """Refuse what no file can be called, before every check of it would fail in its own way.

    Raises:
        SettingsError: If it or a part of it is too long, or it holds a zero byte.
    """
    path = str(value or "").encode("utf-8", "replace").replace(b"\\", b"/")
    if len(path) > LONGEST_PATH or b"\0" in path or any(len(part) > LONGEST_NAME for part in path.split(b"/")):
        raise SettingsError(f"{key}={str(value)[:60]}...: not a path that a file can have; check what was pasted")


def _other(key: str, value: Any, known: list[str], extra: bool) -> Any:
    """Return the value of a key without a field, if Ultralytics knows it."""
    if extra and key in REFUSED:
        if str(value).lower() in FALSE | NONE:
            return None  # it asks for nothing
        raise SettingsError(f"{key}={value}: cannot be set; {REFUSED[key]}")
    if extra and key in training_keys():
        return convert_like(key, value, training_keys()[key])
    near = nearest(key, [*known, *(training_keys() if extra else ())])
    raise SettingsError(f"{key}: unknown key; {f'did you mean {near}?' if near else 'see -h for the keys'}")


def convert(key: str, value: Any, hint: Any) -> Any:
    """Convert a value to the type of its field.

    Raises:
        SettingsError: If it fits none of the field's types.
    """
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if types.NoneType in kinds and (value is None or (isinstance(value, str) and value.lower() in NONE)):
        return None
    kinds = tuple(kind for kind in kinds if kind is not types.NoneType)
    for kind in kinds:
        with suppress(ValueError, TypeError, OverflowError):
            return _converted(value, kind)
    wanted = list(dict.fromkeys(WORDS.get(get_origin(kind) or kind, "a text") for kind in kinds))
    raise SettingsError(f"{key}={value}: give {' or '.join(wanted)}")


def _converted(value: Any, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        return _tuple(value, get_args(kind))
    if kind is bool:
        return _boolean(value)
    if kind is str:
        return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else _text(value)
    number = float("none" if isinstance(value, bool) else value)
    if kind is int:
        if not number.is_integer():
            raise ValueError
        return int(value) if isinstance(value, (int, str)) and str(value).lstrip("+-").isdecimal() else int(number)
    return number


def _tuple(value: Any, items: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(value, str):
        value = value.strip("[]() ").split(",")
    parts = value if isinstance(value, (list, tuple)) else [value]
    if items[-1] is not Ellipsis and len(parts) != len(items):
        raise ValueError
    return tuple(_converted(part, items[0]) for part in parts)


def _boolean(value: Any) -> bool:
    text = str(value).lower()
    if text not in TRUE | FALSE:
        raise ValueError
    return text in TRUE


def _text(value: Any) -> str:
    if isinstance(value, Mapping) or value is None:
        raise ValueError
    return str(value)


def convert_like(key: str, value: Any, example: Any) -> Any:
    """Convert the value of an Ultralytics key to the type of its default.

    Where the default is None, or two types are allowed, the value is what it looks like: number, truth, list or text.
    """
    wanted = type(example)
    plain = _literal(value) if isinstance(value, str) and wanted is not str else value
    if isinstance(plain, tuple):
        plain = list(plain)  # as JSON gives it back
    if wanted is float and isinstance(plain, list):
        return plain  # some of these keys take a pair
    if key in TEXT_TOO and isinstance(plain, str) and plain:
        return plain
    if wanted in (int, float, bool):
        plain = convert(key, plain, wanted)
    if isinstance(plain, float) and not math.isfinite(plain):
        raise SettingsError(f"{key}={value}: not finite; give a number")
    return plain


def _literal(text: str) -> Any:
    """Return the number, truth or list that a text spells, else the text itself, quotes and all."""
    if text.lower() in {"true", "false", "none"}:
        return {"true": True, "false": False, "none": None}[text.lower()]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, (int, float, bool, tuple, list)) else text


def memory_bytes(text: str) -> int:
    """Return the bytes of a size such as ``8GB``, ``512MB`` or ``1.5 GiB``; a thousand is 1024 here.

    Raises:
        SettingsError: If it is no such size.
    """
    found = re.fullmatch(r"([\d.]+)\s*([KMGT])i?B?", text.strip(), re.IGNORECASE)
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
