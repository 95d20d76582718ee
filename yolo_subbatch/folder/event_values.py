"""What the fields of an event may hold: a line is data from a file, and everything in it is drawn or counted later."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, Union, get_args, get_origin

Check = Callable[[Any], Any]
LARGEST = 1e37  # of a number: plots compute ranges in float32, with some room around them
MOST = 2**53  # of a count: no float64 tells larger ones apart
LAST_MOMENT = 253_402_300_799.0  # the year 9999, the last that a clock can show
LONGEST_NAME = 100  # letters of a part of the loss


def check_of(name: str, hint: Any) -> Check:
    """Return what takes a field's value from JSON and returns it, cut to what can be drawn.

    It raises TypeError or ValueError for a value of another kind.

    Args:
        name: The field.
        hint: Its type.
    """
    return _moment if name == "t" else _check(hint)


def _check(hint: Any) -> Check:
    if hint in _KINDS:
        return _KINDS[hint]
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType) and type(None) in inner:
        return _or_none(_check(next(each for each in inner if each is not type(None))))
    if origin is list:
        return _each(_check(inner[0]))
    if origin is dict:
        return _named(_check(inner[1]))
    raise TypeError(f"{hint}: no field of an event is of this type")


def _number(value: Any) -> Any:
    if not isinstance(value, (int, float)):
        raise TypeError(value)
    if -LARGEST <= value <= LARGEST or value != value:
        return value
    return LARGEST if value > 0 else -LARGEST


def _count(value: Any) -> Any:
    if not isinstance(value, int):
        raise TypeError(value)
    if not -MOST <= value <= MOST:
        raise ValueError("no count")
    return value


def _moment(value: Any) -> Any:
    if value != value:
        raise ValueError("no moment")
    return min(max(_number(value), 0.0), LAST_MOMENT)


def _size(value: Any) -> Any:
    """Take an input's size: one number, several, or none."""
    return value if value is None else _each(_number)(value) if isinstance(value, list) else _number(value)


def _of(kind: type) -> Check:
    def check(value: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError(value)
        return value

    return check


def _or_none(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _each(check: Check) -> Check:
    def check_all(value: Any) -> Any:
        if not isinstance(value, list):
            raise TypeError(value)
        return [check(each) for each in value]

    return check_all


def _named(check: Check) -> Check:
    def check_all(value: Any) -> Any:
        if not isinstance(value, dict) or any(len(key) > LONGEST_NAME for key in value):
            raise TypeError(value)
        return {key: check(each) for key, each in value.items()}

    return check_all


_KINDS: dict[Any, Check] = {float: _number, int: _count, str: _of(str), bool: _of(bool), Any: _size}
