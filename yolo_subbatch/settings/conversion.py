"""From what a user types, what a JSON file holds or what a Python caller gives, to one typed value.

Every way to give a setting comes through here, so that each of them takes the same spellings and says the same words.
"""

from __future__ import annotations

import ast
import enum
import math
import os
import types
from collections.abc import Mapping
from contextlib import suppress
from numbers import Integral, Real
from typing import Any, Union, get_args, get_origin

from yolo_subbatch.errors import SettingsError

WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "True or False", tuple: "numbers with commas"}
TRUE, FALSE, NONE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}, {"none", "null", ""}
SWITCH = (0, 1)  # choices of a number that Darknet turns something on or off with
#: Keys of Ultralytics that are a share there, and on or off in Darknet's cfg.
ON_OR_OFF = ("mosaic", "mixup", "cutmix")
TEXT_TOO = frozenset({"cache", "compile"})  # keys of Ultralytics that are true, false or a word such as ram
COUNT_TOO = frozenset({"fraction"})  # keys of Ultralytics that are a share or, above 1, how many
LONGEST_SHOWN = 60  # letters of a value in a message


def plain(value: Any) -> Any:
    """Return a value in Python's own types.

    Numbers and arrays of numpy and torch become numbers and lists, whatever is a path or a device becomes a text.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, bytes):
        return os.fsdecode(value)
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if hasattr(value, "dtype") and callable(getattr(value, "tolist", None)):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, range)):
        return [plain(each) for each in value]
    if isinstance(value, str):
        return str(value)
    if type(value).__name__ == "device":  # of torch, which is not imported here
        return str(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def is_nothing(value: Any) -> bool:
    """Tell whether a value asks for the default: None, or a text that says so."""
    return value is None or (isinstance(value, str) and value.strip().lower() in NONE)


def convert(key: str, value: Any, hint: Any, rule: Mapping[str, Any] | None = None) -> Any:
    """Convert a value to the type of its field.

    Args:
        key: Its name, for the message.
        value: A text, a number, a list of them, or their like of numpy or torch.
        hint: The field's type.
        rule: What the field declares: of texts among its ``choices`` and ``words``, the case does not matter, and a
            number that is 0 or 1 is also given as a truth.

    Returns:
        The value, None where the default is asked for.

    Raises:
        SettingsError: If it fits none of the field's types.
    """
    rule = rule or {}
    value = plain(value)
    if is_nothing(value):
        return None
    listed = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = [kind for kind in listed if kind is not types.NoneType]
    if rule.get("choices") == SWITCH or rule.get("switch"):
        with suppress(ValueError):
            return kinds[0](_boolean(value))
    for kind in kinds:
        with suppress(ValueError, TypeError, OverflowError):
            return _spelt(_converted(value, kind), rule)
    if rule.get("choices"):
        raise SettingsError(f"{key}={shown(value)}: unknown; use one of {', '.join(map(show, rule['choices']))}")
    wanted = list(dict.fromkeys(WORDS.get(get_origin(kind) or kind, "a text") for kind in kinds))
    raise SettingsError(f"{key}={shown(value)}: not of the right kind; give {' or '.join(wanted)}")


def _spelt(value: Any, rule: Mapping[str, Any]) -> Any:
    """Return a text as the field's choices or words spell it, whatever the case."""
    if not isinstance(value, str):
        return value
    if rule.get("compact"):
        return "".join(value.lower().split())
    known = [*(rule.get("choices") or ()), *(rule.get("words") or ())]
    same = (each for each in known if isinstance(each, str) and each.lower() == value.strip().lower())
    return next(same, value)


def _converted(value: Any, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        return _tuple(value, get_args(kind))
    if kind is bool:
        return _boolean(value)
    if kind is str:
        return _text(value)
    check_digits(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool):
        raise ValueError
    if kind is int:
        with suppress(ValueError):
            return int(value if isinstance(value, (int, str)) else "")  # a float cannot hold every whole number
    number = float(value)
    if kind is int and not number.is_integer():
        raise ValueError
    return kind(number)


def check_digits(value: Any) -> None:
    """Refuse a text that Python takes for a number and a person does not: ``1_000``, or the digits of other scripts.

    Raises:
        ValueError: If it is one.
    """
    if isinstance(value, str) and (not value.isascii() or "_" in value):
        raise ValueError(value)


def _tuple(value: Any, items: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(value, str):
        value = value.strip("[]() ").removesuffix(",").split(",")
    parts = value if isinstance(value, list) else [value]
    if items[-1] is not Ellipsis and len(parts) == 1:
        parts = parts * len(items)  # [640] is a square
    if items[-1] is not Ellipsis and len(parts) != len(items):
        raise ValueError
    return tuple(_converted(part, items[0]) for part in parts)


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        value = value.strip().lower()
        if value in TRUE | FALSE:
            return value in TRUE
        check_digits(value)
        value = float(value)
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if not isinstance(value, (str, int, float)):
        raise ValueError
    return str(value)


def convert_like(key: str, value: Any, example: Any) -> Any:
    """Convert the value of an Ultralytics key to the type of its default.

    Where the default is None, or two types are allowed, the value is what it looks like: number, truth, list or text.
    """
    wanted = type(example)
    value = plain(value)
    found = _literal(value) if isinstance(value, str) and wanted is not str else value
    if isinstance(found, tuple):
        found = list(found)  # as JSON gives it back
    if wanted is float and isinstance(found, list):
        return found  # some of these keys take a pair
    if key in TEXT_TOO and isinstance(found, str) and found:
        return found
    if key in COUNT_TOO and isinstance(found, int) and found > 1:
        return found
    if found is None and example is not None:
        return None
    if wanted in (int, float, bool):
        found = convert(key, found, wanted, {"switch": key in ON_OR_OFF})
    if isinstance(found, float) and not math.isfinite(found):
        raise SettingsError(f"{key}={value}: not finite; give a number")
    return found


def _literal(text: str) -> Any:
    """Return the number, truth or list that a text spells, else the text itself, quotes and all."""
    stripped = text.strip()
    if stripped.lower() in {"true", "false", "none"}:
        return {"true": True, "false": False, "none": None}[stripped.lower()]
    try:
        check_digits(stripped)
        value = ast.literal_eval(stripped)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, (int, float, bool, tuple, list)) else text


def range_fault(value: Any, rule: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a converted value according to what its field declares."""
    choices = rule.get("choices")
    if choices and value not in choices:
        return f"unknown; use one of {', '.join(map(show, choices))}"
    words = rule.get("words")
    if words and isinstance(value, str) and value not in words:
        return f"unknown; give a whole number or {' or '.join(words)}"
    items = value if isinstance(value, tuple) else (value,)
    numbers = [each for each in items if isinstance(each, (int, float)) and not isinstance(each, bool)]
    return next((fault for fault in (number_fault(each, rule) for each in numbers) if fault), None)


def number_fault(number: float, rule: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a number according to ``min``, ``max``, ``above``, ``below`` and ``infinite``."""
    if math.isnan(number) or (math.isinf(number) and not rule.get("infinite")):
        return "not a finite number; give a number"
    if "min" in rule and number < rule["min"]:
        return f"too small; give at least {rule['min']}"
    if "above" in rule and number <= rule["above"]:
        return f"too small; give more than {rule['above']}"
    if "max" in rule and number > rule["max"]:
        return f"too large; give at most {rule['max']}"
    if "below" in rule and number >= rule["below"]:
        return f"too large; give less than {rule['below']}"
    return None


def show(value: Any) -> str:
    """Return a value as a user types it: ``2`` for 2.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def shown(value: Any, longest: int = LONGEST_SHOWN) -> str:
    """Return a value in one short line, for a message."""
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[:longest]}..."
